//! `medusa.json`: encode and decode.

use mlua::serde::DeserializeOptions;
use mlua::{Lua, LuaSerdeExt, LuaString, Table, Value};

use super::fail;
use crate::reference::{Item, Reach};

pub(crate) const DOCS: &[Item] = &[
    Item {
        path: "medusa.json.encode",
        signature: "(value: any) -> string",
        reach: Reach::Everywhere,
        doc: "Encodes a value as JSON. A table with the keys 1..n is an array, any other an object; an empty table is an \
              empty object. `medusa.json.null` is null. Functions, userdata and tables that contain themselves are errors.",
    },
    Item {
        path: "medusa.json.decode",
        signature: "(text: string) -> any",
        reach: Reach::Everywhere,
        doc: "Decodes JSON. null becomes `medusa.json.null`, so that an array keeps its length. Errors name line and column.",
    },
    Item {
        path: "medusa.json.null",
        signature: "any",
        reach: Reach::Everywhere,
        doc: "What stands for JSON's null; a value that is equal only to itself.",
    },
];

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let json = lua.create_table()?;
    json.set("null", Value::NULL)?;
    let encoder = |lua: &Lua, value: Value| lua.create_string(encode(lua, "medusa.json.encode", value)?);
    json.set("encode", lua.create_function(encoder)?)?;
    let decoder = |lua: &Lua, text: LuaString| decode(lua, "medusa.json.decode", &text.as_bytes());
    json.set("decode", lua.create_function(decoder)?)?;
    medusa.set("json", json)
}

/// A value as JSON. Errors begin with `who` asked.
pub(super) fn encode(lua: &Lua, who: &str, value: Value) -> mlua::Result<String> {
    let options = DeserializeOptions::new().sort_keys(true).deny_recursive_tables(true);
    let encoded: serde_json::Value =
        lua.from_value_with(value, options).map_err(|error| fail(lua, format!("{who}: {error}")))?;
    Ok(encoded.to_string())
}

/// JSON as a value. Errors begin with `who` asked.
pub(super) fn decode(lua: &Lua, who: &str, text: &[u8]) -> mlua::Result<Value> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| fail(lua, format!("{who}: {error}")))?;
    lua.to_value(&value)
}
