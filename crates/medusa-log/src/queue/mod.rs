//! The bounded queue between the workers and the thread of one sink, and its accounts.
//!
//! **Invariant: every record submitted is in exactly one of four places**: still pending (queued, or in the writer's
//! hand), on disk, written, or lost. Losses take their place in the queue like a batch would, merged with a loss right before
//! them, so the writer meets each where it happened, and there are never more of them than batches, plus one.
//!
//! The lock is held for a few pointer moves, never over a system call.

mod options;
mod spill;
mod state;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use medusa_proto::status::{Status, Value};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::drain::Drain;
use crate::mailbox::Load;
use crate::sink::spawn;
use crate::{Batch, Flushed, SinkError};
pub(crate) use options::fnv1a;
pub use options::{QueueOptions, SpillOptions, WhenFull};
use spill::Segment;
pub(crate) use state::Accounts;
use state::{QueueState, Stage};
pub(crate) use writer::Work;

/// Time that a flush waits beyond its deadline for what is in memory to be put on disk: enough for the default 32 MiB and
/// a slow disk.
const PARK: Duration = Duration::from_secs(2);

/// Records in a row; or, in the place of some, their loss.
pub(crate) type Records = Result<Arc<Batch>, Loss>;

/// The load of `records`. A loss is none.
pub(crate) fn load(records: &Records) -> Load {
    records.as_ref().map_or_else(|_| Load::default(), |batch| Load::of(batch))
}

/// Time that the writer may take to give back what has not arrived: it looks up from a target that takes nothing four
/// times a second.
const HAND_BACK: Duration = Duration::from_secs(2);

/// Time between two looks of a flush at what is acknowledged.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Queue {
    /// How the server's own log calls the sink, and what it says when that fails and when it works again.
    name: String,
    told: [&'static str; 2],
    options: QueueOptions,
    limit: Load,
    state: Mutex<QueueState>,
    /// Signalled when there may be something for the writer to do.
    work: Condvar,
    /// Signalled when the writer has settled an item, which makes room, or something else a flush waits for has happened.
    settled: Condvar,
    /// Signalled when there may be something to be put on disk.
    spilling: Condvar,
    /// Where the records on disk are, once they are prepared for.
    directory: OnceLock<PathBuf>,
}

impl Queue {
    /// The queue of the sink of `target`. When that fails, and when it works again, is `told` so in the server's own log.
    pub(crate) fn new(target: &impl ToString, told: [&'static str; 2], options: &QueueOptions) -> Self {
        let records = options.records.max(QueueOptions::MIN_RECORDS);
        let queue = Self::with_limits(QueueOptions { records, ..options.clone() });
        Self { name: target.to_string(), told, ..queue }
    }

    /// A queue whose limits may be as low as they like.
    pub(crate) fn with_limits(options: QueueOptions) -> Self {
        Self {
            name: String::new(),
            told: [""; 2],
            limit: Load { records: options.records as u64, bytes: options.bytes },
            options,
            state: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            spilling: Condvar::new(),
            directory: OnceLock::new(),
        }
    }

    /// Prepares to spill, once the target is open and before its writer starts: if it is to spill, takes possession
    /// of a directory, finds what earlier runs have left there, and starts the thread that puts records on disk. Until
    /// then what does not fit is lost. Once it has succeeded, calling it again does nothing.
    pub(crate) fn prepare(self: &Arc<Self>) -> Result<(), SinkError> {
        let WhenFull::Spill(options) = &self.options.when_full else { return Ok(()) };
        if self.directory.get().is_some() {
            return Ok(());
        }
        let (thread, found) = spill::Thread::new(self, options)?;
        let directory = thread.directory().to_owned();
        spawn("log-spill", options.directory.display(), move || thread.run())?;
        self.begin_to_spill(directory, &found);
        Ok(())
    }

    fn begin_to_spill(&self, directory: PathBuf, found: &[(u64, Segment)]) {
        if self.directory.set(directory).is_ok() {
            self.change(|state| {
                state.adopt(found);
                state.has_spiller = true;
            });
        }
    }

    /// Queues `batch`. If there is no room, somebody's records are lost: whose, is the user's choice.
    pub(crate) fn submit(&self, batch: &Arc<Batch>) {
        let Some(whole) = batch.loss_after(0) else { return };
        let mut state = self.state.lock();
        if !state.fits(self.limit, batch) {
            match self.options.when_full {
                WhenFull::Block(time) => self.wait_for_room(&mut state, batch, time),
                WhenFull::DropOld => state.drop_old(self.limit, batch),
                WhenFull::DropNew | WhenFull::Spill(_) => {}
            }
        }
        state.push(self.limit, batch, whole);
        let spills = state.to_spill(self.limit).is_some();
        drop(state);
        self.work.notify_one();
        if spills {
            self.spilling.notify_one();
        }
    }

    /// Waits until `batch` fits, for `time` at most. Not at all if the last who waited did so in vain: a target that is
    /// gone holds up each worker once, not every request.
    fn wait_for_room(&self, state: &mut MutexGuard<'_, QueueState>, batch: &Batch, time: Duration) {
        if state.in_vain || state.stage >= Stage::Closed {
            return;
        }
        #[cfg(test)]
        {
            state.waits += 1;
        }
        let full = |state: &mut QueueState| {
            !state.fits(self.limit, batch) && !state.in_vain && state.stage == Stage::Open
        };
        let time = time.min(WhenFull::MAX_BLOCK);
        let waited = self.settled.wait_while_for(state, full, time);
        state.in_vain |= waited.timed_out();
    }

    /// Waits until all that is queued now is settled and the target has acknowledged it, or until `deadline`. A queue that
    /// spills waits no longer than its target works, and then puts on disk what is left.
    pub(crate) fn flush(&self, deadline: Instant) -> Flushed {
        self.nudge(); // a writer that waits before it tries again should try now
        let queued = self.state.lock().queued;
        let is_vain =
            |state: &QueueState| state.stage == Stage::Gone || (state.spills() && state.accounts.failing);
        let done = |state: &QueueState| state.is_settled(queued) && state.accounts.unacknowledged == 0;
        self.wait_until(deadline, done, is_vain)
    }

    /// Waits until it is `done`, or until `deadline`, or until waiting for it `is_vain`.
    fn wait_until(
        &self,
        deadline: Instant,
        done: impl Fn(&QueueState) -> bool,
        is_vain: impl Fn(&QueueState) -> bool,
    ) -> Flushed {
        let mut state = self.state.lock();
        while !done(&state) {
            let mut left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || is_vain(&state) {
                return self.park(state);
            }
            if state.accounts.unacknowledged > 0 {
                // The kernel tells nobody what is acknowledged: the writer has to look.
                state.nudged = true;
                self.work.notify_one();
                left = left.min(LOOK);
            }
            self.settled.wait_for(&mut state, left);
        }
        Flushed::default()
    }

    /// Has all that is in memory put on disk, if it spills, as there may be no time left for anything else.
    fn park(&self, mut state: MutexGuard<'_, QueueState>) -> Flushed {
        if state.spills() {
            state.park = true;
            state.stuck = false;
            self.spilling.notify_one();
            self.settled.wait_while_for(&mut state, |state| state.park && state.spills(), PARK);
        }
        let Accounts { pending, unacknowledged, spilled, .. } = state.accounts();
        Flushed { left: pending + unacknowledged, spilled }
    }

    /// Makes the writer look around.
    pub(crate) fn nudge(&self) {
        self.state.lock().nudged = true;
        self.work.notify_one();
    }

    /// Lets the writer end once the queue is empty, and no longer wait for a target that fails.
    pub(crate) fn close(&self) {
        self.change(|state| state.stage = state.stage.max(Stage::Closed));
    }

    /// How the server's own log calls the sink.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the last attempt to write failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.state.lock().accounts.failing
    }

    /// Tells whether what the writer does not get rid of is kept on disk.
    pub(crate) fn spills(&self) -> bool {
        self.state.lock().spills()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().stage >= Stage::Closed
    }

    /// Tells whether the process is about to end: what is on its way is waited for no longer.
    pub(crate) fn is_over(&self) -> bool {
        self.state.lock().is_over
    }

    pub(crate) fn accounts(&self) -> Accounts {
        self.state.lock().accounts()
    }

    /// Adds what every sink says of its queue.
    pub(crate) fn describe(&self, status: Status) -> Status {
        let accounts = self.accounts();
        let spills = matches!(self.options.when_full, WhenFull::Spill(_));
        status
            .gauge("queue", accounts.pending)
            .gauge("queue_bytes", Value::Bytes(accounts.pending_bytes as u64))
            .counter("written", accounts.written)
            .counter("bytes", Value::Bytes(accounts.bytes))
            .counter("lost", accounts.lost)
            .maybe_gauge("spilled", spills.then_some(accounts.spilled))
            .maybe_gauge("spilled_bytes", spills.then_some(Value::Bytes(accounts.spilled_bytes)))
            .maybe_counter("resent", (accounts.resent > 0).then_some(accounts.resent))
            .field("when_full", self.options.when_full.to_string())
            .gauge("failing", accounts.failing)
            .maybe("last_error", accounts.last_error)
            .maybe("last_error_at", accounts.last_error_at)
            .maybe("recovered_at", accounts.recovered_at)
    }

    /// Does `change`, and wakes whoever it may matter to.
    fn change<R>(&self, change: impl FnOnce(&mut QueueState) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        // To wake a spiller that waits until it tries again would begin its wait anew.
        let spills = state.to_spill(self.limit).is_some() || state.stage > Stage::Open;
        drop(state);
        self.work.notify_one();
        self.settled.notify_all();
        if spills {
            self.spilling.notify_one();
        }
        result
    }
}

impl Drain for Queue {
    /// Flushes, as [`flush`](Queue::flush) does; of a queue that has been closed, waits until its writer and its spiller are
    /// gone, which may have more to do than to settle. What the target has not acknowledged then goes to disk as well, if
    /// there is one.
    fn drain(&self, deadline: Instant) -> Flushed {
        // What is on disk then may already be another sink's, and what was lost has been told.
        let is_gone = |state: &QueueState| state.stage == Stage::Gone;
        let flushed = if self.is_closed() {
            self.wait_until(deadline, is_gone, |_| false)
        } else {
            self.flush(deadline)
        };
        if flushed.is_complete() || self.accounts().unacknowledged == 0 || !self.spills() {
            return flushed;
        }
        // It is in the writer's hands, which has to give it back.
        self.state.lock().is_over = true;
        self.close();
        self.wait_until(deadline.max(Instant::now()) + HAND_BACK, is_gone, |_| false)
    }
}

#[cfg(test)]
mod tests;
