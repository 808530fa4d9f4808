//! `medusa.json`: encode and decode.
//!
//! - [`encode`](mod@encode): a value's tables, walked and written; `refused`: why a value cannot be;
//! - [`decode`](mod@decode): a text read into the VM.
//!
//! **Invariant:** both go on in steps of a fraction of a millisecond, and between them, in `json.luau`, the script gives
//! way or is stopped; both are counted as they go. A client's text or a small value of a script can ask for any
//! amount of work and memory.

mod decode;
mod encode;
mod refused;

use mlua::{AnyUserData, Function, Lua, LuaSerdeExt, LuaString, Table, Value};

pub(crate) use self::decode::{DecodeError, Decoder, Text};
use self::encode::{Encoder, StepError, Stores};
use super::{MAX_MESSAGE, origin};
use crate::counted::shown;
use crate::docs::{Item, item};
use crate::vm::load;

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

/// How deep values may be nested, both ways.
const MAX_DEPTH: usize = 127;

/// The most values and names of a text that a script has decoded: 15 MB of the VM when each is a table.
const MAX_DECODED: usize = 200_000;

/// The most values and names of a client's text: 4 MB of the VM when each is a table, so that it takes many requests at
/// once to fill it. Bodies that are sent to an API have a few thousand.
pub(crate) const MAX_FROM_CLIENT: usize = 50_000;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
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

/// What one step came to, for `json.luau`: what there is, what is still to do, why it failed.
type Told<T> = (Option<T>, Option<AnyUserData>, Option<String>);

/// A function that encodes a value. Its errors begin with `who` asked.
pub(super) fn encoder(lua: &Lua, who: &'static str) -> mlua::Result<Function> {
    functions(lua, who).map(|(encode, _)| encode)
}

/// A function that decodes a text. Its errors begin with `who` asked.
pub(super) fn decoder(lua: &Lua, who: &'static str) -> mlua::Result<Function> {
    functions(lua, who).map(|(_, decode)| decode)
}

fn functions(lua: &Lua, who: &'static str) -> mlua::Result<(Function, Function)> {
    let stores = Stores::new(lua)?;
    let begin_encoding = move |lua: &Lua, value: Value| match Encoder::new(lua, &stores, value) {
        Ok(encoder) => encode_on(lua, who, encoder),
        Err(error) => refused(lua, who, error),
    };
    let go_on_encoding = move |lua: &Lua, work: AnyUserData| encode_on(lua, who, work.take()?);
    // Once: where there is no room for one reference more, mlua panics over this one.
    let arrays = lua.array_metatable();
    let begin_decoding = move |lua: &Lua, text: LuaString| {
        decode_on(lua, who, Decoder::new(&arrays, Text::Script(text), MAX_DECODED))
    };
    let go_on_decoding = move |lua: &Lua, work: AnyUserData| decode_on(lua, who, work.take()?);
    load(lua, include_str!("json.luau"), "=json", None)?.call((
        lua.create_function(begin_encoding)?,
        lua.create_function(go_on_encoding)?,
        lua.create_function(begin_decoding)?,
        lua.create_function(go_on_decoding)?,
    ))
}

fn encode_on(lua: &Lua, who: &str, mut encoder: Encoder) -> mlua::Result<Told<LuaString>> {
    match encoder.step(lua) {
        Ok((text, true)) => Ok((Some(lua.create_string(text)?), None, None)),
        Ok((text, false)) => Ok((Some(lua.create_string(text)?), Some(lua.create_userdata(encoder)?), None)),
        Err(error) => refused(lua, who, error),
    }
}

fn refused<T>(lua: &Lua, who: &str, error: StepError) -> mlua::Result<Told<T>> {
    match error {
        StepError::Refused(error) => Ok((None, None, Some(told(lua, who, error)))),
        StepError::Vm(error) => Err(error),
    }
}

fn decode_on(lua: &Lua, who: &str, mut decoder: Decoder) -> mlua::Result<Told<Value>> {
    match decoder.step(lua) {
        Ok(Some(value)) => Ok((Some(value), None, None)),
        Ok(None) => Ok((None, Some(lua.create_userdata(decoder)?), None)),
        Err(DecodeError::Json(error)) => Ok((None, None, Some(told(lua, who, error)))),
        Err(DecodeError::Vm(error)) => Err(error),
    }
}

/// An error as the script gets it: with the place it was called from.
fn told(lua: &Lua, who: &str, error: impl std::fmt::Display) -> String {
    format!("{}: {who}: {}", origin(lua), shown(error, MAX_MESSAGE))
}

#[cfg(test)]
mod tests;
