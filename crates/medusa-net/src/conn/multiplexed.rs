//! The state of a connection that has many requests at a time: its tasks take turns, and each answer has a deadline of
//! its own for the peer to make room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

#[cfg(doc)]
use super::Deadlines;
use super::{Conn, passed};
use crate::clock;

/// The size that is read in one turn where many requests are at a time, in bytes, before those that came are looked
/// at.
const MOST_READ: usize = 64 * 1024;

/// For how long the tasks of one connection go on in one turn of its driver, before they let others on: little more than
/// what one of them takes that answers by a script.
pub(super) const TASKS_TURN: Duration = Duration::from_millis(1);

/// The number of those that wait and for the next turn are woken for it: as many as are done in one, if they are
/// quick.
pub(super) const TASKS_WOKEN: usize = 16;

/// The size that a peer may take for others, for each of its answers, before the turn of one comes that it has made
/// room for: more than the protocol buffers for one, in bytes. A peer that takes more leaves that one alone.
pub(super) const TURN: u64 = 256 * 1024;

/// For how many times [`Deadlines::write`] an answer may wait for its turn, however slow the peer is.
const SLOWEST: u32 = 10;

/// The state that only a connection has that has many requests at a time.
#[derive(Debug, Default)]
pub(super) struct Multiplex {
    /// Answers whose next bytes wait for the peer to make room: see [`Conn::guard_write`].
    pub(super) guarded: RefCell<Slab<GuardedWrite>>,
    /// The one of the task that is polled: see [`Conn::poll_guarded`].
    polled: Cell<Option<usize>>,
    /// Requests that were read and are not looked at yet.
    request_read: Cell<usize>,
    /// What was read in this turn of the driver.
    pub(super) read: Cell<usize>,
    /// For how long its tasks have gone on in this turn of the driver.
    spent: Cell<Duration>,
    turns: RefCell<TaskQueue>,
}

impl Conn {
    pub(super) fn multiplex(&self) -> &Multiplex {
        self.multiplex.get_or_init(Box::default)
    }

    /// Notes that an answer is ready to go on, and that it is up to the peer to let it. With many requests at a time each
    /// answer has a window of its own, and one that the peer never opens stops it before the kernel is asked to send
    /// anything: only this tells that the peer takes nothing.
    #[must_use]
    pub fn guard_write(self: &Rc<Self>) -> WriteGuard {
        let guarded =
            GuardedWrite { since: clock::now(), sent: self.sent.get(), expired: false, waker: None };
        let key = self.multiplex().guarded.borrow_mut().insert(guarded);
        self.multiplex().polled.set(Some(key));
        WriteGuard { conn: Rc::clone(self), key }
    }

    /// One of many requests was read, and is looked at in a turn of its own. Until
    /// [`request_seen`](Self::request_seen), no more is read: a hundred connections that each read a hundred heads
    /// first would hold what nobody has had a chance to refuse.
    pub fn request_read(&self) {
        self.multiplex().request_read.set(self.multiplex().request_read.get() + 1);
    }

    /// See [`request_read`](Self::request_read).
    pub fn request_seen(&self) {
        self.multiplex().request_read.set(self.multiplex().request_read.get().saturating_sub(1));
    }

    /// A turn of a driver begins that has many requests at a time.
    pub fn begin_turn(&self, cx: &Context<'_>) {
        self.multiplex().read.set(0);
        self.multiplex().spent.set(Duration::ZERO);
        let mut turns = self.multiplex().turns.borrow_mut();
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
    /// is woken in a later one. All of them together are one connection, and others are to come in between. `place` is
    /// the task's own: none at first.
    pub fn poll_in_turn<T>(
        &self,
        place: &mut Option<u64>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Some(number) = *place {
            if self.multiplex().turns.borrow().called <= number {
                return Poll::Pending;
            }
            *place = None;
        }
        if self.multiplex().spent.get() >= TASKS_TURN {
            let mut turns = self.multiplex().turns.borrow_mut();
            if !turns.over {
                *place = Some(turns.called + turns.waiting.len() as u64);
                turns.waiting.push_back(cx.waker().clone());
                drop(turns);
                self.wake();
                return Poll::Pending;
            }
        }
        let begun = Instant::now();
        let polled = poll(cx);
        self.multiplex().spent.set(self.multiplex().spent.get() + begun.elapsed());
        polled
    }

    /// The driver is gone: its tasks go on without turns.
    pub fn end_turns(&self) {
        let mut turns = self.multiplex().turns.borrow_mut();
        turns.over = true;
        turns.called = u64::MAX;
        let woken = std::mem::take(&mut turns.waiting);
        drop(turns);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether nothing more is read in this turn: what was, is to be looked at first.
    pub(crate) fn has_read_enough(&self) -> bool {
        self.multiplexed.get()
            && (self.multiplex().request_read.get() > 0 || self.multiplex().read.get() >= MOST_READ)
    }

    /// Polls the task of one of many answers by `poll`; ready with nothing when the answer [is
    /// guarded](Self::guard_write) and the peer has left it alone for [`Deadlines::write`] while it went on with
    /// others. `guarded` is the task's own: none at first.
    pub fn poll_guarded<T>(
        &self,
        guarded: &mut Option<usize>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        self.multiplex().polled.set(*guarded);
        let polled = poll(cx);
        *guarded = self.multiplex().polled.take();
        if let Some(key) = *guarded
            && let Some(guarded) = self.multiplex().guarded.borrow_mut().get_mut(key)
        {
            if polled.is_pending() && guarded.expired {
                return Poll::Ready(None);
            }
            if !guarded.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                guarded.waker = Some(cx.waker().clone());
            }
        }
        polled.map(Some)
    }

    /// The time when the peer last made room for an answer, if it owes that to any. While it does for some, those
    /// that it leaves alone are given up: it has taken so much for others that their turn must have come. One that is
    /// slow with all of them has longer, but not for ever.
    pub(super) fn check_guarded(&self, limit: u32, now: u32) -> Option<u32> {
        let mut guarded = self.multiplex.get()?.guarded.borrow_mut();
        let last = guarded.iter().map(|(_, guarded)| guarded.since).max()?;
        if passed(last, limit, now) {
            return Some(last);
        }
        let (sent, turns) = (self.sent.get(), guarded.len() as u64 * TURN);
        let is_left_alone = |guarded: &GuardedWrite| {
            passed(guarded.since, limit, now) && sent - guarded.sent >= turns
                || passed(guarded.since, limit.saturating_mul(SLOWEST), now)
        };
        for (_, guarded) in guarded.iter_mut().filter(|(_, guarded)| is_left_alone(guarded)) {
            guarded.expired = true;
            if let Some(waker) = guarded.waker.take() {
                waker.wake();
            }
        }
        Some(last)
    }
}

/// Tasks that wait for the driver's next turn: see [`Conn::poll_in_turn`].
#[derive(Debug, Default)]
struct TaskQueue {
    /// The first has the number `called`.
    waiting: VecDeque<Waker>,
    called: u64,
    over: bool,
}

/// Guards an answer that waits for the peer to make room, until it is dropped: see [`Conn::guard_write`].
#[derive(Debug)]
pub struct WriteGuard {
    conn: Rc<Conn>,
    key: usize,
}

/// The state of such an answer.
#[derive(Debug)]
pub(super) struct GuardedWrite {
    /// The coarse time at which the peer has last made room for it.
    pub(super) since: u32,
    /// What the connection had sent then.
    sent: u64,
    pub(super) expired: bool,
    /// The answer's task.
    waker: Option<Waker>,
}

impl WriteGuard {
    /// The peer has made room for some of it.
    pub fn progressed(&self) {
        if let Some(guarded) = self.conn.multiplex().guarded.borrow_mut().get_mut(self.key) {
            guarded.since = clock::now();
            guarded.sent = self.conn.sent.get();
            guarded.expired = false;
        }
    }
}

impl Drop for WriteGuard {
    fn drop(&mut self) {
        let gone = self.conn.multiplex().guarded.borrow_mut().try_remove(self.key);
        if self.conn.multiplex().polled.get() == Some(self.key) {
            self.conn.multiplex().polled.set(None);
        }
        drop(gone);
    }
}
