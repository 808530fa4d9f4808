//! Wrappers: handlers that stand before others, be those functions of the script.
//!
//! A handler of a function keeps the VM alive, and the VM its values. So a value with a function somewhere in it has only the
//! [`Blueprint`] of a handler, and only mounts (and requests) have the handler that is made of it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use medusa_http::Handler;
use mlua::{Function, Lua, Value};

use super::value::HandlerValue;
use crate::call_site::fail;
use crate::context::MainContext;

/// The most wrappers one behind the other: a request goes through all of them.
const MOST: usize = 16;

/// The most handlers in one, itself included, each as often as it stands there.
const MOST_WITHIN: usize = 64;

/// Makes the handler that stands before others.
type Make = dyn Fn(Vec<Arc<dyn Handler>>) -> Arc<dyn Handler>;

/// A wrapper that has nothing in it yet.
#[derive(Clone)]
pub(super) struct Wrapper {
    /// What it is called in the status.
    kind: &'static str,
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
        Self::of_several(kind, options, move |mut inner| {
            make(inner.pop().expect("a wrapper is put before a handler"))
        })
    }

    /// A wrapper that stands before several handlers; `make` puts it before them.
    pub(super) fn of_several<H: Handler>(
        kind: &'static str,
        options: &str,
        make: impl Fn(Vec<Arc<dyn Handler>>) -> H + 'static,
    ) -> Self {
        Self::made_by(kind, options, move |inner| Arc::new(make(inner)))
    }

    /// A wrapper of whatever type `make` makes before handlers.
    pub(super) fn made_by(
        kind: &'static str,
        options: &str,
        make: impl Fn(Vec<Arc<dyn Handler>>) -> Arc<dyn Handler> + 'static,
    ) -> Self {
        Self { kind, options: options.into(), make: Rc::new(make) }
    }

    /// Stands before `inner`: a handler value, or a function of the script.
    pub(super) fn around(self, lua: &Lua, inner: &Value) -> mlua::Result<HandlerValue> {
        let inner = HandlerValue::of(lua, inner)?;
        self.around_all(lua, vec![inner])
    }

    /// Stands before all of `inner`.
    pub(super) fn around_all(self, lua: &Lua, inner: Vec<HandlerValue>) -> mlua::Result<HandlerValue> {
        let extent = Extent::around(inner.iter().map(HandlerValue::extent));
        extent.check(lua)?;
        if let Some(origin) = inner.iter().find_map(HandlerValue::origin) {
            let planned = Planned::Wrapper { wrapper: self, inner };
            return Ok(HandlerValue::Blueprint(Blueprint::new(planned, origin, extent).into()));
        }
        let inner: Vec<_> = inner.iter().map(|inner| inner.handler(lua)).collect::<mlua::Result<_>>()?;
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

/// How much there is in a handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Wrappers one behind the other.
    depth: usize,
    /// Handlers.
    size: usize,
}

impl Extent {
    const FUNCTION: Self = Self { depth: 0, size: 1 };

    /// That of a wrapper around others.
    fn around(inner: impl Iterator<Item = Self>) -> Self {
        inner.fold(Self { depth: 1, size: 1 }, |all, inner| Self {
            depth: all.depth.max(inner.depth + 1),
            size: all.size + inner.size,
        })
    }

    /// That of a handler that was made, which is within the bounds.
    pub(super) fn of(handler: &Arc<dyn Handler>) -> Self {
        match handler.inner() {
            [] => Self::FUNCTION,
            inner => Self::around(inner.iter().map(Self::of)),
        }
    }

    fn check(self, lua: &Lua) -> mlua::Result<()> {
        if self.depth > MOST {
            let most = format!("{MOST} wrappers stand before this handler already, which is the most");
            return Err(fail(lua, most));
        }
        if self.size > MOST_WITHIN {
            let most = format!(
                "there would be {} handlers in this one; at most {MOST_WITHIN} are allowed",
                self.size
            );
            return Err(fail(lua, most));
        }
        Ok(())
    }
}

/// A handler with functions of the script in it, which is made when it is mounted.
#[derive(Debug)]
pub(in crate::bindings) struct Blueprint {
    planned: Planned,
    /// Where its first function comes from.
    pub(super) origin: Arc<str>,
    pub(super) extent: Extent,
    /// The same as long as it is mounted.
    made: RefCell<Option<Weak<dyn Handler>>>,
}

#[derive(Debug)]
enum Planned {
    Function(Function),
    Wrapper { wrapper: Wrapper, inner: Vec<HandlerValue> },
}

impl Blueprint {
    /// That of a function, given at `origin`.
    pub(super) fn of(function: Function, origin: Arc<str>) -> Self {
        Self::new(Planned::Function(function), origin, Extent::FUNCTION)
    }

    fn new(planned: Planned, origin: Arc<str>, extent: Extent) -> Self {
        Self { planned, origin, extent, made: RefCell::default() }
    }

    /// Its kind in the status.
    pub(super) fn kind(&self) -> &'static str {
        match &self.planned {
            Planned::Function(_) => "function",
            Planned::Wrapper { wrapper, .. } => wrapper.kind,
        }
    }

    /// What it stands before.
    pub(super) fn inner(&self) -> &[HandlerValue] {
        match &self.planned {
            Planned::Function(_) => &[],
            Planned::Wrapper { inner, .. } => inner,
        }
    }

    /// The handler to be mounted.
    pub(super) fn handler(&self, lua: &Lua) -> mlua::Result<Arc<dyn Handler>> {
        if let Some(made) = self.made.borrow().as_ref().and_then(Weak::upgrade) {
            return Ok(made);
        }
        let made: Arc<dyn Handler> = match &self.planned {
            Planned::Function(function) => {
                MainContext::of(lua)?.functions.handler(function, Arc::clone(&self.origin))?
            }
            Planned::Wrapper { wrapper, inner } => {
                let inner = inner.iter().map(|inner| inner.handler(lua));
                (wrapper.make)(inner.collect::<mlua::Result<_>>()?)
            }
        };
        self.made.replace(Some(Arc::downgrade(&made)));
        Ok(made)
    }
}
