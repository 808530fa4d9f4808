//! A handler, as a value of the script.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use medusa_http::Handler;
use medusa_http::handlers::compress::Compress;
use mlua::{Function, Lua, UserData, UserDataMethods, Value};

use crate::call_site::fail;
use crate::context::MainContext;
use crate::print::show;

/// What a handler that compresses is called in the status.
pub(super) const COMPRESS: &str = "handler.compress";

/// A handler, as a value of the script.
#[derive(Debug)]
pub(super) enum HandlerValue {
    /// One that has nothing of this VM.
    Made(Arc<dyn Handler>),
    /// One that is made when it is mounted.
    Compressed(CompressedFunction),
}

/// A compressed function. Its handler keeps this VM alive, and this VM its values: so the value has the function, and
/// only mounts (and requests) have the handler.
#[derive(Debug)]
pub(super) struct CompressedFunction {
    pub(super) function: Function,
    pub(super) origin: Arc<str>,
    /// The same as long as it is mounted.
    pub(super) made: RefCell<Weak<Compress>>,
}

impl CompressedFunction {
    fn handler(&self, lua: &Lua) -> mlua::Result<Arc<dyn Handler>> {
        if let Some(made) = self.made.borrow().upgrade() {
            return Ok(made);
        }
        let inner = MainContext::of(lua)?.functions.handler(&self.function, Arc::clone(&self.origin))?;
        let made = Arc::new(Compress::new(Arc::new(inner)));
        self.made.replace(Arc::downgrade(&made));
        Ok(made)
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
                Self::Compressed(function) => format!("Handler {COMPRESS} {}", function.origin),
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
        return Ok(Arc::new(MainContext::of(lua)?.functions.handler(function, Arc::clone(at))?));
    }
    let handler = value.as_userdata().and_then(|data| data.borrow::<HandlerValue>().ok());
    match handler.as_deref() {
        Some(HandlerValue::Made(handler)) => Ok(Arc::clone(handler)),
        Some(HandlerValue::Compressed(function)) => function.handler(lua),
        None => Err(fail(
            lua,
            format!("a handler must be a function(req) or come from medusa.handler, not {}", show(value)),
        )),
    }
}
