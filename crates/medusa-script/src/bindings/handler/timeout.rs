//! `medusa.handler.timeout`: how long a handler may take to answer.

use std::time::Duration;

use medusa_http::handlers::timeout::Timeout;
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::print::{as_number, show};

const FUNCTION: &str = "medusa.handler.timeout";

/// The least and the most, in seconds.
const TIMES: std::ops::RangeInclusive<f64> = 0.001..=86_400.0;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(seconds: number, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: it has so many seconds until it answers (from 0.001 to a day), counted anew whenever the client \
     has sent some of a body; then it is stopped, and the request answered 503, as when `limits.handler` is over, \
     which counts beside this. A WebSocket, or a stream that has begun, may take longer.",
);

/// `medusa.handler.timeout(seconds, handler)`
pub(super) fn timeout(lua: &Lua, (seconds, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let number = as_number(&seconds).filter(|number| TIMES.contains(number));
    let Some(limit) = number.and_then(|number| Duration::try_from_secs_f64(number).ok()) else {
        let shown = show(&seconds);
        return Err(fail(
            lua,
            format!("{FUNCTION}: the time must be a number of seconds from 0.001 to 86400, not {shown}"),
        ));
    };
    Wrapper::new("handler.timeout", &limit.as_nanos().to_string(), move |inner| Timeout::new(inner, limit))
        .around(lua, &inner)
}
