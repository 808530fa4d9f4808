//! `medusa.handler.first`: several handlers, of which the first that knows what is asked for answers.

use medusa_http::handlers::first::First;
use mlua::{Lua, Table, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Item, main_item};
use crate::options::list;
use crate::print::show;

const FUNCTION: &str = "medusa.handler.first";

/// The most handlers of a list: for what none of them has, all are asked.
const MOST: usize = 16;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(handlers: { Handler | (req: Request) -> Answer }) -> Handler",
    "Asks several handlers in turn, 16 at most: what one answers 404, the next is asked, and what the last one answers stands. All \
     get the request as it came. Where one has begun to read its body, none behind it is asked. For the one page of an \
     application that runs in browsers see `fallback` of `medusa.handler.files`.",
);

/// `medusa.handler.first(handlers)`
pub(super) fn first(lua: &Lua, handlers: Value) -> mlua::Result<HandlerValue> {
    let handlers = match &handlers {
        Value::Table(handlers) => entries(lua, handlers)?,
        other => {
            return Err(fail(lua, format!("{FUNCTION}: give a list of handlers, not {}", show(other))));
        }
    };
    Wrapper::of_several("handler.first", "", First::new).around_all(lua, handlers)
}

fn entries(lua: &Lua, handlers: &Table) -> mlua::Result<Vec<HandlerValue>> {
    let handlers = list(lua, FUNCTION, handlers, MOST)?;
    if handlers.is_empty() {
        return Err(fail(lua, format!("{FUNCTION}: the list is empty")));
    }
    handlers.iter().map(|handler| HandlerValue::of(lua, handler)).collect()
}
