//! `medusa.handler.concurrency`: how many requests may be under way at once.

use std::num::NonZeroU32;

use medusa_http::handlers::concurrency::Concurrency;
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.concurrency";

const MOST: u64 = 1_000_000;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: ConcurrencyOptions, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: while as many requests are under way in it as there may be, over all workers and from all \
     clients, more are answered 503 with `Retry-After`, at once: there is no queue. A WebSocket, a stream and a \
     file count until their end; what is answered as a string only until there is an answer. The log has a line a \
     minute with the number that were refused. What is under way counts on over a reload.",
);

pub(super) const OPTIONS: Class = Class {
    name: "ConcurrencyOptions",
    doc: "What `medusa.handler.concurrency` takes.",
    fields: &[main_item("most", "number", "The requests that may be under way, from 1 to 1,000,000.")],
    methods: &[],
};

/// `medusa.handler.concurrency(options, handler)`
pub(super) fn concurrency(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let most = given.whole::<u32>("most", 1..=MOST)?.and_then(NonZeroU32::new);
    given.finish()?;
    let most =
        most.ok_or_else(|| fail(lua, format!("{FUNCTION}: `most` says how many; give it a number")))?;
    Wrapper::new("handler.concurrency", &most.to_string(), move |inner| Concurrency::new(inner, most))
        .around(lua, &inner)
}
