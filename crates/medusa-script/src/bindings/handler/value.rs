//! A handler, as a value of the script.

use std::rc::Rc;
use std::sync::Arc;

use medusa_http::Handler;
use mlua::{Lua, UserData, UserDataMethods, Value};

use super::wrap::{Blueprint, Extent};
use crate::call_site::{fail, origin};
use crate::context::MainContext;
use crate::print::show;

/// A handler, as a value of the script.
#[derive(Debug, Clone)]
pub(in crate::bindings) enum HandlerValue {
    /// One that has nothing of this VM.
    Made(Arc<dyn Handler>),
    /// One that is made when it is mounted.
    Blueprint(Rc<Blueprint>),
}

impl HandlerValue {
    /// The value that a script gives for a handler: one of these, or a function.
    pub(in crate::bindings) fn of(lua: &Lua, given: &Value) -> mlua::Result<Self> {
        if let Value::Function(function) = given {
            return Ok(Self::Blueprint(Blueprint::of(function.clone(), origin(lua)).into()));
        }
        let value = given.as_userdata().and_then(|data| data.borrow::<Self>().ok());
        value.map(|value| value.clone()).ok_or_else(|| no_handler(lua, given))
    }

    /// Its kind in the status.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Made(handler) => handler.status().kind,
            Self::Blueprint(blueprint) => blueprint.kind(),
        }
    }

    /// Whether it is of a kind, or stands before one that is.
    pub(super) fn has(&self, kind: &str) -> bool {
        match self {
            Self::Made(handler) => made_has(handler, kind),
            Self::Blueprint(blueprint) => {
                blueprint.kind() == kind || blueprint.inner().iter().any(|inner| inner.has(kind))
            }
        }
    }

    /// Where its first function comes from, if it has one.
    pub(super) fn origin(&self) -> Option<Arc<str>> {
        match self {
            Self::Made(_) => None,
            Self::Blueprint(blueprint) => Some(Arc::clone(&blueprint.origin)),
        }
    }

    pub(super) fn extent(&self) -> Extent {
        match self {
            Self::Made(handler) => Extent::of(handler),
            Self::Blueprint(blueprint) => blueprint.extent,
        }
    }

    /// The handler to be mounted.
    pub(super) fn handler(&self, lua: &Lua) -> mlua::Result<Arc<dyn Handler>> {
        match self {
            Self::Made(handler) => Ok(Arc::clone(handler)),
            Self::Blueprint(blueprint) => blueprint.handler(lua),
        }
    }
}

impl UserData for HandlerValue {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method("__tostring", |_, this, ()| {
            Ok(match this {
                Self::Made(handler) => {
                    let status = handler.status();
                    format!("Handler {} {}", status.kind, status.name)
                }
                Self::Blueprint(blueprint) => format!("Handler {} {}", blueprint.kind(), blueprint.origin),
            })
        });
    }
}

fn made_has(handler: &Arc<dyn Handler>, kind: &str) -> bool {
    handler.status().kind == kind || handler.inner().iter().any(|inner| made_has(inner, kind))
}

fn no_handler(lua: &Lua, given: &Value) -> mlua::Error {
    let given = show(given);
    fail(lua, format!("a handler must be a function(req) or come from medusa.handler, not {given}"))
}

/// A handler to be mounted: a handler value, or a function of the script, given at `at`.
pub(in crate::bindings) fn to_handler(
    lua: &Lua,
    value: &Value,
    at: &Arc<str>,
) -> mlua::Result<Arc<dyn Handler>> {
    if let Value::Function(function) = value {
        return Ok(MainContext::of(lua)?.functions.handler(function, Arc::clone(at))?);
    }
    handler_of(lua, value).unwrap_or_else(|| Err(no_handler(lua, value)))
}

/// The handler that a handler value stands for; none if it is none.
pub(in crate::bindings) fn handler_of(lua: &Lua, value: &Value) -> Option<mlua::Result<Arc<dyn Handler>>> {
    let handler = value.as_userdata().and_then(|data| data.borrow::<HandlerValue>().ok())?;
    Some(handler.handler(lua))
}
