//! The CPU time of one task, and what becomes of it at a safepoint.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::luau::Heap;
use crate::memory::Account;

/// The length that a slice may have, once the watchdog has seen it.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The time that one native function may hold its thread, in CPU time, where it can be stopped: a pattern that goes
/// over a MiB once takes less.
pub(crate) const MAX_HOLD: Duration = Duration::from_millis(10);

/// The time that a script may hold its thread, in CPU time, where it cannot give way: in a metamethod, and all that
/// one calls.
pub(super) const MAX_STUCK: Duration = Duration::from_millis(50);

/// The number of safepoints of a script that cannot yield to a look at the clock. A native function is
/// looked at each time: between two of its safepoints it may compare megabytes.
const UNTIMED: u32 = 32;

/// Counts the CPU time of one task (a request, a statement, a timer).
///
/// A task that ends within its first slice is never timed: the clock is read at ticks, and at both ends of the slices of
/// a task that has been preempted before.
#[derive(Debug)]
pub(crate) struct Meter {
    used: Cell<Duration>,
    /// The same, never counted anew: for who looks on.
    total: Cell<Duration>,
    limit: Duration,
    /// The thread's CPU time up to which the running slice has been counted.
    counted: Cell<Option<Duration>>,
    /// Since when host code has been at work in the running slice, as far as it has told ([`look`](Self::look)).
    at_work: Cell<Option<Instant>>,
    /// Safepoints at which the task could not give way.
    stuck: Cell<u32>,
    /// The thread's CPU time when the native function that runs was first met.
    held_since: Cell<Option<Duration>>,
    /// That when the script was first met where it cannot give way, and has not been able to since.
    stuck_since: Cell<Option<Duration>>,
    /// The limit for which it was stopped.
    overrun: Cell<Option<Duration>>,
    /// The number of times it was told to stop: it may have caught the error.
    stops: Cell<u64>,
    in_lane: Cell<bool>,
    /// Where it was last made to give way.
    place: RefCell<String>,
    /// The one who has ended it.
    ended: OnceCell<Arc<str>>,
    account: Account,
}

impl Meter {
    pub(crate) fn new(account: Account, limit: Duration) -> Self {
        Self {
            used: Cell::default(),
            total: Cell::default(),
            limit,
            counted: Cell::default(),
            at_work: Cell::default(),
            stuck: Cell::default(),
            held_since: Cell::default(),
            stuck_since: Cell::default(),
            overrun: Cell::default(),
            stops: Cell::default(),
            in_lane: Cell::default(),
            place: RefCell::default(),
            ended: OnceCell::new(),
            account,
        }
    }

    /// The task's memory.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the task waits for its next slice in the slow lane, or has it: then it must go on being polled.
    pub(crate) fn in_lane(&self) -> bool {
        self.in_lane.get()
    }

    pub(crate) fn set_in_lane(&self, in_lane: bool) {
        self.in_lane.set(in_lane);
    }

    /// The time it has used of its budget.
    pub(crate) fn used(&self) -> Duration {
        self.used.get()
    }

    /// All the time it has used, as far as that was counted.
    pub(crate) fn total(&self) -> Duration {
        self.total.get()
    }

    /// Notes that a slice which gave way by itself has held its thread for so long: nobody has asked for its CPU time.
    pub(crate) fn note_held(&self, held: Duration) {
        self.total.set(self.total.get().saturating_add(held));
    }

    /// The line at which it was last made to give way.
    pub(crate) fn place(&self) -> String {
        self.place.borrow().clone()
    }

    /// Has `write` write that line.
    pub(super) fn note_place(&self, write: impl FnOnce(&mut String)) {
        let mut place = self.place.borrow_mut();
        place.clear();
        write(&mut place);
    }

    /// Has it end when it next gives way, or where it waits, on behalf of somebody. The first who says so has done it.
    pub(crate) fn end(&self, who: Arc<str>) {
        let _first = self.ended.set(who);
        self.account.wake();
    }

    /// The one who has ended it, if anybody has.
    pub(crate) fn ended(&self) -> Option<&Arc<str>> {
        self.ended.get()
    }

    /// The CPU time that it used more of, where it was stopped for that: its budget, or what it may take at a stretch.
    pub(crate) fn overrun(&self) -> Option<Duration> {
        self.overrun.get()
    }

    /// Starts counting anew: a producer, or who reads a request's body, has a budget per chunk, not for all
    /// that is ever sent.
    pub(crate) fn restart(&self) {
        self.used.set(Duration::ZERO);
    }

    /// A slice of a task that has been preempted before begins.
    pub(crate) fn begin_slice(&self) {
        self.counted.set(Some(thread_cpu_time()));
    }

    /// A slice ends; counts the rest of it, if any of it was counted.
    pub(crate) fn end_slice(&self) {
        if let Some(counted) = self.counted.take() {
            self.add(thread_cpu_time().saturating_sub(counted));
        }
    }

    /// A poll of the task begins, in which it can give way.
    pub(super) fn begin_polling(&self) {
        self.at_work.set(None);
        self.come_loose();
    }

    /// Decides at a place between two pieces of work that host code does for the task.
    pub(super) fn look(&self) -> Verdict {
        let now = Instant::now();
        let since = self.at_work.get().unwrap_or(now);
        self.at_work.set(Some(since));
        if now.duration_since(since) < TICK {
            return Verdict::Nothing;
        }
        self.tick_at(thread_cpu_time(), None)
    }

    /// The number of times it was told to stop.
    pub(super) fn stops(&self) -> u64 {
        self.stops.get()
    }

    /// Whether it has used up its budget.
    pub(super) fn is_spent(&self) -> bool {
        self.used.get() > self.limit
    }

    /// Notes that it can give way where it stands now.
    fn come_loose(&self) {
        self.held_since.set(None);
        if self.stuck_since.take().is_some() {
            self.overrun.set(None); // it caught the error
        }
    }

    pub(super) fn tick(&self, heap: Heap) -> Verdict {
        self.come_loose();
        self.tick_at(thread_cpu_time(), Some(heap))
    }

    /// Decides at a safepoint that cannot yield, of a script or in a `native` function.
    pub(super) fn tick_stuck(&self, native: bool, heap: Heap) -> Verdict {
        if !native {
            self.held_since.set(None);
        }
        let stuck = self.stuck.get();
        self.stuck.set(stuck.wrapping_add(1));
        if !native && !stuck.is_multiple_of(UNTIMED) {
            return Verdict::Nothing;
        }
        let now = thread_cpu_time();
        if let Verdict::Stop(why) = self.tick_at(now, Some(heap)) {
            return Verdict::Stop(why);
        }
        let since = self.held_since.get().unwrap_or(now);
        self.held_since.set(native.then_some(since));
        let stuck_since = self.stuck_since.get().unwrap_or(now);
        self.stuck_since.set(Some(stuck_since));
        if now.saturating_sub(since) > MAX_HOLD {
            self.stop(HELD)
        } else if now.saturating_sub(stuck_since) > MAX_STUCK {
            self.overrun.set(Some(MAX_STUCK));
            self.stop(STUCK)
        } else {
            Verdict::Nothing
        }
    }

    fn tick_at(&self, now: Duration, heap: Option<Heap>) -> Verdict {
        // Of the slice that is preempted first, nobody knows when it began.
        self.add(self.counted.replace(Some(now)).map_or(TICK, |counted| now.saturating_sub(counted)));
        if self.is_spent() {
            self.overrun.set(Some(self.limit));
            return self.stop(STOPPED);
        }
        if heap.is_some_and(|heap| self.account.press(heap)) {
            return self.stop(c"stopped: its VM is at its memory limit, and it held the most");
        }
        Verdict::GiveWay
    }

    fn stop(&self, why: &'static CStr) -> Verdict {
        self.stops.set(self.stops.get() + 1);
        Verdict::Stop(why)
    }

    fn add(&self, used: Duration) {
        self.used.set(self.used.get().saturating_add(used));
        self.total.set(self.total.get().saturating_add(used));
    }
}

/// The error of a script that is stopped.
const STOPPED: &CStr = c"stopped: its CPU budget is used up";

/// The time the running thread has used of its core.
pub(crate) fn thread_cpu_time() -> Duration {
    // Fails only for clocks that do not exist.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The orders for a task that has had its slice.
pub(crate) enum Verdict {
    /// Let others have their turn.
    GiveWay,
    /// End, with this error: a budget is used up, or the native function it is in takes too long at a stretch.
    Stop(&'static CStr),
    /// Go on. Or no task runs: the interrupt was armed in the last moment of one.
    Nothing,
}

/// The error of a script whose pattern took too long.
const HELD: &CStr = c"stopped: this pattern takes more than 10 ms over this text; search a shorter text, or one literally (`find(text, from, true)`)";

/// The error of a script that was stuck.
const STUCK: &CStr = c"stopped: this holds its thread for more than 50 ms where it cannot give way, in a metamethod; do it in a function";
