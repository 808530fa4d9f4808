//! Refuses clients by their addresses: all but those of a list, or those of a list.
//!
//! The client is the one that the access record has: the other end of the connection, or whom the PROXY protocol or a
//! trusted proxy speaks for. The other end of a unix socket has no address; it is in a list that says `unix`, and in no
//! other.
//!
//! **Invariant:** who is refused does not get to the handler in it, whatever is asked: an upgrade is a request like
//! others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;
use medusa_proto::networks::Networks;
use medusa_proto::status::Status;

use crate::client::address;
use crate::handler::{Handler, HandlerFuture};
use crate::pass::pass;
use crate::request::Request;
use crate::response::Response;

/// What becomes of the clients of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// They alone may pass.
    Allowed,
    /// They alone may not.
    Denied,
}

/// A wrapper that answers 403 to some clients, by their addresses.
#[derive(Debug)]
pub struct AddressFilter {
    inner: Arc<dyn Handler>,
    networks: Arc<Networks>,
    listed: Listed,
    refused: AtomicU64,
}

impl AddressFilter {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, listed: Listed, networks: Arc<Networks>) -> Self {
        Self { inner, networks, listed, refused: AtomicU64::new(0) }
    }
}

impl Handler for AddressFilter {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        let is_listed = self.networks.contains(address(request.head.client));
        if is_listed == (self.listed == Listed::Allowed) {
            return pass(&self.inner, request);
        }
        self.refused.fetch_add(1, Relaxed);
        Box::pin(std::future::ready(Ok(Response::page(StatusCode::FORBIDDEN))))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, self.listed, Arc::clone(&self.networks))))
    }

    fn status(&self) -> Status {
        let kind = match self.listed {
            Listed::Allowed => "handler.allow",
            Listed::Denied => "handler.deny",
        };
        Status::new(kind, self.networks.to_string()).counter("refused", self.refused.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::stand_in::{fine, get};

    fn filter(listed: Listed, entries: &[&str]) -> AddressFilter {
        AddressFilter::new(fine(), listed, Networks::parse(entries).expect("good entries").into())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_is_listed_passes_or_is_refused() {
        let allow = filter(Listed::Allowed, &["10.0.0.0/8", "::1"]);
        let deny = filter(Listed::Denied, &["10.0.0.0/8", "::1"]);
        for (client, is_listed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("11.0.0.0", false),
            ("::2", false),
            ("unix", false),
        ] {
            let (allowed, denied) = (get(&allow, client).await.status, get(&deny, client).await.status);
            let expected = if is_listed { (200, 403) } else { (403, 200) };
            assert_eq!((allowed.as_u16(), denied.as_u16()), expected, "{client}");
        }
        assert_eq!(allow.status(), Status::new("handler.allow", "10.0.0.0/8, ::1").counter("refused", 3_u64));
        assert_eq!(deny.status(), Status::new("handler.deny", "10.0.0.0/8, ::1").counter("refused", 3_u64));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_unix_socket_is_listed_by_its_name() {
        assert_eq!(get(&filter(Listed::Allowed, &["unix"]), "unix").await.status, 200);
        assert_eq!(get(&filter(Listed::Denied, &["unix"]), "unix").await.status, 403);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_same_filter_stands_before_another_handler() {
        let before = filter(Listed::Allowed, &["::1"]);
        let after = before.around(fine()).expect("it is a wrapper");
        assert_eq!(get(&*after, "::1").await.status, 200);
        assert_eq!(get(&*after, "::2").await.status, 403);
    }
}
