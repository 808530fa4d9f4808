//! Several sinks as one.

use std::sync::Arc;
use std::time::Instant;

use medusa_proto::status::Status;

use crate::{Batch, Flushed, Sink, SinkError};

/// Gives each batch to all of its sinks. They share the batch, and nothing else: one that fails holds up no other.
#[derive(Debug)]
pub struct MultiSink {
    sinks: Vec<Arc<dyn Sink>>,
}

impl MultiSink {
    /// One sink made of `sinks`. Of none, it forgets all it is given.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Self { sinks }
    }
}

impl Sink for MultiSink {
    fn check(&self) -> Result<(), SinkError> {
        self.sinks.iter().try_for_each(|sink| sink.check())
    }

    fn prepare(&self) -> Result<(), SinkError> {
        self.sinks.iter().try_for_each(|sink| sink.prepare())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        for sink in &self.sinks {
            sink.submit(batch);
        }
    }

    /// One after the other: their writers work meanwhile, so that waiting for one is waiting for all. A record left in
    /// two sinks counts twice.
    fn flush(&self, deadline: Instant) -> Flushed {
        self.sinks.iter().map(|sink| sink.flush(deadline)).fold(Flushed::default(), Flushed::and)
    }

    fn close(&self) {
        self.sinks.iter().for_each(|sink| sink.close());
    }

    /// Reopens all, and returns the first error.
    fn reopen(&self) -> Result<(), SinkError> {
        self.sinks.iter().map(|sink| sink.reopen()).fold(Ok(()), Result::and)
    }

    fn width(&self) -> usize {
        self.sinks.iter().map(|sink| sink.width()).fold(0, usize::saturating_add)
    }

    fn depth(&self) -> usize {
        1 + self.sinks.iter().map(|sink| sink.depth()).max().unwrap_or(0)
    }

    fn status(&self) -> Status {
        Status::new("log.multi", "").children(self.sinks.iter().map(|sink| sink.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch;
    use crate::sink::tests::Memory;

    #[test]
    fn every_sink_gets_the_same_batch() {
        let sinks = [Arc::new(Memory::default()), Arc::new(Memory::default())];
        let multi = MultiSink::new(sinks.iter().map(|sink| Arc::clone(sink) as Arc<dyn Sink>).collect());
        let batch = batch(["/a", "/b"]);
        multi.submit(&batch);
        for sink in &sinks {
            assert!(Arc::ptr_eq(&sink.batches()[0], &batch));
        }
        assert_eq!(multi.flush(Instant::now()), Flushed { left: 4, spilled: 0 }, "both have two left");
        assert_eq!(multi.status().children.len(), 2);
        let multi: Arc<dyn Sink> = Arc::new(multi);
        assert_eq!(MultiSink::new(vec![Arc::clone(&multi), multi]).width(), 4);
    }

    #[test]
    fn one_that_cannot_be_prepared_fails_all_but_every_one_is_reopened() {
        let (bad, good) = (Arc::new(Memory::failing()), Arc::new(Memory::default()));
        let multi = MultiSink::new(vec![Arc::clone(&bad) as _, Arc::clone(&good) as _]);
        assert!(matches!(multi.check(), Err(SinkError::IsDirectory(_))));
        assert!(matches!(multi.prepare(), Err(SinkError::IsDirectory(_))));
        assert!(matches!(multi.reopen(), Err(SinkError::IsDirectory(_))));
        assert_eq!(good.reopened(), 1);
    }
}
