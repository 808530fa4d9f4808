//! What is known about one open connection, shared by its driver and the worker's [`registry`](crate::registry).
//!
//! Invariant: a `Conn` lives on one worker, so all of it is `Cell`s and none of it is locked. Deadlines cost nothing per
//! request: the driver notes the phase it enters and the coarse time, and the registry looks once a second whether
//! anyone has been in a phase for too long.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::task::AbortHandle;

use crate::address::ListenAddr;
use crate::clock;
use crate::listener::ListenerId;
use crate::worker;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address and port. An IPv4 peer of a listener for every address is an IPv4 address here too.
    Tcp(SocketAddr),
    /// A process of this machine, over a unix socket.
    Unix,
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// What a connection is doing.
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

/// How long a connection may take for what, in whole seconds. A deadline is acted on within two seconds after it
/// passed, never before. [`Duration::MAX`] means no limit. [`Phase::Busy`] has none here: it is the handler's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From connecting to the first byte of the first request. Default 30 s: browsers connect ahead of need.
    pub first_byte: Duration,
    /// Between a response and the next request. Default 75 s: browsers keep connections about that long.
    pub idle: Duration,
    /// From the first byte of a request to the end of its head. Default 30 s: a slow phone takes a few, a client that
    /// trickles to hold a connection is cut off.
    pub head: Duration,
    /// Between two reads of a head. Default 10 s: TCP sends a lost packet again within a few.
    pub head_read: Duration,
    /// While there is something to write and the peer takes none of it, or less than [`LEAST_TAKEN`]. Default 60 s.
    pub write: Duration,
    /// In [`Phase::Closing`]. Default 5 s.
    pub closing: Duration,
    /// The connection's whole life, after which it is told to finish as by [`Conn::drain`]. Default: no limit.
    pub life: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            head: Duration::from_secs(30),
            head_read: Duration::from_secs(10),
            write: Duration::from_mins(1),
            closing: Duration::from_secs(5),
            life: Duration::MAX,
        }
    }
}

/// What a driver must know, from [`Conn::poll_signal`].
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
    /// A request is being answered, for another [`LOOK`] seconds: see whether the peer is still there.
    Look,
}

/// Seconds between two looks at a peer whose request is being answered: a peer that has left does not say so to a
/// protocol that does not read meanwhile.
pub const LOOK: u32 = 10;

/// What is read in one turn where many requests are at a time, in bytes, before those that came are looked at.
const MOST_READ: usize = 64 * 1024;

/// For how long the tasks of one connection go on in one turn of its driver, before they let others on: little more than
/// what one of them takes that answers by a script.
const TASKS_TURN: Duration = Duration::from_millis(1);

/// How many of those that wait for the next turn are woken for it: as many as are done in one, if they are quick.
const TASKS_WOKEN: usize = 16;

/// What a peer must take within [`Deadlines::write`], in bytes, if there is so much for it: with its default some 270
/// bytes a second, which a client that trickles to hold a connection falls short of and a modem does not.
pub const LEAST_TAKEN: usize = 16 * 1024;

/// What a peer may take for others, for each of its answers, before the turn of one comes that it has made room for: more
/// than the protocol buffers for one, in bytes. A peer that takes more leaves that one alone.
const TURN: u64 = 256 * 1024;

/// For how many times [`Deadlines::write`] an answer may wait for its turn, however slow the peer is.
const SLOWEST: u32 = 10;

/// Seconds of idleness after which a connection is told to [rest](Signal::Rest). Who clicks on or polls comes back
/// sooner; who does not pays a few allocations when it does.
pub const REST: u32 = 2;

/// Where a worker's connections of one listener come from. There is one for each worker and listener.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) listener: ListenerId,
    pub(crate) addr: ListenAddr,
    /// Connections open on this worker.
    pub(crate) live: Cell<usize>,
    /// Connections of this worker that have ended.
    pub(crate) ended: Cell<u64>,
    /// New connections are told to finish as soon as they are open.
    pub(crate) draining: Cell<bool>,
}

impl Origin {
    pub(crate) fn new(listener: ListenerId, addr: ListenAddr) -> Rc<Self> {
        let (live, ended, draining) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Rc::new(Self { listener, addr, live, ended, draining })
    }
}

/// One open connection.
pub struct Conn {
    id: u64,
    pub(crate) origin: Rc<Origin>,
    peer: Cell<Peer>,
    /// The coarse time at which it was opened.
    opened: u32,
    phase: Cell<Phase>,
    /// The coarse time at which the phase was entered.
    since: Cell<u32>,
    /// The coarse time of the last read.
    heard: Cell<u32>,
    /// Many requests at a time: bytes that arrive do not begin one.
    multiplexed: Cell<bool>,
    requests: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// The coarse time since which the peer has taken nothing of what is to be written.
    stalled_since: Cell<Option<u32>>,
    /// What it has taken since then.
    taken: Cell<u32>,
    many: OnceCell<Box<Many>>,
    deadlines: Cell<Seconds>,
    draining: Cell<bool>,
    drain_untold: Cell<bool>,
    expired: Cell<bool>,
    stalled: Cell<bool>,
    /// To be told to rest.
    rest: Cell<bool>,
    /// Was told, in this stretch of idleness.
    rested: Cell<bool>,
    /// To be told to look.
    look: Cell<bool>,
    /// The coarse time of the last look, or of when the request began.
    looked: Cell<u32>,
    /// The coarse time at which the kernel last took bytes.
    spoke: Cell<u32>,
    waker: Cell<Option<Waker>>,
    abort: OnceCell<AbortHandle>,
    aborted: Cell<bool>,
}

/// What only a connection has that has many requests at a time.
#[derive(Debug, Default)]
struct Many {
    /// Answers whose next bytes wait for the peer to make room: see [`Conn::owe`].
    owing: RefCell<Slab<Owing>>,
    /// The one of the task that is polled: see [`Conn::poll_owing`].
    polled: Cell<Option<usize>>,
    /// Requests that were read and are not looked at yet.
    unseen: Cell<usize>,
    /// What was read in this turn of the driver.
    read: Cell<usize>,
    /// For how long its tasks have gone on in this turn of the driver.
    spent: Cell<Duration>,
    turns: RefCell<Turns>,
}

/// [`Deadlines`] as a connection keeps them: the largest number means no limit.
#[derive(Debug, Clone, Copy)]
struct Seconds {
    first_byte: u32,
    idle: u32,
    head: u32,
    head_read: u32,
    write: u32,
    closing: u32,
    life: u32,
}

fn seconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_secs()).unwrap_or(u32::MAX)
}

impl From<Deadlines> for Seconds {
    fn from(deadlines: Deadlines) -> Self {
        let Deadlines { first_byte, idle, head, head_read, write, closing, life } = deadlines;
        Self {
            first_byte: seconds(first_byte),
            idle: seconds(idle),
            head: seconds(head),
            head_read: seconds(head_read),
            write: seconds(write),
            closing: seconds(closing),
            life: seconds(life),
        }
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("id", &self.id)
            .field("listener", &self.origin.addr)
            .field("peer", &self.peer.get())
            .field("phase", &self.phase.get())
            .field("requests", &self.requests.get())
            .finish_non_exhaustive()
    }
}

impl Conn {
    pub(crate) fn new(id: u64, origin: Rc<Origin>, peer: Peer) -> Self {
        let draining = origin.draining.get();
        Self {
            id,
            origin,
            peer: Cell::new(peer),
            opened: clock::now(),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(clock::now()),
            heard: Cell::new(clock::now()),
            multiplexed: Cell::new(false),
            requests: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            stalled_since: Cell::new(None),
            taken: Cell::new(0),
            many: OnceCell::new(),
            deadlines: Cell::new(Deadlines::default().into()),
            draining: Cell::new(draining),
            drain_untold: Cell::new(draining),
            expired: Cell::new(false),
            stalled: Cell::new(false),
            rest: Cell::new(false),
            rested: Cell::new(false),
            look: Cell::new(false),
            looked: Cell::new(clock::now()),
            spoke: Cell::new(clock::now()),
            waker: Cell::new(None),
            abort: OnceCell::new(),
            aborted: Cell::new(false),
        }
    }

    /// A number no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer.get()
    }

    /// Corrects who is at the other end, where a balancer in front has told.
    pub fn set_peer(&self, peer: Peer) {
        self.peer.set(peer);
    }

    /// Says that requests do not begin with the bytes that arrive, as with HTTP/2, whose frames carry much else: then
    /// only [`enter`](Self::enter) ends [`Phase::Idle`].
    pub fn set_multiplexed(&self) {
        self.multiplexed.set(true);
    }

    fn many(&self) -> &Many {
        self.many.get_or_init(Box::default)
    }

    /// Whether it has many requests at a time.
    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed.get()
    }

    /// The listener it came in by.
    pub fn listener(&self) -> ListenerId {
        self.origin.listener
    }

    /// The address that listener listens on.
    pub fn listen_addr(&self) -> &ListenAddr {
        &self.origin.addr
    }

    /// What it is doing.
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
        self.look.set(false);
        self.looked.set(clock::now());
    }

    /// How long ago the kernel last took bytes, in seconds.
    pub fn silent_for(&self) -> u32 {
        clock::now().saturating_sub(self.spoke.get())
    }

    /// How long it has been in its phase, in seconds.
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
        self.deadlines.set(Seconds { write: deadlines.write.min(seconds(write)), ..deadlines });
    }

    /// Counts one request, here and for [`worker::requests`].
    pub fn count_request(&self) {
        self.requests.set(self.requests.get() + 1);
        worker::count_request();
    }

    /// How many requests it has made.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// How many bytes were received.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// How many bytes were sent, as far as the kernel has taken them.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Tells the driver to finish. See [`Signal::Drain`].
    pub fn drain(&self) {
        if !self.draining.replace(true) {
            self.drain_untold.set(true);
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

    /// What has happened since the last call; the task is woken when there is something new.
    ///
    /// Cheap enough for every poll of the connection. Ask *after* polling the protocol: a request that has arrived just in
    /// time takes back an expired deadline by entering its next phase.
    pub fn poll_signal(&self, cx: &mut Context<'_>) -> Signal {
        self.remember(cx.waker());
        if self.stalled.get() {
            Signal::Stalled
        } else if self.expired.get() {
            Signal::Expired(self.phase.get())
        } else if self.drain_untold.replace(false) {
            Signal::Drain
        } else if self.rest.replace(false) {
            Signal::Rest
        } else if self.look.replace(false) {
            Signal::Look
        } else {
            Signal::None
        }
    }

    /// Bytes have arrived. The first ones end [`Phase::Idle`].
    pub(crate) fn on_received(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        if self.multiplexed.get() {
            let read = &self.many().read;
            read.set(read.get().saturating_add(bytes));
        }
        self.heard.set(clock::now());
        if self.phase.get() == Phase::Idle && bytes > 0 && !self.multiplexed.get() {
            self.enter(Phase::Head);
        }
    }

    /// The kernel has taken bytes: of what there is, `all`. A peer that takes a few at a time is no better than one that
    /// takes none.
    pub(crate) fn on_sent(&self, bytes: usize, all: bool) {
        self.sent.set(self.sent.get() + bytes as u64);
        self.spoke.set(clock::now());
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

    /// Notes that an answer is ready to go on, and that it is up to the peer to let it. With many requests at a time each
    /// answer has a window of its own, and one that the peer never opens stops it before the kernel is asked to send
    /// anything: only this tells that the peer takes nothing.
    #[must_use]
    pub fn owe(self: &Rc<Self>) -> Owed {
        let owing = Owing { since: clock::now(), sent: self.sent.get(), given_up: false, waker: None };
        let key = self.many().owing.borrow_mut().insert(owing);
        self.many().polled.set(Some(key));
        Owed { conn: Rc::clone(self), key }
    }

    /// One of many requests was read, and is looked at in a turn of its own. Until [`seen`](Self::seen), no more is read: a
    /// hundred connections that each read a hundred heads first would hold what nobody has had a chance to refuse.
    pub fn unseen(&self) {
        self.many().unseen.set(self.many().unseen.get() + 1);
    }

    /// See [`unseen`](Self::unseen).
    pub fn seen(&self) {
        self.many().unseen.set(self.many().unseen.get().saturating_sub(1));
    }

    /// A turn of a driver begins that has many requests at a time.
    pub fn begin_turn(&self, cx: &Context<'_>) {
        self.many().read.set(0);
        self.many().spent.set(Duration::ZERO);
        let mut turns = self.many().turns.borrow_mut();
        if turns.waiting.is_empty() {
            return;
        }
        let woken = turns.waiting.len().min(TASKS_WOKEN);
        turns.called += woken as u64;
        let woken: Vec<Waker> = turns.waiting.drain(..woken).collect();
        if !turns.waiting.is_empty() {
            cx.waker().wake_by_ref();
        }
        drop(turns);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Polls one of the tasks that a driver has many of by `poll`, unless they have had their time in this turn: then it
    /// is woken in a later one. All of them together are one connection, and others are to come in between. `ticket` is
    /// the task's own: none at first.
    pub fn poll_in_turn<T>(
        &self,
        ticket: &mut Option<u64>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Some(number) = *ticket {
            if self.many().turns.borrow().called <= number {
                return Poll::Pending;
            }
            *ticket = None;
        }
        if self.many().spent.get() >= TASKS_TURN {
            let mut turns = self.many().turns.borrow_mut();
            if !turns.over {
                *ticket = Some(turns.called + turns.waiting.len() as u64);
                turns.waiting.push_back(cx.waker().clone());
                drop(turns);
                self.wake();
                return Poll::Pending;
            }
        }
        let begun = Instant::now();
        let polled = poll(cx);
        self.many().spent.set(self.many().spent.get() + begun.elapsed());
        polled
    }

    /// The driver is gone: its tasks go on without turns.
    pub fn end_turns(&self) {
        let mut turns = self.many().turns.borrow_mut();
        turns.over = true;
        turns.called = u64::MAX;
        let woken = std::mem::take(&mut turns.waiting);
        drop(turns);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing more is read in this turn: what was, is to be looked at first.
    pub(crate) fn has_read_enough(&self) -> bool {
        self.multiplexed.get() && (self.many().unseen.get() > 0 || self.many().read.get() >= MOST_READ)
    }

    /// Polls the task of one of many answers by `poll`; ready with nothing when the answer [is owed](Self::owe) and the
    /// peer has left it alone for [`Deadlines::write`] while it went on with others. `owing` is the task's own: none at
    /// first.
    pub fn poll_owing<T>(
        &self,
        owing: &mut Option<usize>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        self.many().polled.set(*owing);
        let polled = poll(cx);
        *owing = self.many().polled.take();
        if let Some(key) = *owing
            && let Some(owing) = self.many().owing.borrow_mut().get_mut(key)
        {
            if polled.is_pending() && owing.given_up {
                return Poll::Ready(None);
            }
            if !owing.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                owing.waker = Some(cx.waker().clone());
            }
        }
        polled.map(Some)
    }

    /// When the peer has last made room for an answer, if it owes that to any. While it does for some, those that it leaves
    /// alone are given up: it has taken so much for others that their turn must have come. One that is slow with all of
    /// them has longer, but not for ever.
    fn check_owing(&self, limit: u32, now: u32) -> Option<u32> {
        let mut owing = self.many.get()?.owing.borrow_mut();
        let last = owing.iter().map(|(_, owing)| owing.since).max()?;
        if passed(last, limit, now) {
            return Some(last);
        }
        let (sent, turns) = (self.sent.get(), owing.len() as u64 * TURN);
        let is_left_alone = |owing: &Owing| {
            passed(owing.since, limit, now) && sent - owing.sent >= turns
                || passed(owing.since, limit.saturating_mul(SLOWEST), now)
        };
        for (_, owing) in owing.iter_mut().filter(|(_, owing)| is_left_alone(owing)) {
            owing.given_up = true;
            if let Some(waker) = owing.waker.take() {
                waker.wake();
            }
        }
        Some(last)
    }

    /// Whether there is something to tell the driver at the coarse time `now`.
    pub(crate) fn check(&self, now: u32) -> bool {
        let deadlines = self.deadlines.get();
        let (phase, since) = (self.phase.get(), self.since.get());
        let late = match phase {
            Phase::Idle if self.requests.get() > 0 => passed(since, deadlines.idle, now),
            Phase::Idle => passed(since, deadlines.first_byte, now),
            Phase::Head => {
                passed(since, deadlines.head, now) || passed(self.heard.get(), deadlines.head_read, now)
            }
            Phase::Busy => false,
            Phase::Closing => passed(since, deadlines.closing, now),
        };
        // While there are bytes to send and the peer takes none, the deadline for that is the one that counts.
        let sending = self.stalled_since.get().is_some();
        self.expired.set(!sending && late);
        let owing = self.check_owing(deadlines.write, now);
        let waits = [self.stalled_since.get(), owing];
        self.stalled.set(waits.into_iter().flatten().any(|since| passed(since, deadlines.write, now)));
        // A response that the peer has not taken yet is in the protocol's buffers.
        let kept_alive = phase == Phase::Idle && self.requests.get() > 0;
        if kept_alive && !sending && now.saturating_sub(since) >= REST && !self.rested.replace(true) {
            self.rest.set(true);
        }
        if phase == Phase::Busy && now.saturating_sub(self.looked.get()) >= LOOK {
            self.looked.set(now);
            self.look.set(true);
        }
        // Between two requests that follow closely, the next one is told that it is the last: none is lost on its way.
        let between = kept_alive && !self.multiplexed.get() && now.saturating_sub(since) < REST;
        if passed(self.opened, deadlines.life, now) && !between {
            self.drain();
        }
        self.expired.get() || self.stalled.get() || self.rest.get() || self.look.get()
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

/// Tasks that wait for the driver's next turn: see [`Conn::poll_in_turn`].
#[derive(Debug, Default)]
struct Turns {
    /// The first has the number `called`.
    waiting: VecDeque<Waker>,
    called: u64,
    over: bool,
}

/// Stands for an answer that waits for the peer to make room: see [`Conn::owe`].
#[derive(Debug)]
pub struct Owed {
    conn: Rc<Conn>,
    key: usize,
}

/// What is known of such an answer.
#[derive(Debug)]
struct Owing {
    /// The coarse time at which the peer has last made room for it.
    since: u32,
    /// What the connection had sent then.
    sent: u64,
    given_up: bool,
    /// The answer's task.
    waker: Option<Waker>,
}

impl Owed {
    /// The peer has made room for some of it.
    pub fn made_room(&self) {
        if let Some(owing) = self.conn.many().owing.borrow_mut().get_mut(self.key) {
            owing.since = clock::now();
            owing.sent = self.conn.sent.get();
            owing.given_up = false;
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let gone = self.conn.many().owing.borrow_mut().try_remove(self.key);
        if self.conn.many().polled.get() == Some(self.key) {
            self.conn.many().polled.set(None);
        }
        drop(gone);
    }
}

/// Whether more than `limit` lies between two coarse times. `since` may be a second older than the event it stands for,
/// hence `>`.
fn passed(since: u32, limit: u32, now: u32) -> bool {
    now.saturating_sub(since) > limit
}

#[cfg(test)]
mod tests;
