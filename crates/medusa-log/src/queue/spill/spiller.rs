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

use super::Spill;
use super::directory::{Adopted, Directory};
use super::frame;
use super::index::MIDDLE;
use super::segment::{Appender, Found, MARK, SEGMENT_BYTES};
use crate::SinkError;
use crate::queue::state::{Item, Job, Life};
use crate::queue::{Queue, SpillOptions};

/// Until a disk that was full is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Until it is looked again whether another sink of the same target has left something. Only while there is one.
const LOOK_AROUND: Duration = Duration::from_secs(5);

/// References to a queue that has neither sink nor writer, when the spiller looks: a sink that could not be started.
const ALONE: usize = 2;

/// Memory kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

#[derive(Debug)]
pub(in crate::queue) struct Thread {
    queue: Arc<Queue>,
    directory: Directory,
    /// Bytes of disk it may take.
    limit: u64,
    /// The segment that takes what comes from the back.
    newest: Option<Appender>,
    /// Frames on their way.
    bytes: Vec<u8>,
    /// Whether another sink may leave something behind.
    others: bool,
}

/// Where frames go: a segment, and when that has enough, the one with the next number.
struct Segments<'a> {
    current: &'a mut Option<Appender>,
    next: u64,
}

impl Thread {
    /// Takes possession of a directory. Also returns what is to be replayed from there.
    pub(in crate::queue) fn new(
        queue: &Arc<Queue>,
        options: &SpillOptions,
    ) -> Result<(Self, Vec<(u64, Found)>), SinkError> {
        let failed = |source| SinkError::Spill { path: options.directory.clone(), source };
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
        while let Some(job) = self.wait() {
            self.work(job);
        }
        self.finish();
    }

    /// Waits for something to do; `None` once there will be nothing more.
    fn wait(&mut self) -> Option<Job> {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        loop {
            if let Some(job) = state.job(&queue.options) {
                return Some(job);
            }
            if std::mem::take(&mut state.spiller.park) {
                queue.settled.notify_all();
            }
            if state.ended || (state.closed && Arc::strong_count(&queue) == ALONE) {
                return None;
            }
            let (closed, stuck) = (state.closed, state.spiller.stuck);
            state.spiller.idle = true;
            let timeout = if closed || stuck { Some(RETRY) } else { self.others.then_some(LOOK_AROUND) };
            let (guard, timed_out) = queue.wait_for_spiller(state, timeout);
            state = guard;
            state.spiller.idle = false;
            if timed_out {
                state.spiller.stuck = false;
            }
            if timed_out && self.others {
                drop(state);
                self.adopt();
                state = queue.lock();
            }
        }
    }

    /// Takes over what other sinks of the same target have left, as the oldest there is.
    fn adopt(&mut self) {
        let oldest = self.queue.lock().disk.oldest();
        let adopted = self.directory.adopt(oldest);
        self.others = adopted.others;
        if !adopted.segments.is_empty() {
            self.queue.lock().adopt(&adopted.segments);
            self.queue.work.notify_one();
        }
    }

    /// Puts on disk all that waits in one place.
    pub(in crate::queue) fn work(&mut self, job: Job) {
        let (mut items, next) = self.take(job);
        let mut swept = None;
        let current = match job {
            Job::Front => &mut swept,
            Job::Back => &mut self.newest,
        };
        let mut segments = Segments { current, next };
        let mut result = Ok(());
        while let Some(item) = items.front() {
            result =
                store(&self.queue, self.directory.path(), self.limit, &mut self.bytes, &mut segments, item);
            if result.is_err() {
                break;
            }
            items.pop_front();
        }
        self.bytes.shrink_to(KEEP);
        self.put_back(job, items, result);
    }

    /// Takes what is to be moved, and the number of the next segment.
    fn take(&mut self, job: Job) -> (VecDeque<Item>, u64) {
        let mut state = self.queue.lock();
        state.spiller.moving = Some(job);
        match job {
            Job::Front => {
                let mut items = VecDeque::new();
                if state.takes_all() {
                    items.append(&mut state.in_hand);
                }
                items.append(&mut state.front);
                state.spiller.sweep = false;
                // At most one segment each.
                let next = state.disk.oldest().saturating_sub(items.len() as u64);
                (items, next)
            }
            Job::Back => {
                self.newest.take_if(|newest| !state.disk.is_open(newest.number));
                (std::mem::take(&mut state.back), state.disk.next_number())
            }
        }
    }

    /// What could not be stored waits where it was. What the writer held goes to the front: it may have been written
    /// meanwhile, but that was not counted, so it is better written twice.
    fn put_back(&self, job: Job, mut items: VecDeque<Item>, result: io::Result<()>) {
        let mut state = self.queue.lock();
        state.spiller.moving = None;
        if let Err(error) = result {
            state.spiller.stuck = true;
            state.spiller.sweep |= job == Job::Front;
            state.accounts_mut().last_error = Some(format!("cannot spill: {error}"));
        }
        match job {
            Job::Front => state.front.append(&mut items), // what the writer has put back meanwhile is older
            Job::Back => {
                items.append(&mut state.back);
                state.back = items;
            }
        }
        drop(state);
        self.queue.work.notify_one();
        self.queue.settled.notify_all();
    }

    /// Nobody will take what is left: it is put on disk, or lost.
    fn finish(&mut self) {
        {
            let mut state = self.queue.lock();
            state.ended = true;
            state.spiller.stuck = false;
        }
        loop {
            let job = self.queue.lock().job(&self.queue.options);
            let Some(job) = job else { break };
            self.work(job);
        }
        let mut state = self.queue.lock();
        state.spiller.life = Life::Ended;
        let lost = state.lose_all();
        drop(state);
        self.queue.settled.notify_all();
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

/// Writes `item`, and lets the queue know that it is on disk.
fn store(
    queue: &Queue,
    directory: &Path,
    limit: u64,
    bytes: &mut Vec<u8>,
    segments: &mut Segments<'_>,
    item: &Item,
) -> io::Result<()> {
    bytes.clear();
    let (frames, records) = match item {
        Item::Batch(batch, ..) => (frame::encode_batch(batch, bytes), batch.len() as u64),
        Item::Lost(loss) => {
            frame::encode_loss(loss, bytes);
            (1, 0)
        }
    };
    // A few bytes that say what is lost always fit.
    if records > 0 && queue.lock().disk.bytes() + MARK + bytes.len() as u64 > limit {
        return Err(io::Error::new(ErrorKind::QuotaExceeded, format!("all of its {limit} bytes are in use")));
    }
    let (number, length) = segments.append(directory, bytes)?;
    let mut state = queue.lock();
    state.disk.appended(number, length, frames, records);
    state.queued += frames - 1;
    let chore = match item {
        Item::Batch(batch, _, origin) => {
            state.forget(batch);
            origin.and_then(|origin| state.disk.release(origin))
        }
        Item::Lost(_) => None,
    };
    drop(state);
    queue.see_to(chore);
    Ok(())
}

impl Segments<'_> {
    /// Appends `frames`, or nothing. Returns the segment they are in, and how long it is now.
    fn append(&mut self, directory: &Path, frames: &[u8]) -> io::Result<(u64, u64)> {
        self.current.take_if(|current| current.length >= SEGMENT_BYTES);
        let current = match &mut *self.current {
            Some(current) => current,
            none => {
                let created = Appender::create(directory, self.next)?;
                self.next += 1;
                none.insert(created)
            }
        };
        current.append(frames)?;
        Ok((current.number, current.length))
    }
}
