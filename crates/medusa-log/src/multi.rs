//! Several sinks as one.

use std::sync::Arc;

use medusa_proto::status::Status;

use crate::{Batch, Sink};

/// Gives each batch to all of its sinks. They share the batch, and nothing else: one that fails holds up no other.
#[derive(Debug)]
pub struct MultiSink {
    sinks: Vec<Arc<dyn Sink>>,
}

impl MultiSink {
    /// One sink made of `sinks`. One that is there twice counts once. Of none, it forgets all it is given.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        let mut own: Vec<Arc<dyn Sink>> = Vec::with_capacity(sinks.len());
        for sink in sinks {
            if !own.iter().any(|known| Arc::ptr_eq(known, &sink)) {
                own.push(sink);
            }
        }
        Self { sinks: own }
    }
}

impl Sink for MultiSink {
    fn submit(&self, batch: &Arc<Batch>) {
        for sink in &self.sinks {
            sink.submit(batch);
        }
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        &self.sinks
    }

    fn status(&self) -> Status {
        Status::new("log.multi", "")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::Flushed;
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
        let multi: Arc<dyn Sink> = Arc::new(multi);
        let other: Arc<dyn Sink> = Arc::new(MultiSink::new(vec![Arc::clone(&sinks[0]) as _]));
        assert_eq!(MultiSink::new(vec![Arc::clone(&multi), other]).width(), 3);
        assert_eq!(crate::describe(&[multi])[0].children.len(), 2);
    }

    #[test]
    fn one_that_stands_in_several_places_is_described_once() {
        let file: Arc<dyn Sink> = Arc::new(Memory::default());
        let twice: Arc<dyn Sink> = Arc::new(MultiSink::new(vec![Arc::clone(&file), Arc::clone(&file)]));
        twice.submit(&batch(["/a"]));
        assert_eq!((twice.width(), file.flush(Instant::now()).left), (1, 1), "written once");
        let statuses = crate::describe(&[Arc::clone(&twice), file, twice]);
        let kinds: Vec<_> = statuses.iter().map(|status| status.kind).collect();
        assert_eq!(kinds[0], "log.multi");
        assert_eq!((&kinds[1..], statuses[0].children.len()), (&["see", "see"][..], 1));
        assert!(statuses[1].name.starts_with(statuses[0].children[0].kind));
    }
}
