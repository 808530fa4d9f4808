//! `medusa.log`: where access records and events go.
//!
//! A module here is one sink. Each has the same shape: `DOCS`, its options as a class of the reference, and an `install`.

pub(crate) mod events;
mod file;
mod filter;
mod full;
mod luau;
mod multi;
mod record;
mod resolving;
mod sample;
mod socket;
mod syslog;
mod tail;
mod tls;

use std::convert::Infallible;
use std::sync::Arc;

use medusa_log::Sink;
use medusa_proto::format::Format;
use mlua::{FromLua, Lua, Table, UserData, UserDataMethods, Value};

use super::options::Options;
use super::{Reach, fail};
use crate::docs::{Class, Item};
use crate::print::show;

/// The functions, in the order of the reference.
pub(crate) const DOCS: &[Item] = &[
    file::DOCS,
    socket::DOCS,
    syslog::DOCS,
    multi::DOCS,
    resolving::DOCS,
    tail::DOCS,
    filter::DOCS,
    sample::DOCS,
    luau::DOCS,
    events::DOCS,
];

/// The classes, in the order of the reference.
pub(crate) const CLASSES: &[Class] = &[
    CLASS,
    file::OPTIONS,
    socket::OPTIONS,
    syslog::OPTIONS,
    tls::OPTIONS,
    resolving::OPTIONS,
    tail::OPTIONS,
    filter::OPTIONS,
    sample::OPTIONS,
    events::OPTIONS,
    events::CLASS,
    record::CLASS,
    record::LOSS,
];

const CLASS: Class = Class {
    name: "LogSink",
    doc: "Where records go: the `log` of a server. Two values are equal if they are the same log.",
    fields: &[],
    methods: tail::METHODS,
};

/// A sink, as a value of the script.
#[derive(Debug, Clone)]
pub(crate) struct SinkValue(pub(crate) Arc<dyn Sink>);

impl UserData for SinkValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        tail::add_methods(methods);
        methods.add_meta_method("__eq", |_, this, other: Self| Ok(Arc::ptr_eq(&this.0, &other.0)));
        methods.add_meta_method("__tostring", |_, this, ()| {
            let status = this.0.status();
            Ok(format!("LogSink {} {}", status.kind, status.name))
        });
    }
}

impl FromLua for SinkValue {
    fn from_lua(value: Value, _: &Lua) -> mlua::Result<Self> {
        match value {
            Value::UserData(data) => data.borrow::<Self>().map(|sink| sink.clone()),
            _ => Err(mlua::Error::runtime("not a log sink")),
        }
    }
}

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let log = lua.create_table()?;
    file::install(lua, &log)?;
    multi::install(lua, &log)?;
    socket::install(lua, &log)?;
    syslog::install(lua, &log)?;
    tail::install(lua, &log)?;
    filter::install(lua, &log)?;
    sample::install(lua, &log)?;
    luau::install(lua, &log)?;
    events::install(lua, &log)?;
    resolving::install(lua, &log)?;
    medusa.set("log", log)
}

/// The log of the arguments that `key` spells out: the one there is, or a new one.
fn intern(lua: &Lua, key: String, make: impl FnOnce() -> Arc<dyn Sink>) -> mlua::Result<SinkValue> {
    let made = Reach::of(lua)?.parts(lua).sink(key, || Ok::<_, Infallible>(make()));
    made.map(SinkValue).map_err(|error| fail(lua, error))
}

/// The argument of `function` that is the sink it puts something in front of.
pub(super) fn inner(lua: &Lua, function: &str, value: Value) -> mlua::Result<Arc<dyn Sink>> {
    let shown = show(&value);
    let sink = SinkValue::from_lua(value, lua)
        .map_err(|_other| fail(lua, format!("{function}: expected a log, from medusa.log, found {shown}")))?;
    not_too_deep(lua, function, &sink.0)?;
    Ok(sink.0)
}

/// The most logs one behind the other. A site has two or three; each is a step deeper on the stack of whoever writes a record,
/// asks for the status or frees them.
const MAX_DEPTH: usize = 16;

/// Whether `function` may put something in front of this sink.
fn not_too_deep(lua: &Lua, function: &str, sink: &Arc<dyn Sink>) -> mlua::Result<()> {
    if sink.depth() < MAX_DEPTH {
        return Ok(());
    }
    Err(fail(
        lua,
        format!("{function}: {MAX_DEPTH} logs stand one behind the other already, which is the most"),
    ))
}

/// The option `key` that says how a record is written.
fn format(
    lua: &Lua,
    given: &mut Options<'_>,
    function: &str,
    key: &'static str,
) -> mlua::Result<Option<Format>> {
    let Some(format) = given.get::<String>(key, "a string")? else { return Ok(None) };
    format.parse().map(Some).map_err(|error| fail(lua, format!("{function}: {error}")))
}
