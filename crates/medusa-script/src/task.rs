//! A script's turn: a future of the script, run slice by slice under a budget.
//!
//! What a script may use is set by what it runs for: a request, a statement, a timer. CPU time is counted by the
//! watchdog ([`crate::preempt`]) and wall-clock time by tokio; both end in an ordinary error with a traceback. What
//! was preempted waits in the *slow lane* of its thread: of all scripts that had to give way, one runs per turn of
//! the event loop, so that a hundred runaway scripts cost everyone else no more than one does; and while there are
//! others, the lane rests after each slice as long as a slice may be, so that one costs them half a core at most. After a slice that
//! was longer, for it could not give way, it rests as long as that was, whoever else there is.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use medusa_net::cork::turn;
use medusa_net::worker;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::budget::{Budget, TaskError, Waited};
use crate::preempt::{self, MAX_HOLD, Meter, TICK, Verdict, take_preempted, thread_cpu_time};
use crate::vm::Vm;

thread_local! {
    static SLOW_LANE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    /// The requests begun at the lane's last slice.
    static SEEN: Cell<u64> = const { Cell::new(0) };
    /// How long the lane's last slice was.
    static HELD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How long until a script that waits for a request's body is asked again, at the least.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Vm {
    /// Runs a script's future to its end, or to the end of its budget.
    pub(crate) async fn run<T>(
        self: &Rc<Self>,
        budget: Budget,
        script: impl Future<Output = mlua::Result<T>>,
    ) -> Result<T, TaskError> {
        self.run_excusing(budget, Waited::default, script).await
    }

    /// As [`run`](Self::run); of the wall-clock time, what `waited` tells does not count. It is asked only when the time
    /// seems to be up.
    pub(crate) async fn run_excusing<T>(
        self: &Rc<Self>,
        budget: Budget,
        waited: impl Fn() -> Waited,
        script: impl Future<Output = mlua::Result<T>>,
    ) -> Result<T, TaskError> {
        run(self, budget, waited, script).await
    }
}

async fn run<T>(
    vm: &Rc<Vm>,
    budget: Budget,
    waited: impl Fn() -> Waited,
    script: impl Future<Output = mlua::Result<T>>,
) -> Result<T, TaskError> {
    let meter = vm.meter(budget);
    let mut metered = std::pin::pin!(metered(vm, &meter, script));
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

/// How long a script may go on before it is asked again; nothing when its time is up.
fn wall_left(wall: Duration, elapsed: Duration, waited: Waited) -> Option<Duration> {
    let left = (wall + waited.total).saturating_sub(elapsed);
    // While it waits, what is left stays the same: a script that has next to nothing left is not asked all the time.
    let left = if waited.now { left.max(ASK_AGAIN) } else { left };
    (!left.is_zero()).then_some(left)
}

/// Tells why a script failed, if it did.
pub(crate) fn finished<T>(vm: &Vm, result: mlua::Result<T>, meter: &Meter) -> Result<T, TaskError> {
    result.map_err(|error| {
        if let Some(limit) = meter.overrun() {
            TaskError::Cpu(limit, error)
        } else if meter.account().stopped().is_some() {
            TaskError::Memory(error)
        } else if is_memory(&error) {
            let innocent = meter.account().is_innocent(vm.heap());
            if innocent { TaskError::Crowded(error) } else { TaskError::Memory(error) }
        } else {
            TaskError::Script(error)
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

/// Polls `script` slice by slice, counting in `meter`.
pub(crate) async fn metered<T>(
    vm: &Rc<Vm>,
    meter: &Rc<Meter>,
    script: impl Future<Output = mlua::Result<T>>,
) -> mlua::Result<T> {
    let _end = End { vm, meter };
    let mut script = std::pin::pin!(script);
    let mut slow: Option<Slow> = None;
    poll_fn(move |cx| {
        if let Some(held) = meter.account().stopped() {
            return Poll::Ready(Err(stopped_for_memory(held)));
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
        let waker = slow.as_ref().map(|slow| Waker::from(Arc::clone(&slow.waker)));
        take_preempted();
        if slow.is_some() {
            meter.begin_slice();
        }
        let before = meter.used();
        let polled = vm.slice(meter, || match &waker {
            None => script.as_mut().poll(cx),
            Some(quiet) => script.as_mut().poll(&mut Context::from_waker(quiet)),
        });
        meter.end_slice();
        let preempted = take_preempted();
        meter.set_in_lane(preempted > 0 && polled.is_pending());
        if polled.is_ready() {
            return polled;
        }
        if let Some(held) = meter.account().stopped() {
            return Poll::Ready(Err(stopped_for_memory(held)));
        }
        meter.account().wait(cx);
        if preempted > 0 {
            HELD.set(meter.used().saturating_sub(before));
        }
        match &mut slow {
            Some(slow) => slow.after(preempted, cx),
            None if preempted > 0 => slow = Some(Slow::enter(preempted, cx)),
            None => {}
        }
        Poll::Pending
    })
    .await
}

/// Tells the VM's memory that a task has ended, or was given up.
struct End<'a> {
    vm: &'a Rc<Vm>,
    meter: &'a Meter,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let is_large = self.vm.memory().end(self.meter.account(), self.vm.heap());
        if is_large {
            self.vm.collect_later();
        }
    }
}

fn stopped_for_memory(held: usize) -> mlua::Error {
    mlua::Error::runtime(format!(
        "stopped: its VM is at its memory limit, and it held the most, some {} KiB",
        held / 1024
    ))
}

/// Where host code that works long for a script lets others have their turn: between two pieces of the work, each far
/// below a [`TICK`] (some hundred values, some 64 KiB). Most calls cost a look at the clock; once a slice is over the task waits
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

/// The state of a task that had to give way at least once.
struct Slow {
    turn: Turn,
    waker: Arc<QuietWaker>,
    /// How many slices may still only go as far as to say that it waits, though what it waits for has come: one for each
    /// preemption on its way there. Of nested coroutines each may be preempted, while it passes on that the one inside
    /// was, or waits.
    looks: u32,
}

enum Turn {
    /// Waits for the lane.
    Waiting(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>>>>),
    /// Has the lane, and lets others go first.
    Next {
        /// Dropping it gives the lane to the next.
        _lane: OwnedSemaphorePermit,
        /// For so long; none: until the event loop has looked at its sockets.
        rest: Option<Pin<Box<Sleep>>>,
    },
    /// Waits for something else than CPU time, out of the lane.
    Out,
}

impl Slow {
    fn enter(preempted: u32, cx: &mut Context<'_>) -> Self {
        let mut slow = Self { turn: Turn::Out, waker: QuietWaker::new(cx), looks: preempted };
        slow.queue(cx);
        slow
    }

    /// Gives up the lane, if it had it, and queues for it: others go first.
    fn queue(&mut self, cx: &mut Context<'_>) {
        self.turn = Turn::Out;
        self.turn = Turn::Waiting(Box::pin(SLOW_LANE.with(Arc::clone).acquire_owned()));
        // The first look registers the waker, or wins the lane at once.
        let _registered = self.poll_lane(cx);
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lane = match &mut self.turn {
            Turn::Waiting(lane) => ready!(lane.as_mut().poll(cx)),
            Turn::Next { rest: Some(rest), .. } => return rest.as_mut().poll(cx),
            Turn::Next { rest: None, .. } | Turn::Out => return Poll::Ready(()),
        };
        // Never closed; if it were, going on without the lane would still be right.
        let Ok(lane) = lane else {
            self.turn = Turn::Out;
            return Poll::Ready(());
        };
        let held = HELD.replace(TICK);
        let rests = had_company() || held > MAX_HOLD;
        let mut rest = rests.then(|| Box::pin(tokio::time::sleep(held.max(TICK))));
        match &mut rest {
            Some(rest) => drop(rest.as_mut().poll(cx)),
            None => defer(cx),
        }
        self.turn = Turn::Next { _lane: lane, rest };
        Poll::Pending
    }

    /// Whether the task may run its next slice.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.task.will_wake(cx.waker()) {
            self.waker = QuietWaker::new(cx);
        }
        ready!(self.poll_lane(cx));
        turn::write_out();
        self.waker.hush();
        Poll::Ready(())
    }

    /// After a slice: back into the lane if it was preempted, out of it if it waits for something else.
    fn after(&mut self, preempted: u32, cx: &mut Context<'_>) {
        let left = self.looks.saturating_sub(1);
        if preempted > 0 {
            self.looks = left.saturating_add(preempted).min(MOST_NESTED);
            self.queue(cx);
            return;
        }
        self.turn = Turn::Out;
        self.waker.speak();
        if self.looks > 0 {
            cx.waker().wake_by_ref();
        }
        self.looks = left;
    }
}

/// How deep coroutines nest: Luau's own limit for calls of C.
const MOST_NESTED: u32 = 200;

/// Whether requests have begun since the lane's last slice: on this worker, or for the main VM, whose thread takes the core of
/// any, on all.
fn had_company() -> bool {
    let requests = worker::requests();
    SEEN.replace(requests) != requests
}

/// Wakes the task at the event loop's next turn, after it has looked at its sockets.
fn defer(cx: &mut Context<'_>) {
    let mut turn = Box::pin(tokio::task::yield_now());
    let _deferred = turn.as_mut().poll(cx);
}

/// Stands in for the task's waker while a slice runs: the VM wakes its task whenever a coroutine yields, which for a
/// preempted one would be at once, before anyone else had a turn. A wake during the slice is kept, not lost.
struct QuietWaker {
    task: Waker,
    state: AtomicU8,
}

const PASSES_ON: u8 = 0;
const QUIET: u8 = 1;
const QUIET_AND_WOKEN: u8 = 2;

impl QuietWaker {
    fn new(cx: &Context<'_>) -> Arc<Self> {
        Arc::new(Self { task: cx.waker().clone(), state: AtomicU8::new(QUIET) })
    }

    fn hush(&self) {
        self.state.store(QUIET, SeqCst);
    }

    fn speak(&self) {
        if self.state.swap(PASSES_ON, SeqCst) == QUIET_AND_WOKEN {
            self.task.wake_by_ref();
        }
    }
}

impl Wake for QuietWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(QUIET, QUIET_AND_WOKEN, SeqCst, SeqCst) == Err(PASSES_ON) {
            self.task.wake_by_ref();
        }
    }
}
