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
//! Yielding is not possible everywhere (inside a metamethod, `table.sort`, `string.gsub`); there the script goes on,
//! the watchdog arms again a tick later, and the error at the end of the budget still stops it.
#![expect(unsafe_code, reason = "the one place: arming Luau's interrupt pointer from the watchdog thread")]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use mlua::{LightUserData, Lua, ffi};
use rustix::time::{ClockId, clock_gettime};

use crate::luau::{self, Heap};
use crate::memory::Account;

/// How long a slice may be, once the watchdog has seen it.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// How often the watchdog looks while it sees no slice: the longest a slice may go unseen.
const LOOK: Duration = Duration::from_millis(4);

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
    overrun: Cell<bool>,
    in_lane: Cell<bool>,
    account: Account,
}

impl Meter {
    pub(crate) fn new(account: Account, limit: Duration) -> Self {
        let (used, counted, overrun, in_lane) = Default::default();
        Self { used, limit, counted, overrun, in_lane, account }
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

    /// Whether the task was stopped for using more than its budget.
    pub(crate) fn overrun(&self) -> bool {
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

    fn tick(&self, heap: Heap) -> Verdict {
        let now = thread_cpu_time();
        // Of the slice that is preempted first, nobody knows when it began.
        self.add(self.counted.replace(Some(now)).map_or(TICK, |counted| now.saturating_sub(counted)));
        if self.used.get() > self.limit {
            self.overrun.set(true);
            return Verdict::Stop(c"stopped: its CPU budget is used up");
        }
        if self.account.press(heap) {
            return Verdict::Stop(c"stopped: its VM is at its memory limit, and it held the most");
        }
        Verdict::GiveWay
    }

    fn add(&self, used: Duration) {
        self.used.set(self.used.get().saturating_add(used));
    }
}

/// What the running thread has used of its core.
pub(crate) fn thread_cpu_time() -> Duration {
    // Fails only for clocks that do not exist.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

enum Verdict {
    GiveWay,
    Stop(&'static CStr),
    /// No task runs: the interrupt was armed in the last moment of one.
    Nothing,
}

thread_local! {
    static RUNNING: RefCell<Option<Rc<Meter>>> = const { RefCell::new(None) };
    static PREEMPTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the watchdog made the running coroutine yield since this was last asked.
pub(crate) fn take_preempted() -> bool {
    PREEMPTED.replace(false)
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
    /// The VM's interrupt pointer, reinterpreted as data; gone once the VM is.
    target: Mutex<Option<Target>>,
}

struct Target(*const AtomicPtr<()>);

// SAFETY: the pointer is used only under the slot's lock, which `Preemption::drop` takes to clear it before the VM
// goes; what it points to is accessed atomically.
unsafe impl Send for Target {}

impl Slot {
    fn set_interrupt(&self, interrupt: *mut ()) {
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Target(pointer)) = *target {
            // SAFETY: the VM lives as long as `target` is `Some`, and its callbacks struct with it.
            unsafe { &*pointer }.store(interrupt, Relaxed);
            self.armed.store(!interrupt.is_null(), Relaxed);
        }
    }
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
        let mut pointer: *const AtomicPtr<()> = std::ptr::null();
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
            target: Mutex::new(Some(Target(pointer))),
        });
        watchdog().watch(&slot);
        Ok(Self { slot })
    }

    /// Runs `slice` (one poll of a script's future) under `meter`.
    pub(crate) fn slice<R>(&self, meter: &Rc<Meter>, slice: impl FnOnce() -> R) -> R {
        let category = luau::set_category(meter.account.category());
        let outer = RUNNING.replace(Some(Rc::clone(meter)));
        self.slot.sequence.fetch_add(1, SeqCst);
        watchdog().wake_if_parked();
        let guard = SliceEnd { slot: &self.slot, outer, category };
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
}

impl Drop for SliceEnd<'_> {
    fn drop(&mut self) {
        self.slot.sequence.fetch_add(1, Relaxed);
        if self.slot.armed.load(Relaxed) {
            self.slot.set_interrupt(std::ptr::null_mut());
        }
        luau::set_category(self.category);
        RUNNING.replace(self.outer.take());
    }
}

impl Drop for Preemption {
    fn drop(&mut self) {
        self.slot.set_interrupt(std::ptr::null_mut());
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
    let verdict =
        RUNNING.with_borrow(|meter| meter.as_ref().map_or(Verdict::Nothing, |meter| meter.tick(heap)));
    // SAFETY: Luau calls this with the running state, at a safepoint where its manual allows raising and, if
    // `lua_isyieldable`, yielding. No value with a destructor is alive here when `lua_error` unwinds.
    unsafe {
        match verdict {
            // Stays armed: a `pcall` that swallows the error meets the next one at the next safepoint.
            Verdict::Stop(why) => {
                ffi::lua_rawcheckstack(state, 3);
                ffi::luaL_where(state, 0); // here, not where this was called from
                ffi::lua_pushstring(state, why.as_ptr());
                ffi::lua_concat(state, 2);
                ffi::lua_error(state);
            }
            Verdict::GiveWay | Verdict::Nothing => {
                (*ffi::lua_callbacks(state)).interrupt = None;
            }
        }
        if matches!(verdict, Verdict::GiveWay) && ffi::lua_isyieldable(state) != 0 {
            PREEMPTED.set(true);
            // The resumer takes the marker off again, so the interrupted frame is as it was.
            ffi::lua_rawcheckstack(state, 1);
            ffi::lua_pushlightuserdata(state, marker().0);
            ffi::lua_yield(state, 1);
        }
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
                        slot.set_interrupt(interrupt as *mut ());
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
