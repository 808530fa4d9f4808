//! Lookups of names: by a resolver that the program gives, or by the system.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

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

/// A name could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the name was not found")]
pub(crate) struct NotFound(#[from] io::Error);

/// Looks names up for connections.
#[derive(Clone)]
pub(crate) struct NameResolver(pub(crate) Option<Arc<dyn Resolve>>);

impl NameResolver {
    /// The addresses of `name`, in the order in which they are to be tried. Must run on the client's thread.
    pub(crate) async fn addresses(self, name: String) -> io::Result<Vec<IpAddr>> {
        match self.0 {
            Some(resolver) => resolver.resolve(&name).await,
            // Port 0 stands for any.
            None => Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
        }
    }
}

impl Service<Name> for NameResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NotFound;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NotFound>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotFound>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str().to_owned()).await?;
            // Port 0 stands for the URL's.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}
