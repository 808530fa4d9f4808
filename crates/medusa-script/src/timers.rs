//! The functions of one VM that run every so many seconds.
//!
//! A timer is a part of the Site, which says when it begins and ends; its function is here, in a task of its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use medusa_proto::author::{Author, Via};
use medusa_proto::with_causes;
use medusa_site::{Live, MAX_TIMERS, MadeTimer, TimerStage};
use mlua::Function;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::MissedTickBehavior;

use crate::budget::Budget;
use crate::error::ScriptError;
use crate::runs::RunNote;
use crate::task::in_turn;
use crate::transaction::Transaction;
use crate::vm::Vm;

/// The timers of one VM.
///
/// All may be due at once, and each may keep the thread for a slice: they begin one by one, with a turn of the event loop
/// between them, so that requests and whoever is at the control socket have theirs.
#[derive(Debug)]
pub(crate) struct Timers {
    live: Arc<Live>,
    /// Set as soon as the VM is made, which its bindings are part of. Weak, for the VM has this.
    vm: RefCell<Weak<Vm>>,
    stopped: Cell<bool>,
    running: Cell<usize>,
    turn: Semaphore,
}

impl Timers {
    pub(crate) fn new(live: &Arc<Live>) -> Rc<Self> {
        Rc::new(Self {
            live: Arc::clone(live),
            vm: RefCell::default(),
            stopped: Cell::new(false),
            running: Cell::new(0),
            turn: Semaphore::new(1),
        })
    }

    pub(crate) fn set_vm(&self, vm: &Rc<Vm>) {
        *self.vm.borrow_mut() = Rc::downgrade(vm);
    }

    /// Notes whether the VM has been replaced: what its tasks edit from then on is not published.
    pub(crate) fn stop(&self, stopped: bool) {
        self.stopped.set(stopped);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Their number.
    pub(crate) fn count(&self) -> usize {
        self.running.get()
    }

    /// Has `function` called from when the timer is published until it is retired.
    pub(crate) fn start(
        self: &Rc<Self>,
        made: MadeTimer,
        interval: Duration,
        function: Function,
        origin: Arc<str>,
    ) -> mlua::Result<()> {
        let vm = self.vm.borrow().upgrade();
        let vm = vm.ok_or_else(|| mlua::Error::runtime("this script has been replaced"))?;
        // Those that were cancelled, and whose last run goes on, are no parts of the site any more.
        if self.running.get() >= MAX_TIMERS {
            return Err(mlua::Error::runtime(format!("{MAX_TIMERS} timers run already, which is the most")));
        }
        spawn_local(Rc::clone(self).run(made, interval, TimerRun { vm, function, origin }));
        Ok(())
    }

    async fn run(self: Rc<Self>, mut made: MadeTimer, interval: Duration, run: TimerRun) {
        // Retired, it may be published again: as long as somebody has it, and its sender.
        while made.stage.wait_for(|stage| *stage == TimerStage::Published).await.is_ok() {
            self.run_published(&mut made, interval, &run).await;
        }
    }

    /// Runs it from now until it is retired.
    async fn run_published(&self, made: &mut MadeTimer, interval: Duration, run: &TimerRun) {
        let _running = RunningCount::one_more(&self.running);
        let mut interval = tokio::time::interval(interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval.tick().await; // the first is at once
        loop {
            tokio::select! {
                biased;
                _ = made.stage.wait_for(|stage| *stage != TimerStage::Published) => return,
                _ = interval.tick() => {}
            }
            if let Err(error) = self.call(run, made).await {
                made.counters.failed.fetch_add(1, Relaxed);
                tracing::warn!(timer = %run.origin, "a timer failed: {error}");
            }
        }
    }

    /// One run, with what it changes; none if the timer is retired before it begins.
    async fn call(&self, run: &TimerRun, made: &MadeTimer) -> Result<(), String> {
        let author = Author::new(Via::Timer, format!("timer at {}", run.origin));
        let transaction = Transaction::lazy(Arc::clone(&self.live), author, None);
        let note = || RunNote::of_hook("timer", Arc::clone(&run.origin));
        let running = run.vm.run(note, Budget::TIMER, run.function.call_async::<()>(()));
        let calling = transaction.scope(running);
        let mut calling = pin!(calling);
        let done = match self.begin(made, calling.as_mut()).await {
            None => return Ok(()),
            Some(Poll::Ready(done)) => done,
            Some(Poll::Pending) => calling.await,
        };
        done.map_err(|error| {
            run.vm.memory().note(&error, || format!("timer at {}", run.origin));
            ScriptError::from_task(&error).with_traceback()
        })?;
        transaction.commit_unless(self.stopped()).await.map(drop).map_err(|error| with_causes(&error))
    }

    /// Begins a run when it is its turn, and has others go first before the next. Meanwhile the timer may have been retired.
    async fn begin<T>(
        &self,
        made: &MadeTimer,
        mut run: Pin<&mut impl Future<Output = T>>,
    ) -> Option<Poll<T>> {
        let _turn = self.turn.acquire().await;
        if *made.stage.borrow() != TimerStage::Published {
            return None;
        }
        made.counters.runs.fetch_add(1, Relaxed);
        Some(in_turn(poll_fn(|cx| Poll::Ready(run.as_mut().poll(cx)))).await)
    }
}

/// A run of a timer, and what it needs.
struct TimerRun {
    vm: Rc<Vm>,
    function: Function,
    origin: Arc<str>,
}

/// Counts one for as long as it lives.
struct RunningCount<'a>(&'a Cell<usize>);

impl<'a> RunningCount<'a> {
    fn one_more(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for RunningCount<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
