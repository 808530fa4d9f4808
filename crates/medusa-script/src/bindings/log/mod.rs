//! `medusa.log`: where access records and events go.
//!
//! A module here is one sink. Each has the same shape: `DOCS`, its options as a class of the reference, and an `install`.

pub(crate) mod events;
mod file;
mod filter;
mod full;
mod journald;
mod luau;
mod multi;
mod record;
mod resolving;
mod sample;
mod socket;
mod syslog;
mod tail;
mod tls;
mod value;

use mlua::{Lua, Table};

pub(crate) use self::value::{SinkValue, inner};
use crate::docs::{Class, Item};

/// The functions, in the order of the reference.
pub(crate) const DOCS: &[Item] = &[
    file::DOCS,
    socket::DOCS,
    syslog::DOCS,
    journald::DOCS,
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
    journald::OPTIONS,
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

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let log = lua.create_table()?;
    file::install(lua, &log)?;
    multi::install(lua, &log)?;
    socket::install(lua, &log)?;
    syslog::install(lua, &log)?;
    journald::install(lua, &log)?;
    tail::install(lua, &log)?;
    filter::install(lua, &log)?;
    sample::install(lua, &log)?;
    luau::install(lua, &log)?;
    events::install(lua, &log)?;
    resolving::install(lua, &log)?;
    medusa.set("log", log)
}
