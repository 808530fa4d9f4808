//! A handler, as a value of the script.

use std::sync::Arc;

use medusa_http::Handler;
use mlua::{Lua, UserData, UserDataMethods, Value};

use super::wrap::WrappedFunction;
use crate::call_site::fail;
use crate::context::MainContext;
use crate::print::show;

/// A handler, as a value of the script.
#[derive(Debug)]
pub(super) enum HandlerValue {
    /// One that has nothing of this VM.
    Made(Arc<dyn Handler>),
    /// One that is made when it is mounted.
    Wrapped(WrappedFunction),
}

impl UserData for HandlerValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            Ok(match this {
                Self::Made(handler) => {
                    let status = handler.status();
                    format!("Handler {} {}", status.kind, status.name)
                }
                Self::Wrapped(function) => format!("Handler {} {}", function.kind(), function.origin),
            })
        });
    }
}

/// A handler to be mounted or wrapped: a handler value, or a function of the script, given at `at`.
pub(in crate::bindings) fn to_handler(
    lua: &Lua,
    value: &Value,
    at: &Arc<str>,
) -> mlua::Result<Arc<dyn Handler>> {
    if let Value::Function(function) = value {
        return Ok(MainContext::of(lua)?.functions.handler(function, Arc::clone(at))?);
    }
    handler_of(lua, value).unwrap_or_else(|| {
        Err(fail(
            lua,
            format!("a handler must be a function(req) or come from medusa.handler, not {}", show(value)),
        ))
    })
}

/// The handler that a handler value stands for; none if it is none.
pub(in crate::bindings) fn handler_of(lua: &Lua, value: &Value) -> Option<mlua::Result<Arc<dyn Handler>>> {
    let handler = value.as_userdata().and_then(|data| data.borrow::<HandlerValue>().ok())?;
    Some(match &*handler {
        HandlerValue::Made(handler) => Ok(Arc::clone(handler)),
        HandlerValue::Wrapped(function) => function.handler(lua),
    })
}
