//! `medusa.every`: timers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_proto::with_causes;
use medusa_site::{Hand, Live};
use mlua::{Function, Lua, Table, UserData, UserDataMethods};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::MissedTickBehavior;

use super::{fail, origin};
use crate::error::ScriptError;
use crate::reference::{Class, Item, Reach};
use crate::task::Budget;
use crate::transaction::Transaction;
use crate::vm::Vm;

pub(crate) const DOCS: &[Item] = &[Item {
    path: "medusa.every",
    signature: "(seconds: number, run: () -> ()) -> Timer",
    reach: Reach::Main,
    doc: "Calls a function every so many seconds (at least 0.01), from when the change that made the timer is published \
          until the script is replaced. A run that takes longer delays the next; one that fails is logged, and the timer \
          goes on.",
}];

pub(crate) const CLASS: Class = Class {
    name: "Timer",
    doc: "A timer, from `medusa.every`.",
    fields: &[],
    methods: &[Item {
        path: "cancel",
        signature: "() -> ()",
        reach: Reach::Main,
        doc: "Stops the timer; a run under way finishes.",
    }],
};

/// The shortest interval: a timer is not a busy loop.
const SHORTEST: f64 = 0.01;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let every = |lua: &Lua, (seconds, function): (f64, Function)| {
        let interval = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds >= SHORTEST);
        let interval = interval.ok_or_else(|| {
            fail(
                lua,
                format!("medusa.every: the interval must be at least {SHORTEST} seconds, not {seconds}"),
            )
        })?;
        let transaction = Transaction::current()
            .ok_or_else(|| fail(lua, "medusa.every: timers are made by the script or a statement"))?;
        let timer = Rc::new(State::default());
        transaction.add_timer(PendingTimer {
            interval,
            function,
            origin: origin(lua),
            state: Rc::clone(&timer),
        });
        Ok(Timer(timer))
    };
    medusa.set("every", lua.create_function(every)?)
}

#[derive(Debug, Default)]
struct State {
    cancelled: Cell<bool>,
    wake: Notify,
}

struct Timer(Rc<State>);

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("cancel", |_, this, ()| {
            this.0.cancelled.set(true);
            this.0.wake.notify_one();
            Ok(())
        });
    }
}

/// The running timers of one VM: none is started once they have been stopped.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    stopped: Cell<bool>,
    running: RefCell<Vec<AbortHandle>>,
}

impl Timers {
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
}

impl PendingTimer {
    async fn run(self, timers: Rc<Timers>, vm: Rc<Vm>, live: Arc<Live>) {
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.tick().await; // the first is at once
        while !self.state.cancelled.get() {
            tokio::select! {
                _ = interval.tick() => {}
                () = self.state.wake.notified() => continue,
            }
            let by = format!("timer at {}", self.origin);
            let transaction = Transaction::lazy(Arc::clone(&live), by, Hand::Script, None);
            let run = transaction.scope(vm.run(Budget::TIMER, self.function.call_async::<()>(()))).await;
            let done = match run {
                Ok(()) => transaction.commit().await.map_err(|error| with_causes(&error)),
                Err(error) => Err(ScriptError::from_task(&error).with_traceback()),
            };
            match done {
                Ok((_, made)) => timers.start(made, &vm, &live),
                Err(error) => tracing::warn!(timer = %self.origin, "a timer failed: {error}"),
            }
        }
    }
}
