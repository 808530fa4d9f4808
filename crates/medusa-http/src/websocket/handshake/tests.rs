//! Handshakes, good and bad.

use super::*;
use crate::websocket::Origins;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The handshake of RFC 6455 §1.3, with some fields changed; an empty value takes the field away.
fn head(changes: &[(&'static str, &str)]) -> Head {
    let mut headers = HeaderMap::new();
    let usual = [
        ("host", "server.example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", KEY),
        ("origin", "http://server.example.com"),
        ("sec-websocket-version", "13"),
    ];
    for (name, value) in usual.iter().chain(changes) {
        headers.remove(*name);
        if !value.is_empty() {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
    }
    Head { headers, ..Head::new(Method::GET, "/chat".parse::<http::Uri>().unwrap()) }
}

fn refused(head: &Head) -> HandshakeRefusal {
    accept(head, &Options::default()).map(drop).unwrap_err()
}

#[test]
fn the_handshake_of_the_rfc_is_accepted() {
    let (accepted, socket) = accept(&head(&[]), &Options::default()).unwrap();
    let response = accepted.into_response(&Sessions::default());
    assert_eq!(response.status, 101);
    assert_eq!(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.headers["upgrade"], "websocket");
    assert_eq!(response.headers["connection"], "upgrade");
    assert!(!response.headers.contains_key("sec-websocket-protocol"));
    assert!(!socket.is_closed());
    drop(response);
    assert!(socket.is_closed(), "the 101 never went out");
}

#[test]
fn browsers_write_it_in_several_ways() {
    for changes in [
        &[("connection", "keep-alive, Upgrade")][..],
        &[("upgrade", "WebSocket")],
        &[("upgrade", "foo/1, websocket")],
        &[("origin", "")],
        &[("content-length", "0")],
        &[("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")],
    ] {
        assert_eq!(accept(&head(changes), &Options::default()).map(drop), Ok(()), "{changes:?}");
    }
}

#[test]
fn what_is_no_handshake_is_told_so() {
    for (changes, status) in [
        (&[("upgrade", "")][..], 426),
        (&[("upgrade", "h2c")], 426),
        (&[("connection", "close")], 426),
        (&[("sec-websocket-version", "8")], 426),
        (&[("sec-websocket-version", "")], 426),
        (&[("sec-websocket-version", "13, 8")], 426),
        (&[("sec-websocket-key", "")], 400),
        (&[("sec-websocket-key", "c2hvcnQ=")], 400),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=!")], 400),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=")], 400),
        (&[("content-length", "5")], 400),
        (&[("transfer-encoding", "chunked")], 400),
        (&[("origin", "https://evil.example.com")], 403),
        (&[("origin", "null")], 403),
    ] {
        assert_eq!(refused(&head(changes)).response().status, status, "{changes:?}");
    }
    let version = refused(&head(&[("sec-websocket-version", "8")])).response();
    assert_eq!(version.headers["sec-websocket-version"], "13");
    assert_eq!(version.headers["upgrade"], "websocket");

    let mut post = head(&[]);
    post.method = Method::POST;
    assert_eq!(refused(&post).response().status, 405);
    for (version, status) in [(Version::HTTP_10, 426), (Version::HTTP_2, 400)] {
        let other = Head { version, ..head(&[]) };
        assert_eq!(refused(&other).response().status, status);
    }
    let mut twice = head(&[]);
    twice.headers.try_append("sec-websocket-key", HeaderValue::from_static(KEY)).unwrap();
    assert_eq!(refused(&twice), HandshakeRefusal::Key);
    let mut two = head(&[]);
    two.headers.try_append("origin", HeaderValue::from_static("http://server.example.com")).unwrap();
    assert!(matches!(refused(&two), HandshakeRefusal::Origin(_)));
}

#[test]
fn origins_can_be_opened_up() {
    let foreign = head(&[("origin", "https://app.example.com")]);
    let with = |origins| accept(&foreign, &Options { origins, ..Options::default() }).is_ok();
    assert!(with(Origins::Any));
    assert!(with(Origins::Only(vec!["https://app.example.com".into()])));
    assert!(!with(Origins::Only(vec!["https://other.example.com".into()])));
}

#[test]
fn the_first_protocol_that_both_speak_is_chosen() {
    let options = Options { protocols: vec!["two".into(), "one".into()], ..Options::default() };
    for (offered, chosen) in [("one, two", Some("two")), ("zero,one", Some("one")), ("TWO", None), ("", None)]
    {
        let (accepted, socket) = accept(&head(&[("sec-websocket-protocol", offered)]), &options).unwrap();
        assert_eq!(socket.protocol(), chosen, "{offered}");
        let response = accepted.into_response(&Sessions::default());
        let protocol = response.headers.get("sec-websocket-protocol").map(|value| value.to_str().unwrap());
        assert_eq!(protocol, chosen);
    }
}
