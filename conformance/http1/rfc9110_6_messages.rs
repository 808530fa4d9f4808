//! RFC 9110 §6, [Message Abstraction](https://www.rfc-editor.org/rfc/rfc9110#section-6): which responses have
//! content, and `Date`.

use medusa_testkit::Response;

use crate::support::{Origin, chunked, get, message, post};

/// §6.4.1: "Responses to the HEAD request method never include content [...]. All 1xx (Informational), 204 (No
/// Content), and 304 (Not Modified) responses do not include content. All other responses do include content,
/// although that content might be of zero length."
#[test]
fn content_is_where_it_belongs() {
    let origin = Origin::start();
    for code in [
        200, 201, 202, 203, 206, 300, 301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 410, 418, 451, 500,
        503, 599,
    ] {
        let target = format!("/status/{code}");
        assert_eq!(origin.answers(get(&target, ""), code).text(), "content", "{code}");
        assert!(origin.answers(message("HEAD", &target, ""), code).body.is_empty(), "{code}");
    }
    for code in [204, 304] {
        // Were there any, it would be taken for the beginning of the next answer.
        for method in ["GET", "POST", "HEAD"] {
            origin.answers(message(method, &format!("/status/{code}"), ""), code);
        }
    }
}

/// §15.3.6: "a server MUST NOT generate content in a 205 response."
#[test]
fn there_is_no_content_with_205() {
    let origin = Origin::start();
    let answer = origin.answers(get("/status/205", ""), 205);
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("", Some("0")));
}

/// §15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client", and nobody but the server itself sends any.
#[test]
fn a_handler_sends_no_interim_response() {
    let origin = Origin::start();
    for code in [100, 101, 102, 103, 150, 199] {
        origin.answers(get(&format!("/status/{code}"), ""), 500);
    }
    for code in ["0", "99", "600", "1000", "-1"] {
        origin.answers(get(&format!("/status/{code}"), ""), 500);
    }
}

/// §6.6.1: "An origin server with a clock (as defined in Section 5.6.7) MUST generate a Date header field in all 2xx
/// (Successful), 3xx (Redirection), and 4xx (Client Error) responses".
#[test]
fn every_response_has_a_date() {
    let origin = Origin::start();
    for request in [
        get("/n", ""),
        get("/stream", ""),
        get("/files/ten.txt", ""),
        get("/files/ten.txt", "Range: bytes=0-1"),
        get("/files/ten.txt", "Range: bytes=20-"),
        get("/files/ten.txt", "If-None-Match: *"),
        get("/files/ten.txt", "If-Match: \"x\""),
        get("/files", ""),
        get("/gone", ""),
        get("/%zz", ""),
        message("DELETE", "/some", ""),
        message("OPTIONS", "*", ""),
        get("/status/204", ""),
        get("/fails", ""),
        chunked("nonsense\r\n"),
        post("/echo", "Content-Length: 10000000", ""),
        // Refused by whoever reads the head.
        "nonsense\r\n\r\n".to_owned(),
        get(&"/x".repeat(100_000), ""),
        get("/n", &format!("Name: {}", "x".repeat(200_000))),
        get("/n", "Name : value"),
        "GET /n HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        expect_date(&origin.server.send(&request), &request);
    }
}

/// As above, of a request that never came: 408 is one of them.
#[test]
fn a_timeout_has_a_date() {
    let origin = Origin::impatient();
    expect_date(&origin.server.send("GET /n HT"), "half a request");
}

/// §5.6.7: "When a sender generates a field that contains one or more timestamps defined as HTTP-date, the sender
/// MUST generate those timestamps in the IMF-fixdate format."
#[track_caller]
fn expect_date(answer: &Response, request: &str) {
    let shown = &request[..request.len().min(60)];
    let Some(date) = answer.header("date") else {
        panic!("{shown:?} is answered without a Date: {answer:?}")
    };
    // `Sun, 06 Nov 1994 08:49:37 GMT`
    let form: String = date
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            other => other,
        })
        .collect();
    assert_eq!(form, "Aaa, 00 Aaa 0000 00:00:00 AAA", "{date}");
    assert!(date.ends_with(" GMT"), "{date}");
}

/// A handler that sets `Date` does not double it.
#[test]
fn there_is_one_date() {
    let origin = Origin::start();
    for name in ["Date", "date", "DATE"] {
        let answer = origin.answers(
            get(&format!("/set?name={name}&value=Sun,%2006%20Nov%201994%2008:49:37%20GMT"), ""),
            200,
        );
        expect_date(&answer, name);
    }
}
