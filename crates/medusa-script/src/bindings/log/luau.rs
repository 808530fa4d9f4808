//! `medusa.log.luau`.

use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::value::SinkValue;
use crate::call_site::origin;
use crate::context::MainContext;
use crate::docs::{Item, main_item};
use crate::log::FunctionSink;
use crate::options::function_argument;

pub(crate) const DOCS: Item = main_item(
    "medusa.log.luau",
    "(run: (records: { LogRecord }, lost: LogLoss?) -> ()) -> LogSink",
    "Hands records to a function, in the main VM: some at a time, up to a few hundred, at most 100 ms after they happened, \
     and the next when it has returned. It has a timer's budget (a second of CPU time, a minute in all) and may change the \
     site as a timer may. 65,536 records or 16 MiB of them may wait; what has no room is lost, and `lost` says how much, \
     with the next call. An error is logged, at most once a minute; its records count as failed. One that is stopped for its CPU time 10 times \
     in a row is not called any more until a reload: what comes is lost, the server's log and the status (`switched_off`) say \
     so. What the function \
     prints or has the server log goes to standard error, not to `medusa.log.events`. With a reload comes a new sink; the \
     old one still gets what it was given before, and the records of requests that began before.",
);

pub(super) fn install(lua: &Lua, log: &Table) -> mlua::Result<()> {
    log.set("luau", lua.create_function(luau)?)
}

fn luau(lua: &Lua, run: Value) -> mlua::Result<SinkValue> {
    let run = function_argument(lua, "medusa.log.luau", "what it calls", run)?;
    let sink = FunctionSink::new(&MainContext::of(lua)?.logs, run, origin(lua))?;
    Ok(SinkValue(Arc::new(sink)))
}
