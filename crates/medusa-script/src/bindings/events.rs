//! `medusa.http.events`: an answer that is a stream of server-sent events.

use std::time::Duration;

use medusa_proto::event_stream::CONTENT_TYPE;
use mlua::{Lua, Table, Value};

use crate::docs::{Class, Item, item};
use crate::events::EventSource;
use crate::options::{Options, function_argument};

const FUNCTION: &str = "medusa.http.events";

pub(crate) const DOCS: Item = item(
    FUNCTION,
    "(run: (stream: EventStream) -> (), options: EventsOptions?) -> Response",
    "An answer that is a stream of server-sent events, which browsers read with `EventSource`: \
     `return medusa.http.events(function(stream) while true do stream:send(news()) end end)`. The function runs as long as \
     the client stays and ends the stream by returning; browsers then ask again, and say what they saw last \
     (`req.last_event_id`). Its CPU budget starts anew with what the client takes; it has no time limit. The result is a \
     table to which fields may be added.",
);

pub(crate) const OPTIONS: Class = Class {
    name: "EventsOptions",
    doc: "What `medusa.http.events` takes.",
    fields: &[
        item(
            "heartbeat",
            "number?",
            "After how many seconds without an event a comment is sent, so that proxies see that the stream lives and the \
         server that the client left; at least 0.1. Default 15: half of the shortest idle limit that is common.",
        ),
        item(
            "on_reload",
            "(\"end\" | \"keep\")?",
            "What becomes of the stream when a change is published without its handler, as by a reload of the script. Default \
             `\"end\"`: it ends, and the client should ask again. `\"keep\"`: it goes on, in the code and with the variables it \
             began with, for at most `keep`.",
        ),
        item(
            "keep",
            "number?",
            "For how many seconds that may be. Default 3600; at least 1, at most 86,400.",
        ),
    ],
    methods: &[],
};

/// The default heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The shortest one, in seconds: a stream is not a busy loop.
const SHORTEST: f64 = 0.1;

pub(super) fn install(lua: &Lua, http: &Table) -> mlua::Result<()> {
    http.set("events", lua.create_function(events)?)
}

fn events(lua: &Lua, (run, options): (Value, Value)) -> mlua::Result<Table> {
    let run = function_argument(lua, FUNCTION, "what it runs", run)?;
    let mut options = Options::new(lua, FUNCTION, options)?;
    let heartbeat = options.seconds("heartbeat", SHORTEST..)?.unwrap_or(HEARTBEAT);
    let keep = options.keep()?;
    options.finish()?;
    let headers = lua.create_table()?;
    headers.raw_set("content-type", CONTENT_TYPE)?;
    // A stream is never the same twice, also not for a cache that would serve a beginning of it.
    headers.raw_set("cache-control", "no-store")?;
    // nginx, and proxies that follow it, would otherwise collect what should arrive at once.
    headers.raw_set("x-accel-buffering", "no")?;
    let answer = lua.create_table()?;
    answer.raw_set("headers", headers)?;
    answer.raw_set("body", EventSource { run, heartbeat, keep })?;
    Ok(answer)
}
