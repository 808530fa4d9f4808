//! `medusa.log`: where access records and events go.
//!
//! A module here is one sink. Each has the same shape: `DOCS`, its options as a class of the reference, and an `install`.

mod file;
mod full;
mod multi;
mod resolving;
mod socket;
mod syslog;
mod tls;

use std::sync::Arc;

use medusa_log::Sink;
use medusa_proto::format::Format;
use mlua::{FromLua, Lua, Table, UserData, UserDataMethods, Value};

use super::fail;
use super::options::Options;
use crate::reference::{Class, Item};

/// The functions, in the order of the reference.
pub(crate) const DOCS: &[Item] = &[file::DOCS, socket::DOCS, syslog::DOCS, multi::DOCS, resolving::DOCS];

/// The classes, in the order of the reference.
pub(crate) const CLASSES: &[Class] =
    &[CLASS, file::OPTIONS, socket::OPTIONS, syslog::OPTIONS, tls::OPTIONS, resolving::OPTIONS];

const CLASS: Class =
    Class { name: "LogSink", doc: "Where records go: the `log` of a server.", fields: &[], methods: &[] };

/// A sink, as a value of the script.
#[derive(Debug, Clone)]
pub(crate) struct SinkValue(pub(crate) Arc<dyn Sink>);

impl UserData for SinkValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
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
    resolving::install(lua, &log)?;
    socket::install(lua, &log)?;
    syslog::install(lua, &log)?;
    medusa.set("log", log)
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
