//! The watchdog: scripts give way after a slice and stop at their budget, at no cost while they behave.
//!
//! Luau calls an *interrupt* at loop back-edges and calls, if one is set. An interrupt that is always set costs 7 ns
//! at each of these safepoints; this one is set only when a slice is over. A thread looks at every VM every [`LOOK`];
//! when it finds one in the middle of a slice it looks again after a [`TICK`], and if that is still the same slice, arms
//! the VM's interrupt pointer. (Looking every tick would wake a thread a thousand times a second on a busy server.) The
//! interrupt disarms itself, adds the time to the task's [`Meter`], and yields the coroutine to the event loop, or
//! raises an error when the task has had its budget. Luau documents that pointer as settable from any thread
//! (`lua.h`: "it is safe to set from an arbitrary thread"), which is all that the `unsafe` here rests on.
//!
//! Yielding is not possible everywhere (inside a metamethod, a pattern); there the script goes on, and the interrupt stays
//! armed so that the next place where it can give way is not missed. If none comes for [`MAX_STUCK`], it is stopped. A pattern is a native function, which can go on for ever over one text: it is stopped once it has
//! held its thread for [`MAX_HOLD`].
#![expect(unsafe_code, reason = "the one place: arming Luau's interrupt pointer from the watchdog thread")]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{ptr, slice};

use mlua::{LightUserData, Lua, ffi};
use rustix::time::{ClockId, clock_gettime};

use crate::luau::{self, Heap};
use crate::memory::Account;
use crate::overrun;

/// How long a slice may be, once the watchdog has seen it.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// How often the watchdog looks while it sees no slice: the longest a slice may go unseen.
const LOOK: Duration = Duration::from_millis(4);

/// How long one native function may hold its thread, in CPU time, where it can be stopped: a pattern that goes over a MiB
/// once takes less.
pub(crate) const MAX_HOLD: Duration = Duration::from_millis(10);

/// How long a script may hold its thread, in CPU time, where it cannot give way: in a metamethod, and all that one calls.
const MAX_STUCK: Duration = Duration::from_millis(50);

/// How many safepoints of a script that cannot yield there are to a look at the clock. A native function is looked at each
/// time: between two of its safepoints it may compare megabytes.
const UNTIMED: u32 = 32;

/// How many looks are a tick apart after a slice was ended: who needed that once needs it again, and may rest between.
const ALERT: u32 = 20;

/// How many looks without any running script before the watchdog sleeps until it is woken.
const IDLE_LOOKS: u32 = 25;

/// Counts the CPU time of one task (a request, a statement, a timer).
///
/// A task that ends within its first slice is never timed: the clock is read at ticks, and at both ends of the slices of
/// a task that has been preempted before.
#[derive(Debug)]
pub(crate) struct Meter {
    used: Cell<Duration>,
    limit: Duration,
    /// The thread's CPU time up to which the running slice has been counted.
    counted: Cell<Option<Duration>>,
    /// Since when host code has been at work in the running slice, as far as it has told ([`look`]).
    at_work: Cell<Option<Instant>>,
    /// Safepoints at which the task could not give way.
    stuck: Cell<u32>,
    /// The thread's CPU time when the native function that runs was first met.
    held_since: Cell<Option<Duration>>,
    /// That when the script was first met where it cannot give way, and has not been able to since.
    stuck_since: Cell<Option<Duration>>,
    /// The limit for which it was stopped.
    overrun: Cell<Option<Duration>>,
    /// How often it was told to stop: it may have caught the error.
    stops: Cell<u64>,
    in_lane: Cell<bool>,
    account: Account,
}

impl Meter {
    pub(crate) fn new(account: Account, limit: Duration) -> Self {
        Self {
            used: Cell::default(),
            limit,
            counted: Cell::default(),
            at_work: Cell::default(),
            stuck: Cell::default(),
            held_since: Cell::default(),
            stuck_since: Cell::default(),
            overrun: Cell::default(),
            stops: Cell::default(),
            in_lane: Cell::default(),
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

    /// What it has used of its budget.
    pub(crate) fn used(&self) -> Duration {
        self.used.get()
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

    /// Where it stands now, it can give way.
    fn come_loose(&self) {
        self.held_since.set(None);
        if self.stuck_since.take().is_some() {
            self.overrun.set(None); // it caught the error
        }
    }

    fn tick(&self, heap: Heap) -> Verdict {
        self.come_loose();
        self.tick_at(thread_cpu_time(), Some(heap))
    }

    /// At a safepoint that cannot yield, of a script or in a `native` function.
    fn tick_stuck(&self, native: bool, heap: Heap) -> Verdict {
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
        if self.used.get() > self.limit {
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
    }
}

/// What a script is told that is stopped.
const STOPPED: &CStr = c"stopped: its CPU budget is used up";

/// What the running thread has used of its core.
pub(crate) fn thread_cpu_time() -> Duration {
    // Fails only for clocks that do not exist.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// What a task that has had its slice is to do.
pub(crate) enum Verdict {
    /// Let others have their turn.
    GiveWay,
    /// End, with this error: a budget is used up, or the native function it is in takes too long at a stretch.
    Stop(&'static CStr),
    /// Go on. Or no task runs: the interrupt was armed in the last moment of one.
    Nothing,
}

thread_local! {
    static RUNNING: RefCell<Option<Rc<Meter>>> = const { RefCell::new(None) };
    static PREEMPTED: Cell<u32> = const { Cell::new(0) };
    /// The slot of the VM whose slice runs.
    static SLOT: Cell<*const Slot> = const { Cell::new(ptr::null()) };
}

/// How often the watchdog made the running coroutine yield since this was last asked, or one around it.
pub(crate) fn take_preempted() -> u32 {
    PREEMPTED.take()
}

fn preempted() {
    PREEMPTED.set(PREEMPTED.get().saturating_add(1));
}

/// What the interrupt is to scripts, for host code that works for one: called between two pieces of the work, each far
/// below a [`TICK`]. The clock runs from the first call in a slice; [`Verdict::Nothing`] until a tick is over. After
/// [`Verdict::GiveWay`] the caller returns to the event loop, and the task waits in the slow lane.
pub(crate) fn look() -> Verdict {
    RUNNING.with_borrow(|running| {
        let Some(meter) = running else { return Verdict::Nothing };
        let now = Instant::now();
        let since = meter.at_work.get().unwrap_or(now);
        meter.at_work.set(Some(since));
        if now.duration_since(since) < TICK {
            return Verdict::Nothing;
        }
        let verdict = meter.tick_at(thread_cpu_time(), None);
        if matches!(verdict, Verdict::GiveWay) {
            preempted();
        }
        verdict
    })
}

/// How often the running task has been told to stop, whether it caught the error or not.
pub(crate) fn stops_of_running() -> u64 {
    RUNNING.with_borrow(|running| running.as_ref().map_or(0, |meter| meter.stops.get()))
}

/// Whether the running task has used up its budget: whatever it does next is stopped, too.
pub(crate) fn is_running_spent() -> bool {
    RUNNING.with_borrow(|running| running.as_ref().is_some_and(|meter| meter.used.get() > meter.limit))
}

/// Gives the running task its CPU budget anew, as [`Meter::restart`] does.
pub(crate) fn restart_running() {
    RUNNING.with_borrow(|running| running.as_ref().inspect(|meter| meter.restart()).is_some());
}

/// What a coroutine yields when the watchdog makes it: nothing else yields this, so that the prelude can tell a
/// preemption from a yield of the script's own.
pub(crate) fn marker() -> LightUserData {
    static MARKER: u8 = 0;
    LightUserData((&raw const MARKER).cast_mut().cast())
}

/// One VM, as the watchdog sees it.
pub(crate) struct Slot {
    /// Odd while a slice runs; another value at every slice.
    sequence: AtomicU64,
    armed: AtomicBool,
    /// The sequence of the slice it was armed for. That may be over: then nothing happens to the one that runs.
    armed_for: AtomicU64,
    /// The thread's CPU time when it was armed, in nanoseconds; [`UNKNOWN`] where nobody knows, and once it was told.
    armed_at: AtomicU64,
    /// How often a slice went on for [`MAX_HOLD`] after that.
    overruns: AtomicU64,
    /// What the kernel tells of the VM's thread.
    clock: Option<File>,
    /// The VM's interrupt pointer, reinterpreted as data; gone once the VM is.
    target: Mutex<Option<Target>>,
}

struct Target(*const AtomicPtr<()>);

// SAFETY: the pointer is used only under the slot's lock, which `Preemption::drop` takes to clear it before the VM
// goes; what it points to is accessed atomically.
unsafe impl Send for Target {}

/// No time.
const UNKNOWN: u64 = u64::MAX;

impl Slot {
    /// Arms the interrupt for the slice of that sequence, if it is not.
    fn arm(&self, slice: u64) {
        if self.armed_for.load(Relaxed) != slice {
            self.armed_at.store(self.clock.as_ref().and_then(cpu_time_of).unwrap_or(UNKNOWN), SeqCst);
            self.armed_for.store(slice, SeqCst);
        }
        self.set_interrupt(interrupt as *mut ());
    }

    /// Whether it was armed for the slice of that sequence.
    fn is_for(&self, slice: u64) -> bool {
        self.armed_for.load(SeqCst) == slice
    }

    /// Where that slice ends, or could: counts it, and tells of it, if that comes too late. `place` is where in the script.
    fn late(&self, slice: u64, place: impl FnOnce() -> String) {
        if !self.is_for(slice) {
            return;
        }
        let armed_at = self.armed_at.swap(UNKNOWN, SeqCst);
        let held = thread_cpu_time().saturating_sub(Duration::from_nanos(armed_at));
        if held > MAX_HOLD {
            self.overruns.fetch_add(1, Relaxed);
            overrun::tell(held, place);
        }
    }

    fn set_interrupt(&self, interrupt: *mut ()) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Target(pointer)) = *target {
            // SAFETY: the VM lives as long as `target` is `Some`, and its callbacks struct with it.
            unsafe { &*pointer }.store(interrupt, Relaxed);
            self.armed.store(!interrupt.is_null(), Relaxed);
        }
    }
}

/// The CPU time of another thread, in nanoseconds: the first number of its `schedstat`.
fn cpu_time_of(schedstat: &File) -> Option<u64> {
    let mut text = [0; 64];
    let length = schedstat.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.split_whitespace().next()?.parse().ok()
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Puts one VM under the watchdog, for as long as this lives. Must be dropped before the VM.
#[derive(Debug)]
pub(crate) struct Preemption {
    slot: Arc<Slot>,
}

impl Preemption {
    pub(crate) fn install(lua: &Lua) -> mlua::Result<Self> {
        let mut pointer: *const AtomicPtr<()> = ptr::null();
        // SAFETY: `lua_callbacks` returns the VM's own callbacks struct, valid as long as the VM. An
        // `Option<extern fn>` has the size and null niche of a pointer, and so of an `AtomicPtr`.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                pointer = (&raw const (*ffi::lua_callbacks(state)).interrupt).cast();
            })?;
        }
        let slot = Arc::new(Slot {
            sequence: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            armed_for: AtomicU64::new(0),
            armed_at: AtomicU64::new(UNKNOWN),
            overruns: AtomicU64::new(0),
            // Without it (no `/proc`) nothing is told of who overran.
            clock: File::open("/proc/thread-self/schedstat").ok(),
            target: Mutex::new(Some(Target(pointer))),
        });
        watchdog().watch(&slot);
        Ok(Self { slot })
    }

    /// How often this VM held its thread for more than [`MAX_HOLD`] when it should have given way.
    pub(crate) fn overruns(&self) -> u64 {
        self.slot.overruns.load(Relaxed)
    }

    /// Runs `slice` (one poll of a script's future) under `meter`.
    pub(crate) fn slice<R>(&self, meter: &Rc<Meter>, slice: impl FnOnce() -> R) -> R {
        let category = luau::set_category(meter.account.category());
        meter.at_work.set(None);
        meter.come_loose();
        let outer = RUNNING.replace(Some(Rc::clone(meter)));
        let outer_slot = SLOT.replace(&raw const *self.slot);
        self.slot.sequence.fetch_add(1, SeqCst);
        watchdog().wake_if_parked();
        let guard = SliceEnd { slot: &self.slot, outer, outer_slot, category };
        let result = slice();
        drop(guard);
        result
    }
}

/// Ends the slice even when it unwinds.
struct SliceEnd<'a> {
    slot: &'a Slot,
    outer: Option<Rc<Meter>>,
    category: u8,
    outer_slot: *const Slot,
}

impl Drop for SliceEnd<'_> {
    fn drop(&mut self) {
        let slice = self.slot.sequence.fetch_add(1, Relaxed);
        if self.slot.armed.load(Relaxed) {
            self.slot.set_interrupt(ptr::null_mut());
            self.slot.late(slice, || "a script".to_owned());
        }
        luau::set_category(self.category);
        SLOT.set(self.outer_slot);
        RUNNING.replace(self.outer.take());
    }
}

impl Drop for Preemption {
    fn drop(&mut self) {
        self.slot.set_interrupt(ptr::null_mut());
        *self.slot.target.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Called by Luau at a safepoint of a VM that the watchdog armed.
unsafe extern "C-unwind" fn interrupt(state: *mut ffi::lua_State, gc: c_int) {
    if gc >= 0 {
        return; // a step of the collector: no place to raise or yield
    }
    // SAFETY: the VM is mlua's and running.
    let heap = unsafe { Heap::of(state) };
    // SAFETY: Luau calls this with the running state, at a safepoint where its manual allows raising and, if
    // `lua_isyieldable`, yielding. No value with a destructor is alive here when `lua_error` unwinds.
    unsafe {
        let slot = SLOT.get().as_ref();
        let slice = slot.map_or(0, |slot| slot.sequence.load(Relaxed));
        if slot.is_some_and(|slot| !slot.is_for(slice)) {
            (*ffi::lua_callbacks(state)).interrupt = None; // it came too late for another slice
            return;
        }
        let can_yield = ffi::lua_isyieldable(state) != 0;
        let verdict = RUNNING.with_borrow(|running| match running {
            None => None,
            Some(meter) if can_yield => Some(meter.tick(heap)),
            Some(meter) => Some(meter.tick_stuck(is_native(state), heap)),
        });
        if let (Some(Verdict::GiveWay | Verdict::Stop(_)), Some(slot)) = (&verdict, slot) {
            slot.late(slice, || place(state));
        }
        match verdict {
            // Stays armed: a `pcall` that swallows the error meets the next one at the next safepoint.
            Some(Verdict::Stop(why)) => raise(state, why),
            // Stays armed, for the first safepoint that can yield.
            Some(Verdict::Nothing) => {}
            Some(Verdict::GiveWay) => {
                (*ffi::lua_callbacks(state)).interrupt = None;
                preempted();
                // The resumer takes the marker off again, so the interrupted frame is as it was.
                ffi::lua_rawcheckstack(state, 1);
                ffi::lua_pushlightuserdata(state, marker().0);
                ffi::lua_yield(state, 1);
            }
            None => (*ffi::lua_callbacks(state)).interrupt = None,
        }
    }
}

/// What a script is told whose pattern took too long.
const HELD: &CStr = c"stopped: this pattern takes more than 10 ms over this text; search a shorter text, or one literally (`find(text, from, true)`)";

/// What a script is told that was stuck.
const STUCK: &CStr = c"stopped: this holds its thread for more than 50 ms where it cannot give way, in a metamethod; do it in a function";

/// Where the script is: `site.luau:12`.
unsafe fn place(state: *mut ffi::lua_State) -> String {
    // SAFETY: as `interrupt`; what is pushed is taken off again.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        ffi::luaL_where(state, scripts_level(state));
        let mut length = 0;
        let text: *const u8 = ffi::lua_tolstring(state, -1, &raw mut length).cast();
        let place = String::from_utf8_lossy(slice::from_raw_parts(text, length))
            .trim_end_matches([':', ' '])
            .to_owned();
        ffi::lua_settop(state, -2);
        place
    }
}

/// Raises an error with the place in the script that runs.
unsafe fn raise(state: *mut ffi::lua_State, message: &CStr) {
    // SAFETY: as `interrupt`.
    unsafe {
        ffi::lua_rawcheckstack(state, 3);
        ffi::luaL_where(state, scripts_level(state));
        ffi::lua_pushstring(state, message.as_ptr());
        ffi::lua_concat(state, 2);
        ffi::lua_error(state);
    }
}

/// How many frames of the host's own a script's is looked for behind.
const LEVELS: c_int = 16;

/// The innermost frame that is a script's: not a native function's, nor of the host's Luau (`=natives`).
unsafe fn scripts_level(state: *mut ffi::lua_State) -> c_int {
    for level in 0..LEVELS {
        // SAFETY: `lua_getinfo` fills what "s" asks for, if there is such a level.
        unsafe {
            let mut frame: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getinfo(state, level, c"s".as_ptr(), &raw mut frame) == 0 || frame.source.is_null() {
                break;
            }
            let source = CStr::from_ptr(frame.source);
            if source.to_bytes().starts_with(b"@") || source == c"=statement" {
                return level;
            }
        }
    }
    // SAFETY: as `interrupt`.
    c_int::from(unsafe { is_native(state) })
}

/// Whether it is a native function that runs.
unsafe fn is_native(state: *mut ffi::lua_State) -> bool {
    // SAFETY: level 0 is what runs; `lua_getinfo` fills what "s" asks for.
    unsafe {
        let mut frame: ffi::lua_Debug = std::mem::zeroed();
        ffi::lua_getinfo(state, 0, c"s".as_ptr(), &raw mut frame) != 0
            && !frame.what.is_null()
            && *frame.what == b'C' as std::ffi::c_char
    }
}

struct Watchdog {
    slots: Mutex<Vec<Weak<Slot>>>,
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: Watchdog =
        Watchdog { slots: Mutex::new(Vec::new()), parked: AtomicBool::new(false), thread: OnceLock::new() };
    &WATCHDOG
}

impl Watchdog {
    fn watch(&'static self, slot: &Arc<Slot>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(slot));
        drop(slots);
        self.thread.get_or_init(|| {
            let started = thread::Builder::new().name("medusa-watchdog".into()).spawn(|| watchdog().run());
            // Without its watchdog no script may run: there would be nothing to stop it.
            started.expect("the watchdog thread starts").thread().clone()
        });
    }

    fn wake_if_parked(&self) {
        if self.parked.load(SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut seen: Vec<(Weak<Slot>, u64)> = Vec::new();
        let (mut idle, mut alert) = (0, 0_u32);
        loop {
            thread::park_timeout(if alert > 0 { TICK } else { LOOK });
            alert = alert.saturating_sub(1);
            self.refresh(&mut seen);
            let mut running = false;
            for (slot, last) in &mut seen {
                let Some(slot) = slot.upgrade() else { continue };
                let now = slot.sequence.load(SeqCst);
                running |= now != *last;
                if now % 2 == 1 {
                    running = true;
                    alert = alert.max(1);
                    if now == *last {
                        slot.arm(now);
                        alert = ALERT;
                    }
                }
                *last = now;
            }
            idle = if running { 0 } else { idle + 1 };
            if idle >= IDLE_LOOKS {
                self.sleep(&seen);
                idle = 0;
            }
        }
    }

    /// Takes in VMs that came and drops those that went.
    fn refresh(&self, seen: &mut Vec<(Weak<Slot>, u64)>) {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(slot, _)| slot.strong_count() > 0);
        for slot in slots.iter() {
            if slot.strong_count() > 0 && !seen.iter().any(|(known, _)| known.ptr_eq(slot)) {
                seen.push((Weak::clone(slot), 0));
            }
        }
    }

    /// Sleeps until a slice starts. Told apart from one that just started by the order of the two flags: the slice
    /// sets its sequence before it looks at `parked`, this sets `parked` before it looks at the sequences.
    fn sleep(&self, seen: &[(Weak<Slot>, u64)]) {
        self.parked.store(true, SeqCst);
        let started = seen
            .iter()
            .any(|(slot, last)| slot.upgrade().is_some_and(|slot| slot.sequence.load(SeqCst) != *last));
        if !started {
            // A VM made meanwhile is noticed within this time, should its first slice slip through.
            thread::park_timeout(Duration::from_secs(1));
        }
        self.parked.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use mlua::{Thread, Value};

    use super::*;
    use crate::memory::Memory;

    /// The watchdog may take so long over arming that the slice is over.
    #[test]
    fn what_was_armed_for_one_slice_does_nothing_to_the_next() {
        const LIMIT: usize = 16 * 1024 * 1024;
        let lua = Lua::new();
        lua.set_memory_limit(LIMIT).unwrap();
        let account = Memory::new(LIMIT).open(Heap::new(&lua, LIMIT).unwrap());
        let meter = Rc::new(Meter::new(account, Duration::from_secs(1)));
        let preemption = Preemption::install(&lua).unwrap();
        let next: Thread =
            lua.load("return coroutine.create(function() for _ = 1, 100 do end end)").eval().unwrap();
        let slice = preemption.slot.sequence.load(SeqCst) + 1;
        preemption.slice(&meter, || ());
        preemption.slot.arm(slice);
        let begun = thread_cpu_time();
        while thread_cpu_time().saturating_sub(begun) < 2 * MAX_HOLD {}
        take_preempted();
        let yielded: Value = preemption.slice(&meter, || next.resume(())).unwrap();
        assert!(take_preempted() == 0 && yielded.is_nil(), "{yielded:?}");
        assert_eq!(preemption.overruns(), 0);
    }
}
