//! Wrappers: handlers that stand before another one, be that a function of the script.
//!
//! A handler of a function keeps the VM alive, and the VM its values. So the value of a wrapped function has the function,
//! and only mounts (and requests) have the handler that is made of it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use medusa_http::Handler;
use mlua::{Function, Lua, Value};

use super::value::{HandlerValue, to_handler};
use crate::call_site::{fail, origin};
use crate::context::MainContext;

/// The most wrappers around one handler: a request goes through all of them.
const MOST: usize = 16;

/// Makes the handler that stands before another.
type Make = dyn Fn(Arc<dyn Handler>) -> Arc<dyn Handler>;

/// A wrapper that has nothing in it yet.
#[derive(Clone)]
pub(super) struct Wrapper {
    /// What it is called in the status.
    pub(super) kind: &'static str,
    /// What tells it from others of its kind.
    options: Rc<str>,
    make: Rc<Make>,
}

impl Wrapper {
    /// A wrapper of a `kind`, with options that are spelled out; `make` puts it before a handler.
    pub(super) fn new<H: Handler>(
        kind: &'static str,
        options: &str,
        make: impl Fn(Arc<dyn Handler>) -> H + 'static,
    ) -> Self {
        Self { kind, options: options.into(), make: Rc::new(move |inner| Arc::new(make(inner))) }
    }

    /// Stands before `inner`: a handler value, or a function of the script.
    pub(super) fn around(self, lua: &Lua, inner: &Value) -> mlua::Result<HandlerValue> {
        if let Value::Function(function) = inner {
            return Ok(HandlerValue::Wrapped(WrappedFunction::new(
                function.clone(),
                origin(lua),
                vec![self],
            )));
        }
        let value = inner.as_userdata().and_then(|data| data.borrow::<HandlerValue>().ok());
        if let Some(HandlerValue::Wrapped(wrapped)) = value.as_deref() {
            not_too_many(lua, wrapped.wrappers.len())?;
            let wrappers = [&wrapped.wrappers[..], &[self]].concat();
            let (function, origin) = (wrapped.function.clone(), Arc::clone(&wrapped.origin));
            return Ok(HandlerValue::Wrapped(WrappedFunction::new(function, origin, wrappers)));
        }
        let inner = to_handler(lua, inner, &origin(lua))?;
        not_too_many(lua, depth(&inner))?;
        let context = MainContext::of(lua)?;
        let made = context.interner(lua).wrap(self.kind, inner, &self.options, |inner| (self.make)(inner));
        made.map(HandlerValue::Made).map_err(|error| fail(lua, error))
    }
}

impl fmt::Debug for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.options)
    }
}

/// The number of wrappers before what answers.
fn depth(handler: &Arc<dyn Handler>) -> usize {
    std::iter::successors(handler.inner().first(), |inner| inner.inner().first()).count()
}

fn not_too_many(lua: &Lua, wrappers: usize) -> mlua::Result<()> {
    if wrappers < MOST {
        return Ok(());
    }
    Err(fail(lua, format!("{MOST} wrappers stand before this handler already, which is the most")))
}

/// A function in wrappers.
#[derive(Debug)]
pub(super) struct WrappedFunction {
    function: Function,
    pub(super) origin: Arc<str>,
    /// From the inside out; at least one.
    wrappers: Vec<Wrapper>,
    /// The same as long as it is mounted.
    made: RefCell<Option<Weak<dyn Handler>>>,
}

impl WrappedFunction {
    fn new(function: Function, origin: Arc<str>, wrappers: Vec<Wrapper>) -> Self {
        Self { function, origin, wrappers, made: RefCell::default() }
    }

    /// The kind of the outermost wrapper in the status.
    pub(super) fn kind(&self) -> &'static str {
        self.wrappers.last().map_or("", |wrapper| wrapper.kind)
    }

    /// The handler to be mounted.
    pub(super) fn handler(&self, lua: &Lua) -> mlua::Result<Arc<dyn Handler>> {
        if let Some(made) = self.made.borrow().as_ref().and_then(Weak::upgrade) {
            return Ok(made);
        }
        let function = MainContext::of(lua)?.functions.handler(&self.function, Arc::clone(&self.origin))?;
        let function: Arc<dyn Handler> = function;
        let made = self.wrappers.iter().fold(function, |inner, wrapper| (wrapper.make)(inner));
        self.made.replace(Some(Arc::downgrade(&made)));
        Ok(made)
    }
}
