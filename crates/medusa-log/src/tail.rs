//! The last entries, in memory, to be looked at and followed.
//!
//! **Invariant: what a tail holds is bounded**, by entries and by [`MAX_BYTES`](Tail::MAX_BYTES), however many follow it:
//! a [`Follower`] is a place in what the tail holds and has no memory of its own. One that is slower than the entries
//! come is told how many it has missed, and goes on with the oldest there is. Nobody can hold up a tail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use medusa_proto::entry::Entry;
use medusa_proto::format::{Encoder, Format};
use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;

use crate::local::LocalOffset;
use crate::{Batch, Sink};

/// Keeps the last entries it was given, in the order in which they came: a worker's at most 100 ms after they happened,
/// so that those of several workers are in their order up to that.
#[derive(Debug)]
pub struct Tail {
    entries: usize,
    state: Mutex<TailState>,
}

#[derive(Debug, Default)]
struct TailState {
    batches: VecDeque<Arc<Batch>>,
    /// Entries in `batches`, and their memory.
    held: usize,
    bytes: usize,
    /// Entries ever: the place of the next one.
    next: u64,
    followers: usize,
    /// The name of the next follower.
    name: u64,
    /// Followers that wait for the next entry.
    waiting: Vec<(u64, Waker)>,
}

/// Entries of a [`Tail`] in a row: the last of an instant, or the next of a [`Follower`].
#[derive(Debug)]
pub struct Last {
    batches: Vec<Arc<Batch>>,
    /// Entries of the first batch that are too old.
    skip: usize,
}

impl Tail {
    /// The most entries a tail keeps: more than anybody reads.
    pub const MAX_ENTRIES: usize = 65_536;

    /// The most memory a tail takes, in bytes; with longer entries it keeps fewer. As much as 65,536 usual ones.
    pub const MAX_BYTES: usize = 16 * 1024 * 1024;

    /// The most followers of one tail.
    pub const MAX_FOLLOWERS: usize = 10_000;

    /// While somebody follows, at least so many entries are held, or followers of a short tail would miss what comes in
    /// one burst.
    const FOR_FOLLOWERS: usize = 1024;

    /// A tail of the last `entries`: at least 1, at most [`MAX_ENTRIES`](Self::MAX_ENTRIES).
    pub fn new(entries: usize) -> Self {
        Self { entries: entries.clamp(1, Self::MAX_ENTRIES), state: Mutex::default() }
    }

    /// The last `n` entries, or as many as there are.
    pub fn last(&self, n: usize) -> Last {
        let state = self.state.lock();
        let n = n.min(self.entries).min(state.held);
        state.beginning(state.next - n as u64, usize::MAX)
    }

    /// The [`last`](Self::last) as lines in `format`, without what ends them.
    pub fn lines(&self, n: usize, format: Format) -> Vec<Vec<u8>> {
        let (mut encoder, mut local) = (Encoder::new(format), LocalOffset::default());
        let mut line = |entry: Entry<'_>| {
            let mut line = Vec::new();
            encoder.encode(&entry, local.at(entry.time()), &mut line);
            line
        };
        self.last(n).iter().map(&mut line).collect()
    }

    /// Follows the tail, from its last `back` entries on. `None` if [`MAX_FOLLOWERS`](Self::MAX_FOLLOWERS) do already.
    pub fn subscribe(self: &Arc<Self>, back: usize) -> Option<Follower> {
        let mut state = self.state.lock();
        if state.followers == Self::MAX_FOLLOWERS {
            return None;
        }
        state.followers += 1;
        state.name += 1;
        let back = back.min(self.entries).min(state.held) as u64;
        Some(Follower { tail: Arc::clone(self), name: state.name, at: state.next - back })
    }
}

impl Last {
    /// The entries, the newest last.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.batches.iter().flat_map(|batch| batch.iter()).skip(self.skip)
    }
}

impl TailState {
    fn push(&mut self, batch: &Arc<Batch>, entries: usize) {
        self.batches.push_back(Arc::clone(batch));
        self.held += batch.len();
        self.bytes += batch.footprint();
        self.next += batch.len() as u64;
        let entries = if self.followers > 0 { entries.max(Tail::FOR_FOLLOWERS) } else { entries };
        while let Some(oldest) = self.batches.front() {
            let enough = self.held - oldest.len() >= entries;
            let too_much = self.bytes > Tail::MAX_BYTES && self.batches.len() > 1;
            if !enough && !too_much {
                break;
            }
            self.held -= oldest.len();
            self.bytes -= oldest.footprint();
            self.batches.pop_front();
        }
    }

    /// The entries beginning at the place `at`, which is not before what is held, out of so many `batches`. Looked for from
    /// the newest on, which is where readers are.
    fn beginning(&self, at: u64, batches: usize) -> Last {
        let mut first = self.next;
        let is_wanted = |batch: &&Arc<Batch>| {
            let is_wanted = first > at;
            first -= if is_wanted { batch.len() as u64 } else { 0 };
            is_wanted
        };
        let wanted = self.batches.iter().rev().take_while(is_wanted).count();
        let wanted = self.batches.range(self.batches.len() - wanted..);
        Last { batches: wanted.take(batches).cloned().collect(), skip: at.saturating_sub(first) as usize }
    }

    /// The place of the oldest entry that is held.
    const fn first(&self) -> u64 {
        self.next - self.held as u64
    }
}

impl Sink for Tail {
    fn submit(&self, batch: &Arc<Batch>) {
        let mut state = self.state.lock();
        state.push(batch, self.entries);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    fn status(&self) -> Status {
        let state = self.state.lock();
        Status::new("log.tail", self.entries.to_string())
            .gauge("held", state.held.min(self.entries))
            .gauge("held_bytes", Value::Bytes(state.bytes as u64))
            .counter("taken", state.next)
            .gauge("followers", state.followers)
    }
}

/// Reader that follows a [`Tail`].
#[derive(Debug)]
pub struct Follower {
    tail: Arc<Tail>,
    name: u64,
    /// The place of the next entry it wants.
    at: u64,
}

impl Follower {
    /// The number of entries that it has missed, as it was too slow, and the next ones, at least one; wakes the task of `context`
    /// when there is something. Only the last task to ask is woken.
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<(u64, Last)> {
        let mut state = self.tail.state.lock();
        state.waiting.retain(|(name, _)| *name != self.name);
        let from = self.at.max(state.first());
        let next = state.beginning(from, 1);
        let Some(batch) = next.batches.first() else {
            state.waiting.push((self.name, context.waker().clone()));
            return Poll::Pending;
        };
        let missed = from - self.at;
        self.at = from + (batch.len() - next.skip) as u64;
        Poll::Ready((missed, next))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.tail.state.lock();
        state.followers -= 1;
        state.waiting.retain(|(name, _)| *name != self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;
    use crate::MAX_FIELD;
    use crate::batch::tests::batch;

    fn target(entry: Entry<'_>) -> String {
        match entry {
            Entry::Access(record) => record.target.to_owned(),
            Entry::Event(event) => panic!("a record, not {event:?}"),
        }
    }

    fn targets<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<String> {
        entries.map(target).collect()
    }

    /// The entries for `follower` now, without waiting: what it missed, and what it gets.
    fn next(follower: &mut Follower) -> Option<(u64, Vec<String>)> {
        match follower.poll_next(&Context::from_waker(Waker::noop())) {
            Poll::Ready((missed, entries)) => Some((missed, targets(entries.iter()))),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_last_are_kept_and_no_more() {
        let tail = Tail::new(3);
        assert_eq!(tail.last(3).iter().count(), 0);
        tail.submit(&batch(["a", "b"]));
        assert_eq!(targets(tail.last(9).iter()), ["a", "b"]);
        tail.submit(&batch(["c", "d"]));
        assert_eq!(targets(tail.last(9).iter()), ["b", "c", "d"], "no more than it is for");
        assert_eq!(targets(tail.last(1).iter()), ["d"]);
        assert_eq!(tail.last(0).iter().count(), 0);
        tail.submit(&batch(["e", "f", "g"]));
        assert_eq!(tail.state.lock().batches.len(), 1, "what nobody will see again is let go of");
        let lines = tail.lines(2, Format::Common);
        assert!(String::from_utf8_lossy(&lines[0]).contains("GET f HTTP/1.1"), "{lines:?}");
    }

    #[test]
    fn long_entries_are_bounded_by_their_bytes() {
        let tail = Tail::new(Tail::MAX_ENTRIES);
        let long = "x".repeat(MAX_FIELD);
        for _ in 0..2 * Tail::MAX_BYTES / MAX_FIELD {
            tail.submit(&batch([&long]));
        }
        let state = tail.state.lock();
        assert!(state.bytes <= Tail::MAX_BYTES && state.held > 500, "{} {}", state.bytes, state.held);
    }

    #[test]
    fn a_follower_gets_what_comes_and_is_told_what_it_missed() {
        let tail = Arc::new(Tail::new(2));
        tail.submit(&batch(["a", "b", "c"]));
        let mut new = tail.subscribe(0).expect("room");
        let mut back = tail.subscribe(5).expect("room");
        assert_eq!(next(&mut new), None);
        assert_eq!(next(&mut back), Some((0, vec!["b".into(), "c".into()])), "no more than it is for");
        tail.submit(&batch(["d"]));
        tail.submit(&batch(["e"]));
        for follower in [&mut new, &mut back] {
            assert_eq!(next(follower), Some((0, vec!["d".into()])));
            assert_eq!(next(follower), Some((0, vec!["e".into()])));
            assert_eq!(next(follower), None);
        }
        for _ in 0..2 {
            tail.submit(&batch(vec!["x"; Tail::FOR_FOLLOWERS]));
        }
        let (missed, got) = next(&mut new).expect("entries");
        assert_eq!((missed, got.len()), (Tail::FOR_FOLLOWERS as u64, Tail::FOR_FOLLOWERS));
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_follower_is_woken_once_and_leaves_nothing_behind() {
        let tail = Arc::new(Tail::new(2));
        let (count, mut follower) = (Arc::new(Count::default()), tail.subscribe(0).expect("room"));
        let waker = Waker::from(Arc::clone(&count));
        for _ in 0..3 {
            assert!(follower.poll_next(&Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(tail.state.lock().waiting.len(), 1);
        tail.submit(&batch(["a"]));
        tail.submit(&batch(["b"]));
        assert_eq!(count.0.load(SeqCst), 1);
        drop(follower);
        let state = tail.state.lock();
        assert_eq!((state.followers, state.waiting.len()), (0, 0));
    }
}
