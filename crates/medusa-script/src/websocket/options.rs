//! What a script asks of a session.

use std::time::Duration;

use medusa_http::websocket::{Options, Origins};
use mlua::{Lua, Table, Value};

use crate::call_site::fail;
use crate::options::{Options as Given, texts};

const FUNCTION: &str = "req:websocket";

/// The longest message that can be asked for, in bytes: a worker's VM holds 256 MiB for all its handlers.
const LONGEST: f64 = 64.0 * 1024.0 * 1024.0;

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
    if let Some(bytes) = given.get::<f64>("max_message", "a number")? {
        if !(1.0..=LONGEST).contains(&bytes) {
            return Err(fail(
                lua,
                format!("{FUNCTION}: `max_message` must be 1 to {LONGEST} bytes, not {bytes}"),
            ));
        }
        options.max_message = bytes as usize;
    }
    if let Some(ping) = given.get::<f64>("ping", "a number")? {
        options.ping = seconds(lua, "ping", ping)?;
    }
    if let Some(idle) = given.get::<f64>("idle", "a number")? {
        options.idle = seconds(lua, "idle", idle)?;
    }
    if let Some(compress) = given.get::<bool>("compress", "true or false")? {
        options.compress = compress;
    }
    given.finish()?;
    Ok(options)
}

fn origins(lua: &Lua) -> mlua::Error {
    fail(
        lua,
        format!("{FUNCTION}: `origins` must be \"*\" or a list of strings like \"https://example.com\""),
    )
}

fn seconds(lua: &Lua, name: &str, seconds: f64) -> mlua::Result<Duration> {
    let given = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= DAY);
    given.ok_or_else(|| fail(lua, format!("{FUNCTION}: `{name}` must be 0 to {DAY} seconds, not {seconds}")))
}

/// [RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
