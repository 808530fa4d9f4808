//! Handlers that a program which embeds the server brings along, written in Rust: scripts have them by their names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use medusa_http::Handler;

/// Puts a wrapper before a handler.
pub(crate) type MakeWrapper = dyn Fn(Arc<dyn Handler>) -> Arc<dyn Handler> + Send + Sync;

/// Handlers and wrappers by their names, for `medusa.handler.rust`. Empty by default.
#[derive(Clone, Default)]
pub struct RustHandlers(BTreeMap<Arc<str>, RustHandler>);

#[derive(Clone)]
pub(crate) enum RustHandler {
    Handler(Arc<dyn Handler>),
    Wrapper(Arc<MakeWrapper>),
}

impl RustHandlers {
    /// Adds a handler, which is the same wherever a script names it. Of two of one name the later is there.
    #[must_use]
    pub fn handler(mut self, name: &str, handler: impl Handler) -> Self {
        self.0.insert(name.into(), RustHandler::Handler(Arc::new(handler)));
        self
    }

    /// Adds a wrapper: `make` puts it before a handler, each time that a script does. Of two of one name the later is there.
    #[must_use]
    pub fn wrapper<H: Handler>(
        mut self,
        name: &str,
        make: impl Fn(Arc<dyn Handler>) -> H + Send + Sync + 'static,
    ) -> Self {
        self.0.insert(name.into(), RustHandler::Wrapper(Arc::new(move |inner| Arc::new(make(inner)))));
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RustHandler> {
        self.0.get(name)
    }

    /// Their names, for messages.
    pub(crate) fn names(&self) -> String {
        self.0.keys().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Debug for RustHandlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
