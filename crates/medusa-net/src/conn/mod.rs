//! The state of one open connection, shared by its driver and the worker's [`registry`](crate::registry).
//!
//! Invariant: a `Conn` lives on one worker, so all of it is `Cell`s and none of it is locked. Deadlines cost nothing per
//! request: the driver notes the phase it enters and the coarse time, and the registry looks once a second whether
//! anyone has been in a phase for too long.

mod deadlines;
mod multiplexed;
mod peer;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::address::ListenAddr;
use crate::clock;
use crate::worker;
use crate::worker_listener::{ListenerId, WorkerListener};

pub use deadlines::{Deadlines, LEAST_TAKEN};
pub use multiplexed::WriteGuard;
pub use peer::Peer;

use deadlines::{DeadlineSeconds, passed, seconds};
use multiplexed::Multiplex;

/// The activity of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waiting for the first byte of a request.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// A request is being answered.
    Busy,
    /// The last response is out, and the peer's end of the connection is awaited.
    Closing,
}

/// News for a driver, from [`Conn::poll_signal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Nothing has happened.
    None,
    /// Finish: answer what has been received, announce the close, and close. Told once; [`Conn::is_draining`] stays true.
    Drain,
    /// The deadline of this phase has passed: close. Told every second until the phase changes.
    Expired(Phase),
    /// The peer has not taken any of the response for [`Deadlines::write`]: close, there is no use in answering.
    Stalled,
    /// Kept alive, but without a request for [`REST`] seconds: let go of buffers. Told once in a stretch of idleness.
    Rest,
    /// A request is being answered, for another [`CHECK_PEER`] seconds: see whether the peer is still there.
    CheckPeer,
}

/// Seconds between two looks at a peer whose request is being answered: a peer that has left does not say so to a
/// protocol that does not read meanwhile.
pub const CHECK_PEER: u32 = 10;

/// Seconds of idleness after which a connection is told to [rest](Signal::Rest). A client that clicks on or polls comes
/// back sooner; another pays a few allocations when it does.
pub const REST: u32 = 2;

/// One open connection.
pub struct Conn {
    id: u64,
    pub(crate) listener: Rc<WorkerListener>,
    peer: Cell<Peer>,
    /// The coarse time at which it was opened.
    opened: u32,
    phase: Cell<Phase>,
    /// The coarse time at which the phase was entered.
    since: Cell<u32>,
    /// The coarse time of the last read.
    last_read: Cell<u32>,
    /// Many requests at a time: bytes that arrive do not begin one.
    multiplexed: Cell<bool>,
    requests: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// The coarse time since which the peer has taken nothing of what is to be written.
    stalled_since: Cell<Option<u32>>,
    /// What it has taken since then.
    taken: Cell<u32>,
    multiplex: OnceCell<Box<Multiplex>>,
    deadlines: Cell<DeadlineSeconds>,
    draining: Cell<bool>,
    drain_pending: Cell<bool>,
    expired: Cell<bool>,
    stalled: Cell<bool>,
    /// To be told to rest.
    rest: Cell<bool>,
    /// Was told, in this stretch of idleness.
    rested: Cell<bool>,
    /// To be told to look.
    check_peer: Cell<bool>,
    /// The coarse time of the last look, or of when the request began.
    peer_checked: Cell<u32>,
    /// The coarse time at which the kernel last took bytes.
    last_sent: Cell<u32>,
    waker: Cell<Option<Waker>>,
    abort: OnceCell<AbortHandle>,
    aborted: Cell<bool>,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.id)
            .field("listener", &self.listener.addr)
            .field("peer", &self.peer.get())
            .field("phase", &self.phase.get())
            .field("requests", &self.requests.get())
            .finish_non_exhaustive()
    }
}

impl Conn {
    pub(crate) fn new(id: u64, listener: Rc<WorkerListener>, peer: Peer) -> Self {
        let draining = listener.draining.get();
        Self {
            id,
            listener,
            peer: Cell::new(peer),
            opened: clock::now(),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(clock::now()),
            last_read: Cell::new(clock::now()),
            multiplexed: Cell::new(false),
            requests: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            stalled_since: Cell::new(None),
            taken: Cell::new(0),
            multiplex: OnceCell::new(),
            deadlines: Cell::new(Deadlines::default().into()),
            draining: Cell::new(draining),
            drain_pending: Cell::new(draining),
            expired: Cell::new(false),
            stalled: Cell::new(false),
            rest: Cell::new(false),
            rested: Cell::new(false),
            check_peer: Cell::new(false),
            peer_checked: Cell::new(clock::now()),
            last_sent: Cell::new(clock::now()),
            waker: Cell::new(None),
            abort: OnceCell::new(),
            aborted: Cell::new(false),
        }
    }

    /// A number no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The other end.
    pub fn peer(&self) -> Peer {
        self.peer.get()
    }

    /// Corrects the other end, where a balancer in front has told.
    pub fn set_peer(&self, peer: Peer) {
        self.peer.set(peer);
    }

    /// Says that requests do not begin with the bytes that arrive, as with HTTP/2, whose frames carry much else: then
    /// only [`enter`](Self::enter) ends [`Phase::Idle`].
    pub fn set_multiplexed(&self) {
        self.multiplexed.set(true);
    }

    /// Whether it has many requests at a time.
    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// The listener it came in by.
    pub fn listener(&self) -> ListenerId {
        self.listener.id
    }

    /// The address that listener listens on.
    pub fn listen_addr(&self) -> &ListenAddr {
        &self.listener.addr
    }

    /// Its activity.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Notes that the connection is now in `phase`, whose time begins to run (again). Costs a few memory writes.
    pub fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(clock::now());
        self.expired.set(false);
        self.rest.set(false);
        self.rested.set(false);
        self.check_peer.set(false);
        self.peer_checked.set(clock::now());
    }

    /// The time since the kernel last took bytes, in seconds.
    pub fn seconds_since_sent(&self) -> u32 {
        clock::now().saturating_sub(self.last_sent.get())
    }

    /// The time that it has been in its phase, in seconds.
    pub fn age(&self) -> u32 {
        clock::now().saturating_sub(self.since.get())
    }

    /// Sets the time limits. New connections have [`Deadlines::default`].
    pub fn set_deadlines(&self, deadlines: Deadlines) {
        self.deadlines.set(deadlines.into());
    }

    /// From now on a peer that takes nothing is waited for no longer than this.
    pub fn limit_write(&self, write: Duration) {
        let deadlines = self.deadlines.get();
        self.deadlines.set(DeadlineSeconds { write: deadlines.write.min(seconds(write)), ..deadlines });
    }

    /// Counts one request, here and for [`worker::requests`].
    pub fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
        worker::count_request();
    }

    /// The number of requests it has made.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// The number of bytes received.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// The number of bytes sent, as far as the kernel has taken them.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Tells the driver to finish. See [`Signal::Drain`].
    pub fn drain(&self) {
        if !self.draining.replace(true) {
            self.drain_pending.set(true);
            self.wake();
        }
    }

    /// Whether the connection was told to finish.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether its life is over ([`Deadlines::life`]): the request it is at, or the next one, is its last.
    pub fn is_old(&self) -> bool {
        passed(self.opened, self.deadlines.get().life, clock::now())
    }

    /// The news since the last call; the task is woken when there is something new.
    ///
    /// Cheap enough for every poll of the connection. Ask *after* polling the protocol: a request that has arrived just in
    /// time takes back an expired deadline by entering its next phase.
    pub fn poll_signal(&self, cx: &mut Context<'_>) -> Signal {
        self.remember(cx.waker());
        if self.stalled.get() {
            Signal::Stalled
        } else if self.expired.get() {
            Signal::Expired(self.phase.get())
        } else if self.drain_pending.replace(false) {
            Signal::Drain
        } else if self.rest.replace(false) {
            Signal::Rest
        } else if self.check_peer.replace(false) {
            Signal::CheckPeer
        } else {
            Signal::None
        }
    }

    /// Bytes have arrived. The first ones end [`Phase::Idle`].
    pub(crate) fn on_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        if self.multiplexed.get() {
            let read = &self.multiplex().read;
            read.set(read.get().saturating_add(bytes));
        }
        self.last_read.set(clock::now());
        if self.phase.get() == Phase::Idle && bytes > 0 && !self.multiplexed.get() {
            self.enter(Phase::Head);
        }
    }

    /// The kernel has taken bytes: of what there is, `all`. A peer that takes a few at a time is no better than one that
    /// takes none.
    pub(crate) fn on_sent(&self, bytes: usize, all: bool) {
        self.sent.set(self.sent.get() + bytes as u64);
        self.last_sent.set(clock::now());
        if self.stalled_since.get().is_none() {
            return;
        }
        // What is more than enough is not counted.
        self.taken.set(self.taken.get().saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)));
        if all || self.taken.get() as usize >= LEAST_TAKEN {
            self.stalled_since.set(None);
            self.stalled.set(false);
            // The peer has only now been able to hear us: its time starts anew.
            self.since.set(clock::now());
        }
    }

    /// There are bytes to send, and the kernel takes none.
    pub(crate) fn on_send_blocked(&self) {
        if self.stalled_since.get().is_none() {
            self.stalled_since.set(Some(clock::now()));
            self.taken.set(0);
        }
    }

    /// Whether there is something to tell the driver at the coarse time `now`.
    pub(crate) fn check(&self, now: u32) -> bool {
        let deadlines = self.deadlines.get();
        let (phase, since) = (self.phase.get(), self.since.get());
        let late = match phase {
            Phase::Idle if self.requests.get() > 0 => passed(since, deadlines.idle, now),
            Phase::Idle => passed(since, deadlines.first_byte, now),
            Phase::Head => {
                passed(since, deadlines.head, now) || passed(self.last_read.get(), deadlines.head_read, now)
            }
            Phase::Busy => false,
            Phase::Closing => passed(since, deadlines.closing, now),
        };
        // While there are bytes to send and the peer takes none, the deadline for that is the one that counts.
        let sending = self.stalled_since.get().is_some();
        self.expired.set(!sending && late);
        let guarded = self.check_guarded(deadlines.write, now);
        let waits = [self.stalled_since.get(), guarded];
        self.stalled.set(waits.into_iter().flatten().any(|since| passed(since, deadlines.write, now)));
        // A response that the peer has not taken yet is in the protocol's buffers.
        let kept_alive = phase == Phase::Idle && self.requests.get() > 0;
        if kept_alive && !sending && now.saturating_sub(since) >= REST && !self.rested.replace(true) {
            self.rest.set(true);
        }
        if phase == Phase::Busy && now.saturating_sub(self.peer_checked.get()) >= CHECK_PEER {
            self.peer_checked.set(now);
            self.check_peer.set(true);
        }
        // Between two requests that follow closely, the next one is told that it is the last: none is lost on its way.
        let between = kept_alive && !self.multiplexed.get() && now.saturating_sub(since) < REST;
        if passed(self.opened, deadlines.life, now) && !between {
            self.drain();
        }
        self.expired.get() || self.stalled.get() || self.rest.get() || self.check_peer.get()
    }

    /// Polls the driver's task again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Gives the connection its task, so that it can be aborted.
    pub(crate) fn set_task(&self, task: AbortHandle) {
        // A connection is given its task once, right after it was spawned.
        let _ = self.abort.set(task);
    }

    /// Has the connection's task dropped at its next turn; false if that was asked for before.
    pub(crate) fn abort(&self) -> bool {
        if let Some(task) = self.abort.get() {
            task.abort();
        }
        !self.aborted.replace(true)
    }

    fn remember(&self, waker: &Waker) {
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }
}

#[cfg(test)]
mod tests;
