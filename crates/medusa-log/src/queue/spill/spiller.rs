//! The thread that puts records on disk.
//!
//! It is one of its own, so that a writer stuck with its target cannot keep it from working. It takes what it moves out
//! of the queue, writes it without holding the lock, and says batch by batch what has arrived; what cannot be written
//! goes back to where it was.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::directory::{Directory, survey};
use super::frame::{self, HEAD};
use super::segment::{MARK, MIDDLE, Segment, append, mark};
use crate::SinkError;
use crate::queue::state::{Item, Stage};
use crate::queue::{Queue, SpillOptions};

/// Wait until a disk that was full is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Wait until it is looked again whether another sink of the same target has left something. Only while there is one.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// References to a queue that has neither sink nor writer, when the spiller looks: a sink that could not be started.
const ALONE: usize = 2;

#[derive(Debug)]
pub(in crate::queue) struct Thread {
    queue: Arc<Queue>,
    directory: Directory,
    /// Bytes of disk it may take.
    limit: u64,
    /// Whether another sink may leave something behind.
    others: bool,
}

impl Thread {
    /// Takes possession of a directory. Also returns what is to be replayed from there.
    pub(in crate::queue) fn new(
        queue: &Arc<Queue>,
        options: &SpillOptions,
    ) -> Result<(Self, Vec<(u64, Segment)>), SinkError> {
        let failed = |source: io::Error| {
            let doing = "keep spilled records in this directory";
            SinkError::new(options.directory.display(), doing).because(source)
        };
        let directory = Directory::open(&options.directory).map_err(failed)?;
        let mut segments = survey(&directory.path).map_err(failed)?;
        let (adopted, others) = directory.adopt(segments.first().map_or(MIDDLE, |(number, _)| *number));
        segments.extend(adopted);
        let queue = Arc::clone(queue);
        Ok((Self { queue, directory, limit: options.bytes, others }, segments))
    }

    pub(in crate::queue) fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Works until the sink is gone and all is on disk.
    pub(in crate::queue) fn run(mut self) {
        while self.wait() {
            self.step();
        }
        self.finish();
    }

    /// Waits for something to do; false once there will be nothing more.
    fn wait(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.state.lock();
        loop {
            if state.to_spill(queue.limit).is_some() {
                return true;
            }
            if std::mem::take(&mut state.park) {
                queue.settled.notify_all();
            }
            let is_closed = state.stage >= Stage::Closed;
            if state.stage >= Stage::Left || (is_closed && Arc::strong_count(&queue) == ALONE) {
                return false;
            }
            let timeout = match () {
                () if is_closed || state.stuck => RETRY,
                () if self.others => LOOK_AROUND,
                () => Duration::MAX,
            };
            if queue.spilling.wait_for(&mut state, timeout).timed_out() {
                state.stuck = false;
                if self.others {
                    drop(state);
                    self.adopt();
                    state = queue.state.lock();
                }
            }
        }
    }

    /// Takes over what other sinks of the same target have left, as the oldest there is.
    pub(in crate::queue) fn adopt(&mut self) {
        let oldest = self.queue.state.lock().oldest_segment();
        let (adopted, others) = self.directory.adopt(oldest);
        self.others = others;
        self.queue.change(|state| state.adopt(&adopted));
    }

    /// Puts on disk some of what should be there: all of some items, or none. False if there is nothing.
    pub(in crate::queue) fn step(&mut self) -> bool {
        let mut state = self.queue.state.lock();
        let Some(side) = state.to_spill(self.queue.limit) else { return false };
        let room = self.limit.saturating_sub(state.accounts.spilled_bytes);
        let (items, number, length) = state.start_moving(side, usize::try_from(room).unwrap_or(usize::MAX));
        drop(state);
        let stored = self.store(&items, number, length, room);
        let moved = self.queue.change(|state| state.moved(items, stored.map(|length| (number, length))));
        for origin in moved {
            mark(&self.directory.path, origin);
        }
        true
    }

    /// Appends `items` to segment `number`, which has `length` bytes, if there is `room`. Returns how many it has then.
    fn store(&self, items: &VecDeque<Item>, number: u64, length: u64, room: u64) -> io::Result<u64> {
        let mut frames = Vec::new();
        for item in items {
            match &item.records {
                Ok(batch) => frame::encode_batch(batch, &mut frames),
                Err(loss) => frame::encode_loss(loss, &mut frames),
            }
        }
        // Whatever the limit, a frame that only says what has been lost is written.
        if frames.len() > HEAD && MARK + frames.len() as u64 > room {
            let problem = format!("all of its {} bytes are in use", self.limit);
            return Err(io::Error::new(ErrorKind::QuotaExceeded, problem));
        }
        append(&self.directory.path, number, length, &frames)
    }

    /// Nobody will take what is left: it is put on disk, or lost.
    pub(in crate::queue) fn finish(&mut self) {
        self.queue.change(|state| {
            state.stage = state.stage.max(Stage::Ended);
            state.stuck = false;
        });
        while self.step() {}
        let (lost, kept) = self.queue.change(|state| (state.lose_all(), state.accounts.spilled));
        let directory = &self.directory.path;
        if kept > 0 {
            tracing::info!(
                ?directory,
                records = kept,
                "records are kept on disk for the next log of this target"
            );
        }
        if lost > 0 {
            tracing::warn!(
                ?directory,
                records = lost,
                "records lost: neither their log nor the disk takes them"
            );
        }
    }
}
