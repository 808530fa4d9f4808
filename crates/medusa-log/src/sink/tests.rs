//! A sink for tests.

use parking_lot::{Mutex, MutexGuard};

use super::*;

/// A sink that keeps what it is given.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    batches: Mutex<Vec<Arc<Batch>>>,
}

impl Memory {
    pub(crate) fn batches(&self) -> MutexGuard<'_, Vec<Arc<Batch>>> {
        self.batches.lock()
    }
}

impl Sink for Memory {
    fn submit(&self, batch: &Arc<Batch>) {
        self.batches().push(Arc::clone(batch));
    }

    fn flush(&self, _deadline: Instant) -> Flushed {
        let left = self.batches().iter().map(|batch| batch.len() as u64).sum();
        Flushed { left, ..Flushed::default() }
    }

    fn status(&self) -> Status {
        Status::new("log.memory", "")
    }
}
