//! RFC 9112 §2.3, [HTTP Version](https://www.rfc-editor.org/rfc/rfc9112#section-2.3), with what RFC 9110
//! [§2.5](https://www.rfc-editor.org/rfc/rfc9110#section-2.5) and
//! [§6.2](https://www.rfc-editor.org/rfc/rfc9110#section-6.2) make of it.

use crate::support::{Origin, get};

fn versioned(version: &str) -> String {
    format!("GET /n HTTP/{version}\r\nHost: test\r\n\r\n")
}

/// §2.3: "HTTP-version is case-sensitive", and `HTTP-name "/" DIGIT "." DIGIT`.
#[test]
fn what_is_no_version_is_refused() {
    let origin = Origin::start();
    origin.refuses_all(
        [
            "GET /n http/1.1\r\nHost: test\r\n\r\n",
            "GET /n Http/1.1\r\nHost: test\r\n\r\n",
            "GET /n HTTP\r\nHost: test\r\n\r\n",
            "GET /n HTTPS/1.1\r\nHost: test\r\n\r\n",
            "GET /n ICY/1.1\r\nHost: test\r\n\r\n",
            "GET /n 1.1\r\nHost: test\r\n\r\n",
        ],
        &[400],
    );
    let versions = [
        "", "1", "1.", ".1", "1.10", "11.1", "01.1", "1.01", "1,1", "1.1.1", "-1.1", "1.x", "x.1", " 1.1",
        "1 .1",
    ];
    origin.refuses_all(versions.map(versioned), &[400]);
}

/// RFC 9110 §2.5 would have a later minor version treated as 1.1, of which there has never been one. Who sends it is told
/// which version is spoken, as §15.6.6 has it for a major one.
#[test]
fn a_later_minor_version_is_answered_505() {
    let origin = Origin::start();
    origin.refuses_all(["1.2", "1.3", "1.9"].map(versioned), &[505]);
}

/// RFC 9110 §15.6.6: 505 "indicates that the server does not support, or refuses to support, the major version of
/// HTTP that was used in the request message."
#[test]
fn another_major_version_is_answered_505() {
    let origin = Origin::start();
    origin.refuses_all(["2.0", "3.0", "9.9"].map(versioned), &[505]);
}

/// HTTP/0.9 had neither a version nor fields; nobody speaks it any more, and an answer without a head misleads those
/// who do not.
#[test]
fn http_0_9_is_refused() {
    let origin = Origin::start();
    origin.refuses_all(["GET /n\r\n", "GET /n\r\n\r\n"], &[400]);
    origin.refuses_all([versioned("0.9")], &[400, 505]);
}

/// RFC 9113 §3.4: HTTP/2 begins with the connection. Behind a request of HTTP/1.1 its preface is a request that nobody
/// serves.
#[test]
fn http_2_does_not_begin_within_a_pipeline() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(
        get("/n?n=1", "") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" + &get("/n?n=2", ""),
    );
    assert_eq!(client.response().text(), "1");
    let refused = client.response();
    assert!(matches!(refused.status, 400 | 505) && refused.says_close(), "{refused:?}");
    client.expect_close();
}

/// RFC 9110 §6.2: "A server SHOULD send a response version equal to the highest version to which the server is
/// conformant that has a major version less than or equal to the one received in the request." A version it does not
/// conform to it "MUST NOT send".
#[test]
fn an_answer_to_1_1_is_1_1() {
    let origin = Origin::start();
    for target in ["/n", "/stream", "/files/ten.txt", "/gone", "/fails"] {
        assert_eq!(origin.server.send(get(target, "")).version, "HTTP/1.1", "{target}");
    }
    assert_eq!(origin.server.send("bad\r\n\r\n").version, "HTTP/1.1");
}
