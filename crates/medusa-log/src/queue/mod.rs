//! The bounded queue between the workers and the thread of one sink, and its accounts.
//!
//! **Invariant: every record submitted is in exactly one of three places**: still pending (queued, or in the writer's
//! hand), written, or lost. Losses take their place in the queue like a batch would, merged with a loss right before
//! them, so the writer meets each where it happened, and there are never more of them than batches, plus one.
//!
//! The lock is held for a few pointer moves, never over a system call.

mod options;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use medusa_proto::status::{Status, Value};

use crate::{Batch, Flushed};
pub use options::{QueueOptions, SpillOptions, WhenFull};

#[derive(Debug)]
pub(crate) struct Queue {
    options: QueueOptions,
    state: Mutex<State>,
    /// Signalled when there may be something for the writer to do.
    work: Condvar,
    /// Signalled when the writer has settled an item.
    settled: Condvar,
    /// Signalled when there is room again, if a worker waits for it.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Items ever queued, and those of them the writer is done with.
    queued: u64,
    done: u64,
    nudged: bool,
    closed: bool,
    /// Whether the writer waits for work. Nobody else is told of it: waking nobody costs a system call, too.
    idle: bool,
    /// Workers that wait for room.
    blocked: usize,
    /// Whether the last wait for room was in vain; until there has been room, nobody waits again.
    in_vain: bool,
    accounts: Accounts,
}

#[derive(Debug)]
enum Item {
    Batch(Arc<Batch>, Instant),
    Lost(Loss),
}

/// What a sink has to say of its past and its present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    /// Records queued or in the writer's hand, and the memory they take.
    pub(crate) pending: u64,
    pub(crate) pending_bytes: usize,
    pub(crate) written: u64,
    pub(crate) lost: u64,
    /// Records written again because they may not have arrived.
    pub(crate) resent: u64,
    /// Bytes handed to the target.
    pub(crate) bytes: u64,
    /// Whether the last attempt to write failed.
    pub(crate) failing: bool,
    pub(crate) last_error: Option<String>,
}

/// What the writer should do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Write this batch, which has been waiting since then; then [`Queue::settle`].
    Batch(Arc<Batch>, Instant),
    /// Tell of this loss, already counted; then [`Queue::settle_loss`].
    Lost(Loss),
    /// Look around: something outside the queue may have changed.
    Nudge,
    /// End: the sink is gone and the queue empty.
    End,
}

impl Queue {
    pub(crate) fn new(options: QueueOptions) -> Self {
        let options = QueueOptions { records: options.records.max(QueueOptions::MIN_RECORDS), ..options };
        Self::with_limits(options)
    }

    /// As [`new`](Self::new), however low the limits.
    pub(crate) fn with_limits(options: QueueOptions) -> Self {
        Self {
            options,
            state: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// Queues `batch`. If there is no room, somebody's records are lost: whose, is the user's choice.
    pub(crate) fn submit(&self, batch: &Arc<Batch>) {
        let Some(whole) = batch.loss_after(0) else { return };
        let mut state = self.lock();
        if !state.has_room(&self.options, batch) {
            match self.options.when_full {
                WhenFull::Block(time) => state = self.wait_for_room(state, batch, time),
                WhenFull::DropOld => state.drop_old(&self.options, batch),
                WhenFull::DropNew | WhenFull::Spill(_) => {}
            }
        }
        if state.has_room(&self.options, batch) {
            state.in_vain = false;
            state.accounts.pending += whole.records;
            state.accounts.pending_bytes += batch.footprint();
            state.push(Item::Batch(Arc::clone(batch), Instant::now()));
        } else {
            state.accounts.lost += whole.records;
            match state.items.back_mut() {
                Some(Item::Lost(loss)) => *loss = loss.merge(whole),
                _ => state.push(Item::Lost(whole)),
            }
        }
        let idle = state.idle;
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }

    /// Waits until `batch` fits, for `time` at most. Not at all if the last who waited did so in vain: a target that is
    /// gone holds up each worker once, not every request.
    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        batch: &Batch,
        time: Duration,
    ) -> MutexGuard<'a, State> {
        if state.in_vain || state.closed {
            return state;
        }
        state.blocked += 1;
        let full =
            |state: &mut State| !state.has_room(&self.options, batch) && !state.in_vain && !state.closed;
        let time = time.min(WhenFull::MAX_BLOCK);
        let waited = self.room.wait_timeout_while(state, time, full);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.blocked -= 1;
        state.in_vain |= waited.timed_out();
        state
    }

    /// Waits until all that is queued now is settled, or until `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) -> Flushed {
        self.nudge(); // a writer that waits before it tries again should try now
        let mut state = self.lock();
        let target = state.queued;
        while state.done < target {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Flushed { left: state.accounts.pending };
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Flushed { left: 0 }
    }

    /// Makes the writer look around.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.work.notify_one();
    }

    /// Lets the writer end once the queue is empty, and no longer wait for a target that fails.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        self.room.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn accounts(&self) -> Accounts {
        self.lock().accounts.clone()
    }

    /// For the writer: waits for something to do.
    pub(crate) fn next(&self) -> Work {
        self.next_until(None)
    }

    /// For the writer: waits for something to do, but no longer than `time`; then there is [`Work::Nudge`].
    pub(crate) fn next_within(&self, time: Duration) -> Work {
        self.next_until(Some(Instant::now() + time))
    }

    fn next_until(&self, deadline: Option<Instant>) -> Work {
        let mut state = self.lock();
        loop {
            if std::mem::take(&mut state.nudged) {
                return Work::Nudge;
            }
            match state.items.pop_front() {
                Some(Item::Batch(batch, since)) => return Work::Batch(batch, since),
                Some(Item::Lost(loss)) => return Work::Lost(loss),
                None if state.closed => return Work::End,
                None => {}
            }
            state.idle = true;
            state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    state.idle = false;
                    return Work::Nudge;
                }
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.idle = false;
        }
    }

    /// For the writer: `settled`, in their order, had been settled as written but may not have arrived, and `in_hand`
    /// behind them has not been settled yet: all come again, before anything else.
    pub(crate) fn put_back(&self, settled: Vec<Arc<Batch>>, in_hand: Option<Arc<Batch>>) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(batch) = in_hand {
            state.items.push_front(Item::Batch(batch, now));
        }
        for batch in settled.into_iter().rev() {
            let records = batch.len() as u64;
            state.done -= 1;
            state.accounts.written -= records;
            state.accounts.resent += records;
            state.accounts.pending += records;
            state.accounts.pending_bytes += batch.footprint();
            state.items.push_front(Item::Batch(batch, now));
        }
    }

    /// What every sink says of its queue.
    pub(crate) fn describe(&self, status: Status) -> Status {
        let accounts = self.accounts();
        status
            .field("queue", accounts.pending)
            .field("queue_bytes", Value::Bytes(accounts.pending_bytes as u64))
            .field("written", accounts.written)
            .field("bytes", Value::Bytes(accounts.bytes))
            .field("lost", accounts.lost)
            .maybe("resent", (accounts.resent > 0).then_some(accounts.resent))
            .field("when_full", self.options.when_full.to_string())
            .field("failing", accounts.failing)
            .maybe("last_error", accounts.last_error)
    }

    /// For the writer: waits for `time`, less if nudged or closed.
    pub(crate) fn pause(&self, time: Duration) {
        let state = self.lock();
        let (mut state, _) = self
            .work
            .wait_timeout_while(state, time, |state| !state.nudged && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.nudged = false;
    }

    /// For the writer: `written` records of `batch` are with the target; the rest is lost.
    pub(crate) fn settle(&self, batch: &Batch, written: usize) {
        let mut state = self.lock();
        let (all, written) = (batch.len() as u64, written as u64);
        state.accounts.pending -= all;
        state.accounts.pending_bytes -= batch.footprint();
        state.accounts.written += written;
        state.accounts.lost += all - written;
        state.done += 1;
        let blocked = state.blocked > 0;
        drop(state);
        self.settled.notify_all();
        if blocked {
            self.room.notify_all();
        }
    }

    /// For the writer: the loss it was given is written, or kept in mind.
    pub(crate) fn settle_loss(&self) {
        self.lock().done += 1;
        self.settled.notify_all();
    }

    /// For the writer: a record counted as written turns out to be incomplete for good.
    pub(crate) fn tear(&self) {
        let accounts = &mut self.lock().accounts;
        accounts.written = accounts.written.saturating_sub(1);
        accounts.lost += 1;
    }

    /// For the writer: an attempt to write moved `bytes`, and ended with `error` if it failed.
    pub(crate) fn attempted(&self, bytes: u64, error: Option<String>) {
        let accounts = &mut self.lock().accounts;
        accounts.bytes += bytes;
        accounts.failing = error.is_some();
        if error.is_some() {
            accounts.last_error = error;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, item: Item) {
        self.items.push_back(item);
        self.queued += 1;
    }

    /// Loses the oldest that wait until `batch` fits, or nothing waits. What they were is told where they stood: ahead of
    /// all that is left. What the writer holds is not touched.
    fn drop_old(&mut self, limits: &QueueOptions, batch: &Batch) {
        let mut lost: Option<Loss> = None;
        let mut items = 0;
        while !self.has_room(limits, batch) {
            let Some(oldest) = self.items.pop_front() else { break };
            let loss = match oldest {
                Item::Lost(loss) => Some(loss),
                Item::Batch(old, _) => {
                    self.accounts.pending -= old.len() as u64;
                    self.accounts.pending_bytes -= old.footprint();
                    self.accounts.lost += old.len() as u64;
                    old.loss_after(0)
                }
            };
            lost = lost.into_iter().chain(loss).reduce(Loss::merge);
            items += 1;
        }
        if let Some(Item::Lost(next)) = self.items.front_mut()
            && let Some(lost) = lost.take()
        {
            *next = next.merge(lost);
            items += 1;
        } else if let Some(lost) = lost {
            self.items.push_front(Item::Lost(lost));
        }
        // All of these have become one.
        self.done += u64::saturating_sub(items, 1);
    }

    /// A batch is taken only if both limits hold afterwards, or if nothing else is pending.
    fn has_room(&self, limits: &QueueOptions, batch: &Batch) -> bool {
        let Accounts { pending, pending_bytes, .. } = self.accounts;
        pending == 0
            || (pending + batch.len() as u64 <= limits.records as u64
                && pending_bytes + batch.footprint() <= limits.bytes)
    }
}

#[cfg(test)]
mod tests;
