//! Objects by what they were made of: the same constructor arguments give the same object, while it lives.
//!
//! This is what lets a reload, which runs the whole script anew, leave every unchanged handler, sink and certificate untouched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use medusa_http::Handler;
use medusa_log::Sink;
use medusa_net::tls::Tls;

/// The handlers, sinks and certificates in use, by the arguments they were made with. Holds none of them alive.
#[derive(Debug, Default)]
pub struct Parts {
    handlers: Interned<dyn Handler>,
    sinks: Interned<dyn Sink>,
    tls: Interned<Tls>,
}

impl Parts {
    /// The handler made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn handler<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<dyn Handler>, E>,
    ) -> Result<Arc<dyn Handler>, E> {
        self.handlers.get_or_make(key, make)
    }

    /// The sink made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn sink<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<dyn Sink>, E>,
    ) -> Result<Arc<dyn Sink>, E> {
        self.sinks.get_or_make(key, make)
    }

    /// The certificates that `key` tells from others; `make` makes them if there are none.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn tls<E>(&self, key: String, make: impl FnOnce() -> Result<Arc<Tls>, E>) -> Result<Arc<Tls>, E> {
        self.tls.get_or_make(key, make)
    }
}

#[derive(Debug)]
struct Interned<T: ?Sized>(Mutex<HashMap<String, Weak<T>>>);

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<T: ?Sized> Interned<T> {
    fn get_or_make<E>(&self, key: String, make: impl FnOnce() -> Result<Arc<T>, E>) -> Result<Arc<T>, E> {
        if let Some(known) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let made = make()?;
        let mut all = self.lock();
        all.retain(|_, part| part.strong_count() > 0);
        all.insert(key, Arc::downgrade(&made));
        Ok(made)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
