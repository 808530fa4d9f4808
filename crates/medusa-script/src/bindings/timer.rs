//! `medusa.every`: timers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_proto::with_causes;
use medusa_site::Live;
use mlua::{Function, Lua, Table, UserData, UserDataMethods};
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
    running: RefCell<Option<AbortHandle>>,
}

struct Timer(Rc<State>);

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("cancel", |_, this, ()| {
            this.0.cancelled.set(true);
            if let Some(running) = this.0.running.take() {
                running.abort();
            }
            Ok(())
        });
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
    pub(crate) fn start(self, vm: &Rc<Vm>, live: &Arc<Live>) -> AbortHandle {
        let state = Rc::clone(&self.state);
        let running = spawn_local(self.run(Rc::clone(vm), Arc::clone(live))).abort_handle();
        *state.running.borrow_mut() = Some(running.clone());
        running
    }

    async fn run(self, vm: Rc<Vm>, live: Arc<Live>) {
        let mut interval = tokio::time::interval(self.interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        interval.tick().await; // the first is at once
        while !self.state.cancelled.get() {
            interval.tick().await;
            let transaction = Transaction::lazy(Arc::clone(&live), format!("timer at {}", self.origin), None);
            let run = transaction.scope(vm.run(Budget::TIMER, self.function.call_async::<()>(()))).await;
            let done = match run {
                Ok(()) => transaction.commit().await.map_err(|error| with_causes(&error)),
                Err(error) => Err(ScriptError::from_task(&error).with_traceback()),
            };
            match done {
                // A timer made by a timer belongs to it no longer.
                Ok((_, timers)) => timers.into_iter().for_each(|timer| drop(timer.start(&vm, &live))),
                Err(error) => tracing::warn!(timer = %self.origin, "a timer failed: {error}"),
            }
        }
    }
}
