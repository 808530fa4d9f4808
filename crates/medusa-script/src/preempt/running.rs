//! The task that runs on this thread, as host code meets it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::meter::{Meter, Verdict};

thread_local! {
    static RUNNING: RefCell<Option<Rc<Meter>>> = const { RefCell::new(None) };
    static PREEMPTED: Cell<u32> = const { Cell::new(0) };
}

/// The task that runs, until this is dropped.
pub(super) struct RunningTask(Option<Rc<Meter>>);

impl RunningTask {
    pub(super) fn begin(meter: &Rc<Meter>) -> Self {
        meter.begin_polling();
        Self(RUNNING.replace(Some(Rc::clone(meter))))
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        RUNNING.replace(self.0.take());
    }
}

/// Looks at the meter of the task that runs, if any does.
pub(super) fn with_running<R>(look: impl FnOnce(&Meter) -> R) -> Option<R> {
    RUNNING.with_borrow(|running| running.as_deref().map(look))
}

/// Whether it is this task that runs.
pub(crate) fn is_running(meter: &Rc<Meter>) -> bool {
    RUNNING.with_borrow(|running| running.as_ref().is_some_and(|running| Rc::ptr_eq(running, meter)))
}

/// The number of times the watchdog made the running coroutine yield since this was last asked, or one around it.
pub(crate) fn take_preempted() -> u32 {
    PREEMPTED.take()
}

/// Counts that the watchdog has made the running coroutine yield.
pub(super) fn preempted() {
    PREEMPTED.set(PREEMPTED.get().saturating_add(1));
}

/// Does what the interrupt does for scripts, for host code that works for one: called between
/// two pieces of the work, each far below a [`TICK`](super::TICK). The clock runs from the first call in a slice;
/// [`Verdict::Nothing`] until a tick is over. After [`Verdict::GiveWay`] the caller returns to the event loop, and
/// the task waits in the slow lane.
pub(crate) fn look() -> Verdict {
    let verdict = with_running(Meter::look).unwrap_or(Verdict::Nothing);
    if matches!(verdict, Verdict::GiveWay) {
        preempted();
    }
    verdict
}

/// The number of times the running task has been told to stop, whether it caught the error or not.
pub(crate) fn stops_of_running() -> u64 {
    with_running(Meter::stops).unwrap_or_default()
}

/// Whether the running task has used up its budget: whatever it does next is stopped, too.
pub(crate) fn is_running_spent() -> bool {
    with_running(Meter::is_spent).unwrap_or_default()
}

/// Gives the running task its CPU budget anew, as [`Meter::restart`] does.
pub(crate) fn restart_running() {
    with_running(Meter::restart);
}
