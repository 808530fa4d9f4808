//! What a script asks of a session.

use medusa_http::websocket::{Options, Origins};
use mlua::{Lua, Table, Value};

use crate::call_site::fail;
use crate::options::{Options as Given, texts};

const FUNCTION: &str = "req:websocket";

/// The longest message that can be asked for, in bytes: a worker's VM holds 256 MiB for all its handlers.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The longest time that makes sense, in seconds.
const DAY: f64 = 86400.0;

pub(super) fn parse(lua: &Lua, given: Value) -> mlua::Result<Options> {
    let mut given = Given::new(lua, FUNCTION, given)?;
    let mut options = Options::default();
    if let Some(protocols) = given.get::<Table>("protocols", "a list of strings")? {
        let protocols =
            texts(&protocols).map_err(|error| fail(lua, format!("{FUNCTION}: `protocols`: {error}")))?;
        if let Some(wrong) = protocols.iter().find(|protocol| !is_token(protocol)) {
            return Err(fail(lua, format!("{FUNCTION}: {wrong:?} is no name of a protocol")));
        }
        options.protocols = protocols;
    }
    match given.get::<Value>("origins", "\"*\" or a list of strings")? {
        None => {}
        Some(Value::String(all)) if all == "*" => options.origins = Origins::Any,
        Some(Value::Table(list)) => {
            options.origins = Origins::Only(texts(&list).map_err(|error| match error {
                mlua::Error::RuntimeError(why) => fail(lua, format!("{FUNCTION}: `origins`: {why}")),
                _other => origins(lua),
            })?);
        }
        Some(_) => return Err(origins(lua)),
    }
    if let Some(bytes) = given.whole("max_message", 1..=LONGEST)? {
        options.max_message = bytes;
    }
    if let Some(ping) = given.seconds("ping", 0.0..=DAY)? {
        options.ping = ping;
    }
    if let Some(idle) = given.seconds("idle", 0.0..=DAY)? {
        options.idle = idle;
    }
    if let Some(compress) = given.get::<bool>("compress", "true or false")? {
        options.compress = compress;
    }
    options.keep = given.keep()?;
    given.finish()?;
    Ok(options)
}

fn origins(lua: &Lua) -> mlua::Error {
    fail(
        lua,
        format!("{FUNCTION}: `origins` must be \"*\" or a list of strings like \"https://example.com\""),
    )
}

/// [RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
