//! `medusa.json`.

use mlua::{Function, Lua, LuaSerdeExt, Table, Value};

use crate::docs::{Item, item};
use crate::json::{decoder, encoder};

pub(crate) const DOCS: &[Item] = &[
    item(
        "medusa.json.encode",
        "(value: any) -> string",
        "Encodes a value as JSON. A table with the keys 1..n is an array, one whose keys are strings an object, which is \
              written in alphabetical order; an empty table is an empty object, unless it was decoded from an array or is \
              marked by `medusa.json.array`. `medusa.json.null` is null. Whole numbers are written with all their digits. What \
              JSON does not have is an error that names its place: a table with both items and names or with holes, NaN and \
              infinities, functions, userdata, text that is not UTF-8, a table that contains itself. More than \
              1,000,000 values and names, 100,000 names in one object, 127 levels, or 16 MiB are an error, too.",
    ),
    item(
        "medusa.json.decode",
        "(text: string) -> any",
        "Decodes JSON. null becomes `medusa.json.null`, so that an array keeps its length. A byte order mark before it is \
              ignored. Errors name line and column: text that is not UTF-8, a name that comes twice in an object, a whole \
              number that a script's number cannot hold (beyond 2^53 not all can be: let it come as a string), more than \
              200,000 values and names, 127 levels, or 16 MiB. Fractions are rounded to the nearest number.",
    ),
    item(
        "medusa.json.array",
        "(items: { any }?) -> { any }",
        "Marks a table as an array, and returns it: it is encoded as one also when it is empty. Without one, a new table. \
              One that has a metatable is an error.",
    ),
    item("medusa.json.null", "any", "What stands for JSON's null; a value that is equal only to itself."),
];

pub(crate) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    // What marks arrays goes along when one is cloned or frozen, which Luau refuses where it is hidden. Nobody can change it.
    let arrays = lua.array_metatable();
    arrays.set_readonly(false);
    arrays.raw_remove("__metatable")?;
    arrays.set_readonly(true);
    let json = lua.create_table()?;
    json.set("null", Value::NULL)?;
    json.set("encode", encoder(lua, "medusa.json.encode")?)?;
    json.set("decode", decoder(lua, "medusa.json.decode")?)?;
    json.set("array", array(lua)?)?;
    medusa.set("json", json)
}

/// A function that marks a table as an array.
fn array(lua: &Lua) -> mlua::Result<Function> {
    let arrays = lua.array_metatable();
    lua.create_function(move |lua, items: Option<Table>| {
        let items = items.map_or_else(|| lua.create_table(), Ok)?;
        match items.metatable() {
            Some(other) if other != arrays => {
                Err(mlua::Error::runtime("medusa.json.array: the table has a metatable of its own"))
            }
            _ if items.is_readonly() => {
                Err(mlua::Error::runtime("medusa.json.array: the table is read-only"))
            }
            _ => items.set_metatable(Some(arrays.clone())).map(|()| items),
        }
    })
}
