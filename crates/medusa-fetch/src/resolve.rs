//! How names are looked up, for those who do not leave it to the system.
//!
//! This stands between [`Fetcher::start`](crate::Fetcher::start) and reqwest's trait of the same name, so that a resolver
//! needs to know nothing of reqwest.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolving};

/// The addresses of a name, in the order in which they are to be tried.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks up the addresses of hosts.
///
/// Called on the fetch thread, for each connection that is to be opened, with the host of the URL unless that is an
/// address. The time it takes counts against `connect_timeout`; dropping the future ends the lookup.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `name`; none is an error.
    fn resolve(&self, name: &str) -> Addresses;
}

/// A resolver, as reqwest wants it.
pub(crate) struct Adapter(pub(crate) Arc<dyn Resolve>);

impl reqwest::dns::Resolve for Adapter {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0.resolve(name.as_str());
        Box::pin(async move {
            let addresses = addresses.await?;
            // Port 0 stands for the URL's.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
