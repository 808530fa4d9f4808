//! The thread that puts records on disk.
//!
//! It is one of its own, so that a writer stuck with its target cannot keep it from working. It takes what it moves out
//! of the queue, writes it without holding the lock, and says batch by batch what has arrived; what cannot be written
//! goes back to where it was.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use super::Spill;
use super::directory::{Adopted, Directory};
use super::frame::{self, HEAD};
use super::index::MIDDLE;
use super::segment::{Appender, Found, MARK, SEGMENT_BYTES};
use crate::SinkError;
use crate::queue::state::{Item, Life, Side, Stage};
use crate::queue::{Queue, SpillOptions};

/// Wait until a disk that was full is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Wait until it is looked again whether another sink of the same target has left something. Only while there is one.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// References to a queue that has neither sink nor writer, when the spiller looks: a sink that could not be started.
const ALONE: usize = 2;

/// Bytes that are moved at once, more or less: a segment.
const CHUNK: usize = SEGMENT_BYTES as usize;

/// Frames that take no more are written whatever the limit: they say what has been lost.
const SMALL: usize = HEAD;

#[derive(Debug)]
pub(in crate::queue) struct Thread {
    queue: Arc<Queue>,
    directory: Directory,
    /// Bytes of disk it may take.
    limit: u64,
    /// The segment written last, which goes on taking what comes from the back as long as it is the newest.
    newest: Option<Appender>,
    /// Frames on their way.
    bytes: Vec<u8>,
    /// Whether another sink may leave something behind.
    others: bool,
}

impl Thread {
    /// Takes possession of a directory. Also returns what is to be replayed from there.
    pub(in crate::queue) fn new(
        queue: &Arc<Queue>,
        options: &SpillOptions,
    ) -> Result<(Self, Vec<(u64, Found)>), SinkError> {
        let failed = |source: io::Error| {
            SinkError::new(options.directory.display(), "keep spilled records in this directory")
                .because(source)
        };
        let directory = Directory::open(&options.directory).map_err(failed)?;
        let own = directory.segments().map_err(failed)?;
        let Adopted { mut segments, others } =
            directory.adopt(own.first().map_or(MIDDLE, |(number, _)| *number));
        segments.extend(own);
        let queue = Arc::clone(queue);
        let limit = options.bytes;
        Ok((Self { queue, directory, limit, newest: None, bytes: Vec::new(), others }, segments))
    }

    /// The side that reads.
    pub(in crate::queue) fn spill(&self) -> Spill {
        Spill::new(self.directory.path())
    }

    /// Works until the sink is gone and all is on disk.
    pub(in crate::queue) fn run(mut self) {
        while let Some(side) = self.wait() {
            self.work(side);
        }
        self.finish();
    }

    /// Waits for something to do; `None` once there will be nothing more.
    fn wait(&mut self) -> Option<Side> {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.state.lock();
        loop {
            if let Some(side) = state.to_spill(&queue.options) {
                return Some(side);
            }
            if std::mem::take(&mut state.spiller.park) {
                queue.settled.notify_all();
            }
            if state.stage == Stage::Left
                || (state.stage >= Stage::Closed && Arc::strong_count(&queue) == ALONE)
            {
                return None;
            }
            let often = state.stage >= Stage::Closed || state.spiller.stuck;
            let timeout = if often { Some(RETRY) } else { self.others.then_some(LOOK_AROUND) };
            let timed_out = if let Some(timeout) = timeout {
                queue.spilling.wait_for(&mut state, timeout).timed_out()
            } else {
                queue.spilling.wait(&mut state);
                false
            };
            if timed_out {
                state.spiller.stuck = false;
            }
            if timed_out && self.others {
                drop(state);
                self.adopt();
                state = queue.state.lock();
            }
        }
    }

    /// Takes over what other sinks of the same target have left, as the oldest there is.
    pub(in crate::queue) fn adopt(&mut self) {
        let oldest = self.queue.state.lock().disk.oldest();
        let adopted = self.directory.adopt(oldest);
        self.others = adopted.others;
        if !adopted.segments.is_empty() {
            self.queue.state.lock().adopt(&adopted.segments);
            self.queue.work.notify_one();
        }
    }

    /// Puts on disk some of what waits in one place: all of these items, or none.
    pub(in crate::queue) fn work(&mut self, side: Side) {
        let (items, number) = self.take(side);
        self.bytes.clear();
        let frames = items.iter().map(|item| encode(item, &mut self.bytes)).sum();
        let stored = self.append(number);
        self.bytes.shrink_to(CHUNK);
        match stored {
            Ok(length) => self.arrived(&items, number, length, frames),
            Err(error) => self.put_back(side, items, &error),
        }
        self.queue.work.notify_one();
        self.queue.settled.notify_all();
    }

    /// Takes what is to be moved, and says to which segment.
    fn take(&mut self, side: Side) -> (VecDeque<Item>, u64) {
        let mut state = self.queue.state.lock();
        state.spiller.moving = Some(side);
        let room = usize::try_from(self.limit.saturating_sub(state.disk.bytes)).unwrap_or(usize::MAX);
        match side {
            Side::Front => {
                self.newest = None; // a segment of its own
                // The youngest first: what does not fit must be older than what is on disk.
                let from = if state.front.is_empty() {
                    state.spiller.has_parked = true;
                    &mut state.in_hand
                } else {
                    &mut state.front
                };
                let count = chunk(from.iter().rev(), room);
                let items = from.split_off(from.len() - count);
                (items, state.disk.oldest().saturating_sub(1))
            }
            Side::Back => {
                let goes_on = |newest: &Appender| {
                    newest.length < SEGMENT_BYTES && state.disk.is_newest_and_open(newest.number)
                };
                self.newest.take_if(|newest| !goes_on(newest));
                let count = chunk(state.back.iter(), room);
                let items = state.back.drain(..count).collect();
                (items, self.newest.as_ref().map_or(state.disk.next_number(), |newest| newest.number))
            }
        }
    }

    /// Appends the frames to segment `number`, and returns how long that is now.
    fn append(&mut self, number: u64) -> io::Result<u64> {
        let used = self.queue.state.lock().disk.bytes;
        if self.bytes.len() > SMALL && used + MARK + self.bytes.len() as u64 > self.limit {
            let problem = format!("all of its {} bytes are in use", self.limit);
            return Err(io::Error::new(ErrorKind::QuotaExceeded, problem));
        }
        let mut appender = match self.newest.take() {
            Some(newest) => newest,
            None => Appender::create(self.directory.path(), number)?,
        };
        appender.append(&self.bytes)?;
        let length = appender.length;
        self.newest = Some(appender);
        Ok(length)
    }

    /// `items` are on disk.
    fn arrived(&self, items: &VecDeque<Item>, number: u64, length: u64, frames: u64) {
        let mut state = self.queue.state.lock();
        let operations = state.stored(items, number, length, frames);
        drop(state);
        for operation in operations {
            self.queue.perform(Some(operation));
        }
    }

    /// Puts back what could not be stored to where it was; what the writer holds, at the front.
    fn put_back(&self, side: Side, mut items: VecDeque<Item>, error: &io::Error) {
        let mut state = self.queue.state.lock();
        state.spiller.moving = None;
        state.spiller.stuck = true;
        state.accounts.erred(format!("cannot spill: {error}"));
        match side {
            Side::Front => state.front.append(&mut items), // what is there is older
            Side::Back => {
                items.append(&mut state.back);
                state.back = items;
            }
        }
    }

    /// Nobody will take what is left: it is put on disk, or lost.
    pub(in crate::queue) fn finish(&mut self) {
        {
            let mut state = self.queue.state.lock();
            state.stage = state.stage.max(Stage::Ended);
            state.spiller.stuck = false;
        }
        loop {
            let side = self.queue.state.lock().to_spill(&self.queue.options);
            let Some(side) = side else { break };
            self.work(side);
        }
        let mut state = self.queue.state.lock();
        state.spiller.life = Life::Ended;
        let lost = state.lose_all();
        let kept = state.disk.records;
        drop(state);
        self.queue.settled.notify_all();
        if kept > 0 {
            let directory = self.directory.path();
            tracing::info!(
                ?directory,
                records = kept,
                "records are kept on disk for the next log of this target"
            );
        }
        if lost > 0 {
            let directory = self.directory.path();
            tracing::warn!(
                ?directory,
                records = lost,
                "records lost: neither their log nor the disk takes them"
            );
        }
    }
}

/// Appends `item` as frames, and returns how many.
fn encode(item: &Item, bytes: &mut Vec<u8>) -> u64 {
    match item {
        Item::Batch(batch, ..) => frame::encode_batch(batch, bytes),
        Item::Lost(loss) => {
            frame::encode_loss(loss, bytes);
            1
        }
    }
}

/// Number of `items` to move at once: at least one, and as many as fit by the memory they take, which is about as much
/// as they will take on disk.
fn chunk<'a>(items: impl Iterator<Item = &'a Item>, room: usize) -> usize {
    let sizes = items.map(|item| match item {
        Item::Batch(batch, ..) => batch.footprint() + 2 * HEAD,
        Item::Lost(_) => HEAD,
    });
    let ends = sizes.scan(0_usize, |end, size| {
        *end = end.saturating_add(size);
        Some(*end)
    });
    ends.take_while(|&end| end <= room.min(CHUNK)).count().max(1)
}
