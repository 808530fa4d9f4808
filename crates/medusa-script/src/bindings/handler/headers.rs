//! `medusa.handler.headers`.

use medusa_http::handlers::headers::{ChangeError, Changes, Headers, MOST};
use mlua::{Lua, LuaString, Table, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::{Options, list};
use crate::print::show;

const FUNCTION: &str = "medusa.handler.headers";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: HeadersOptions, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: the fields of what it answers are changed, whatever the status. First some are removed, then some set, \
     in place of what the handler says, then some added beside it. `Connection`, `Content-Length`, `Date`, `Server`, \
     `Transfer-Encoding` and their like are the server's to write. They are changed, too, in \
     the page that the server sends because the handler has failed or took too long. For fields of all responses see `security_headers` and `hsts` of `medusa.http.server`; \
     for the caches of files, `cache_control` of `medusa.handler.files`.",
);

pub(super) const OPTIONS: Class = Class {
    name: "HeadersOptions",
    doc: "What `medusa.handler.headers` takes: at least one of these, of 64 fields and 16 KiB together at most.",
    fields: &[
        main_item(
            "set",
            "{ [string]: string }?",
            "Fields with their values, in place of all of that name: `{ [\"Cache-Control\"] = \"no-store\" }`.",
        ),
        main_item(
            "add",
            "{ [string]: string | { string } }?",
            "Fields beside those of that name; a list is one field for each.",
        ),
        main_item(
            "remove",
            "{ string }?",
            "Names of fields that are not sent, unless they are set or added here.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.headers(options, handler)`
pub(super) fn headers(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let set = given.get::<Table>("set", "a table of fields")?;
    let add = given.get::<Table>("add", "a table of fields")?;
    let remove = given.get::<Table>("remove", "a list of names")?;
    given.finish()?;
    let mut changes = Changes::default();
    let refused = |key: &str, error: ChangeError| fail(lua, format!("{FUNCTION}: `{key}`: {error}"));
    let remove = remove.map_or(Ok(Vec::new()), |names| entries(lua, "remove", &names))?;
    for name in remove {
        changes.remove(&text(lua, "remove", &name)?.as_bytes()).map_err(|error| refused("remove", error))?;
    }
    for pair in set.iter().flat_map(Table::pairs::<Value, Value>) {
        let (name, value) = pair?;
        let (name, value) = (text(lua, "set", &name)?, text(lua, "set", &value)?);
        changes.set(&name.as_bytes(), &value.as_bytes()).map_err(|error| refused("set", error))?;
    }
    for pair in add.iter().flat_map(Table::pairs::<Value, Value>) {
        let (name, value) = pair?;
        let name = text(lua, "add", &name)?;
        let values = match value {
            Value::Table(values) => entries(lua, "add", &values)?,
            value => vec![value],
        };
        for value in values {
            let value = text(lua, "add", &value)?;
            changes.add(&name.as_bytes(), &value.as_bytes()).map_err(|error| refused("add", error))?;
        }
    }
    if changes == Changes::default() {
        return Err(fail(lua, format!("{FUNCTION}: nothing is changed; give `set`, `add` or `remove`")));
    }
    changes.sort();
    Wrapper::new("handler.headers", &changes.key(), move |inner| Headers::new(inner, changes.clone()))
        .around(lua, &inner)
}

/// The entries of a list, of which there must be some.
fn entries(lua: &Lua, key: &str, given: &Table) -> mlua::Result<Vec<Value>> {
    let entries = list(lua, format_args!("{FUNCTION}: `{key}`"), given, MOST)?;
    if entries.is_empty() {
        Err(fail(lua, format!("{FUNCTION}: `{key}`: the list is empty")))
    } else {
        Ok(entries)
    }
}

/// A name or a value.
fn text(lua: &Lua, key: &str, value: &Value) -> mlua::Result<LuaString> {
    let text = value.as_string().cloned();
    text.ok_or_else(|| {
        fail(
            lua,
            format!("{FUNCTION}: `{key}`: names and values are strings, and this is none: {}", show(value)),
        )
    })
}
