//! Fields on their way through: what is passed on, and what upstreams are told of the client.
//!
//! Dropped both ways is what belongs to one connection: a fixed set
//! ([RFC 9110 §7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)) and whatever `Connection` names. Of requests,
//! also what tells who the client is: it is told anew, from what this server knows. A client that could say it itself
//! would be whoever it likes.

use std::fmt::Write as _;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use medusa_http::Head;
use medusa_proto::access::Peer;
use smallvec::SmallVec;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether a field belongs to one connection, or frames the message on it.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a field of a request is ours to write, or nobody's: what is told of the client, the host, an expectation that
/// this server meets itself, and `Proxy`, which CGI programs would take for their own proxy ("httpoxy").
fn is_ours(name: &str) -> bool {
    matches!(name, "expect" | "forwarded" | "host" | "proxy" | "x-real-ip" | "x-request-id")
        || name.starts_with("x-forwarded-")
}

/// The same of names that are spelt otherwise: to applications that get their fields as CGI has them, `X_Real_Ip` is the
/// same.
fn is_ours_in_any_spelling(name: &str) -> bool {
    is_ours(name) || name.contains('_') && is_ours(&name.replace('_', "-"))
}

type Named<'h> = SmallVec<[&'h [u8]; 4]>;

/// The names in `Connection`.
fn named(headers: &HeaderMap) -> Named<'_> {
    let lists = headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes);
    let names = lists.flat_map(|list| list.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    names.filter(|name| !name.is_empty()).collect()
}

fn has(named: &Named<'_>, name: &str) -> bool {
    named.iter().any(|known| known.eq_ignore_ascii_case(name.as_bytes()))
}

/// The fields of a request that an upstream gets, with `host` for its own.
pub(crate) fn of_request(head: &Head, host: &HeaderValue) -> HeaderMap {
    let named = named(&head.headers);
    // With room for those that are told.
    let mut passed = HeaderMap::try_with_capacity(head.headers.len() + 6).unwrap_or_default();
    passed.insert(header::HOST, host.clone());
    for (name, value) in &head.headers {
        let text = name.as_str();
        if !is_of_connection(text) && !is_ours_in_any_spelling(text) && !has(&named, text) {
            let _has_room = passed.try_append(name, value.clone());
        }
    }
    tell(head, &mut passed);
    passed
}

/// Tells who asks, and for what.
fn tell(head: &Head, passed: &mut HeaderMap) {
    let mut tell = |name: HeaderName, value: &str| {
        // What is no value cannot be told: the host of a request that was made up, a user's name.
        if let Ok(value) = HeaderValue::from_str(value) {
            let _has_room = passed.try_insert(name, value);
        }
    };
    let mut text = String::with_capacity(128);
    // The client, then who speaks for it.
    let peers = [head.client, head.peer];
    let peers = if head.client == head.peer { &peers[..1] } else { &peers[..] };
    for peer in peers {
        if let Peer::Ip(address) = peer {
            let _infallible = write!(text, "{}{address}", if text.is_empty() { "" } else { ", " });
        }
    }
    if !text.is_empty() {
        tell(FORWARDED_FOR, &text);
    }
    tell(FORWARDED_PROTO, head.scheme());
    text.clear();
    for peer in peers {
        let comma = if text.is_empty() { "" } else { ", " };
        // RFC 7239 §6: an IPv6 address has brackets, and therefore quotes.
        let _infallible = match peer {
            Peer::Ip(address) if address.is_ipv6() => write!(text, "{comma}for=\"[{address}]\""),
            Peer::Ip(address) => write!(text, "{comma}for={address}"),
            Peer::Unix => write!(text, "{comma}for=unknown"),
        };
        if comma.is_empty() {
            if let Some(host) = head.authority().filter(|host| !host.contains(['"', '\\'])) {
                let _infallible = write!(text, ";host=\"{host}\"");
            }
            let _infallible = write!(text, ";proto={}", head.scheme());
        }
    }
    tell(header::FORWARDED, &text);
    if let Some(host) = head.authority() {
        tell(FORWARDED_HOST, host);
    }
    text.clear();
    let _infallible = write!(text, "{}", head.id);
    tell(REQUEST_ID, &text);
    if let Some(user) = head.user.get()
        && let Ok(user) = HeaderValue::from_bytes(user.as_bytes())
    {
        let _has_room = passed.try_insert(FORWARDED_USER, user);
    }
}

/// Drops the fields of an answer that are not passed on.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    let dropped: SmallVec<[HeaderName; 8]> = {
        let named = named(headers);
        let is_dropped = |name: &&HeaderName| is_of_connection(name.as_str()) || has(&named, name.as_str());
        headers.keys().filter(is_dropped).cloned().collect()
    };
    for name in dropped {
        headers.remove(name);
    }
}

/// Whether a field frames a message, says who sends it or how its content is to be read: none of what may come behind one
/// ([RFC 9110 §6.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1)).
fn is_of_head(name: &str) -> bool {
    is_of_connection(name)
        || matches!(
            name,
            "age"
                | "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-range"
                | "content-type"
                | "cookie"
                | "date"
                | "expires"
                | "location"
                | "max-forwards"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "vary"
                | "www-authenticate"
        )
        || name.starts_with("if-")
}

fn strip_trailers(trailers: &mut HeaderMap, is_dropped: impl Fn(&str) -> bool) {
    let dropped: SmallVec<[HeaderName; 8]> =
        trailers.keys().filter(|name| is_dropped(name.as_str())).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
}

/// Drops what is not passed on of the fields behind a request: what belongs to its head, and what tells of the client.
pub(crate) fn strip_request_trailers(trailers: &mut HeaderMap) {
    strip_trailers(trailers, |name| is_of_head(name) || is_ours_in_any_spelling(name));
}

/// The same of the fields behind an answer.
pub(crate) fn strip_answer_trailers(trailers: &mut HeaderMap) {
    strip_trailers(trailers, is_of_head);
}

/// Whether who asks takes fields behind the answer.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::TE).iter().map(HeaderValue::as_bytes);
    let mut codings = lists.flat_map(|list| list.split(|&byte| byte == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The protocols that a request asks to go on with ([RFC 9110 §7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8)): none
/// unless `Connection` says so, too. HTTP itself is none: what would come then, nobody here has routed ("h2c smuggling").
pub(crate) fn asked_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    if !has(&named(headers), "upgrade") {
        return None;
    }
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let is_http = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case("h2c")
            || name.eq_ignore_ascii_case("http")
            || name.eq_ignore_ascii_case("h2")
    };
    let protocols = value.to_str().ok()?.split(',').map(str::trim);
    let mut protocols = protocols.filter(|protocol| !protocol.is_empty()).peekable();
    protocols.peek()?;
    (!protocols.any(is_http)).then(|| value.clone())
}

/// Whether the protocols of a 101 are among those that were asked for.
pub(crate) fn is_among(asked: &HeaderValue, headers: &HeaderMap) -> bool {
    let tokens = |value: &HeaderValue| -> Vec<String> {
        let text = value.to_str().unwrap_or_default();
        text.split(',').map(|token| token.trim().to_ascii_lowercase()).collect()
    };
    let asked = tokens(asked);
    let mut values = headers.get_all(header::UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none());
    has(&named(headers), "upgrade")
        && value.is_some_and(|value| tokens(value).iter().all(|token| asked.contains(token)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::new(Method::GET, "/".parse().unwrap());
        let address = Peer::Ip("192.0.2.1".parse().unwrap());
        (head.client, head.peer) = (address, address);
        for (name, value) in fields {
            let (name, value) = (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
            head.headers.try_append(name, value).unwrap();
        }
        head
    }

    fn passed(head: &Head) -> HeaderMap {
        of_request(head, &HeaderValue::from_static("upstream"))
    }

    fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
        let mut values = headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name}: {headers:?}");
        value
    }

    #[test]
    fn what_belongs_to_a_connection_stays_there() {
        let head = head(&[
            ("Connection", "close, X-Mine,\tx-other ,"),
            ("connection", "keep-alive"),
            ("x-mine", "1"),
            ("X-Other", "2"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Proxy-Authorization", "Basic x"),
            ("TE", "trailers"),
            ("Trailer", "X-T"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "5"),
            ("Upgrade", "websocket"),
            ("Expect", "100-continue"),
            ("Proxy", "http://evil.example"),
            ("Accept", "a"),
            ("Accept", "b"),
            ("Cookie", "c=d"),
        ]);
        let passed = passed(&head);
        let told = ["forwarded", "host", "x-forwarded-for", "x-forwarded-proto", "x-request-id"];
        let mut names: Vec<_> =
            passed.keys().map(HeaderName::as_str).filter(|name| !told.contains(name)).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "cookie"]);
        assert_eq!(passed.get_all("accept").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_belongs_into_a_head_is_not_passed_on_behind_a_message() {
        let mut trailers = HeaderMap::new();
        for name in [
            "connection",
            "content-length",
            "transfer-encoding",
            "x-real-ip",
            "x_real_ip",
            "x-forwarded-for",
            "forwarded",
            "x-forwarded-user",
            "host",
            "proxy",
            "authorization",
            "cookie",
            "set-cookie",
            "if-match",
            "grpc-status",
            "x-sum",
        ] {
            trailers.try_append(name, HeaderValue::from_static("1")).unwrap();
        }
        let left = |strip: fn(&mut HeaderMap)| {
            let mut left = trailers.clone();
            strip(&mut left);
            left.keys().map(|name| name.as_str().to_owned()).collect::<BTreeSet<_>>()
        };
        assert!(left(strip_request_trailers).iter().eq(["grpc-status", "x-sum"]));
        let answer = left(strip_answer_trailers);
        assert!(answer.contains("grpc-status") && !answer.contains("set-cookie"), "{answer:?}");
        for (te, takes) in [("trailers", true), ("gzip,\tTrailers", true), ("gzip", false)] {
            assert_eq!(
                takes_trailers(&HeaderMap::from_iter([(header::TE, HeaderValue::from_static(te))])),
                takes,
                "{te}"
            );
        }
    }

    #[test]
    fn nobody_says_himself_who_he_is() {
        let forged = [
            ("Forwarded", "for=10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-User", "root"),
            ("X-Forwarded-Prefix", "/x"),
            ("X-Real-IP", "10.0.0.1"),
            ("X-Request-Id", "forged"),
            ("X_Forwarded_For", "10.0.0.1"),
            ("x-forwarded_user", "root"),
            ("X_Real_IP", "10.0.0.1"),
            ("Host", "site.example:8080"),
            // Nor is what we tell dropped because he says so.
            ("Connection", "X-Forwarded-For, Forwarded, X-Request-Id, Host"),
        ];
        let head = head(&forged);
        let passed = passed(&head);
        assert_eq!(get(&passed, "host"), Some("upstream"));
        assert_eq!(get(&passed, "x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(get(&passed, "x-forwarded-proto"), Some("http"));
        assert_eq!(get(&passed, "x-forwarded-host"), Some("site.example:8080"));
        assert_eq!(get(&passed, "forwarded"), Some("for=192.0.2.1;host=\"site.example:8080\";proto=http"));
        assert_eq!(get(&passed, "x-request-id"), Some(head.id.to_string().as_str()));
        assert_eq!(passed.len(), 6, "{passed:?}");
        head.user.set("alice".into()).unwrap();
        assert_eq!(get(&self::passed(&head), "x-forwarded-user"), Some("alice"));
    }

    #[test]
    fn who_speaks_for_a_client_is_told_behind_it() {
        let mut head = head(&[("Host", "a.example")]);
        head.client = Peer::Ip("2001:db8::1".parse().unwrap());
        head.secure = true;
        let told = passed(&head);
        assert_eq!(get(&told, "x-forwarded-for"), Some("2001:db8::1, 192.0.2.1"));
        assert_eq!(
            get(&told, "forwarded"),
            Some("for=\"[2001:db8::1]\";host=\"a.example\";proto=https, for=192.0.2.1")
        );
        (head.client, head.peer) = (Peer::Unix, Peer::Unix);
        let told = passed(&head);
        assert_eq!(get(&told, "x-forwarded-for"), None);
        assert_eq!(get(&told, "forwarded"), Some("for=unknown;host=\"a.example\";proto=https"));
    }

    #[test]
    fn an_answer_keeps_what_is_for_the_client() {
        let mut answer = head(&[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-t"),
            ("upgrade", "h2c"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("etag", "\"x\""),
        ])
        .headers;
        strip_answer(&mut answer);
        assert_eq!(answer.len(), 3, "{answer:?}");
        assert_eq!(answer.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn an_upgrade_is_asked_for_by_two_fields() {
        let asked = |fields: &[(&str, &str)]| {
            asked_upgrade(&head(fields).headers).map(|value| value.to_str().unwrap().to_owned())
        };
        let upgrade = ("Upgrade", "websocket");
        assert_eq!(asked(&[("Connection", "keep-alive, UPGRADE"), upgrade]).as_deref(), Some("websocket"));
        assert_eq!(asked(&[upgrade]), None, "a field that is of no connection is nothing");
        assert_eq!(asked(&[("Connection", "close"), upgrade]), None);
        assert_eq!(asked(&[("Connection", "upgrade")]), None);
        assert_eq!(asked(&[("Connection", "upgrade"), upgrade, upgrade]), None);
        for http in ["h2c", "H2C", "HTTP/2.0", "websocket, h2c", "h2"] {
            assert_eq!(asked(&[("Connection", "upgrade"), ("Upgrade", http)]), None, "{http}");
        }
        let asked = HeaderValue::from_static("websocket, x/1");
        let switched = |fields: &[(&str, &str)]| is_among(&asked, &head(fields).headers);
        assert!(switched(&[("Connection", "Upgrade"), ("Upgrade", "WebSocket")]));
        assert!(!switched(&[("Connection", "Upgrade"), ("Upgrade", "x/2")]));
        assert!(!switched(&[("Connection", "Upgrade")]));
        assert!(!switched(&[upgrade]));
    }

    proptest! {
        /// Whatever a client sends, the upstream is told of no other client, and nothing that frames a message.
        #[test]
        fn no_field_slips_through(
            fields in proptest::collection::vec(
                (
                    prop_oneof!["[a-z_-]{1,12}", Just("Connection".to_owned()), Just("X_Forwarded-For".to_owned()),
                        Just("Content-Length".to_owned()), Just("transfer-encoding".to_owned())],
                    "[ -~]{0,20}",
                ),
                0..12,
            )
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let fields: Vec<_> = fields.into_iter().filter(|(name, _)| HeaderName::try_from(*name).is_ok()).collect();
            let passed = passed(&head(&fields));
            prop_assert_eq!(get(&passed, "x-forwarded-for"), Some("192.0.2.1"));
            for name in passed.keys().map(HeaderName::as_str) {
                prop_assert!(!is_of_connection(name), "{}", name);
                prop_assert!(!name.contains('_') || !is_ours(&name.replace('_', "-")), "{}", name);
            }
        }
    }
}
