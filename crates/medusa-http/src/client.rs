//! The client of a request: the other end of the connection, or whom a trusted proxy speaks for.
//!
//! Invariant: nothing that a request says about its client is believed unless the connection comes from a proxy that the
//! script trusts; anybody can write these fields.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_proto::access::Peer;
use medusa_proto::forwarded::{ForwardedFields, Scheme, TrustedProxies, client_behind};
use smallvec::SmallVec;

use crate::request_id::RequestId;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client of a request, and how it asks.
pub(crate) struct Client {
    pub(crate) peer: Peer,
    pub(crate) secure: bool,
    pub(crate) id: RequestId,
}

impl Client {
    /// The client behind `peer`, whose own connection is encrypted or not.
    pub(crate) fn of(peer: Peer, encrypted: bool, trusted: &TrustedProxies, headers: &HeaderMap) -> Self {
        let direct = || Self { peer, secure: encrypted, id: RequestId::next() };
        if trusted.is_empty() || !trusted.trusts(address(peer)) {
            return direct();
        }
        let (forwarded, for_, proto) = (
            lines(headers, &header::FORWARDED),
            lines(headers, &X_FORWARDED_FOR),
            lines(headers, &X_FORWARDED_PROTO),
        );
        let fields =
            ForwardedFields { forwarded: &forwarded, x_forwarded_for: &for_, x_forwarded_proto: &proto };
        let client = client_behind(address(peer), trusted, &fields);
        Self {
            peer: client.ip.map_or(peer, Peer::Ip),
            secure: client.proto.map_or(encrypted, |proto| proto == Scheme::Https),
            id: headers.get(X_REQUEST_ID).and_then(RequestId::given).unwrap_or_else(RequestId::next),
        }
    }
}

/// `None` for a unix socket.
pub(crate) fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Ip(ip) => Some(ip),
        Peer::Unix => None,
    }
}

fn lines<'h>(headers: &'h HeaderMap, name: &HeaderName) -> SmallVec<[&'h [u8]; 2]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(
        peer: &str,
        trusted: &[&str],
        fields: &[(&'static str, &'static str)],
    ) -> (String, bool, String) {
        let headers: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let trusted = TrustedProxies::parse(trusted).unwrap();
        let client = Client::of(Peer::Ip(peer.parse().unwrap()), false, &trusted, &headers);
        let Peer::Ip(ip) = client.peer else { panic!("an address was given") };
        (ip.to_string(), client.secure, client.id.to_string())
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let fields =
            [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https"), ("x-request-id", "forged")];
        for trusted in [&[][..], &["10.0.0.1"]] {
            let (ip, secure, id) = behind("198.51.100.1", trusted, &fields);
            assert_eq!((ip.as_str(), secure), ("198.51.100.1", false));
            assert_ne!(id, "forged");
        }
    }

    #[test]
    fn a_trusted_proxy_speaks_for_its_client() {
        let fields =
            [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https"), ("x-request-id", "abc")];
        let client = behind("10.0.0.1", &["10.0.0.0/8"], &fields);
        assert_eq!(client, ("192.0.2.9".to_owned(), true, "abc".to_owned()));
    }
}
