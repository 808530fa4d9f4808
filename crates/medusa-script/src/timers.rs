//! The timers of a VM: when they are due, and their runs.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use medusa_proto::with_causes;
use medusa_site::{Hand, Live};
use mlua::Function;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::MissedTickBehavior;

use crate::budget::Budget;
use crate::error::ScriptError;
use crate::task::in_turn;
use crate::transaction::Transaction;
use crate::vm::Vm;

/// How many timers a VM may have. A site has some dozens; what is due for ten thousand things is the work of one timer
/// that goes through a list.
pub(crate) const MAX_TIMERS: usize = 1024;

/// What a timer and its handle in the script share.
#[derive(Debug, Default)]
pub(crate) struct State {
    cancelled: Cell<bool>,
    wake: Notify,
}

impl State {
    /// Lets no further run begin.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
        self.wake.notify_one();
    }
}

/// The timers of one VM: none is started once they have been stopped.
///
/// All may be due at once, and each may keep the thread for a slice: they begin one by one, with a turn of the event loop
/// between them, so that requests and whoever is at the control socket have theirs.
#[derive(Debug)]
pub(crate) struct Timers {
    stopped: Cell<bool>,
    running: RefCell<Vec<AbortHandle>>,
    /// Those made by changes that are not published yet included.
    places: Rc<Cell<usize>>,
    turn: Semaphore,
}

impl Default for Timers {
    fn default() -> Self {
        let (stopped, running, places) = Default::default();
        Self { stopped, running, places, turn: Semaphore::new(1) }
    }
}

/// One of the [`MAX_TIMERS`], for as long as it lives.
#[derive(Debug)]
pub(crate) struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Timers {
    /// Room for one more, if there is any.
    pub(crate) fn place(&self) -> Option<Place> {
        let taken = self.places.get();
        (taken < MAX_TIMERS).then(|| {
            self.places.set(taken + 1);
            Place(Rc::clone(&self.places))
        })
    }

    /// Begins a run when it is its turn, and has others go first before the next.
    async fn begin<T>(&self, mut run: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let _turn = self.turn.acquire().await;
        in_turn(poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx)))).await
    }

    pub(crate) fn start(self: &Rc<Self>, timers: Vec<PendingTimer>, vm: &Rc<Vm>, live: &Arc<Live>) {
        if self.stopped.get() {
            return;
        }
        let mut running = self.running.borrow_mut();
        running.retain(|timer| !timer.is_finished());
        for timer in timers {
            let run = timer.run(Rc::clone(self), Rc::clone(vm), Arc::clone(live));
            running.push(spawn_local(run).abort_handle());
        }
    }

    /// Stops them all, for good: their VM has been replaced.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        for timer in self.running.take() {
            timer.abort();
        }
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    pub(crate) fn count(&self) -> usize {
        self.running.borrow().iter().filter(|timer| !timer.is_finished()).count()
    }
}

/// A timer that starts when its transaction is published.
#[derive(Debug)]
pub(crate) struct PendingTimer {
    interval: Duration,
    function: Function,
    origin: Arc<str>,
    state: Rc<State>,
    _place: Place,
}

impl PendingTimer {
    pub(crate) fn new(
        interval: Duration,
        function: Function,
        origin: Arc<str>,
        state: Rc<State>,
        place: Place,
    ) -> Self {
        Self { interval, function, origin, state, _place: place }
    }

    async fn run(self, timers: Rc<Timers>, vm: Rc<Vm>, live: Arc<Live>) {
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval.tick().await; // the first is at once
        while !self.state.cancelled.get() {
            tokio::select! {
                _ = interval.tick() => {}
                () = self.state.wake.notified() => continue,
            }
            let by = format!("timer at {}", self.origin);
            let transaction = Transaction::lazy(Arc::clone(&live), by, Hand::Script, None);
            let run = transaction.scope(vm.run(Budget::TIMER, self.function.call_async::<()>(())));
            let mut run = pin!(run);
            let done = match timers.begin(run.as_mut()).await {
                Poll::Ready(done) => done,
                Poll::Pending => run.await,
            };
            let done = match done {
                Ok(()) => transaction.commit().await.map_err(|error| with_causes(&error)),
                Err(error) => {
                    vm.memory().note(&error, || format!("timer at {}", self.origin));
                    Err(ScriptError::from_task(&error).with_traceback())
                }
            };
            match done {
                Ok((_, made)) => timers.start(made, &vm, &live),
                Err(error) => tracing::warn!(timer = %self.origin, "a timer failed: {error}"),
            }
        }
    }
}
