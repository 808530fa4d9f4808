//! A part of what a sink is given: what filters and samples pass on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use medusa_proto::entry::Entry;
use medusa_proto::status::Status;

use crate::{Batch, Sink};

/// A choice among entries.
pub trait Choice: fmt::Debug + Send + Sync + 'static {
    /// Whether `entry` is passed on. On a worker's thread: no I/O, and bounded, whatever the entry.
    fn keeps(&self, entry: &Entry<'_>) -> bool;

    /// Describes it and what it looks for.
    fn status(&self) -> Status;
}

/// Passes on what is chosen, and counts the rest apart from what is lost: the user asked for it.
#[derive(Debug)]
pub struct SelectingSink<C> {
    pub(crate) choice: C,
    inner: Arc<dyn Sink>,
    passed_on: AtomicU64,
    passed_over: AtomicU64,
}

impl<C: Choice> SelectingSink<C> {
    /// Only what `choice` keeps goes to `inner`.
    pub fn new(choice: C, inner: Arc<dyn Sink>) -> Self {
        Self { choice, inner, passed_on: AtomicU64::new(0), passed_over: AtomicU64::new(0) }
    }
}

impl<C: Choice> Sink for SelectingSink<C> {
    fn submit(&self, batch: &Arc<Batch>) {
        let kept = Batch::select(batch, |entry| self.choice.keeps(entry));
        let on = kept.as_ref().map_or(0, |kept| kept.len());
        self.passed_on.fetch_add(on as u64, Relaxed);
        self.passed_over.fetch_add((batch.len() - on) as u64, Relaxed);
        if let Some(kept) = kept {
            self.inner.submit(&kept);
        }
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        std::slice::from_ref(&self.inner)
    }

    fn status(&self) -> Status {
        self.choice
            .status()
            .counter("passed_on", self.passed_on.load(Relaxed))
            .counter("passed_over", self.passed_over.load(Relaxed))
    }
}

impl Batch {
    /// The entries of `batch` that `keep` says yes to, in their order; `None` if there are none. If it is all of them,
    /// that is the same batch: nothing is copied.
    ///
    /// `keep` is asked once for each entry.
    pub fn select(batch: &Arc<Self>, mut keep: impl FnMut(&Entry<'_>) -> bool) -> Option<Arc<Self>> {
        let kept: Vec<bool> = batch.iter().map(|entry| keep(&entry)).collect();
        match kept.iter().filter(|keep| **keep).count() {
            0 => None,
            all if all == batch.len() => Some(Arc::clone(batch)),
            _ => {
                let mut part = Self::new();
                let wanted = batch.iter().zip(kept).filter(|(_, keep)| *keep);
                wanted.for_each(|(entry, _)| part.push_entry(&entry));
                Some(part.seal())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch;

    fn target<'a>(entry: &Entry<'a>) -> &'a str {
        match entry {
            Entry::Access(record) => record.target,
            Entry::Event(event) => panic!("a record, not {event:?}"),
        }
    }

    #[test]
    fn all_is_the_same_batch_none_is_nothing_and_a_part_is_in_order() {
        let whole = batch(["/a", "/b", "/c", "/d"]);
        let all = Batch::select(&whole, |_| true).expect("all");
        assert!(Arc::ptr_eq(&all, &whole));
        assert!(Batch::select(&whole, |_| false).is_none());
        let part = Batch::select(&whole, |entry| target(entry) != "/b").expect("a part");
        assert_eq!(part.iter().map(|entry| target(&entry)).collect::<Vec<_>>(), ["/a", "/c", "/d"]);
        assert_eq!(part.iter().next(), whole.iter().next(), "with all its fields");
    }
}
