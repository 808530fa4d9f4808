//! Timers: what a script has done every so many seconds.
//!
//! The Site has no script to run. It tells whoever made a timer when to begin and when to end, and keeps what it has done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use medusa_monitor::TimerInfo;
use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::number;
use crate::draft::{Draft, DraftError};
use crate::part::{Environment, Part, PartId, PartKind, Parts};

/// The number of timers that a site may have. It has some dozens; what is due for ten thousand things is the work of
/// one timer that goes through a list.
pub const MAX_TIMERS: usize = 1024;

static KIND: PartKind = PartKind { name: "timer", noun: "timer", plural: "timers", most: MAX_TIMERS };

/// Stage in the life of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerStage {
    /// It is part of a draft.
    Made,
    /// It runs.
    Published,
    /// It does not run, unless it is published again.
    Retired,
}

/// Counts of a timer's runs.
#[derive(Debug, Default)]
pub struct TimerCounters {
    /// Its runs.
    pub runs: AtomicU64,
    /// Those that failed.
    pub failed: AtomicU64,
}

/// A timer as whoever runs it has it.
#[derive(Debug)]
pub struct MadeTimer {
    /// Its name across generations.
    pub id: PartId,
    /// Its stage. Closes when nobody has the timer any more.
    pub stage: watch::Receiver<TimerStage>,
    /// To be counted in.
    pub counters: Arc<TimerCounters>,
}

/// A timer.
pub struct Timer {
    id: PartId,
    origin: Arc<str>,
    interval: Duration,
    stage: watch::Sender<TimerStage>,
    counters: Arc<TimerCounters>,
    /// When it was published, while it is: its runs are multiples of its interval from then.
    since: Mutex<Option<Instant>>,
}

impl Timer {
    /// It, as it is now.
    pub fn info(&self) -> TimerInfo {
        let every = self.interval.as_secs_f64();
        let left = |since: Instant| every - since.elapsed().as_secs_f64() % every;
        TimerInfo {
            place: self.origin.to_string(),
            every,
            next: self.since.lock().map(left),
            runs: self.counters.runs.load(Relaxed),
            failed: self.counters.failed.load(Relaxed),
        }
    }
}

impl Draft {
    /// Adds a timer.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn add_timer(&mut self, interval: Duration, origin: Arc<str>) -> Result<MadeTimer, DraftError> {
        let id = PartId { kind: &KIND, name: number() };
        let (stage, watched) = watch::channel(TimerStage::Made);
        let counters = Arc::<TimerCounters>::default();
        let since = Mutex::default();
        self.put(Timer { id: id.clone(), origin, interval, stage, counters: Arc::clone(&counters), since })?;
        Ok(MadeTimer { id, stage: watched, counters })
    }
}

impl Part for Timer {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, _running: &Arc<dyn Part>) -> Arc<dyn Part> {
        self
    }

    fn label(&self) -> String {
        format!("timer at {}", self.origin)
    }

    fn publish(&self, _: &Parts, _: &Environment) {
        *self.since.lock() = Some(Instant::now());
        self.stage.send_replace(TimerStage::Published);
    }

    fn retire(&self, _: &Parts, _: &Environment) {
        *self.since.lock() = None;
        self.stage.send_replace(TimerStage::Retired);
    }

    fn status(&self) -> Status {
        Status::new(KIND.name, self.origin.to_string())
            .field("every", Value::Seconds(self.interval.as_secs_f64()))
            .counter("runs", self.counters.runs.load(Relaxed))
            .counter("failed", self.counters.failed.load(Relaxed))
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("origin", &self.origin)
            .field("interval", &self.interval)
            .field("stage", &*self.stage.borrow())
            .finish_non_exhaustive()
    }
}
