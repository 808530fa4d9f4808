//! What only a connection has that has many requests at a time: its tasks take turns, and each answer has a deadline of
//! its own for the peer to make room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use super::{Conn, passed};
use crate::clock;

/// What is read in one turn where many requests are at a time, in bytes, before those that came are looked at.
const MOST_READ: usize = 64 * 1024;

/// For how long the tasks of one connection go on in one turn of its driver, before they let others on: little more than
/// what one of them takes that answers by a script.
pub(super) const TASKS_TURN: Duration = Duration::from_millis(1);

/// How many of those that wait for the next turn are woken for it: as many as are done in one, if they are quick.
pub(super) const TASKS_WOKEN: usize = 16;

/// What a peer may take for others, for each of its answers, before the turn of one comes that it has made room for: more
/// than the protocol buffers for one, in bytes. A peer that takes more leaves that one alone.
pub(super) const TURN: u64 = 256 * 1024;

/// For how many times [`Deadlines::write`] an answer may wait for its turn, however slow the peer is.
const SLOWEST: u32 = 10;

/// What only a connection has that has many requests at a time.
#[derive(Debug, Default)]
pub(super) struct Many {
    /// Answers whose next bytes wait for the peer to make room: see [`Conn::owe`].
    pub(super) owing: RefCell<Slab<Owing>>,
    /// The one of the task that is polled: see [`Conn::poll_owing`].
    polled: Cell<Option<usize>>,
    /// Requests that were read and are not looked at yet.
    unseen: Cell<usize>,
    /// What was read in this turn of the driver.
    pub(super) read: Cell<usize>,
    /// For how long its tasks have gone on in this turn of the driver.
    spent: Cell<Duration>,
    turns: RefCell<Turns>,
}

impl Conn {
    pub(super) fn many(&self) -> &Many {
        self.many.get_or_init(Box::default)
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
    pub(super) fn check_owing(&self, limit: u32, now: u32) -> Option<u32> {
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
pub(super) struct Owing {
    /// The coarse time at which the peer has last made room for it.
    pub(super) since: u32,
    /// What the connection had sent then.
    sent: u64,
    pub(super) given_up: bool,
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
