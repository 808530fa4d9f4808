//! The queues between the two sides of a session, one each way.
//!
//! Bounded in number and in bytes: something is let in while there are fewer than [`MESSAGES`] and less than [`BYTES`], so
//! that at most [`BYTES`] and one message wait. A thousand tiny messages must not cost a thousand allocations, and a few
//! large ones not more than a client's socket would hold.
//!
//! What waits of small messages, and what there is of one that is on its way, is in a tally.
//!
//! Invariant: nobody has a place in a line. A script's coroutine may be dropped, or kept and never resumed, while it waits
//! for room; a place held by it would keep everyone else waiting for ever. So whenever something leaves, all who wait are
//! woken, and the first to come is let in.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::message::{Close, Message};
use crate::budget::{Account, Kind, LEAST, Tally};

/// The most messages that wait.
pub(super) const MESSAGES: usize = 16;

/// With so many bytes waiting, no more are let in.
pub(super) const BYTES: usize = 64 * 1024;

/// A thing that goes through a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message(Message),
    /// A ping the handler asked for.
    Ping,
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => message.data().len(),
            Self::Ping => 0,
        }
    }
}

/// The reason why something was not let in; it is given back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full(Item),
    /// There is no memory for more that waits.
    NoMemory(Item),
    Ended,
}

/// A queue. Shared by both sides, which may be on different threads.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<QueueState>);

/// See [`Queue::charge`].
#[derive(Debug)]
struct QueueCharge {
    kind: Kind,
    limit: u64,
    tally: Tally,
    /// What there is of a message that is on its way.
    unfinished: u64,
}

impl QueueCharge {
    /// The memory that an item costs that is not counted for itself. A message that many are sent is there once, but
    /// every one of a client's is a part of something larger.
    fn costs(&self, item: &Item) -> u64 {
        match item {
            Item::Message(message) if self.kind == Kind::Requests || message.data().is_unique() => {
                Some(item.len() as u64).filter(|&len| len < LEAST).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
struct QueueState {
    /// Each with what it is counted for in the tally.
    items: VecDeque<(Item, u64)>,
    bytes: usize,
    /// The account that it is counted for: known once the session has begun.
    payer: Option<QueueCharge>,
    ended: Option<Close>,
    /// The tasks that wait for something to come in.
    takers: Wakers,
    /// The tasks that wait for something to leave.
    givers: Wakers,
}

/// Tasks to be woken: each once, and never under the lock, for whoever drops the last waker of a task may drop what
/// locks the queue in turn.
#[derive(Debug, Default)]
struct Wakers(SmallVec<[Waker; 2]>);

impl Wakers {
    fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl QueueState {
    fn is_full(&self) -> bool {
        self.items.len() >= MESSAGES || self.bytes >= BYTES
    }

    /// So much less waits.
    fn release(&mut self, less: u64) {
        if let Some(payer) = &mut self.payer {
            payer.tally.take_off(less);
        }
    }
}

impl Queue {
    /// From now on what waits is on somebody's account.
    pub(super) fn charge(&self, account: &Account, kind: Kind, limit: u64) {
        let tally = Tally::new(account, kind);
        self.0.lock().payer = Some(QueueCharge { kind, limit, tally, unfinished: 0 });
    }

    /// Counts what there is of a message that is on its way; false if there is no memory for it.
    pub(super) fn set_unfinished(&self, bytes: u64) -> bool {
        let mut state = self.0.lock();
        let Some(payer) = &mut state.payer else { return true };
        let has_room = payer.tally.change(payer.unfinished, bytes, payer.limit);
        if has_room {
            payer.unfinished = bytes;
        }
        has_room
    }

    /// Waits until there is room. Another may take it first: ask again.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.ended.is_none() && state.is_full() {
            state.givers.add(cx.waker());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Lets `item` in, if there is room.
    pub(super) fn push(&self, item: Item) -> Result<(), Refused> {
        let mut state = self.0.lock();
        if state.ended.is_some() {
            return Err(Refused::Ended);
        }
        if state.is_full() {
            return Err(Refused::Full(item));
        }
        let mut costs = 0;
        if let Some(payer) = &mut state.payer {
            costs = payer.costs(&item);
            if costs > 0 && !payer.tally.add(costs, payer.limit) {
                return Err(Refused::NoMemory(item));
            }
        }
        state.bytes += item.len();
        state.items.push_back((item, costs));
        let takers = state.takers.take();
        drop(state);
        takers.wake();
        Ok(())
    }

    /// Takes out the next item. What was let in before the end comes before the end.
    pub(super) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Result<Item, Close>> {
        let mut state = self.0.lock();
        if let Some((item, costs)) = state.items.pop_front() {
            state.bytes -= item.len();
            state.release(costs);
            let givers = state.givers.take();
            drop(state);
            givers.wake();
            return Poll::Ready(Ok(item));
        }
        if let Some(close) = &state.ended {
            return Poll::Ready(Err(close.clone()));
        }
        state.takers.add(cx.waker());
        Poll::Pending
    }

    /// Waits for the end, however much is still to be taken out.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.ended.is_some() {
            return Poll::Ready(());
        }
        state.takers.add(cx.waker());
        Poll::Pending
    }

    /// Lets nothing more in. The first end counts.
    pub(super) fn end(&self, close: &Close) {
        let mut state = self.0.lock();
        if state.ended.is_none() {
            state.ended = Some(close.clone());
            let (takers, givers) = (state.takers.take(), state.givers.take());
            drop(state);
            takers.wake();
            givers.wake();
        }
    }

    /// Throws away what waits: nobody will take it.
    pub(super) fn clear(&self) {
        let mut state = self.0.lock();
        state.bytes = 0;
        let small = state.items.iter().map(|(_, costs)| costs).sum();
        state.release(small);
        let (items, givers) = (std::mem::take(&mut state.items), state.givers.take());
        drop(state);
        drop(items);
        givers.wake();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.lock().ended.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn of(len: usize) -> Item {
        Item::Message(Message::binary(vec![0; len]))
    }

    #[test]
    fn a_queue_is_bounded_in_messages_and_in_bytes() {
        let queue = Queue::default();
        for _ in 0..MESSAGES {
            queue.push(of(0)).unwrap();
        }
        assert_eq!(queue.push(of(0)), Err(Refused::Full(of(0))));
        queue.clear();
        queue.push(of(BYTES - 1)).unwrap();
        queue.push(of(1 << 20)).unwrap();
        assert_eq!(queue.push(of(1)), Err(Refused::Full(of(1))));
        queue.clear();
        queue.push(of(1)).unwrap();
    }

    #[test]
    fn small_messages_are_counted_once_many_of_them_wait() {
        const LIMIT: u64 = 30_000;
        let (queue, account) = (Queue::default(), Account::default());
        queue.charge(&account, Kind::Answers, LIMIT);
        let shared = Message::binary(vec![0; 7000]);
        while queue.push(Item::Message(shared.clone())).is_ok() {}
        assert!(!account.is_full(Kind::Answers, 1), "they are there once");
        queue.clear();
        queue.push(of(7000)).unwrap();
        assert!(!account.is_full(Kind::Answers, 1), "one is not worth a count");
        while queue.push(of(7000)).is_ok() {}
        assert!(account.is_full(Kind::Answers, 28_000));
        assert_eq!(queue.push(of(7000)), Err(Refused::NoMemory(of(7000))));
        while queue.poll_pop(&mut Context::from_waker(Waker::noop())).is_ready() {}
        assert!(!account.is_full(Kind::Answers, 1));
        assert!(queue.set_unfinished(20_000) && !queue.set_unfinished(40_000));
        assert_eq!(
            queue.push(of(7000)).and_then(|()| queue.push(of(7000))),
            Err(Refused::NoMemory(of(7000)))
        );
        queue.clear();
        assert!(queue.set_unfinished(0) && !account.is_full(Kind::Answers, 1));
    }

    #[test]
    fn who_waits_is_woken_once_and_the_first_to_come_is_let_in() {
        let (queue, wakes) = (Queue::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = &mut Context::from_waker(&waker);
        assert!(queue.poll_pop(cx).is_pending() && queue.poll_pop(cx).is_pending());
        queue.push(of(BYTES)).unwrap();
        assert_eq!(wakes.0.load(Relaxed), 1, "the taker");
        // One waits, and is never heard of again.
        assert!(queue.poll_room(cx).is_pending());
        assert!(queue.poll_pop(cx).is_ready());
        assert_eq!(wakes.0.load(Relaxed), 2, "the giver");
        queue.push(of(BYTES)).unwrap();
    }

    #[test]
    fn the_end_comes_after_what_came_before_it() {
        let queue = Queue::default();
        let cx = &mut Context::from_waker(Waker::noop());
        let (first, second) = (Close::of(1000, "first"), Close::of(1001, "second"));
        queue.push(of(5)).unwrap();
        assert!(queue.poll_ended(cx).is_pending());
        queue.end(&first);
        queue.end(&second);
        assert!(queue.poll_ended(cx).is_ready() && queue.poll_room(cx).is_ready());
        assert_eq!(queue.push(of(1)), Err(Refused::Ended));
        assert_eq!(queue.poll_pop(cx), Poll::Ready(Ok(of(5))));
        assert_eq!(queue.poll_pop(cx), Poll::Ready(Err(first)));
    }
}
