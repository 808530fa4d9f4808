//! `medusa.handler.rust`: handlers and wrappers that the program brings along.

use std::sync::Arc;

use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::docs::{Item, main_item};
use crate::options::text_argument;
use crate::rust_handlers::RustHandler;

const FUNCTION: &str = "medusa.handler.rust";

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(name: string, handler: Handler | ((req: Request) -> Answer) | nil) -> Handler",
    "A handler written in Rust, which the program that this server is part of has under this name; or a wrapper before `handler`. The \
     program `medusa` itself brings none along: see `examples/embed`.",
);

/// `medusa.handler.rust(name, handler)`
pub(super) fn rust(lua: &Lua, (name, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let name = text_argument(lua, FUNCTION, "the name", &name)?;
    let context = MainContext::of(lua)?;
    let known = &context.scripts.engine().handlers;
    let refused = |why: String| fail(lua, format!("{FUNCTION}: {why}"));
    match (known.get(&name), inner) {
        (None, _) if known.names().is_empty() => {
            Err(refused(format!("there is no {name:?}: this program brings no handlers along")))
        }
        (None, _) => Err(refused(format!("there is no {name:?}; this program has {}", known.names()))),
        (Some(RustHandler::Handler(handler)), Value::Nil) => Ok(HandlerValue::Made(Arc::clone(handler))),
        (Some(RustHandler::Handler(_)), _) => Err(refused(format!(
            "{name:?} is a handler, which stands before no other; leave the second argument out"
        ))),
        (Some(RustHandler::Wrapper(make)), inner) => {
            let make = Arc::clone(make);
            let wrapper = Wrapper::made_by("handler.rust", &name, move |mut all| {
                make(all.pop().expect("a wrapper is put before a handler"))
            });
            wrapper.around(lua, &inner)
        }
    }
}
