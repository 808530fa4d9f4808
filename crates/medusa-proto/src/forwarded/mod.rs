//! The client behind proxies: what `Forwarded` ([RFC 7239]) and `X-Forwarded-For` say, and how much of it to believe.
//!
//! Each proxy adds, at the end, the address it got the request from. What is at the beginning may have come from the client,
//! who can write there what it likes: to get past an address filter, to be someone else in a log, to have a new address
//! for each request that a limit counts. So the list is read from its end, and only as far as it was written by proxies
//! that are trusted.
//!
//! **Invariant: [`client_behind`] believes a field only if the peer is trusted, and each further entry only if the one after
//! it, which names who wrote it, is trusted as well.** The first address that is not trusted is the client's, whatever
//! stands before it.
//!
//! [RFC 7239]: https://www.rfc-editor.org/rfc/rfc7239

mod field;
mod node;
mod trusted;

use std::net::IpAddr;

pub use trusted::{TrustError, TrustedProxies};

use field::Element;

/// The scheme by which a request came to the first proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Encrypted.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Any other scheme is not known.
    fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"https") {
            Some(Self::Https)
        } else if text.eq_ignore_ascii_case(b"http") {
            Some(Self::Http)
        } else {
            None
        }
    }
}

/// The fields of a request that proxies write, each with its lines in the order of the request.
///
/// With a line of `X-Forwarded-For` there, `Forwarded` is not looked at: nearly every proxy writes the former, and most pass
/// on the latter as the client sent it. Behind a proxy that writes `Forwarded` alone, and does not remove the other, leave
/// `x_forwarded_for` empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardedFields<'a> {
    /// `Forwarded`.
    pub forwarded: &'a [&'a [u8]],
    /// `X-Forwarded-For`.
    pub x_forwarded_for: &'a [&'a [u8]],
    /// `X-Forwarded-Proto`.
    pub x_forwarded_proto: &'a [&'a [u8]],
}

/// The client that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address. `None` if the request came over a unix socket, and no address is known. Never an IPv4 address in IPv6
    /// form.
    pub ip: Option<IpAddr>,
    /// The scheme by which the client reached the first trusted proxy, if one said.
    pub proto: Option<Scheme>,
    /// The `Host` that the client asked the first trusted proxy for, if one said (in `Forwarded`), and it is one.
    pub host: Option<String>,
}

/// The client of a request that came from `peer` (`None`: over a unix socket).
///
/// Walks the proxies from the nearest one. It ends with the first address that is not trusted, which is the client's; or
/// where an entry has none (`unknown`, `_hidden`, nonsense), and then the proxy that wrote it stands for its client; or at
/// the beginning of the list.
#[must_use]
pub fn client_behind(peer: Option<IpAddr>, trusted: &TrustedProxies, fields: &ForwardedFields<'_>) -> Client {
    let peer = peer.map(|ip| ip.to_canonical());
    if !trusted.trusts(peer) {
        return Client { ip: peer, proto: None, host: None };
    }
    if fields.x_forwarded_for.is_empty() {
        behind_forwarded(peer, trusted, fields.forwarded, fields.x_forwarded_proto)
    } else {
        behind_x_forwarded(peer, trusted, fields)
    }
}

fn behind_x_forwarded(
    peer: Option<IpAddr>,
    trusted: &TrustedProxies,
    fields: &ForwardedFields<'_>,
) -> Client {
    let (mut ip, mut hop) = (peer, 0);
    for (index, entry) in list(fields.x_forwarded_for).enumerate() {
        hop = index;
        let Some(address) = node::address(entry) else { break };
        ip = Some(address);
        if !trusted.trusts(ip) {
            break;
        }
    }
    Client { ip, proto: x_forwarded_proto(fields, hop), host: None }
}

/// The scheme that was written together with the entry `hop` places before the last one.
///
/// Some proxies add their scheme to a list, as they do with addresses; others replace what there is. Only two lists of the
/// same length can be read side by side; otherwise what the nearest proxy wrote is all that is certain to be a proxy's.
fn x_forwarded_proto(fields: &ForwardedFields<'_>, hop: usize) -> Option<Scheme> {
    let together = list(fields.x_forwarded_proto).count() == list(fields.x_forwarded_for).count();
    let place = if together { hop } else { 0 };
    list(fields.x_forwarded_proto).nth(place).and_then(Scheme::parse)
}

fn behind_forwarded(
    peer: Option<IpAddr>,
    trusted: &TrustedProxies,
    forwarded: &[&[u8]],
    x_forwarded_proto: &[&[u8]],
) -> Client {
    let nearest = list(x_forwarded_proto).next().and_then(Scheme::parse);
    let mut client = Client { ip: peer, proto: nearest, host: None };
    for element in forwarded.iter().rev().flat_map(|line| field::elements(line)) {
        // Each tells about the way to the proxy that wrote it, so the last one read tells about the client's.
        let Some(Element { address, proto, host }) = element else { break };
        client.proto = proto;
        client.host = host;
        let Some(address) = address else { break };
        client.ip = Some(address);
        if !trusted.trusts(client.ip) {
            break;
        }
    }
    client
}

/// The entries of a list that goes over several lines, from the last one. Empty ones do not count ([RFC 9110 §5.6.1.2]).
///
/// [RFC 9110 §5.6.1.2]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2
fn list<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b','));
    entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests;
