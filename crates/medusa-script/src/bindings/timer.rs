//! `medusa.every`: timers.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, MultiValue, Table, UserData, UserDataMethods};

use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::no_more;
use crate::timers::{MAX_TIMERS, PendingTimer, State};
use crate::transaction::Transaction;

pub(crate) const DOCS: &[Item] = &[main_item(
    "medusa.every",
    "(seconds: number, run: () -> ()) -> Timer",
    "Calls a function every so many seconds (at least 0.01), from when the change that made the timer is published \
          until the script is replaced. The times are multiples of `seconds` from then, and do not drift; a run that takes \
          longer has those pass that fall into it. A run that fails is logged, and the timer goes on. A script may have \
          1024 timers.",
)];

pub(crate) const CLASS: Class = Class {
    name: "Timer",
    doc: "A timer, from `medusa.every`.",
    fields: &[],
    methods: &[main_item("cancel", "() -> ()", "Stops the timer; a run under way finishes.")],
};

/// The shortest interval: a timer is not a busy loop.
const SHORTEST: f64 = 0.01;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let every = |lua: &Lua, (seconds, function, rest): (f64, Function, MultiValue)| {
        no_more(lua, "medusa.every(seconds, function)", &rest)?;
        let interval = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds >= SHORTEST);
        let interval = interval.ok_or_else(|| {
            fail(
                lua,
                format!("medusa.every: the interval must be at least {SHORTEST} seconds, not {seconds}"),
            )
        })?;
        let transaction = Transaction::current()
            .ok_or_else(|| fail(lua, "medusa.every: timers are made by the script or a statement"))?;
        let place = MainContext::of(lua)?.timers.place();
        let place = place.ok_or_else(|| {
            fail(lua, format!("medusa.every: the script has {MAX_TIMERS} timers already, which is the most"))
        })?;
        let timer = Rc::new(State::default());
        let state = Rc::clone(&timer);
        transaction.add_timer(PendingTimer::new(interval, function, origin(lua), state, place));
        Ok(Timer(timer))
    };
    medusa.set("every", lua.create_function(every)?)
}

struct Timer(Rc<State>);

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("cancel", |lua, this, rest: MultiValue| {
            no_more(lua, "timer:cancel()", &rest)?;
            this.0.cancel();
            Ok(())
        });
    }
}
