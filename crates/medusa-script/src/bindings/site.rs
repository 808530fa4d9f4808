//! `site`: the live objects, so that even what a script kept `local` can be found.

use std::sync::Arc;

use mlua::{Lua, UserData, UserDataFields, UserDataMethods};

use super::http::{HttpServer, with_servers};
use super::log::{SinkValue, events};
use crate::context::MainContext;
use crate::docs::{Class, Item, main_item};

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
            with_servers(lua, |servers| {
                servers.iter().map(|server| HttpServer(server.id)).collect::<Vec<_>>()
            })
        });
        fields.add_field_method_get("logs", |lua, _| logs(lua));
        fields.add_field_method_get("events", |lua, _| events::event_logs(lua));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("status", |lua, _, ()| Ok(MainContext::of(lua)?.live.status().to_string()));
        methods.add_meta_method("__tostring", |lua, _, ()| {
            let site = MainContext::of(lua)?.live.site();
            Ok(format!("Site, generation {}, published by {}", site.generation, site.by))
        });
    }
}

fn logs(lua: &Lua) -> mlua::Result<Vec<SinkValue>> {
    let access = with_servers(lua, |servers| {
        servers.iter().filter_map(|server| server.log.clone()).map(SinkValue).collect::<Vec<_>>()
    })?;
    let mut logs: Vec<SinkValue> = Vec::new();
    for log in access.into_iter().chain(events::sinks(lua)?) {
        if !logs.iter().any(|known| Arc::ptr_eq(&known.0, &log.0)) {
            logs.push(log);
        }
    }
    Ok(logs)
}
