//! One VM's interrupt: armed by the watchdog, called by Luau at a safepoint.
#![expect(unsafe_code, reason = "the one place: arming Luau's interrupt pointer from the watchdog thread")]

use std::cell::Cell;
use std::ffi::c_int;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64};
use std::time::Duration;

use mlua::{Lua, ffi};
use parking_lot::Mutex;

use super::frames::{is_native, place, raise, write_place};
use super::meter::{MAX_HOLD, Verdict, thread_cpu_time};
use super::running::{preempted, with_running};
use crate::luau::Heap;
use crate::{overrun, probe, sentinel};

thread_local! {
    /// The slot of the VM whose slice runs.
    static SLOT: Cell<*const Slot> = const { Cell::new(ptr::null()) };
}

/// One VM, as the watchdog sees it.
pub(super) struct Slot {
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

// SAFETY: the pointer is used only under the slot's lock, which `release` takes to clear it before the VM
// goes; what it points to is accessed atomically.
unsafe impl Send for Target {}

/// A time that nobody knows.
const UNKNOWN: u64 = u64::MAX;

impl Slot {
    /// Makes the slot of a VM on this thread.
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        let mut pointer: *const AtomicPtr<()> = ptr::null();
        // SAFETY: `lua_callbacks` returns the VM's own callbacks struct, valid as long as the VM. An
        // `Option<extern fn>` has the size and null niche of a pointer, and so of an `AtomicPtr`.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                pointer = (&raw const (*ffi::lua_callbacks(state)).interrupt).cast();
            })?;
        }
        Ok(Self {
            sequence: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            armed_for: AtomicU64::new(0),
            armed_at: AtomicU64::new(UNKNOWN),
            overruns: AtomicU64::new(0),
            // Without it (no `/proc`) nothing is told of who overran.
            clock: File::open("/proc/thread-self/schedstat").ok(),
            target: Mutex::new(Some(Target(pointer))),
        })
    }

    /// Lets go of the VM, which is about to go.
    pub(super) fn release(&self) {
        self.set_interrupt(ptr::null_mut());
        *self.target.lock() = None;
    }

    /// The sequence: odd while a slice runs.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.load(SeqCst)
    }

    pub(super) fn overruns(&self) -> u64 {
        self.overruns.load(Relaxed)
    }

    /// Arms the interrupt for the slice of that sequence, if it is not.
    pub(super) fn arm(&self, slice: u64) {
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

    /// Ends that slice, or comes to where it could: counts it, and reports it, if that is too late. `place` is where in the script.
    fn late(&self, slice: u64, place: impl FnOnce() -> String) {
        if !self.is_for(slice) {
            return;
        }
        let armed_at = self.armed_at.swap(UNKNOWN, SeqCst);
        let held = thread_cpu_time().saturating_sub(Duration::from_nanos(armed_at));
        if held > MAX_HOLD {
            self.overruns.fetch_add(1, Relaxed);
            overrun::report(held, place);
        }
    }

    fn set_interrupt(&self, interrupt: *mut ()) {
        let target = self.target.lock();
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

/// A slice of a VM on this thread, until this is dropped.
pub(super) struct RunningSlot<'a> {
    slot: &'a Slot,
    outer: *const Slot,
}

impl<'a> RunningSlot<'a> {
    pub(super) fn begin(slot: &'a Slot) -> Self {
        let outer = SLOT.replace(slot);
        slot.sequence.fetch_add(1, SeqCst);
        Self { slot, outer }
    }
}

impl Drop for RunningSlot<'_> {
    fn drop(&mut self) {
        let slice = self.slot.sequence.fetch_add(1, Relaxed);
        if self.slot.armed.load(Relaxed) {
            self.slot.set_interrupt(ptr::null_mut());
            self.slot.late(slice, || "a script".to_owned());
        }
        SLOT.set(self.outer);
    }
}

/// Called by Luau at a safepoint of a VM that the watchdog armed.
unsafe extern "C-unwind" fn interrupt(state: *mut ffi::lua_State, gc: c_int) {
    if gc >= 0 {
        return; // a step of the collector: no place to raise or yield
    }
    if probe::goes_on(state) {
        return; // at the next safepoint
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
        let verdict =
            with_running(
                |meter| {
                    if can_yield { meter.tick(heap) } else { meter.tick_stuck(is_native(state), heap) }
                },
            );
        if matches!(verdict, Some(Verdict::GiveWay)) {
            with_running(|meter| meter.note_place(|text| write_place(state, text)));
        }
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
                ffi::lua_pushlightuserdata(state, sentinel::preempted().0);
                ffi::lua_yield(state, 1);
            }
            None => (*ffi::lua_callbacks(state)).interrupt = None,
        }
    }
}
