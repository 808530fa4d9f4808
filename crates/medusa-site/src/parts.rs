//! Objects by what they were made of: the same constructor arguments give the same object, while it lives.
//!
//! This is what lets a reload, which runs the whole script anew, leave every unchanged handler, sink, resolver and certificate untouched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use medusa_dns::Resolver;
use medusa_http::Handler;
use medusa_log::Sink;
use medusa_net::tls::Tls;

/// The handlers, sinks, resolvers and certificates in use, by the arguments they were made with. Holds none of them alive.
#[derive(Debug, Default)]
pub struct Parts {
    handlers: Interned<dyn Handler>,
    sinks: Interned<dyn Sink>,
    tls: Interned<Tls>,
    resolvers: Interned<Resolver>,
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

    /// The resolver made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn resolver<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<Resolver>, E>,
    ) -> Result<Arc<Resolver>, E> {
        self.resolvers.get_or_make(key, make)
    }

    /// All resolvers in use, in an order that stays.
    pub fn resolvers(&self) -> Vec<Arc<Resolver>> {
        self.resolvers.all()
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

    /// All that live, by their keys.
    fn all(&self) -> Vec<Arc<T>> {
        let all = self.lock();
        let mut alive: Vec<_> = all.iter().filter_map(|(key, part)| Some((key, part.upgrade()?))).collect();
        alive.sort_unstable_by_key(|(key, _)| *key);
        alive.into_iter().map(|(_, part)| part).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
