//! A log, as a value of the script, and what all of them are made with.

use std::convert::Infallible;
use std::sync::Arc;

use medusa_log::Sink;
use medusa_proto::format::Format;
use mlua::{FromLua, Lua, UserData, UserDataMethods, Value};

use super::tail;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::options::Options;
use crate::print::show;

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

/// The log of the arguments that `key` spells out: the one there is, or a new one.
pub(super) fn intern(
    lua: &Lua,
    key: String,
    make: impl FnOnce() -> Arc<dyn Sink>,
) -> mlua::Result<SinkValue> {
    let made = MainContext::of(lua)?.interner(lua).sink(key, || Ok::<_, Infallible>(make()));
    made.map(SinkValue).map_err(|error| fail(lua, error))
}

/// The argument of `function` that is the sink it puts something in front of.
pub(crate) fn inner(lua: &Lua, function: &str, value: Value) -> mlua::Result<Arc<dyn Sink>> {
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
pub(super) fn not_too_deep(lua: &Lua, function: &str, sink: &Arc<dyn Sink>) -> mlua::Result<()> {
    if sink.depth() < MAX_DEPTH {
        return Ok(());
    }
    Err(fail(
        lua,
        format!("{function}: {MAX_DEPTH} logs stand one behind the other already, which is the most"),
    ))
}

/// The option `key` that says how a record is written.
pub(super) fn format(
    lua: &Lua,
    given: &mut Options<'_>,
    function: &str,
    key: &'static str,
) -> mlua::Result<Option<Format>> {
    let Some(format) = given.get::<String>(key, "a string")? else { return Ok(None) };
    format.parse().map(Some).map_err(|error| fail(lua, format!("{function}: {error}")))
}
