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
use tokio::time::sleep;

use crate::address::ListenAddr;
use crate::conn::{Conn, Peer};
use crate::limits::Permit;
use crate::worker_listener::{ListenerId, WorkerListener};
use crate::{clock, worker};

/// The interval at which deadlines are looked at. Finer would cost more and tell nobody anything: deadlines are whole
/// seconds.
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
    listeners: RefCell<Vec<Weak<WorkerListener>>>,
    opened: Cell<u64>,
    ended: Cell<u64>,
    ticking: Cell<bool>,
    /// The whole worker is finishing: so is every connection from its birth.
    draining: Cell<bool>,
    /// Told whenever a connection ends.
    connection_ended: Rc<Notify>,
}

/// The number of connections open on this worker.
pub fn len() -> usize {
    REGISTRY.with(|registry| registry.live.borrow().len())
}

/// The number of this worker's connections that have ended.
pub(crate) fn ended() -> u64 {
    REGISTRY.with(|registry| registry.ended.get())
}

/// This worker's connections. Nothing is borrowed while they are told something.
pub fn conns() -> Vec<Rc<Conn>> {
    REGISTRY.with(|registry| registry.live.borrow().iter().map(|(_, conn)| Rc::clone(conn)).collect())
}

/// Has every new connection of this worker be told to finish.
pub(crate) fn drain_new() {
    REGISTRY.with(|registry| registry.draining.set(true));
}

/// Makes a listener known to this worker, before it accepts for it.
pub(crate) fn add_listener(id: ListenerId, addr: ListenAddr) -> Rc<WorkerListener> {
    let listener = WorkerListener::new(id, addr);
    REGISTRY.with(|registry| {
        let mut listeners = registry.listeners.borrow_mut();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Rc::downgrade(&listener));
    });
    listener
}

/// Enters a new connection. The first one starts the task that minds deadlines, which ends with the last.
pub(crate) fn open(listener: &Rc<WorkerListener>, peer: Peer, permit: Permit) -> Entry {
    clock::refresh();
    let (conn, key, start_ticking) = REGISTRY.with(|registry| {
        let serial = registry.opened.get();
        registry.opened.set(serial + 1);
        let id = ((worker::index() as u64) << WORKER_SHIFT) | serial;
        let conn = Rc::new(Conn::new(id, listener.clone(), peer));
        if registry.draining.get() {
            conn.drain();
        }
        let key = registry.live.borrow_mut().insert(conn.clone());
        (conn, key, !registry.ticking.replace(true))
    });
    listener.live.set(listener.live.get() + 1);
    if start_ticking {
        spawn_local(tick(TickerGuard));
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
        let listener = &self.conn.listener;
        listener.live.set(listener.live.get().saturating_sub(1));
        listener.ended.set(listener.ended.get() + 1);
        // An error means that the thread is ending and the registry already gone.
        let _ = REGISTRY.try_with(|registry| {
            registry.live.borrow_mut().try_remove(self.key);
            registry.ended.set(registry.ended.get() + 1);
            registry.connection_ended.notify_waiters();
        });
    }
}

/// Told whenever a connection of this worker ends.
pub(crate) fn connection_ended() -> Rc<Notify> {
    REGISTRY.with(|registry| registry.connection_ended.clone())
}

/// Finds a listener, if this worker has accepted for it.
pub(crate) fn find_listener(id: ListenerId) -> Option<Rc<WorkerListener>> {
    REGISTRY.with(|registry| {
        registry.listeners.borrow().iter().filter_map(Weak::upgrade).find(|listener| listener.id == id)
    })
}

/// Alive while the task that minds deadlines is, even if that is dropped with its runtime.
struct TickerGuard;

impl Drop for TickerGuard {
    fn drop(&mut self) {
        // An error means that the thread is ending and the registry already gone.
        let _ = REGISTRY.try_with(|registry| registry.ticking.set(false));
    }
}

/// Minds deadlines as long as there are connections: a worker without any sleeps undisturbed.
async fn tick(ticking: TickerGuard) {
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
mod tests;
