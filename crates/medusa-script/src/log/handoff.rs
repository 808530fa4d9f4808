//! Batches on their way from the workers to a function of the main VM.
//!
//! **Invariant:** what waits is bounded by [`MAX_RECORDS`] and [`MAX_BYTES`], and offering never blocks beyond a short
//! lock. What has no room is the sink's to deal with.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use medusa_log::drain::Drain;
use medusa_log::{Batch, Flushed};
use medusa_proto::access::Loss;
use medusa_proto::status::{Status, Value};
use tokio::sync::Notify;

/// Records that may wait for a function: some seconds of what a function can take.
const MAX_RECORDS: u64 = 65_536;

/// Bytes of them: the VM is to be what takes memory.
const MAX_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Handoff {
    state: Mutex<State>,
    work: Notify,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    /// Waiting, or with the function.
    pending: u64,
    bytes: usize,
    lost: u64,
    /// Of those, what the function has not been told.
    untold: Option<Loss>,
    closed: bool,
    switched_off: bool,
}

/// What a function gets at once.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) batch: Arc<Batch>,
    /// What was lost since the last time.
    pub(super) lost: Option<Loss>,
}

impl Handoff {
    /// Takes `batch` if there is room, and somebody to take it on.
    pub(super) fn offer(&self, batch: &Arc<Batch>) -> bool {
        let mut state = self.lock();
        let (pending, bytes) = (state.pending + batch.len() as u64, state.bytes + batch.footprint());
        if state.closed || (state.pending > 0 && (pending > MAX_RECORDS || bytes > MAX_BYTES)) {
            return false;
        }
        (state.pending, state.bytes) = (pending, bytes);
        state.batches.push_back(Arc::clone(batch));
        drop(state);
        self.work.notify_one();
        true
    }

    /// Counts `batch` as lost; the function is told with what it gets next.
    pub(super) fn lose(&self, batch: &Batch) {
        let Some(loss) = batch.loss_after(0) else { return };
        let mut state = self.lock();
        state.lost += loss.records;
        state.untold = Some(state.untold.map_or(loss, |untold| untold.merge(loss)));
    }

    /// For the task: what comes next, to be settled then; `None` once it is closed and empty.
    pub(super) async fn next(&self) -> Option<Work> {
        loop {
            {
                let mut state = self.lock();
                if let Some(batch) = state.batches.pop_front() {
                    return Some(Work { batch, lost: state.untold.take() });
                }
                if state.closed {
                    return None;
                }
            }
            self.work.notified().await;
        }
    }

    /// For the task: the function is done with `batch`.
    pub(super) fn settle(&self, batch: &Batch) {
        let mut state = self.lock();
        state.pending -= batch.len() as u64;
        state.bytes -= batch.footprint();
        drop(state);
        self.settled.notify_all();
    }

    /// Nothing more is taken; what waits still is.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// The function is not called any more, and the status says so.
    pub(super) fn switch_off(&self) {
        self.lock().switched_off = true;
        self.close();
    }

    /// Waits until nothing is pending, or until `deadline`. Blocks, and so must not be called on the VM's own thread.
    pub(super) fn flush(&self, deadline: Instant) -> Flushed {
        let mut state = self.lock();
        while state.pending > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Flushed { left: state.pending, ..Flushed::default() }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    pub(super) fn describe(&self, status: Status) -> Status {
        let state = self.lock();
        let status =
            status.field("queue", state.pending).field("queue_bytes", Value::Bytes(state.bytes as u64));
        if state.switched_off { status.field("switched_off", true) } else { status }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drain for Handoff {
    fn drain(&self, deadline: Instant) -> Flushed {
        self.flush(deadline)
    }
}

#[cfg(test)]
mod tests {
    use medusa_proto::access::Timestamp;
    use medusa_proto::event::{Event, Level};

    use super::*;

    fn batch(records: usize, at: i64) -> Arc<Batch> {
        let mut batch = Batch::new();
        let time = Timestamp::from_micros(at);
        (0..records).for_each(|_| {
            batch.push_event(&Event { time, level: Level::Info, part: "a", message: "b", request: None });
        });
        batch.seal()
    }

    #[tokio::test]
    async fn what_has_no_room_is_refused_and_told_with_the_next() {
        let handoff = Handoff::default();
        let large = batch(MAX_RECORDS as usize, 1);
        assert!(handoff.offer(&large), "whatever is alone has room");
        assert!(!handoff.offer(&batch(1, 2)));
        handoff.lose(&batch(2, 2));
        handoff.lose(&batch(1, 7));
        let work = handoff.next().await.expect("work");
        let at = Timestamp::from_micros;
        assert_eq!(work.lost, Some(Loss { records: 3, from: at(2), to: at(7) }));
        assert!(!handoff.offer(&batch(1, 2)), "what the function has counts");
        assert_eq!(handoff.flush(Instant::now()).left, MAX_RECORDS);
        handoff.settle(&work.batch);
        assert!(handoff.offer(&batch(1, 3)));
        handoff.close();
        assert!(!handoff.offer(&batch(1, 4)));
        let work = handoff.next().await.expect("what came before it was closed");
        assert_eq!(work.lost, None);
        handoff.settle(&work.batch);
        assert!(handoff.next().await.is_none());
        assert_eq!((handoff.lost(), handoff.flush(Instant::now()).left), (3, 0));
    }
}
