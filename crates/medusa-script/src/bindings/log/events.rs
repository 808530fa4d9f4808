//! `medusa.log.events`: the server's own events to a sink.

use std::sync::Arc;

use medusa_log::events::Route;
use medusa_proto::event::Level;
use medusa_site::{EventLog, PartId};
use mlua::{Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};

use super::value::{SinkValue, inner};
use crate::bindings::site::look_at;
use crate::call_site::{fail, origin};
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, no_more};
use crate::transaction::Transaction;

const FUNCTION: &str = "medusa.log.events";

pub(crate) const DOCS: Item = main_item(
    FUNCTION,
    "(log: LogSink, options: LogEventsOptions?) -> EventLog",
    "Has the server's own events, what it writes to standard error, go to this log, too; from when the change is \
     published. The same log may be that of a server, or several: in a text format an event's line begins with `# `. \
     What repeats is counted and told a second later, as on standard error, and what is long is cut. Of more than 10,000 \
     in a second, some are lost, counted, and told as an event.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "LogEventsOptions",
    doc: "What `medusa.log.events` takes.",
    fields: &[main_item(
        "level",
        "\"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\" | nil",
        "Events that matter at least as much. Default `\"info\"`. It does not depend on the level of standard error.",
    )],
    methods: &[],
};

pub(crate) const CLASS: Class = Class {
    name: "EventLog",
    doc: "A log of the server's own events, from `medusa.log.events` or `site.events`.",
    fields: &[
        main_item("level", "string", "Events that matter at least as much go there."),
        main_item("log", "LogSink", "Where they go."),
    ],
    methods: &[main_item("remove", "() -> ()", "Has events no longer go there.")],
};

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    let events = |lua: Lua, (sink, options, rest): (Value, Value, MultiValue)| {
        let origin = origin(&lua);
        let alone = no_more(&lua, "medusa.log.events(log, options)", &rest);
        let route = alone.and_then(|()| route(&lua, sink, options));
        async move {
            let route = route?;
            Transaction::edit(|draft| draft.log_events(route, origin)).await.map(EventLogValue)
        }
    };
    log.set("events", lua.create_async_function(events)?)
}

fn route(lua: &Lua, sink: Value, options: Value) -> mlua::Result<Route> {
    let sink = inner(lua, FUNCTION, sink)?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let level = options.get::<String>("level", "a string")?;
    options.finish()?;
    let level = level.map_or(Ok(Level::Info), |level| level.parse());
    Ok(Route { sink, level: level.map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))? })
}

/// A log of events of the site, by its number.
#[derive(Debug, Clone)]
pub(crate) struct EventLogValue(pub(crate) PartId);

impl EventLogValue {
    fn look<R>(&self, lua: &Lua, look: impl FnOnce(&EventLog) -> R) -> mlua::Result<R> {
        look_at(lua, &self.0, look)
    }
}

impl UserData for EventLogValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("level", |lua, this| this.look(lua, |log| log.route.level.name()));
        fields.add_field_method_get("log", |lua, this| {
            this.look(lua, |log| SinkValue(Arc::clone(&log.route.sink)))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("remove", |lua, this, rest: MultiValue| {
            let (at, id) = (origin(&lua), this.0.clone());
            let alone = no_more(&lua, "events:remove()", &rest);
            async move {
                alone?;
                let removed = Transaction::edit(|draft| draft.remove(&id)).await;
                removed.map_err(|error| mlua::Error::runtime(format!("{at}: {error}")))
            }
        });
        methods.add_meta_method("__tostring", |lua, this, ()| {
            this.look(lua, |log| {
                let sink = log.route.sink.status();
                format!("EventLog, {} and graver to {} {}", log.route.level, sink.kind, sink.name)
            })
        });
    }
}
