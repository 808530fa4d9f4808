//! The watchdog: scripts give way after a slice and stop at their budget, at no cost while they behave.
//!
//! Luau calls an *interrupt* at loop back-edges and calls, if one is set. An interrupt that is always set costs 7 ns
//! at each of these safepoints; this one is set only when a slice is over. A thread looks at every VM every
//! [`LOOK`](watchdog::LOOK); when it finds one in the middle of a slice it looks again after a [`TICK`], and if that is still
//! the same slice, arms the VM's interrupt pointer. (Looking every tick would wake a thread a thousand times a second on a
//! busy server.) The interrupt disarms itself, adds the time to the task's [`Meter`], and yields the coroutine to the event
//! loop, or raises an error when the task has had its budget. Luau documents that pointer as settable from any thread
//! (`lua.h`: "it is safe to set from an arbitrary thread"), which is all that the `unsafe` here rests on.
//!
//! Yielding is not possible everywhere (inside a metamethod, a pattern); there the script goes on, and the interrupt stays
//! armed so that the next place where it can give way is not missed. If none comes for [`MAX_STUCK`](meter::MAX_STUCK), it
//! is stopped. A pattern is a native function, which can go on for ever over one text: it is stopped once it has held its
//! thread for [`MAX_HOLD`].
//!
//! - `watchdog`: the thread that looks; `interrupt`: a VM's pointer, armed and called; `frames`: where the script is;
//! - `meter`: what a task has used, and what becomes of it; `running`: the task that runs on this thread.

mod frames;
mod interrupt;
mod meter;
mod running;
#[cfg(test)]
mod tests;
mod watchdog;

use std::rc::Rc;
use std::sync::Arc;

use mlua::Lua;

use self::interrupt::{RunningSlot, Slot};
pub(crate) use self::meter::{MAX_HOLD, Meter, TICK, Verdict, thread_cpu_time};
use self::running::RunningTask;
pub(crate) use self::running::{
    is_running, is_running_spent, look, restart_running, stops_of_running, take_preempted,
};
use self::watchdog::watchdog;
use crate::luau;

/// Puts one VM under the watchdog, for as long as this lives. Must be dropped before the VM.
#[derive(Debug)]
pub(crate) struct Preemption {
    slot: Arc<Slot>,
}

impl Preemption {
    pub(crate) fn install(lua: &Lua) -> mlua::Result<Self> {
        let slot = Arc::new(Slot::new(lua)?);
        watchdog().watch(&slot);
        Ok(Self { slot })
    }

    /// The number of times this VM held its thread for more than [`MAX_HOLD`] when it should have given way.
    pub(crate) fn overruns(&self) -> u64 {
        self.slot.overruns()
    }

    /// Runs `slice` (one poll of a script's future) under `meter`.
    pub(crate) fn slice<R>(&self, meter: &Rc<Meter>, slice: impl FnOnce() -> R) -> R {
        // Dropped in this order, also where the slice unwinds.
        let _category = CategoryGuard(luau::set_category(meter.account().category()));
        let _task = RunningTask::begin(meter);
        let _slot = RunningSlot::begin(&self.slot);
        watchdog().wake_if_parked();
        slice()
    }
}

impl Drop for Preemption {
    fn drop(&mut self) {
        self.slot.release();
    }
}

/// Puts the category of memory that was set before in its place.
struct CategoryGuard(u8);

impl Drop for CategoryGuard {
    fn drop(&mut self) {
        luau::set_category(self.0);
    }
}
