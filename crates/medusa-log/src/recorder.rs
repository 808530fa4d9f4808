//! The worker's side: records are collected into batches before they cross to a sink's thread.
//!
//! **Invariant: between two flushes a recorder holds at most [`MAX_BATCH_RECORDS`] records and about
//! [`MAX_BATCH_BYTES`] for each sink**, and refers to no sink once it has been flushed, so that a sink that was replaced
//! goes away within one flush interval.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;

use medusa_proto::access::Record;

use crate::{Batch, Extent, Sink};

/// A batch with this many records is submitted: a write of some 50 KB, and a lock taken once per so many requests.
pub const MAX_BATCH_RECORDS: usize = 256;

/// A batch with this many bytes is submitted, even if long records make them few. The usual 256 records take as much.
pub const MAX_BATCH_BYTES: usize = 64 * 1024;

/// Sinks with an open batch; with more at once, all are submitted first.
const MAX_OPEN: usize = 64;

/// Collects the records of one worker. Not shared between threads: every worker has its own.
///
/// Recording copies the record and allocates nothing but, once per batch, the batch.
#[derive(Debug, Default)]
pub struct Recorder {
    open: RefCell<Vec<OpenBatch>>,
    /// What the last batch held: room for as much is made at once in the next.
    usual: Cell<Extent>,
}

#[derive(Debug)]
struct OpenBatch {
    sink: Arc<dyn Sink>,
    batch: Batch,
}

impl Recorder {
    /// A recorder that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `record` to the open batch of `sink`, and submits that if it is full.
    ///
    /// True if this was the first record since the last [`flush`](Self::flush): the caller should then see to it that
    /// one comes, 100 ms from now or so.
    pub fn record(&self, sink: &Arc<dyn Sink>, record: &Record<'_>) -> bool {
        let mut open = self.open.borrow_mut();
        let first = open.is_empty();
        let found = open.iter().position(|open| ptr::addr_eq(Arc::as_ptr(&open.sink), Arc::as_ptr(sink)));
        if found.is_none() && open.len() == MAX_OPEN {
            drop(open);
            self.flush();
            open = self.open.borrow_mut();
        }
        let at = found.unwrap_or_else(|| {
            open.push(OpenBatch { sink: Arc::clone(sink), batch: Batch::with_capacity(self.usual.get()) });
            open.len() - 1
        });
        let batch = &mut open[at].batch;
        batch.push(record);
        if batch.len() >= MAX_BATCH_RECORDS || batch.bytes() >= MAX_BATCH_BYTES {
            let next = Batch::with_capacity(batch.extent());
            let full = std::mem::replace(batch, next);
            drop(open);
            self.submit(sink, full);
        }
        first
    }

    /// Submits all that is open, and lets go of the sinks. For the caller's timer, and for shutdown.
    pub fn flush(&self) {
        let mut open = self.open.take();
        for OpenBatch { sink, batch } in open.drain(..) {
            self.submit(&sink, batch);
        }
        // Nothing was recorded meanwhile: keep the list's memory.
        if let Ok(mut now) = self.open.try_borrow_mut()
            && now.is_empty()
        {
            *now = open;
        }
    }

    fn submit(&self, sink: &Arc<dyn Sink>, batch: Batch) {
        if !batch.is_empty() {
            self.usual.set(batch.extent());
            sink.submit(&batch.seal());
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::record;
    use crate::sink::tests::Memory;

    fn sink() -> (Arc<Memory>, Arc<dyn Sink>) {
        let memory = Arc::new(Memory::default());
        (Arc::clone(&memory), memory)
    }

    #[test]
    fn a_full_batch_is_submitted_and_the_rest_by_flush() {
        let (memory, sink) = sink();
        let recorder = Recorder::new();
        for n in 0..=MAX_BATCH_RECORDS {
            assert_eq!(recorder.record(&sink, &record("/", 0)), n == 0, "only the first asks for a timer");
        }
        assert_eq!(memory.batches().len(), 1);
        recorder.flush();
        let lengths: Vec<usize> = memory.batches().iter().map(|batch| batch.len()).collect();
        assert_eq!(lengths, [MAX_BATCH_RECORDS, 1]);
        assert!(recorder.record(&sink, &record("/", 0)), "the first after a flush asks again");
    }

    #[test]
    fn long_records_fill_a_batch_by_bytes() {
        let (memory, sink) = sink();
        let recorder = Recorder::new();
        let long = "x".repeat(MAX_BATCH_BYTES / 8);
        for _ in 0..8 {
            recorder.record(&sink, &record(&long, 0));
        }
        assert_eq!(memory.batches().len(), 1);
    }

    #[test]
    fn a_flush_lets_go_of_the_sinks() {
        let (memory, sink) = sink();
        let recorder = Recorder::new();
        recorder.record(&sink, &record("/", 0));
        drop(sink);
        assert_eq!(Arc::strong_count(&memory), 2);
        recorder.flush();
        assert_eq!(Arc::strong_count(&memory), 1);
        assert_eq!(memory.batches().len(), 1);
    }

    #[test]
    fn sinks_do_not_mix_and_are_bounded() {
        let sinks: Vec<_> = (0..=MAX_OPEN).map(|_| sink()).collect();
        let recorder = Recorder::new();
        for round in 0..2 {
            for (_, sink) in &sinks[..MAX_OPEN] {
                recorder.record(sink, &record("/", round));
            }
        }
        assert!(!recorder.record(&sinks[MAX_OPEN].1, &record("/", 0)), "the timer is already set");
        for (memory, _) in &sinks[..MAX_OPEN] {
            assert_eq!(memory.batches().iter().map(|batch| batch.len()).collect::<Vec<_>>(), [2]);
        }
        drop(recorder);
        assert_eq!(sinks[MAX_OPEN].0.batches().len(), 1, "dropping it submits what is open");
    }
}
