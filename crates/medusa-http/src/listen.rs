//! The places where servers listen.

use std::sync::Arc;

use medusa_net::ListenAddr;
use medusa_net::tls::Tls;

/// A place where a server listens, and what is spoken there before HTTP.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address.
    pub addr: ListenAddr,
    /// The certificates of an encrypted listener.
    pub tls: Option<Arc<Tls>>,
    /// Whether every connection begins with a header of the PROXY protocol, by which a balancer in front tells whose
    /// it is. One that does not is closed: whoever could leave the header out could also write it.
    pub proxy_protocol: bool,
}

impl Listen {
    /// Plain HTTP.
    pub fn plain(addr: ListenAddr) -> Self {
        Self { addr, tls: None, proxy_protocol: false }
    }
}

impl PartialEq for Listen {
    /// The same address, and the very same certificates.
    fn eq(&self, other: &Self) -> bool {
        same_object(self.tls.as_ref(), other.tls.as_ref())
            && (&self.addr, self.proxy_protocol) == (&other.addr, other.proxy_protocol)
    }
}

/// Whether both are the very same object, or there is none in either place.
pub(crate) fn same_object<T: ?Sized>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}
