//! The queue as its writer sees it: what comes next, and what became of it.

use std::time::{Duration, Instant};

use medusa_proto::access::Loss;

use super::spill::{self, Segment};
use super::state::{Stage, Take};
use super::{Queue, Records};
use crate::local;

/// Next task of the writer.
#[derive(Debug)]
pub(crate) enum Work {
    /// Write these records, which have been waiting since then, or tell of this loss, already counted; then
    /// [`Queue::settle`].
    Records(Records, Instant),
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
            let is_left = state.stage == Stage::Closed && state.spills() && state.accounts.failing;
            if state.stage >= Stage::Ended || is_left {
                break;
            }
            match state.take() {
                Take::Work(work) => return work,
                Take::Segment(number, segment) => {
                    drop(state);
                    if let Some(work) = self.replay(number, &segment) {
                        return work;
                    }
                    state = self.state.lock();
                }
                Take::Nothing if state.stage == Stage::Closed && state.moving.is_none() => break,
                Take::Nothing => match deadline {
                    None => self.work.wait(&mut state),
                    Some(deadline) if deadline <= Instant::now() => return Work::Nudge,
                    Some(deadline) => drop(self.work.wait_until(&mut state, deadline)),
                },
            }
        }
        drop(state);
        self.change(|state| state.stage = state.stage.max(Stage::Ended));
        Work::End
    }

    /// Tells, as the last thing the writer's thread does, that nothing will be put back any more. What is left goes to
    /// disk, or is lost without anybody being told in the stream, as is what the writer has left `untold`.
    pub(crate) fn leave(&self, untold: Option<Loss>) {
        let lost = self.change(|state| {
            if state.has_spiller {
                state.stage = state.stage.max(Stage::Left);
                return 0;
            }
            state.lose_all()
        });
        let records = lost + untold.map_or(0, |loss| loss.records);
        if records > 0 {
            tracing::warn!(log = self.name, records, "records lost, and no way to say so in the log");
        }
    }

    /// Takes what is next from disk. `None` if there was nothing after all.
    fn replay(&self, number: u64, segment: &Segment) -> Option<Work> {
        let directory = self.directory.get()?;
        if segment.at < segment.length {
            let frame = spill::read(directory, number, segment);
            return self.state.lock().replayed(frame);
        }
        spill::remove(directory, number);
        self.change(|state| state.stuck = false); // there is room again
        None
    }

    /// Puts back `settled`, which in their order had been settled as written but may not have arrived, except for so many
    /// of each one's first records, and `in_hand` behind them, not settled yet: all come again, before anything else.
    ///
    /// Also after it has been told to [end](Work::End): a queue that spills then keeps them, any other hands them out
    /// again.
    pub(crate) fn put_back(&self, settled: Vec<(Records, usize)>, in_hand: Option<(Records, usize)>) {
        self.change(|state| {
            if state.stage == Stage::Ended && !state.spills() {
                state.stage = Stage::Closed;
            }
            if let Some((records, arrived)) = in_hand {
                state.take_back(&records, arrived);
            }
            for (records, arrived) in settled.into_iter().rev() {
                state.unsettle(records, arrived);
            }
        });
    }

    /// Gives up what cannot be delivered, which is behind the first `written` of `records`. If the queue spills they will
    /// come again, once it has been closed at the next start; else they are lost. Returns what the stream has to be told of.
    pub(crate) fn give_up(&self, records: &Records, written: usize) -> Option<Loss> {
        let loss = records.as_ref().map_or_else(|loss| Some(*loss), |batch| batch.loss_after(written));
        if loss.is_none() || !self.spills() {
            self.settle(records, written);
            return loss;
        }
        self.change(|state| {
            state.take_back(records, written);
            if state.stage == Stage::Closed {
                state.stage = Stage::Ended;
            }
        });
        None
    }

    /// Waits for `time`, less if nudged or closed.
    pub(crate) fn pause(&self, time: Duration) {
        let mut state = self.state.lock();
        self.work.wait_while_for(&mut state, |state| !state.nudged && state.stage == Stage::Open, time);
        state.nudged = false;
    }

    /// Settles `records`: the first `written` of them are with the target, the rest is lost; of a loss, it is written, or kept
    /// in mind. False: they have been put on disk meanwhile, from where they come again, so that this does not count.
    pub(crate) fn settle(&self, records: &Records, written: usize) -> bool {
        let Some(item) = self.change(|state| state.settle(records, written)) else { return false };
        if let (Some(directory), Some(origin)) = (self.directory.get(), item.origin) {
            spill::mark(directory, origin); // it need not be read from there again
        }
        true
    }

    /// Notes how many records counted as written the target has not acknowledged: a flush waits for them as well.
    pub(crate) fn set_unacknowledged(&self, records: u64) {
        self.state.lock().accounts.unacknowledged = records;
        self.settled.notify_all();
    }

    /// Counts as lost a record counted as written: it turns out to be incomplete for good.
    pub(crate) fn tear(&self) {
        let accounts = &mut self.state.lock().accounts;
        accounts.written = accounts.written.saturating_sub(1);
        accounts.lost += 1;
    }

    /// Notes that an attempt to write moved `bytes`, and ended with `error` if it failed. The first failure in a row is told
    /// in the server's own log, and so is the recovery, and nothing in between: that log may well end up here.
    pub(crate) fn attempted(&self, bytes: u64, error: Option<String>) {
        let mut state = self.state.lock();
        let accounts = &mut state.accounts;
        accounts.bytes += bytes;
        let was_failing = std::mem::replace(&mut accounts.failing, error.is_some());
        let is_news = was_failing != accounts.failing;
        let shown = error.clone().filter(|_| is_news);
        match error {
            Some(error) => accounts.erred(error),
            None if accounts.last_error.is_some() && accounts.recovered_at.is_none() => {
                accounts.recovered_at = Some(local::now_shown());
            }
            None => {}
        }
        drop(state);
        if is_news {
            self.change(|_| {}); // a flush need not wait for a target that fails
            let (log, [fails, works]) = (&self.name, self.told);
            if let Some(error) = shown {
                tracing::warn!(log, error, "{fails}");
            } else {
                tracing::info!(log, "{works}");
            }
        }
    }
}
