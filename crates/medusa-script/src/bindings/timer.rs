//! `medusa.every`: timers.

use std::time::Duration;

use medusa_monitor::TimerInfo;
use medusa_proto::author::{Author, Via};
use medusa_proto::shown::ShortNumber;
use medusa_site::{DraftError, Part, PartId, Timer, TimerStage};
use mlua::{Function, Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};
use tokio::sync::watch;

use super::command_table::CommandTable;
use super::site::with_parts;
use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item, session_item};
use crate::options::{function_argument, no_more, number_argument};
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
    methods: &[main_item(
        "cancel",
        "() -> ()",
        "Has the timer not run again, from when the change is published; a run under way finishes. One that is gone already \
         stays so.",
    )],
};

pub(crate) const TIMERS: Item = session_item(
    "timers",
    "() -> { TimerStatus }",
    "The timers of `medusa.every`: those that run, then those that are paused, as they are in generations that can be gone back \
     to; at most 1024.",
);

pub(crate) const STATUS: Class = Class {
    name: "TimerStatus",
    doc: "A timer as it is now, from `timers()`.",
    fields: &[
        session_item("place", "string", "The place in the script that made it."),
        session_item("every", "number", "The seconds from one run to the next."),
        session_item("next", "number?", "The seconds until its next run; `nil` if it is paused."),
        session_item("runs", "number", "Its runs so far."),
        session_item("failed", "number", "Those of them that have failed: the log has why."),
    ],
    methods: &[],
};

/// The shortest interval: a timer is not a busy loop.
const SHORTEST: f64 = 0.01;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let every = |lua: Lua, given: (Value, Value, MultiValue)| {
        let origin = origin(&lua);
        let checked = check(&lua, given);
        async move {
            let (interval, function) = checked?;
            let timers = MainContext::of(&lua)?.timers;
            let at = origin.clone();
            let made = Transaction::edit(|draft| draft.add_timer(interval, at)).await;
            let made = made.map_err(|error| fail(&lua, format!("medusa.every: {error}")))?;
            let timer = TimerValue { id: made.id.clone(), stage: made.stage.clone() };
            let started = timers.start(made, interval, function, origin);
            started.map_err(|error| fail(&lua, format!("medusa.every: {error}")))?;
            Ok(timer)
        }
    };
    medusa.set("every", lua.create_async_function(every)?)
}

/// Adds what statements have beside that.
pub(super) fn install_in_sessions(commands: &CommandTable<'_>) -> mlua::Result<()> {
    commands.add("timers", |lua, rest: MultiValue| {
        no_more(lua, "timers()", &rest)?;
        let timers = MainContext::of(lua)?.live.timers();
        Ok(timers.into_iter().map(TimerStatusValue).collect::<Vec<_>>())
    })
}

/// A timer, as it was when it was asked.
struct TimerStatusValue(TimerInfo);

impl UserData for TimerStatusValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("place", |_, this| Ok(this.0.place.clone()));
        fields.add_field_method_get("every", |_, this| Ok(this.0.every));
        fields.add_field_method_get("next", |_, this| Ok(this.0.next));
        fields.add_field_method_get("runs", |_, this| Ok(this.0.runs as f64));
        fields.add_field_method_get("failed", |_, this| Ok(this.0.failed as f64));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| Ok(this.0.to_string()));
    }
}

fn check(lua: &Lua, (seconds, run, rest): (Value, Value, MultiValue)) -> mlua::Result<(Duration, Function)> {
    no_more(lua, "medusa.every(seconds, function)", &rest)?;
    let seconds = number_argument(lua, "medusa.every", "the interval", &seconds)?;
    let run = function_argument(lua, "medusa.every", "what it runs", run)?;
    let interval = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds >= SHORTEST);
    let interval = interval.ok_or_else(|| {
        fail(
            lua,
            format!(
                "medusa.every: the interval must be at least {SHORTEST} seconds, not {}",
                ShortNumber(seconds)
            ),
        )
    })?;
    if Transaction::current().is_none() {
        return Err(fail(lua, "medusa.every: timers are made by the script or a statement"));
    }
    Ok((interval, run))
}

/// A timer of the site, by its number.
struct TimerValue {
    id: PartId,
    stage: watch::Receiver<TimerStage>,
}

impl TimerValue {
    /// Whether it is part of a change that may still be published.
    fn is_made(&self) -> bool {
        *self.stage.borrow() == TimerStage::Made && self.stage.has_changed().is_ok()
    }
}

impl UserData for TimerValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("cancel", |lua, this, rest: MultiValue| {
            let alone = no_more(&lua, "timer:cancel()", &rest);
            let (id, is_made) = (this.id.clone(), this.is_made());
            async move {
                alone?;
                if with_parts(&lua, |parts| parts.get(&id).is_none())? {
                    // Of somebody else's change, or none any more.
                    let why = "timer:cancel(): the change that makes this timer is not published yet; cancel it when it is";
                    return if is_made { Err(fail(&lua, why)) } else { Ok(()) };
                }
                let live = MainContext::of(&lua)?.live;
                let author = || Author::new(Via::Timer, format!("cancelling the timer at {}", origin(&lua)));
                let remove = Transaction::edit(|draft| match draft.remove(&id) {
                    // Somebody else was first.
                    Err(DraftError::Gone(_)) => Ok(()),
                    removed => removed,
                });
                Transaction::current_or(live, author, remove).await
            }
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            let at = with_parts(lua, |parts| {
                parts.find::<Timer>(&this.id).map(|timer| timer.origin().to_string())
            })?;
            Ok(at.map_or_else(|| "Timer, cancelled".to_owned(), |at| format!("Timer ({at})")))
        });
    }
}
