//! A bounded queue from many threads to one reader, which is a thread or a task.
//!
//! **Invariants.** What was taken in is *pending* until its reader settles it, in the order in which it came: so a flush
//! knows when all that was there has been seen to. What waits is bounded by records and bytes, and putting it in never
//! blocks beyond a short lock, which nobody holds while calling anything else. What has no room is the sender's to deal with:
//! passed on without the reader, or lost, which is counted, and told to the reader with what comes next.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use medusa_proto::status::{Status, Value};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::drain::Drain;
use crate::{Batch, Flushed};

/// Records, and the memory they take in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number.
    pub records: u64,
    /// Their memory.
    pub bytes: usize,
}

impl Load {
    /// That of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }

    /// That of one without the other.
    #[must_use]
    pub(crate) const fn less(self, other: Self) -> Self {
        Self { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }

    pub(crate) const fn half(self) -> Self {
        Self { records: self.records / 2, bytes: self.bytes / 2 }
    }

    /// The smaller of both.
    pub(crate) fn min(self, other: Self) -> Self {
        Self { records: self.records.min(other.records), bytes: self.bytes.min(other.bytes) }
    }

    /// Whether `more` fits beside it within `limit`. Alone, anything does.
    pub(crate) const fn has_room(self, more: Self, limit: Self) -> bool {
        let Self { records, bytes } = self.and(more);
        self.records == 0 || (records <= limit.records && bytes <= limit.bytes)
    }

    /// That of `batch`.
    pub const fn of(batch: &Batch) -> Self {
        Self { records: batch.len() as u64, bytes: batch.footprint() }
    }
}

/// A bounded queue to one reader.
#[derive(Debug)]
pub struct Mailbox<T> {
    limit: Load,
    state: Mutex<MailboxState<T>>,
    /// Signalled when there may be something for a reader that is a thread.
    work: Condvar,
    /// Signalled when something has been settled.
    settled: Condvar,
}

#[derive(Debug)]
struct MailboxState<T> {
    items: VecDeque<T>,
    /// Records ever taken in, and what of them is not settled.
    taken: u64,
    pending: Load,
    lost: u64,
    /// Of those, what the reader has not been told.
    untold: Option<Loss>,
    /// The number that wait in [`Mailbox::flush`], and when the first of them has waited for half of its time.
    flushing: usize,
    halfway: Option<Instant>,
    closed: bool,
    /// A reader that is a task, and waits.
    reader: Option<Waker>,
}

/// Items that a reader gets at once.
#[derive(Debug)]
pub struct Mail<T> {
    /// The items that have come, the oldest first.
    pub items: VecDeque<T>,
    /// The loss since the last time.
    pub lost: Option<Loss>,
    /// Somebody waits for what is pending: from then on the reader should wait for nobody else.
    pub halfway: Option<Instant>,
}

impl<T> Mailbox<T> {
    /// An empty mailbox that holds no more than `limit`, but for a single item, which may be larger.
    pub fn new(limit: Load) -> Self {
        let state = MailboxState {
            items: VecDeque::new(),
            taken: 0,
            pending: Load::default(),
            lost: 0,
            untold: None,
            flushing: 0,
            halfway: None,
            closed: false,
            reader: None,
        };
        Self { limit, state: Mutex::new(state), work: Condvar::new(), settled: Condvar::new() }
    }

    /// Takes `item`, if there is room and it has not been closed.
    pub fn offer(&self, item: T, load: Load) -> bool {
        let mut state = self.state.lock();
        if state.closed || !state.pending.has_room(load, self.limit) {
            return false;
        }
        state.pending = state.pending.and(load);
        state.taken += load.records;
        state.items.push_back(item);
        self.wake(state);
        true
    }

    /// Takes `item` in any case. It weighs nothing: who puts it in has bounded it.
    pub fn put(&self, item: T) {
        let mut state = self.state.lock();
        state.items.push_back(item);
        self.wake(state);
    }

    /// Counts as lost what was not taken.
    pub fn lose(&self, loss: Loss) {
        let mut state = self.state.lock();
        state.lost += loss.records;
        state.untold = Some(state.untold.map_or(loss, |untold| untold.merge(loss)));
    }

    /// Takes nothing more in; what waits is still to be read.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.wake(state);
    }

    /// Waits until all that is pending now is settled, or until `deadline`. Returns how many records are pending then, if
    /// that was in vain. Blocks.
    pub fn flush(&self, deadline: Instant) -> u64 {
        let now = Instant::now();
        let halfway = now + deadline.saturating_duration_since(now) / 2;
        let mut state = self.state.lock();
        let target = state.taken;
        state.flushing += 1;
        state.halfway = Some(state.halfway.map_or(halfway, |other| other.min(halfway)));
        self.work.notify_one();
        let is_left = |state: &mut MailboxState<T>| state.taken - state.pending.records < target;
        self.settled.wait_while_until(&mut state, is_left, deadline);
        state.flushing -= 1;
        if state.flushing == 0 {
            state.halfway = None;
        }
        if is_left(&mut state) { state.pending.records } else { 0 }
    }

    #[cfg(test)]
    pub(crate) fn is_flushing(&self) -> bool {
        self.state.lock().flushing > 0
    }

    /// The load that waits or is with the reader.
    pub fn pending(&self) -> Load {
        self.state.lock().pending
    }

    /// Records lost so far.
    pub fn lost(&self) -> u64 {
        self.state.lock().lost
    }

    /// Adds what is pending to `status`.
    pub fn describe(&self, status: Status) -> Status {
        let Load { records, bytes } = self.pending();
        status.gauge("queue", records).gauge("queue_bytes", Value::Bytes(bytes as u64))
    }

    /// Waits, in a reader that is a thread, until something comes, until somebody waits for what is pending, or until `due`;
    /// `None` once it is closed, empty, and nothing is due.
    pub fn take(&self, due: Option<Instant>) -> Option<Mail<T>> {
        let mut state = self.state.lock();
        loop {
            let halfway = state.halfway;
            let due = due.map(|due| halfway.map_or(due, |halfway| due.min(halfway)));
            if !state.items.is_empty() || due.is_some_and(|due| due <= Instant::now()) {
                let items = std::mem::take(&mut state.items);
                return Some(Mail { items, lost: state.untold.take(), halfway });
            }
            match due {
                Some(due) => drop(self.work.wait_until(&mut state, due)),
                None if state.closed => return None,
                None => self.work.wait(&mut state),
            }
        }
    }

    /// Waits, in a reader that is a thread, for `time`, so that more comes at once; not if somebody waits for what is pending.
    pub fn rest(&self, time: Duration) {
        let mut state = self.state.lock();
        self.work.wait_while_for(&mut state, |state| state.flushing == 0 && !state.closed, time);
    }

    /// Waits, in a reader that is a task, for the next item, and what was lost before it; `None` once it is closed and empty.
    pub async fn next(&self) -> Option<(T, Option<Loss>)> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Option<(T, Option<Loss>)>> {
        let mut state = self.state.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some((item, state.untold.take())));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Counts as much as done with by the reader.
    pub fn settle(&self, load: Load) {
        let mut state = self.state.lock();
        state.pending = state.pending.less(load);
        drop(state);
        self.settled.notify_all();
    }

    fn wake(&self, mut state: MutexGuard<'_, MailboxState<T>>) {
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        self.work.notify_one();
    }
}

impl<T: Send> Drain for Mailbox<T> {
    fn drain(&self, deadline: Instant) -> Flushed {
        Flushed { left: self.flush(deadline), spilled: 0 }
    }
}

#[cfg(test)]
mod tests {
    use medusa_proto::access::Timestamp;

    use super::*;

    const LIMIT: Load = Load { records: 10, bytes: 1000 };

    fn records(records: u64) -> Load {
        Load { records, bytes: 1 }
    }

    fn loss(records: u64, at: i64) -> Loss {
        let at = Timestamp::from_micros(at);
        Loss { records, from: at, to: at }
    }

    fn next(mailbox: &Mailbox<&'static str>) -> Poll<Option<(&'static str, Option<Loss>)>> {
        mailbox.poll_next(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_has_no_room_is_refused_and_told_with_the_next() {
        let mailbox = Mailbox::new(LIMIT);
        assert!(mailbox.offer("large", records(11)), "whatever is alone has room");
        assert!(!mailbox.offer("small", records(1)));
        mailbox.lose(loss(2, 2));
        mailbox.lose(loss(1, 7));
        let loss = Loss { records: 3, from: Timestamp::from_micros(2), to: Timestamp::from_micros(7) };
        assert_eq!(next(&mailbox), Poll::Ready(Some(("large", Some(loss)))));
        assert!(!mailbox.offer("small", records(1)), "what the reader has counts");
        assert_eq!(mailbox.flush(Instant::now()), 11);
        mailbox.settle(records(11));
        assert!(mailbox.offer("small", records(1)));
        mailbox.close();
        assert!(!mailbox.offer("late", records(1)));
        assert_eq!(next(&mailbox), Poll::Ready(Some(("small", None))), "what came before it was closed");
        mailbox.settle(records(1));
        assert_eq!(next(&mailbox), Poll::Ready(None));
        assert_eq!((mailbox.lost(), mailbox.flush(Instant::now())), (3, 0));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mailbox = Mailbox::new(LIMIT);
        let load = Load { records: 1, bytes: 400 };
        assert_eq!([(); 3].map(|()| mailbox.offer("text", load)), [true, true, false]);
        mailbox.put("weightless");
        assert_eq!(mailbox.pending(), Load { records: 2, bytes: 800 });
    }

    #[test]
    fn a_thread_takes_all_at_once_and_is_told_who_waits() {
        let mailbox = Mailbox::new(LIMIT);
        assert!(mailbox.take(Some(Instant::now())).expect("it is due").items.is_empty());
        for item in ["one", "two"] {
            assert!(mailbox.offer(item, records(1)));
        }
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| mailbox.flush(Instant::now() + Duration::from_mins(1)));
            let never = Some(Instant::now() + Duration::from_hours(1));
            let mut mail = mailbox.take(never).expect("two items");
            assert_eq!(mail.items, ["one", "two"]);
            while mail.halfway.is_none() {
                mailbox.put("look again");
                mail = mailbox.take(never).expect("something to look at");
            }
            mailbox.rest(Duration::from_hours(1)); // not while somebody waits
            mailbox.settle(records(2));
            assert_eq!(flush.join().expect("no panic"), 0);
        });
        mailbox.close();
        assert!(mailbox.take(None).is_none());
    }
}
