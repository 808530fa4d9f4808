//! The interner: objects by what they were made of. The same constructor arguments give the same object, while it lives.
//!
//! This is what lets a reload, which runs the whole script anew, leave every unchanged handler, sink, resolver and certificate untouched.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use medusa_dns::Resolver;
use medusa_http::Handler;
use medusa_log::Sink;
use medusa_net::tls::Tls;
use parking_lot::Mutex;

/// The number of handlers that there may be: each may hold a directory open and files in memory. Functions are not
/// counted here, and handlers that several mounts use are one.
pub const MAX_HANDLERS: usize = 4096;

/// The number of logs, those within others included: most have a thread, a file or connection, and a queue.
pub const MAX_SINKS: usize = 256;

/// The number of sets of certificates. One may hold those of many hosts.
pub const MAX_TLS: usize = 1024;

/// The number of resolvers: each has a cache, and connections to its name servers.
pub const MAX_RESOLVERS: usize = 64;

/// The reason why an object was not made.
#[derive(Debug, thiserror::Error)]
pub enum Unmade<E> {
    /// There are as many as there may be.
    #[error(
        "there are {most} {what} in use already, which is the most; use one in several places, or let go of some"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Making it failed.
    #[error(transparent)]
    Failed(E),
}

/// The handlers, sinks, resolvers and certificates in use, by the arguments they were made with. Holds none of them alive.
#[derive(Debug)]
pub struct Interner {
    handlers: Table<dyn Handler>,
    sinks: Table<dyn Sink>,
    tls: Table<Tls>,
    resolvers: Table<Resolver>,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            handlers: Table::new("handlers", MAX_HANDLERS),
            sinks: Table::new("logs", MAX_SINKS),
            tls: Table::new("sets of certificates", MAX_TLS),
            resolvers: Table::new("resolvers", MAX_RESOLVERS),
        }
    }
}

impl Interner {
    /// The handler made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`, and that there are too many.
    pub fn handler<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<dyn Handler>, E>,
    ) -> Result<Arc<dyn Handler>, Unmade<E>> {
        self.handlers.get_or_make(key, make)
    }

    /// The handler of a `kind` that stands before all of `inner`, with the options that `options` spells out; `make` makes it if
    /// there is none. It is the same as long as those are, which it keeps alive: nothing else comes to be at their addresses.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn wrap(
        &self,
        kind: &str,
        inner: Vec<Arc<dyn Handler>>,
        options: &str,
        make: impl FnOnce(Vec<Arc<dyn Handler>>) -> Arc<dyn Handler>,
    ) -> Result<Arc<dyn Handler>, Unmade<Infallible>> {
        // The address alone: what tells the type of it is another where another part of the program has made the pointer.
        let addresses = inner.iter().map(|inner| format!("{:p}", Arc::as_ptr(inner).cast::<()>()));
        let key = format!("{kind}\0{}\0{options}", addresses.collect::<Vec<_>>().join(","));
        self.handler(key, || Ok(make(inner)))
    }

    /// The wrapper `outer` before other handlers: what its constructor would make of those. None if it is no wrapper of so many.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn wrap_anew(
        &self,
        outer: &Arc<dyn Handler>,
        inner: Vec<Arc<dyn Handler>>,
    ) -> Result<Option<Arc<dyn Handler>>, Unmade<Infallible>> {
        let Some(made) = outer.around_all(inner.clone()) else { return Ok(None) };
        let key = self.handlers.key_of(outer).unwrap_or_default();
        match *key.splitn(3, '\0').collect::<Vec<_>>() {
            [kind, _, options] => self.wrap(kind, inner, options, |_inner| made).map(Some),
            _ => Ok(Some(made)),
        }
    }

    /// The sink made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`, and that there are too many.
    pub fn sink<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<dyn Sink>, E>,
    ) -> Result<Arc<dyn Sink>, Unmade<E>> {
        self.sinks.get_or_make(key, make)
    }

    /// The certificates that `key` tells from others; `make` makes them if there are none.
    ///
    /// # Errors
    ///
    /// Those of `make`, and that there are too many.
    pub fn tls<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<Tls>, E>,
    ) -> Result<Arc<Tls>, Unmade<E>> {
        self.tls.get_or_make(key, make)
    }

    /// The resolver made with the arguments that `key` spells out; `make` makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of `make`, and that there are too many.
    pub fn resolver<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<Resolver>, E>,
    ) -> Result<Arc<Resolver>, Unmade<E>> {
        self.resolvers.get_or_make(key, make)
    }

    /// Whether of some kind there are as many as there may be. Of those that nobody needs any more, a script's VM may hold
    /// some until it collects its memory.
    pub fn is_full(&self) -> bool {
        self.handlers.is_full() || self.sinks.is_full() || self.tls.is_full() || self.resolvers.is_full()
    }

    /// The numbers of handlers, logs and resolvers in use, by what they are called.
    pub fn counts(&self) -> [(&'static str, usize); 3] {
        [
            ("handlers", self.handlers.count()),
            ("logs", self.sinks.count()),
            ("resolvers", self.resolvers.count()),
        ]
    }

    /// All resolvers in use, in an order that stays.
    pub fn resolvers(&self) -> Vec<Arc<Resolver>> {
        self.resolvers.all()
    }
}

#[derive(Debug)]
struct Table<T: ?Sized> {
    what: &'static str,
    most: usize,
    known: Mutex<HashMap<String, Weak<T>>>,
}

impl<T: ?Sized> Table<T> {
    fn new(what: &'static str, most: usize) -> Self {
        Self { what, most, known: Mutex::default() }
    }

    fn get_or_make<E>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<Arc<T>, E>,
    ) -> Result<Arc<T>, Unmade<E>> {
        if let Some(known) = self.known.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        if self.is_full() {
            return Err(Unmade::TooMany { what: self.what, most: self.most });
        }
        let made = make().map_err(Unmade::Failed)?;
        let mut all = self.known.lock();
        // Before it would grow, so that each costs the same however many there are.
        if all.len() == all.capacity() {
            all.retain(|_, object| object.strong_count() > 0);
        }
        all.insert(key, Arc::downgrade(&made));
        Ok(made)
    }

    /// The key that an object was made with.
    fn key_of(&self, object: &Arc<T>) -> Option<String> {
        let all = self.known.lock();
        let is_it = |known: &Weak<T>| std::ptr::addr_eq(Weak::as_ptr(known), Arc::as_ptr(object));
        all.iter().find(|(_, known)| is_it(known)).map(|(key, _)| key.clone())
    }

    fn is_full(&self) -> bool {
        self.known.lock().len() >= self.most && self.count() >= self.most
    }

    /// The number of those that live.
    fn count(&self) -> usize {
        self.known.lock().values().filter(|part| part.strong_count() > 0).count()
    }

    /// All that live, by their keys.
    fn all(&self) -> Vec<Arc<T>> {
        let all = self.known.lock();
        let mut alive: Vec<_> = all.iter().filter_map(|(key, part)| Some((key, part.upgrade()?))).collect();
        alive.sort_unstable_by_key(|(key, _)| *key);
        alive.into_iter().map(|(_, part)| part).collect()
    }
}
