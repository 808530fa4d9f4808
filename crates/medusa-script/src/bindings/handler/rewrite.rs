//! `medusa.handler.rewrite`: another path for the handler.

use medusa_http::handlers::rewrite::{Rewrite, RewriteOptions};
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.rewrite";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: RewriteOptions, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: the path that it sees is another. `{ strip_prefix = \"/app\", add_prefix = \"/v1\" }` makes \
     `/v1/x` of `/app/x`. Parameters, `req.tail` and the query stay. Where the handler sends a client elsewhere, \
     it has to know the path outside.",
);

pub(super) const OPTIONS: Class = Class {
    name: "RewriteOptions",
    doc: "What `medusa.handler.rewrite` takes: at least one of these, each whole segments like `/app/v1`.",
    fields: &[
        main_item(
            "strip_prefix",
            "string?",
            "The beginning that is taken off, as it comes, not decoded. A path without it is answered 404.",
        ),
        main_item("add_prefix", "string?", "The beginning that is put before what is left."),
    ],
    methods: &[],
};

/// `medusa.handler.rewrite(options, handler)`
pub(super) fn rewrite(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let options = RewriteOptions {
        strip_prefix: given.get("strip_prefix", "a string")?.unwrap_or_default(),
        add_prefix: given.get("add_prefix", "a string")?.unwrap_or_default(),
    };
    given.finish()?;
    options.check().map_err(|error| fail(lua, format!("{FUNCTION}: {error}")))?;
    let key = format!("{options:?}");
    Wrapper::new("handler.rewrite", &key, move |inner| Rewrite::new(inner, options.clone()))
        .around(lua, &inner)
}
