//! `site`: the live objects, so that even what a script kept `local` can be found.

use medusa_site::{self as site, DraftError, Part, PartId, Parts};
use mlua::{Lua, MultiValue, UserData, UserDataFields, UserDataMethods};

use super::http::HttpServer;
use super::log::SinkValue;
use super::log::events::EventLogValue;
use crate::call_site::{at_place, fail, origin};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};
use crate::options::no_more;
use crate::transaction::Transaction;

pub(crate) const DOCS: Item = main_item("site", "Site", "The running site.");

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

/// Removes a part, as the method `call` of what stands for it does.
pub(super) fn remove(
    lua: &Lua,
    id: &PartId,
    call: &str,
    rest: &MultiValue,
) -> impl Future<Output = mlua::Result<()>> + use<> {
    let (at, id) = (origin(lua), id.clone());
    let alone = no_more(lua, call, rest);
    async move {
        alone?;
        let removed = Transaction::edit(|draft| draft.remove(&id)).await;
        removed.map_err(|error| at_place(&at, error))
    }
}

/// A part of the site, as the running task sees it.
pub(super) fn look_at<P: Part, R>(lua: &Lua, id: &PartId, look: impl FnOnce(&P) -> R) -> mlua::Result<R> {
    let found = with_parts(lua, |parts| parts.find(id).map(look))?;
    found.ok_or_else(|| fail(lua, DraftError::Gone(id.clone())))
}
