//! RFC 9112 §2.2, [Message Parsing](https://www.rfc-editor.org/rfc/rfc9112#section-2.2): what is a message at all.
//!
//! Leniency is where two parsers in a row come to disagree, and a request that one of them sees and the other does
//! not is an attack. The two the RFC offers are taken where clients need them: an empty line in front, and LF for
//! CRLF in a head.

use crate::support::{Origin, get, post};

/// §2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line (CRLF)
/// received prior to the request-line."
#[test]
fn an_empty_line_before_a_request_is_skipped() {
    let origin = Origin::start();
    origin.answers(format!("\r\n{}", get("/n?n=1", "")), 200);
    // As old browsers sent it: behind a body, and not counted in its length.
    let mut client = origin.connect();
    client.send(post("/echo", "Content-Length: 2", "hi\r\n") + &get("/n?n=2", ""));
    assert_eq!(client.response().text(), "hi");
    assert_eq!(client.response().text(), "2");
}

/// §2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any preceding CR." We do, in a head.
#[test]
fn a_single_lf_ends_a_line_of_a_head() {
    let origin = Origin::start();
    origin.answers_all(
        [
            "GET /n HTTP/1.1\nHost: test\n\n",
            "GET /n HTTP/1.1\r\nHost: test\n\r\n",
            "GET /n HTTP/1.1\nHost: test\r\n\n",
        ],
        200,
    );
}

/// §2.2: "A recipient of such a bare CR MUST consider that element to be invalid or replace each bare CR with SP
/// before processing the element or forwarding the message."
#[test]
fn a_bare_cr_is_refused() {
    let origin = Origin::start();
    origin.refuses_all(
        [
            "GET\r/n HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /n\rx HTTP/1.1\r\nHost: test\r\n\r\n",
            "GET /n HTTP/1.1\rHost: test\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: te\rst\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\nNa\rme: value\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\nName\r: value\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\nName: a\rb\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\nName: value\rOther: value\r\n\r\n",
            "GET /n HTTP/1.1\r\nHost: test\r\n\rName: value\r\n\r\n",
        ],
        &[400],
    );
}

/// §2.2: "A recipient that receives whitespace between the start-line and the first header field MUST either reject
/// the message as invalid or consume each whitespace-preceded line without further processing of it".
#[test]
fn whitespace_before_the_first_field_is_refused() {
    let origin = Origin::start();
    origin.refuses_all(
        [
            "GET /n HTTP/1.1\r\n Host: test\r\n\r\n",
            "GET /n HTTP/1.1\r\n\tHost: test\r\n\r\n",
            "GET /n HTTP/1.1\r\n \r\nHost: test\r\n\r\n",
            "GET /n HTTP/1.1\r\n Name: value\r\nHost: test\r\n\r\n",
            "POST /n HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: test\r\n\r\n0\r\n\r\n",
        ],
        &[400],
    );
}

/// §2.2: "When a server listening only for HTTP request messages [...] receives a sequence of octets that does not
/// match the HTTP-message grammar aside from the robustness exceptions listed above, the server SHOULD respond with a
/// 400 (Bad Request) response and close the connection."
#[test]
fn what_is_not_http_is_refused() {
    let origin = Origin::start();
    let not_http: [&[u8]; 10] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // TLS, to a port that has none
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO example.org\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"{\"json\": true}\r\n\r\n",
        b"<html>\r\n\r\n",
        b":\r\n\r\n",
        b"GET\r\n\r\n",
    ];
    origin.refuses_all(not_http, &[400]);
}

/// §2.2: "A recipient MUST parse an HTTP message as a sequence of octets in an encoding that is a superset of
/// US-ASCII". Octets beyond ASCII are `obs-text` in a value, and nowhere else.
#[test]
fn octets_beyond_ascii_belong_in_values_only() {
    let origin = Origin::start();
    for octet in [0x80_u8, 0xa0, 0xc3, 0xff] {
        let with = |before: &str, after: &str| [before.as_bytes(), &[octet], after.as_bytes()].concat();
        origin.answers(with("GET /n HTTP/1.1\r\nHost: test\r\nName: a", "b\r\n\r\n"), 200);
        origin.refuses_all(
            [
                with("G", "ET /n HTTP/1.1\r\nHost: test\r\n\r\n"),
                with("GET /n HTTP/1.", "1\r\nHost: test\r\n\r\n"),
                with("GET /n HTTP/1.1\r\nHost: test\r\nNa", "me: value\r\n\r\n"),
                with("GET /n HTTP/1.1\r\nHost: te", "st\r\n\r\n"),
            ],
            &[400],
        );
    }
}
