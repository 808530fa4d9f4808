//! JSON, encoded and decoded.
//!
//! - [`encode`](mod@encode): a value's tables, walked and written; of its parts, `store` is where they lie, `output` the
//!   text, `level` a table, `error` why a value cannot be written;
//! - [`decode`](mod@decode): a text read into the VM.
//!
//! **Invariant:** both go on in steps of a fraction of a millisecond, and between them, in `json.luau`, the script gives
//! way or is stopped; both are counted as they go. A client's text or a small value of a script can ask for any
//! amount of work and memory.

mod decode;
mod encode;
mod error;
mod level;
mod limits;
mod output;
mod store;

use mlua::{AnyUserData, Function, Lua, LuaSerdeExt, LuaString, Value};

pub(crate) use self::decode::{DecodeError, Decoder, JsonText};
use self::encode::{Encoder, StepError};
use self::limits::MAX_DECODED;
pub(crate) use self::limits::MAX_FROM_CLIENT;
use self::store::Stores;
use crate::call_site::{MAX_MESSAGE, origin};
use crate::chunk::load;
use crate::counted::shown;

/// The outcome of one step, for `json.luau`: what there is, what is still to do, why it failed.
type StepResult<T> = (Option<T>, Option<AnyUserData>, Option<String>);

/// A function that encodes a value. Its errors begin with `who` asked.
pub(crate) fn encoder(lua: &Lua, who: &'static str) -> mlua::Result<Function> {
    functions(lua, who).map(|(encode, _)| encode)
}

/// A function that decodes a text. Its errors begin with `who` asked.
pub(crate) fn decoder(lua: &Lua, who: &'static str) -> mlua::Result<Function> {
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
        decode_on(lua, who, Decoder::new(&arrays, JsonText::Script(text), MAX_DECODED))
    };
    let go_on_decoding = move |lua: &Lua, work: AnyUserData| decode_on(lua, who, work.take()?);
    load(lua, include_str!("json.luau"), "=json", None)?.call((
        lua.create_function(begin_encoding)?,
        lua.create_function(go_on_encoding)?,
        lua.create_function(begin_decoding)?,
        lua.create_function(go_on_decoding)?,
    ))
}

fn encode_on(lua: &Lua, who: &str, mut encoder: Encoder) -> mlua::Result<StepResult<LuaString>> {
    match encoder.step(lua) {
        Ok((text, true)) => Ok((Some(lua.create_string(text)?), None, None)),
        Ok((text, false)) => Ok((Some(lua.create_string(text)?), Some(lua.create_userdata(encoder)?), None)),
        Err(error) => refused(lua, who, error),
    }
}

fn refused<T>(lua: &Lua, who: &str, error: StepError) -> mlua::Result<StepResult<T>> {
    match error {
        StepError::EncodeError(error) => Ok((None, None, Some(message(lua, who, error)))),
        StepError::Vm(error) => Err(error),
    }
}

fn decode_on(lua: &Lua, who: &str, mut decoder: Decoder) -> mlua::Result<StepResult<Value>> {
    match decoder.step(lua) {
        Ok(Some(value)) => Ok((Some(value), None, None)),
        Ok(None) => Ok((None, Some(lua.create_userdata(decoder)?), None)),
        Err(DecodeError::Json(error)) => Ok((None, None, Some(message(lua, who, error)))),
        Err(DecodeError::Vm(error)) => Err(error),
    }
}

/// An error as the script gets it: with the place it was called from.
fn message(lua: &Lua, who: &str, error: impl std::fmt::Display) -> String {
    format!("{}: {who}: {}", origin(lua), shown(error, MAX_MESSAGE))
}

#[cfg(test)]
mod tests;
