//! A script's turn: a future of the script, run slice by slice under a budget.
//!
//! What a script may use is set by what it runs for: a request, a statement, a timer. CPU time is counted by the
//! watchdog ([`crate::preempt`]) and wall-clock time by tokio; both end in an ordinary error with a traceback. What
//! was preempted waits in the slow lane ([`crate::slow_lane`]).

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::budget::{Budget, TaskError, Waited};
use crate::preempt::{self, MAX_HOLD, Meter, Verdict, take_preempted, thread_cpu_time};
use crate::runs::{self, RunNote};
use crate::slow_lane::{SlowTask, defer};
use crate::vm::Vm;

/// The time until a script that waits for a request's body is asked again, at the least.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Vm {
    /// Runs a script's future to its end, or to the end of its budget. `note` tells what it is, once it gives way.
    pub(crate) async fn run<T>(
        self: &Rc<Self>,
        note: impl FnOnce() -> RunNote,
        budget: Budget,
        script: impl Future<Output = mlua::Result<T>>,
    ) -> Result<T, TaskError> {
        self.run_excusing(note, budget, Waited::default, script).await
    }

    /// Does the same as [`run`](Self::run); of the wall-clock time, what `waited` tells does not count. It is asked only when the time
    /// seems to be up.
    pub(crate) async fn run_excusing<T>(
        self: &Rc<Self>,
        note: impl FnOnce() -> RunNote,
        budget: Budget,
        waited: impl Fn() -> Waited,
        script: impl Future<Output = mlua::Result<T>>,
    ) -> Result<T, TaskError> {
        run(self, note, budget, waited, script).await
    }
}

async fn run<T>(
    vm: &Rc<Vm>,
    note: impl FnOnce() -> RunNote,
    budget: Budget,
    waited: impl Fn() -> Waited,
    script: impl Future<Output = mlua::Result<T>>,
) -> Result<T, TaskError> {
    let meter = vm.meter(budget);
    let mut metered = std::pin::pin!(metered(vm, &meter, note, script));
    // Most scripts never wait: only one that does needs a clock.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(metered.as_mut().poll(cx))).await {
        return finished(vm, result, &meter);
    }
    let started = Instant::now();
    let mut left = budget.wall;
    loop {
        if let Ok(result) = tokio::time::timeout(left, metered.as_mut()).await {
            return finished(vm, result, &meter);
        }
        left = wall_left(budget.wall, started.elapsed(), waited()).ok_or(TaskError::Wall(budget.wall))?;
    }
}

/// The time that a script may go on before it is asked again; nothing when its time is up.
fn wall_left(wall: Duration, elapsed: Duration, waited: Waited) -> Option<Duration> {
    let left = (wall + waited.total).saturating_sub(elapsed);
    // While it waits, what is left stays the same: a script that has next to nothing left is not asked all the time.
    let left = if waited.now { left.max(ASK_AGAIN) } else { left };
    (!left.is_zero()).then_some(left)
}

/// Tells why a script failed, if it did.
pub(crate) fn finished<T>(vm: &Vm, result: mlua::Result<T>, meter: &Meter) -> Result<T, TaskError> {
    result.map_err(|error| {
        if let Some(who) = meter.ended() {
            TaskError::Ended(Arc::clone(who))
        } else if let Some(limit) = meter.overrun() {
            TaskError::Cpu(limit, error)
        } else if meter.account().stopped().is_some() {
            TaskError::Memory(error)
        } else if is_memory(&error) {
            let innocent = meter.account().is_innocent(vm.heap());
            if innocent { TaskError::Crowded(error) } else { TaskError::Memory(error) }
        } else {
            TaskError::Script(vm.showing_raised(error))
        }
    })
}

/// Whether an error is the VM's memory limit, wherever in the chain.
fn is_memory(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::MemoryError(_) => true,
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => is_memory(cause),
        mlua::Error::RuntimeError(message) => message.starts_with("not enough memory"),
        _ => false,
    }
}

/// Polls `script` slice by slice, counting in `meter`. From when it first gives way on it is among the [`runs`].
pub(crate) async fn metered<T>(
    vm: &Rc<Vm>,
    meter: &Rc<Meter>,
    note: impl FnOnce() -> RunNote,
    script: impl Future<Output = mlua::Result<T>>,
) -> mlua::Result<T> {
    let _end = TaskEnd { vm, meter };
    let mut script = std::pin::pin!(script);
    let mut slow: Option<SlowTask> = None;
    let (mut note, mut _entered) = (Some(note), None);
    poll_fn(move |cx| {
        if let Some(error) = stopped_by_others(meter) {
            return Poll::Ready(Err(error));
        }
        if let Some(slow) = &mut slow
            && slow.poll_turn(cx).is_pending()
        {
            meter.account().wait(cx);
            return Poll::Pending;
        }
        if slow.is_some() && vm.memory().holds_back(vm.heap()) {
            meter.account().wait(cx);
            defer(cx);
            return Poll::Pending;
        }
        let waker = slow.as_ref().map(SlowTask::waker);
        take_preempted();
        if slow.is_some() {
            meter.begin_slice();
        }
        let seen_since = (slow.is_none() && note.is_none()).then(Instant::now);
        let before = meter.used();
        let polled = vm.slice(meter, || match &waker {
            None => script.as_mut().poll(cx),
            Some(quiet) => script.as_mut().poll(&mut Context::from_waker(quiet)),
        });
        meter.end_slice();
        let preempted = take_preempted();
        if let Some(since) = seen_since.filter(|_| preempted == 0) {
            meter.note_held(since.elapsed());
        }
        meter.set_in_lane(preempted > 0 && polled.is_pending());
        if polled.is_ready() {
            return polled;
        }
        if let Some(note) = note.take() {
            _entered = Some(runs::enter(meter, note()));
        }
        if let Some(error) = stopped_by_others(meter) {
            return Poll::Ready(Err(error));
        }
        meter.account().wait(cx);
        let held = meter.used().saturating_sub(before);
        match &mut slow {
            Some(slow) => slow.after(preempted, held, cx),
            None if preempted > 0 => slow = Some(SlowTask::enter(preempted, held, cx)),
            None => {}
        }
        Poll::Pending
    })
    .await
}

/// Tells the VM's memory that a task has ended, or was given up.
struct TaskEnd<'a> {
    vm: &'a Rc<Vm>,
    meter: &'a Meter,
}

impl Drop for TaskEnd<'_> {
    fn drop(&mut self) {
        let is_large = self.vm.memory().end(self.meter.account(), self.vm.heap());
        if is_large {
            self.vm.collect_later();
        }
    }
}

/// The error of a task that others have stopped: its VM for what it holds, or a person.
fn stopped_by_others(meter: &Meter) -> Option<mlua::Error> {
    if let Some(who) = meter.ended() {
        return Some(mlua::Error::runtime(TaskError::Ended(Arc::clone(who)).to_string()));
    }
    meter.account().stopped().map(stopped_for_memory)
}

fn stopped_for_memory(held: usize) -> mlua::Error {
    mlua::Error::runtime(format!(
        "stopped: its VM is at its memory limit, and it held the most, some {} KiB",
        held / 1024
    ))
}

/// Lets others have their turn, in host code that works long for a script: between two pieces of the work, each far
/// below a [`TICK`](preempt::TICK) (some hundred values, some 64 KiB). Most calls cost a look at the clock; once a slice is over the task waits
/// in the slow lane as if the watchdog had preempted it, and what it used counts. Outside of any task nothing happens.
///
/// For asynchronous host functions. What a script may call where it cannot wait (`json.decode` in a metamethod) is cut
/// into steps instead, which Luau calls in a loop: the loop is where the watchdog stops it.
///
/// # Errors
///
/// The task's CPU budget is used up: the work ends here.
pub(crate) async fn give_way() -> mlua::Result<()> {
    match preempt::look() {
        Verdict::Nothing => return Ok(()),
        Verdict::Stop(why) => return Err(mlua::Error::runtime(why.to_string_lossy())),
        Verdict::GiveWay => {}
    }
    let mut gave_way = false;
    // No waker: the lane polls again.
    poll_fn(|_| if std::mem::replace(&mut gave_way, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    Ok(())
}

/// Runs `task`, and then has others go first: for who starts one script after the other. If one poll of it held the thread
/// for long, as what cannot give way does, for as long as that.
pub(crate) async fn in_turn<T>(task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    let mut longest = Duration::ZERO;
    let done = poll_fn(|cx| {
        let begun = thread_cpu_time();
        let polled = task.as_mut().poll(cx);
        longest = longest.max(thread_cpu_time().saturating_sub(begun));
        polled
    });
    let done = done.await;
    if longest > MAX_HOLD {
        tokio::time::sleep(longest).await;
    } else {
        tokio::task::yield_now().await;
    }
    done
}
