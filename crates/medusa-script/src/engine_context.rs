//! What all VMs of an engine have in common, on whatever thread they run.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use medusa_fetch::{Addresses, Fetcher, Resolve};
use medusa_proto::status::Status;
use medusa_site::Live;
use mlua::Lua;

use crate::logins::Logins;
use crate::rust_handlers::RustHandlers;
use crate::shared::Dictionaries;

/// What the VMs of an engine share.
#[derive(Debug)]
pub(crate) struct EngineContext {
    pub(crate) dictionaries: Arc<Dictionaries>,
    pub(crate) client: Client,
    /// The state directory, if there is one.
    pub(crate) state: Option<Arc<Path>>,
    /// Who has logged in.
    pub(crate) logins: Logins,
    /// The handlers that the program brings along.
    pub(crate) handlers: RustHandlers,
}

impl EngineContext {
    /// Makes the context of an engine that serves `live`, keeps its state in `state`, and has `handlers`.
    pub(crate) fn new(live: &Arc<Live>, state: Option<&Path>, handlers: RustHandlers) -> Arc<Self> {
        let names = SiteNames(Arc::downgrade(live));
        let client = Client { names: Arc::new(names), started: OnceLock::new() };
        let (logins, state) = (Logins::new(state), state.map(Into::into));
        Arc::new(Self { dictionaries: Arc::default(), client, state, logins, handlers })
    }

    /// Gets the context of the engine whose VM this is.
    pub(crate) fn of(lua: &Lua) -> mlua::Result<Arc<Self>> {
        let engine = lua.app_data_ref::<Arc<Self>>().map(|engine| Arc::clone(&engine));
        engine.ok_or_else(|| mlua::Error::runtime("this VM belongs to no engine"))
    }
}

/// The HTTP client, started with the first fetch: most sites need none.
#[derive(Debug)]
pub(crate) struct Client {
    names: Arc<SiteNames>,
    started: OnceLock<Fetcher>,
}

impl Client {
    pub(crate) fn get(&self) -> io::Result<&Fetcher> {
        if let Some(fetcher) = self.started.get() {
            return Ok(fetcher);
        }
        // Of two that are started at once, one is dropped and ends.
        let started = Fetcher::start(Some(Arc::clone(&self.names) as _))?;
        Ok(self.started.get_or_init(|| started))
    }

    /// Describes what the client is doing, if it was ever used.
    pub(crate) fn status(&self) -> Option<Status> {
        self.started.get().map(Fetcher::status)
    }
}

/// Names, as the running site looks them up: by its resolver if it has one, else by the system.
#[derive(Debug)]
struct SiteNames(Weak<Live>);

impl Resolve for SiteNames {
    fn resolve(&self, name: &str) -> Addresses {
        let name = name.to_owned();
        let resolver = self.0.upgrade().and_then(|live| live.site().parts.resolver().cloned());
        Box::pin(async move {
            match resolver {
                Some(resolver) => {
                    let found = resolver.addresses(&name).await.map_err(io::Error::other)?;
                    Ok(found.addresses)
                }
                None => by_the_system(name).await,
            }
        })
    }
}

/// Looks a name up as the C library does it, on one of the threads that the client has for that.
async fn by_the_system(name: String) -> io::Result<Vec<IpAddr>> {
    // Port 0 stands for any.
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}
