//! `medusa.handler.log`: the log of one mount.

use std::sync::Arc;

use medusa_http::handlers::log::Log;
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::bindings::log::inner as sink_of;
use crate::docs::{Item, main_item};

const FUNCTION: &str = "medusa.handler.log";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(log: LogSink | false, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: the records of its requests go to this log instead of the server's, or nowhere for `false`, as for what a \
     balancer asks each second. For both give `medusa.log.multi`. A record is what it is elsewhere: with the user, the status, the \
     bytes that were sent and the time that took. Of several wrappers of this kind the innermost that a request comes to decides; one that \
     is refused outside of it, as by `medusa.handler.auth` around it, is in the server's log.",
);

/// `medusa.handler.log(log, handler)`
pub(super) fn log(lua: &Lua, (log, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let sink = match log {
        Value::Boolean(false) => None,
        log => Some(sink_of(lua, FUNCTION, log)?),
    };
    // The address tells it from others: the wrapper keeps it, so nobody else comes to be there.
    let key = sink.as_ref().map_or_else(String::new, |sink| format!("{:p}", Arc::as_ptr(sink).cast::<()>()));
    Wrapper::new("handler.log", &key, move |inner| Log::new(inner, sink.clone())).around(lua, &inner)
}
