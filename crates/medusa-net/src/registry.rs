//! A worker's open connections, and the one task that minds their deadlines.
//!
//! Invariant: a connection is in its worker's registry exactly as long as its [`Entry`] lives, which its task owns:
//! however the task ends, by returning, by a panic or by being aborted, the connection is gone from here. All functions
//! speak of the calling thread's connections; reach another worker's through [`Workers::run`](crate::Workers::run).

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::address::ListenAddr;
use crate::conn::{Conn, Origin, Peer, Phase};
use crate::limits::Permit;
use crate::listener::ListenerId;
use crate::shutdown::Drained;
use crate::{clock, worker};

/// How often deadlines are looked at. Finer would cost more and tell nobody anything: deadlines are whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// Connection numbers hold the worker's number above this bit, so that workers number theirs independently.
const WORKER_SHIFT: u32 = 48;

thread_local! {
    static REGISTRY: Registry = Registry::default();
}

#[derive(Default)]
struct Registry {
    live: RefCell<Slab<Rc<Conn>>>,
    /// One per listener that this worker has accepted for and that still accepts or has connections.
    origins: RefCell<Vec<Weak<Origin>>>,
    opened: Cell<u64>,
    ended: Cell<u64>,
    ticking: Cell<bool>,
    /// The whole worker is finishing: so is every connection from its birth.
    draining: Cell<bool>,
    /// Told whenever a connection ends.
    ended_one: Rc<Notify>,
}

/// A worker's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections open now.
    pub open: usize,
    /// Connections ever opened.
    pub opened: u64,
}

/// What [`snapshot`] tells of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnInfo {
    /// See [`Conn::id`].
    pub id: u64,
    /// See [`Conn::listen_addr`].
    pub listen_addr: ListenAddr,
    /// See [`Conn::peer`].
    pub peer: Peer,
    /// See [`Conn::phase`].
    pub phase: Phase,
    /// How long it has been in that phase, in seconds.
    pub age: u32,
    /// See [`Conn::requests`].
    pub requests: u64,
    /// See [`Conn::received`].
    pub received: u64,
    /// See [`Conn::sent`].
    pub sent: u64,
    /// See [`Conn::is_draining`].
    pub draining: bool,
}

/// How many connections are open on this worker.
pub fn len() -> usize {
    REGISTRY.with(|registry| registry.live.borrow().len())
}

/// This worker's totals.
pub fn counts() -> Counts {
    REGISTRY.with(|registry| Counts { open: registry.live.borrow().len(), opened: registry.opened.get() })
}

/// At most `limit` of this worker's connections, for a person to look at.
pub fn snapshot(limit: usize) -> Vec<ConnInfo> {
    REGISTRY.with(|registry| registry.live.borrow().iter().take(limit).map(|(_, conn)| info(conn)).collect())
}

/// Tells every connection of this worker to finish, and from now on every new one.
pub fn drain_all() {
    REGISTRY.with(|registry| registry.draining.set(true));
    for conn in Scope::Worker.conns() {
        conn.drain();
    }
}

/// Tells every connection that came in by `listener` to finish, and from now on every new one.
pub fn drain(listener: ListenerId) {
    if let Some(origin) = find_origin(listener) {
        origin.draining.set(true);
        for conn in Scope::Listener(origin).conns() {
            conn.drain();
        }
    }
}

/// Makes the place that connections of `listener` on this worker come from.
pub(crate) fn origin(listener: ListenerId, addr: ListenAddr) -> Rc<Origin> {
    let origin = Origin::new(listener, addr);
    REGISTRY.with(|registry| {
        let mut origins = registry.origins.borrow_mut();
        origins.retain(|known| known.strong_count() > 0);
        origins.push(Rc::downgrade(&origin));
    });
    origin
}

/// Enters a new connection. The first one starts the task that minds deadlines, which ends with the last.
pub(crate) fn open(origin: &Rc<Origin>, peer: Peer, permit: Permit) -> Entry {
    clock::refresh();
    let (conn, key, start_ticking) = REGISTRY.with(|registry| {
        let serial = registry.opened.get();
        registry.opened.set(serial + 1);
        let id = ((worker::index() as u64) << WORKER_SHIFT) | serial;
        let conn = Rc::new(Conn::new(id, origin.clone(), peer));
        if registry.draining.get() {
            conn.drain();
        }
        let key = registry.live.borrow_mut().insert(conn.clone());
        (conn, key, !registry.ticking.replace(true))
    });
    origin.live.set(origin.live.get() + 1);
    if start_ticking {
        spawn_local(tick(Ticking));
    }
    Entry { conn, key, _permit: permit }
}

/// A connection's place in the registry. Dropping it takes the connection out.
#[derive(Debug)]
pub(crate) struct Entry {
    conn: Rc<Conn>,
    key: usize,
    _permit: Permit,
}

impl Deref for Entry {
    type Target = Rc<Conn>;

    fn deref(&self) -> &Rc<Conn> {
        &self.conn
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let origin = &self.conn.origin;
        origin.live.set(origin.live.get().saturating_sub(1));
        origin.ended.set(origin.ended.get() + 1);
        // An error means that the thread is ending and the registry already gone.
        let _ = REGISTRY.try_with(|registry| {
            registry.live.borrow_mut().try_remove(self.key);
            registry.ended.set(registry.ended.get() + 1);
            registry.ended_one.notify_waiters();
        });
    }
}

/// Tells some of this worker's connections to finish, waits until they have or `deadline` is over, and aborts those
/// that are left.
pub(crate) async fn finish(listener: Option<ListenerId>, deadline: Duration) -> Drained {
    let scope = match listener {
        None => {
            drain_all();
            Scope::Worker
        }
        Some(id) => match find_origin(id) {
            None => return Drained::default(),
            Some(origin) => {
                drain(id);
                Scope::Listener(origin)
            }
        },
    };
    let (live, ended) = (scope.live(), scope.ended());
    tracing::debug!(connections = live, "finishing");
    let aborted = match timeout(deadline, scope.empty()).await {
        Ok(()) => 0,
        Err(_elapsed) => abort(&scope).await,
    };
    let ended = usize::try_from(scope.ended() - ended).unwrap_or(usize::MAX);
    Drained { finished: ended.saturating_sub(aborted), aborted }
}

/// Drops the tasks of all connections in `scope`, those included that open meanwhile, and waits until that has happened.
async fn abort(scope: &Scope) -> usize {
    let mut aborted = 0;
    while scope.live() > 0 {
        aborted += scope.conns().iter().filter(|conn| conn.abort()).count();
        ended_one().notified().await;
    }
    aborted
}

/// Told whenever a connection of this worker ends.
fn ended_one() -> Rc<Notify> {
    REGISTRY.with(|registry| registry.ended_one.clone())
}

/// Some of a worker's connections.
enum Scope {
    Worker,
    Listener(Rc<Origin>),
}

impl Scope {
    fn live(&self) -> usize {
        match self {
            Self::Worker => len(),
            Self::Listener(origin) => origin.live.get(),
        }
    }

    fn ended(&self) -> u64 {
        match self {
            Self::Worker => REGISTRY.with(|registry| registry.ended.get()),
            Self::Listener(origin) => origin.ended.get(),
        }
    }

    /// The connections themselves, so that nothing is borrowed while they are told something.
    fn conns(&self) -> Vec<Rc<Conn>> {
        REGISTRY.with(|registry| {
            let live = registry.live.borrow();
            live.iter().filter(|(_, conn)| self.holds(conn)).map(|(_, conn)| conn.clone()).collect()
        })
    }

    fn holds(&self, conn: &Conn) -> bool {
        match self {
            Self::Worker => true,
            Self::Listener(origin) => Rc::ptr_eq(origin, &conn.origin),
        }
    }

    /// Waits until no connection is left.
    async fn empty(&self) {
        while self.live() > 0 {
            ended_one().notified().await;
        }
    }
}

fn find_origin(listener: ListenerId) -> Option<Rc<Origin>> {
    REGISTRY.with(|registry| {
        registry.origins.borrow().iter().filter_map(Weak::upgrade).find(|origin| origin.listener == listener)
    })
}

fn info(conn: &Conn) -> ConnInfo {
    ConnInfo {
        id: conn.id(),
        listen_addr: conn.listen_addr().clone(),
        peer: conn.peer(),
        phase: conn.phase(),
        age: conn.age(),
        requests: conn.requests(),
        received: conn.received(),
        sent: conn.sent(),
        draining: conn.is_draining(),
    }
}

/// Alive while the task that minds deadlines is, even if that is dropped with its runtime.
struct Ticking;

impl Drop for Ticking {
    fn drop(&mut self) {
        // An error means that the thread is ending and the registry already gone.
        let _ = REGISTRY.try_with(|registry| registry.ticking.set(false));
    }
}

/// Minds deadlines as long as there are connections: a worker without any sleeps undisturbed.
async fn tick(ticking: Ticking) {
    while len() > 0 {
        sleep(TICK).await;
        sweep(clock::refresh());
    }
    drop(ticking);
}

/// Wakes the connections that have passed a deadline.
fn sweep(now: u32) {
    let late: Vec<Rc<Conn>> = REGISTRY.with(|registry| {
        let live = registry.live.borrow();
        live.iter().filter(|(_, conn)| conn.check(now)).map(|(_, conn)| conn.clone()).collect()
    });
    for conn in late {
        conn.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::conn::Signal;
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::time::Instant;

    /// Runs a test on a paused clock: time passes only when every task waits for it.
    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        let mut builder = Builder::new_current_thread();
        builder
            .enable_all()
            .start_paused(true)
            .build_local(LocalOptions::default())
            .expect("works")
            .block_on(test);
    }

    fn an_origin() -> Rc<Origin> {
        origin(ListenerId::next(), ListenAddr::Unix("x".into()))
    }

    fn enter(origin: &Rc<Origin>) -> Entry {
        open(origin, Peer::Unix, Permit::take().expect("works"))
    }

    /// Spawns a connection that ends at its first signal and returns that signal with the time it took.
    fn obedient(origin: &Rc<Origin>) -> tokio::task::JoinHandle<(Signal, Duration)> {
        let (entry, start) = (enter(origin), Instant::now());
        spawn_local(async move {
            let signal = poll_fn(|cx| match entry.poll_signal(cx) {
                Signal::None => Poll::Pending,
                signal => Poll::Ready(signal),
            });
            (signal.await, start.elapsed())
        })
    }

    /// Spawns a connection that hears no signal.
    fn deaf(origin: &Rc<Origin>) -> Rc<Conn> {
        let entry = enter(origin);
        let conn = entry.clone();
        let task = spawn_local(async move {
            std::future::pending::<()>().await;
            drop(entry);
        });
        conn.set_task(task.abort_handle());
        conn
    }

    #[test]
    fn an_entry_is_counted_as_long_as_it_lives() {
        on_a_paused_clock(async {
            let origin = an_origin();
            let (first, second) = (enter(&origin), enter(&origin));
            assert_ne!(first.id(), second.id());
            assert_eq!((len(), origin.live.get()), (2, 2));
            drop(first);
            assert_eq!((len(), origin.live.get()), (1, 1));
            assert_eq!(counts(), Counts { open: 1, opened: 2 });
            assert_eq!(snapshot(9).len(), 1);
            assert_eq!(snapshot(0).len(), 0);
        });
    }

    #[test]
    fn a_silent_connection_expires_after_its_deadline() {
        on_a_paused_clock(async {
            let (signal, after) = obedient(&an_origin()).await.expect("no panic");
            assert_eq!(signal, Signal::Expired(Phase::Idle));
            assert!(after > Duration::from_secs(30) && after <= Duration::from_secs(32), "{after:?}");
        });
    }

    #[test]
    fn the_ticker_sleeps_without_connections_and_comes_back() {
        on_a_paused_clock(async {
            let origin = an_origin();
            drop(enter(&origin));
            sleep(Duration::from_secs(5)).await;
            assert!(!REGISTRY.with(|registry| registry.ticking.get()));

            let (signal, _) = obedient(&origin).await.expect("no panic");
            assert_eq!(signal, Signal::Expired(Phase::Idle));
        });
    }

    #[test]
    fn finishing_a_listener_leaves_the_others_alone() {
        on_a_paused_clock(async {
            let (going, staying) = (an_origin(), an_origin());
            let polite = obedient(&going);
            let rude = deaf(&going);
            let other = deaf(&staying);

            let drained = finish(Some(going.listener), Duration::from_secs(10)).await;
            assert_eq!(drained, Drained { finished: 1, aborted: 1 });
            assert_eq!(polite.await.expect("no panic").0, Signal::Drain);
            assert!(rude.is_draining() && !other.is_draining());
            assert_eq!(len(), 1);
        });
    }

    #[test]
    fn finishing_everything_catches_latecomers() {
        on_a_paused_clock(async {
            let origin = an_origin();
            let rude = deaf(&origin);
            let latecomer = async {
                sleep(Duration::from_secs(1)).await;
                obedient(&origin).await.expect("no panic").0
            };
            let (drained, signal) = tokio::join!(finish(None, Duration::from_secs(3)), latecomer);
            assert_eq!(signal, Signal::Drain);
            assert_eq!(drained, Drained { finished: 1, aborted: 1 });
            assert!(rude.is_draining());
            assert_eq!(len(), 0);
        });
    }
}
