//! Refusals before anything is routed: what hyper lets pass and is not right, and what there is no room for.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

use super::state::Exchange;
use crate::budget::Kind;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::limits::{Limits, passes};
use crate::request::{Head, RequestBody};
use crate::response::{CLOSE, Response};

/// An answer before anything is routed.
pub(super) struct Refusal {
    pub(super) response: Response,
    /// What is counted, where the client is to blame.
    pub(super) fault: Option<Fault>,
}

impl Refusal {
    /// The client cannot be trusted with the connection any longer.
    pub(super) fn close(status: StatusCode, fault: Fault) -> Self {
        Self { response: Response::page(status).with(header::CONNECTION, CLOSE), fault: Some(fault) }
    }

    fn answer(response: Response) -> Self {
        Self { response, fault: None }
    }
}

/// The size that a request takes that others are under way beside on its connection, in bytes: its stream, its task,
/// its handler's coroutine. Measured with HTTP/2: 14 KiB for a file, 23 KiB for a script that sleeps. The first one
/// is the connection's.
const REQUEST: u64 = 16 * 1024;

/// The number of times that fields are there: once as they came, and once as they are read.
const TIMES_OF_FIELDS: u64 = 2;

/// Makes room for a request of so many bytes of fields, or refuses what there is no room for: more requests than an
/// address may have, or more bytes.
pub(super) fn make_room(
    fields: u64,
    body: &RequestBody,
    limits: &Limits,
    exchange: &mut Exchange,
) -> Option<Refusal> {
    let account = &exchange.connection().account;
    if account.is_crowded(limits.requests_per_address) {
        return Some(Refusal { response: Response::busy(), fault: Some(Fault::TooManyRequests) });
    }
    let no_memory = || Some(Refusal { response: Response::busy(), fault: Some(Fault::NoMemory) });
    let beside = if exchange.connection().has_others() { REQUEST } else { 0 };
    let takes = TIMES_OF_FIELDS * fields + body.least() + beside;
    if body.has_room() && exchange.add(Kind::Requests, takes) { None } else { no_memory() }
}

/// Refuses what must be refused before anything is routed.
pub(super) fn refuse(head: &Head, fields: u64, limits: &Limits) -> Option<Refusal> {
    if !has_one_host(head) || !is_target_sound(head) {
        return Some(Refusal::close(StatusCode::BAD_REQUEST, Fault::Host));
    }
    if has_loose_values(head) {
        return Some(Refusal::close(StatusCode::BAD_REQUEST, Fault::Malformed));
    }
    if !is_scheme_served(head) || !is_certified(head) {
        return Some(Refusal::close(StatusCode::MISDIRECTED_REQUEST, Fault::Host));
    }
    if passes(target_len(head), limits.uri) {
        return Some(Refusal::close(StatusCode::URI_TOO_LONG, Fault::UriTooLong));
    }
    let too_many = passes(head.headers.len() as u64, limits.fields);
    if too_many || passes(fields, limits.head_bytes) {
        return Some(Refusal::close(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Fault::HeadTooLarge));
    }
    let is_long = |(name, value): (&HeaderName, &HeaderValue)| {
        passes((name.as_str().len() + value.len()) as u64, limits.field)
    };
    if limits.field > 0 && head.headers.iter().any(is_long) {
        return Some(Refusal::close(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Fault::FieldTooLong));
    }
    let mut expectations = head.headers.get_all(header::EXPECT).iter();
    if expectations.any(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Some(Refusal::answer(Response::page(StatusCode::EXPECTATION_FAILED)));
    }
    None
}

fn target_len(head: &Head) -> u64 {
    head.uri.path_and_query().map_or(0, |target| target.as_str().len()) as u64
}

/// A missing, repeated or malformed `Host` is refused
/// ([RFC 9112 §3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)).
fn has_one_host(head: &Head) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if head.version == Version::HTTP_2 => {
            // There, they are the same (RFC 9113 §8.3.1), and neither is empty (§8.3.1, RFC 9110 §4.2.1).
            let host = host.as_bytes();
            let is_same = |authority: &str| authority.as_bytes().eq_ignore_ascii_case(host);
            !host.is_empty() && is_host(host) && authority.is_none_or(is_same)
        }
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) if head.version == Version::HTTP_2 => authority.is_some(),
        (None, _) => head.version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Whether a target's scheme is one of ours, and "a request for an "https" resource MUST be rejected unless it has been
/// received over a connection that has been secured" ([RFC 9110 §7.4](https://www.rfc-editor.org/rfc/rfc9110#section-7.4)).
fn is_scheme_served(head: &Head) -> bool {
    match head.uri.scheme() {
        None => true,
        Some(scheme) if *scheme == http::uri::Scheme::HTTP => true,
        Some(scheme) => head.secure && *scheme == http::uri::Scheme::HTTPS,
    }
}

/// Whether the client was shown a certificate for whom it asks. Over HTTP/2 a client may use a connection for several
/// hosts, and asks anew elsewhere where it is told 421 ([RFC 9110 §15.5.20](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20));
/// proxies that speak HTTP/1.1 ask for one host by the name of another.
fn is_certified(head: &Head) -> bool {
    let (Version::HTTP_2, Some(tls), Some(host)) = (head.version, &head.tls, head.host()) else {
        return true;
    };
    tls.covers(host)
}

/// Whether a value begins or ends with white space, which HTTP/2 has none of
/// ([RFC 9113 §8.2.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1)). Of HTTP/1, hyper takes it off.
fn has_loose_values(head: &Head) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    head.version == Version::HTTP_2
        && head.headers.values().any(|value| {
            let value = value.as_bytes();
            is_space(value.first()) || is_space(value.last())
        })
}

/// The length of the fields, as `limits.head_bytes` counts them: with the colon, the space and the line's end.
pub(super) fn fields_len(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Whether a target with an authority has one that can be asked for: a host and nobody's name
/// ([RFC 9110 §4.2](https://www.rfc-editor.org/rfc/rfc9110#section-4.2)), and for CONNECT nothing but a host and a port
/// ([§9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)). Over HTTP/2 it has a scheme where it is for a protocol, and
/// only there ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
fn is_target_sound(head: &Head) -> bool {
    let uri = &head.uri;
    let Some(authority) = uri.authority() else { return head.method != Method::CONNECT };
    let is_sound = !authority.host().is_empty() && is_host(authority.as_str().as_bytes());
    let is_tunnel = uri.scheme().is_none() && authority.port_u16().is_some_and(|port| port != 0);
    let is_extended = head.version == Version::HTTP_2 && uri.scheme().is_some();
    is_sound && (head.method != Method::CONNECT || is_tunnel || is_extended)
}

/// The status for a request whose body is known to be not right, or in a transfer coding that is not the one there
/// is, or in a version that has none. hyper looks at the last coding only; an unknown one before it would hide in the body
/// ([RFC 9112 §6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)).
pub(super) fn misframed(head: &Head, connection: &Connection) -> Option<StatusCode> {
    if connection.is_misframed() {
        return Some(StatusCode::BAD_REQUEST);
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?.as_bytes();
    if head.version != Version::HTTP_11 || codings.next().is_some() {
        return Some(StatusCode::BAD_REQUEST);
    }
    let mut names = coding.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
    let last = names.next_back();
    match names.next() {
        None if last.is_some_and(is_chunked) => None,
        // One that there may be, but not here: "SHOULD respond with 501".
        Some(first) if !first.is_empty() && !is_chunked(first) && !names.any(is_chunked) => {
            Some(StatusCode::NOT_IMPLEMENTED)
        }
        _ => Some(StatusCode::BAD_REQUEST),
    }
}

/// Whether a `Host` value is `uri-host [":" port]`, or empty (which the RFC allows)
/// ([RFC 9110 §7.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.2)).
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&b| b == b':') {
        Some(colon) if !value.ends_with(b"]") => (&value[..colon], &value[colon + 1..]),
        _ => (value, &[][..]),
    };
    // RFC 3986 has no limit for a port, but a port has: five digits.
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && match host.strip_prefix(b"[") {
            Some(address) => is_address(address),
            None => is_name(host),
        }
}

/// Whether what follows a `[` is an IPv6 address and its `]`.
fn is_address(address: &[u8]) -> bool {
    let address = address.strip_suffix(b"]").and_then(|address| std::str::from_utf8(address).ok());
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Whether it is a `reg-name` ([RFC 3986 §3.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2)), of which an IPv4
/// address is one.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            (first, _) if first.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(first) => behind,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts() {
        for good in ["example.com", "example.com:80", "[::1]:80", "", "127.0.0.1", "a_b"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "a/b", "a@b", "a\tb", "é", "a?b", "a#b"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
