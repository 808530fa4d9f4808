//! A part of a batch: what filters and samples pass on.

use std::sync::Arc;

use medusa_proto::entry::Entry;

use crate::Batch;

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
