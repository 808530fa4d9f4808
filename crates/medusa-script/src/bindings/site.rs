//! `site`: the live objects, so that even what a script kept `local` can be found.

use mlua::{Lua, Table, UserData, UserDataFields, UserDataMethods};

use super::Reach;
use super::http::{HttpServer, with_servers};
use crate::reference::{self, Class, Item};

pub(crate) const DOCS: &[Item] =
    &[Item { path: "site", signature: "Site", reach: reference::Reach::Main, doc: "The running site." }];

pub(crate) const CLASS: Class = Class {
    name: "Site",
    doc: "All that the server is: its live objects.",
    fields: &[
        Item {
            path: "generation",
            signature: "number",
            reach: reference::Reach::Main,
            doc: "How many times the site has been published.",
        },
        Item {
            path: "servers",
            signature: "{ HttpServer }",
            reach: reference::Reach::Main,
            doc: "The HTTP servers.",
        },
    ],
    methods: &[Item {
        path: "status",
        signature: "() -> string",
        reach: reference::Reach::Main,
        doc: "The site as a tree, with its counters: what `medusa status` prints.",
    }],
};

pub(super) fn install(_: &Lua, globals: &Table) -> mlua::Result<()> {
    globals.set("site", SiteValue)
}

struct SiteValue;

impl UserData for SiteValue {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("generation", |lua, _| Ok(Reach::of(lua)?.live.site().generation));
        fields.add_field_method_get("servers", |lua, _| {
            with_servers(lua, |servers| {
                servers.iter().map(|server| HttpServer(server.id)).collect::<Vec<_>>()
            })
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("status", |lua, _, ()| Ok(Reach::of(lua)?.live.status().to_string()));
        methods.add_meta_method("__tostring", |lua, _, ()| {
            let site = Reach::of(lua)?.live.site();
            Ok(format!("Site, generation {}, published by {}", site.generation, site.by))
        });
    }
}
