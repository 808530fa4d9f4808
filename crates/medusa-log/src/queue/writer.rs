//! The queue as its writer sees it: what comes next, and what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use parking_lot::MutexGuard;

use super::Queue;
use super::spill::{Next, StoredFrame};
use super::state::{Item, QueueState, Stage, Take};
use crate::Batch;

/// Next task of the writer.
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
    /// Waits for something to do. If that does not come within `time`, there is [`Work::Nudge`].
    pub(crate) fn next(&self, time: Option<Duration>) -> Work {
        let deadline = time.map(|time| Instant::now() + time);
        let mut state = self.state.lock();
        loop {
            if std::mem::take(&mut state.nudged) {
                return Work::Nudge;
            }
            // With the target gone, what is left is for the disk.
            if state.stage >= Stage::Ended
                || (state.stage == Stage::Closed && state.spills() && state.is_failing())
            {
                return self.end(state);
            }
            match state.take() {
                Take::Item(Item::Batch(batch, since, _)) => return Work::Batch(batch, since),
                Take::Item(Item::Lost(loss)) => return Work::Lost(loss),
                Take::Disk(next) => {
                    drop(state);
                    if let Some(work) = self.replay(&next) {
                        return work;
                    }
                    state = self.state.lock();
                }
                Take::Drained(operation) => {
                    drop(state);
                    self.perform(operation);
                    state = self.state.lock();
                }
                Take::Empty if state.stage == Stage::Closed => return self.end(state),
                Take::Empty | Take::Later if self.wait_for_work(&mut state, deadline) => {}
                Take::Empty | Take::Later => return Work::Nudge,
            }
        }
    }

    /// Waits until there may be work; false once the deadline has passed.
    fn wait_for_work(&self, state: &mut MutexGuard<'_, QueueState>, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match left {
            None => self.work.wait(state),
            Some(left) => {
                self.work.wait_for(state, left);
            }
        }
        left != Some(Duration::ZERO)
    }

    fn end(&self, mut state: MutexGuard<'_, QueueState>) -> Work {
        state.stage = state.stage.max(Stage::Ended);
        self.unlock(state);
        Work::End
    }

    /// Tells, as the last thing the writer's thread does, that nothing will be put back any more.
    pub(crate) fn leave(&self) {
        self.advance(Stage::Left);
        self.spilling.notify_one();
        self.settled.notify_all();
    }

    /// Takes what is next from disk. `None` if there was nothing after all.
    fn replay(&self, next: &Next) -> Option<Work> {
        let read = self.spill.get()?.read(next);
        let mut state = self.state.lock();
        let (work, operation) = match read {
            StoredFrame::Batch(batch, origin) => {
                let now = Instant::now();
                state.disk.hold(origin, batch.len() as u64);
                state.remember(&batch);
                state.hold(&Item::Batch(Arc::clone(&batch), now, Some(origin)));
                (Some(Work::Batch(batch, now)), None)
            }
            StoredFrame::Loss(loss, origin) => (Some(Work::Lost(loss)), state.disk.pass(origin, 0)),
            StoredFrame::Damaged(loss, origin) => {
                state.lost_on_disk(loss.records);
                (Some(Work::Lost(loss)), state.disk.pass(origin, loss.records))
            }
            StoredFrame::Rest(loss) => {
                let (items, records) = state.disk.give_up(next.number);
                state.lost_on_disk(records);
                // All of these become one loss, if anything.
                state.done += items.saturating_sub(u64::from(records > 0));
                ((records > 0).then_some(Work::Lost(Loss { records, ..loss })), None)
            }
        };
        drop(state);
        self.perform(operation);
        work
    }

    /// Puts back `settled`, which in their order had been settled as written but may not have arrived, except for so many
    /// of each one's first records, and `in_hand` behind them, not settled yet: all come again, before anything else.
    ///
    /// Also after it has been told to [end](Work::End): a queue that spills then keeps them, any other hands them out
    /// again.
    pub(crate) fn put_back(&self, settled: Vec<(Arc<Batch>, usize)>, in_hand: Option<Arc<Batch>>) {
        let mut state = self.state.lock();
        if state.stage == Stage::Ended && !state.spills() {
            state.stage = Stage::Closed;
        }
        if let Some(batch) = in_hand
            && let (true, origin) = state.release(&batch)
        {
            state.push_front(batch, origin);
        }
        for (batch, arrived) in settled.into_iter().rev() {
            state.unsettle(batch, arrived);
        }
        self.unlock(state);
    }

    /// Gives up what cannot be delivered, which is behind the first `written` records of `batch`. If the queue spills they
    /// will come again, once it has been closed at the next start; else they are lost. Returns what the stream has to be
    /// told of.
    pub(crate) fn give_up(&self, batch: &Batch, written: usize) -> Option<Loss> {
        let rest = batch.behind(written);
        let mut state = self.state.lock();
        if !state.spills() || written == batch.len() {
            drop(state);
            self.settle(batch, written);
            return batch.loss_after(written);
        }
        state.split(batch, written, rest);
        if state.stage == Stage::Closed {
            state.stage = Stage::Ended;
        }
        self.unlock(state);
        None
    }

    /// Waits for `time`, less if nudged or closed.
    pub(crate) fn pause(&self, time: Duration) {
        let mut state = self.state.lock();
        self.work.wait_while_for(&mut state, |state| !state.nudged && state.stage == Stage::Open, time);
        state.nudged = false;
    }

    /// Settles `batch`: `written` records of it are with the target, the rest is lost.
    pub(crate) fn settle(&self, batch: &Batch, written: usize) {
        let mut state = self.state.lock();
        let operation = state.settle(batch, written as u64);
        drop(state);
        self.settled.notify_all();
        self.room.notify_all();
        self.perform(operation);
    }

    /// Settles the loss that was given last: it is written, or kept in mind.
    pub(crate) fn settle_loss(&self) {
        self.state.lock().done += 1;
        self.settled.notify_all();
    }

    /// Counts as lost a record counted as written: it turns out to be incomplete for good.
    pub(crate) fn tear(&self) {
        let mut state = self.state.lock();
        let accounts = &mut state.accounts;
        accounts.written = accounts.written.saturating_sub(1);
        accounts.lost += 1;
    }

    /// Notes that an attempt to write moved `bytes`, and ended with `error` if it failed.
    pub(crate) fn attempted(&self, bytes: u64, error: Option<String>) {
        let mut state = self.state.lock();
        let failed = error.is_some();
        let accounts = &mut state.accounts;
        accounts.bytes += bytes;
        match error {
            Some(error) => accounts.erred(error),
            None if accounts.last_error.is_some() && accounts.recovered_at.is_none() => accounts.recovered(),
            None => {}
        }
        if state.set_failing(failed) {
            self.settled.notify_all(); // a flush need not wait for a target that fails
            self.unlock(state);
        }
    }
}
