//! `site`: the live objects, so that even what a script kept `local` can be found.

use medusa_site::{self as site, DraftError, Part, PartId, Parts};
use mlua::{Lua, UserData, UserDataFields, UserDataMethods};

use super::http::HttpServer;
use super::log::SinkValue;
use super::log::events::EventLogValue;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::transaction::Transaction;

pub(crate) const DOCS: &[Item] = &[main_item("site", "Site", "The running site.")];

pub(crate) const CLASS: Class = Class {
    name: "Site",
    doc: "All that the server is: its live objects.",
    fields: &[
        main_item("generation", "number", "How many times the site has been published."),
        main_item("servers", "{ HttpServer }", "The HTTP servers."),
        main_item("logs", "{ LogSink }", "The logs in use, of servers and of events, each once."),
        main_item("events", "{ EventLog }", "Where the server's own events go, besides standard error."),
    ],
    methods: &[main_item(
        "status",
        "() -> string",
        "The site as a tree, with its counters: what `medusa status` prints.",
    )],
};

pub(super) struct SiteValue;

impl UserData for SiteValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("generation", |lua, _| Ok(MainContext::of(lua)?.live.site().generation));
        fields.add_field_method_get("servers", |lua, _| {
            let id = |server: &site::HttpServer| HttpServer(server.id().clone());
            with_parts(lua, |parts| parts.all().map(id).collect::<Vec<_>>())
        });
        fields.add_field_method_get("logs", |lua, _| {
            with_parts(lua, |parts| parts.sinks().into_iter().map(SinkValue).collect::<Vec<_>>())
        });
        fields.add_field_method_get("events", |lua, _| {
            let id = |log: &site::EventLog| EventLogValue(log.id().clone());
            with_parts(lua, |parts| parts.all().map(id).collect::<Vec<_>>())
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("status", |lua, _, ()| Ok(MainContext::of(lua)?.live.status().to_string()));
        methods.add_meta_method("__tostring", |lua, _, ()| {
            let site = MainContext::of(lua)?.live.site();
            Ok(format!("Site, generation {}, published by {}", site.generation, site.author))
        });
    }
}

/// The parts of the site, as the running task sees them.
pub(super) fn with_parts<R>(lua: &Lua, look: impl FnOnce(&Parts) -> R) -> mlua::Result<R> {
    match Transaction::current() {
        Some(transaction) => Ok(transaction.look(look)),
        None => Ok(look(&MainContext::of(lua)?.live.site().parts)),
    }
}

/// A part of the site, as the running task sees it.
pub(super) fn look_at<P: Part, R>(lua: &Lua, id: &PartId, look: impl FnOnce(&P) -> R) -> mlua::Result<R> {
    let found = with_parts(lua, |parts| parts.find(id).map(look))?;
    found.ok_or_else(|| fail(lua, DraftError::Gone(id.clone())))
}
