//! RFC 9110 §15, [Status Codes](https://www.rfc-editor.org/rfc/rfc9110#section-15): what each must come with, and the
//! status line itself (RFC 9112 §4).

use crate::support::{Origin, get, message, post};

/// RFC 9112 §4: "status-line = HTTP-version SP status-code SP [ reason-phrase ]"; "A server MUST send the space that
/// separates the status-code from the reason-phrase even when the reason-phrase is absent".
#[test]
fn a_status_line_has_two_spaces() {
    let origin = Origin::start();
    for code in [200, 204, 299, 404, 418, 499, 500, 599] {
        let mut client = origin.connect();
        client.send(get(&format!("/status/{code}"), "Connection: close"));
        let mut all = Vec::new();
        loop {
            match client.read_some(1024) {
                some if some.is_empty() => break,
                some => all.extend(some),
            }
        }
        let text = String::from_utf8(all).expect("text");
        let line = text.split("\r\n").next().expect("a line");
        assert!(line.starts_with(&format!("HTTP/1.1 {code} ")), "{line:?}");
    }
}

/// §15.4: a redirect has a `Location`, and keeps the query.
#[test]
fn a_redirect_says_where_to() {
    let origin = Origin::start();
    let answer = origin.answers(get("/files", ""), 301);
    assert_eq!(answer.header("location"), Some("/files/"));
    let answer = origin.answers(get("/files?a=b&c=%2F", ""), 301);
    assert_eq!(answer.header("location"), Some("/files/?a=b&c=%2F"));
    // §15.4.9: 308 is for those that "MUST NOT change the request method".
    let answer = origin.answers(post("/files", "Content-Length: 5", "hello"), 308);
    assert_eq!(answer.header("location"), Some("/files/"));
}

/// A path of two slashes is no host: `Location: //evil.example/` would be one.
#[test]
fn a_redirect_does_not_lead_away() {
    let origin = Origin::start();
    for target in [
        "//evil.example",
        "//evil.example/files",
        "/\\evil.example",
        "//files",
        "/files/..//evil.example",
        "/%2f/evil.example",
        "///evil.example",
    ] {
        let answer = origin.server.send(get(target, ""));
        let location = answer.header("location").unwrap_or_default();
        assert!(!location.starts_with("//") && !location.starts_with("/\\"), "{target} leads to {location}");
    }
}

/// §15.5.14: "The server MAY close the connection, if the protocol version in use allows it".
#[test]
fn too_much_content_is_answered_413() {
    let origin = Origin::start();
    let too_much = "x".repeat(100_001);
    origin.answers_all(
        [
            post("/echo", "Content-Length: 100001", &too_much),
            post("/echo", "Transfer-Encoding: chunked", &format!("186a1\r\n{too_much}\r\n0\r\n\r\n")),
        ],
        413,
    );
    let fits = "x".repeat(100_000);
    assert_eq!(origin.answers(post("/echo", "Content-Length: 100000", &fits), 200).text(), fits);
}

/// As above, of content that would take too long to be read over.
#[test]
fn too_much_content_to_come_closes_the_connection() {
    let origin = Origin::start();
    let endless = format!("1\r\n-\r\nfffff\r\n{}", "x".repeat(100_001));
    let lengths = ["10000000", "9223372036854775808", "18446744073709551614"];
    let mut requests = vec![post("/echo", "Transfer-Encoding: chunked", &endless)];
    requests.extend(lengths.map(|length| post("/echo", &format!("Content-Length: {length}"), "hello")));
    origin.refuses_all(requests, &[413, 431]);
}

/// §15.6.1: a handler that fails is answered 500, tells nothing of why, and takes nobody along.
#[test]
fn a_failure_is_answered_500() {
    let origin = Origin::start();
    let answer = origin.answers(get("/fails", ""), 500);
    assert!(
        !answer.text().contains("on purpose") && !answer.text().contains("site.luau"),
        "{}",
        answer.text()
    );
    assert!(!answer.says_close());
    origin.answers(post("/fails", "Content-Length: 5", "hello"), 500);
    assert!(origin.answers(message("HEAD", "/fails", ""), 500).body.is_empty());
}
