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
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same_tls && (&self.addr, self.proxy_protocol) == (&other.addr, other.proxy_protocol)
    }
}
