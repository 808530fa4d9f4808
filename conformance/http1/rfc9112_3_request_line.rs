//! RFC 9112 §3, [Request Line](https://www.rfc-editor.org/rfc/rfc9112#section-3): a method, a target and a version,
//! with one space between each two.

use crate::support::{Origin, get, message};

/// §3: "Recipients of an invalid request-line SHOULD respond with either a 400 (Bad Request) error or a 301 (Moved
/// Permanently) redirect with the request-target properly encoded. A recipient SHOULD NOT attempt to autocorrect and
/// then process the request without a redirect".
#[test]
fn what_is_no_request_line_is_refused() {
    let origin = Origin::start();
    let lines = [
        "GET",
        "GET ",
        "GET  HTTP/1.1",
        "GET HTTP/1.1",
        "GET /n",
        "GET /n ",
        "/n HTTP/1.1",
        " GET /n HTTP/1.1",
        "\tGET /n HTTP/1.1",
        "GET /n more HTTP/1.1",
        "GET /n HTTP/1.1 more",
        "GET\t/n HTTP/1.1",
        "GET /n\tHTTP/1.1",
        "GET\u{b}/n HTTP/1.1",
        "GET\u{c}/n HTTP/1.1",
        "GET /n\0 HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
    ];
    origin.refuses_all(lines.map(|line| format!("{line}\r\nHost: test\r\n\r\n")), &[400]);
}

/// §3: of `SP`, only one: "recipients MAY instead parse on whitespace-delimited word boundaries". We do not: which of
/// two spaces belongs to the target is what two parsers disagree about.
#[test]
fn more_than_one_space_is_refused() {
    let origin = Origin::start();
    let lines = ["GET  /n HTTP/1.1", "GET /n  HTTP/1.1", "GET /n HTTP/1.1 ", "GET /n HTTP/1.1\t"];
    origin.refuses_all(lines.map(|line| format!("{line}\r\nHost: test\r\n\r\n")), &[400]);
}

/// §3.1: "method = token".
#[test]
fn a_method_is_a_token() {
    let origin = Origin::start();
    let methods =
        ["G@T", "G(T", "G,T", "\"GET\"", "G:T", "G/T", "G;T", "G<T", "G=T", "G?T", "G[T", "G{T", "G\\T"];
    origin.refuses_all(methods.map(|method| message(method, "/n", "")), &[400]);
}

/// §3.1: "The request method is case-sensitive", so that these are not the GET they look like.
#[test]
fn a_method_in_another_case_is_another_method() {
    let origin = Origin::start();
    origin.answers_all(["get", "Get", "gET", "put"].map(|method| message(method, "/some", "")), 501);
}

/// §3: "A server that receives a method longer than any that it implements SHOULD respond with a 501 (Not
/// Implemented) status code."
#[test]
fn a_method_that_is_too_long_is_answered_501() {
    let origin = Origin::start();
    origin.answers_all([30, 300, 3000].map(|length| message(&"M".repeat(length), "/some", "")), 501);
}

/// §3: "It is RECOMMENDED that all HTTP senders and recipients support, at a minimum, request-line lengths of 8000
/// octets."
#[test]
fn a_request_line_of_8000_octets_is_read() {
    let origin = Origin::start();
    let around = "GET /n?n= HTTP/1.1".len();
    let word = "x".repeat(8000 - around);
    assert_eq!(origin.answers(get(&format!("/n?n={word}"), ""), 200).text(), word);
    origin.answers(get(&format!("/{word}"), ""), 404);
}

/// §3: "A server that receives a request-target longer than any URI it wishes to parse MUST respond with a 414 (URI
/// Too Long) status code". We parse 8 KiB.
#[test]
fn a_target_longer_than_8_kib_is_answered_414() {
    let origin = Origin::start();
    origin.answers(get(&format!("/n?n={}", "x".repeat(8192 - 5)), ""), 200);
    origin.refuses_all(
        [8193, 9000, 60_000].map(|length| get(&format!("/{}", "x".repeat(length - 1)), "")),
        &[414],
    );
}

/// As above, for what does not even fit into the buffer for a head.
#[test]
fn a_target_longer_than_any_buffer_is_answered_414() {
    let origin = Origin::start();
    let target = |length: usize| get(&format!("/{}", "x".repeat(length)), "");
    origin.refuses_all([70_000, 300_000, 1_000_000].map(target), &[414]);
}
