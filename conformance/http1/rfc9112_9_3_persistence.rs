//! RFC 9112 §9.3, [Persistence](https://www.rfc-editor.org/rfc/rfc9112#section-9.3): how long a connection lasts, and
//! §9.3.2, pipelines.

use crate::support::{Origin, chunked, get, message, post};

/// §9.3: "If the received protocol is HTTP/1.1 (or later), the connection will persist after the current response".
#[test]
fn http_1_1_persists() {
    let origin = Origin::start();
    let mut client = origin.connect();
    for target in [
        "/n",
        "/stream",
        "/files/ten.txt",
        "/files/gone",
        "/gone",
        "/fails",
        "/status/204",
        "/status/404",
        "/n",
    ] {
        assert!(!client.get(target).says_close(), "after {target}");
    }
    for fields in [
        "Connection: keep-alive",
        "Connection: x",
        "Connection:",
        "Keep-Alive: timeout=5",
        "Connection: Keep-Alive, TE\r\nTE: trailers",
    ] {
        client.send(get("/n", fields));
        assert!(!client.response().says_close(), "after {fields:?}");
    }
    assert_eq!(client.get("/n?n=last").text(), "last");
}

/// §9.3: "If the "close" connection option is present, the connection will not persist after the current response";
/// §9.6: "The server SHOULD send a "close" connection option in its final response on that connection. The server
/// MUST NOT process any further requests received on that connection." Options have no case, and come in lists (RFC
/// 9110 §7.6.1).
#[test]
fn close_is_the_end() {
    let origin = Origin::start();
    for fields in [
        "Connection: close",
        "Connection: Close",
        "Connection: CLOSE",
        "connection: close",
        "Connection: x, close",
        "Connection: close, x",
        "Connection: ,,close,",
        "Connection: x\r\nConnection: close",
        "Connection: close\r\nConnection: x",
    ] {
        for target in ["/n", "/stream", "/files/ten.txt", "/gone", "/status/204"] {
            let mut client = origin.connect();
            client.send(get(target, fields) + &get("/n?n=after", ""));
            assert!(client.response().says_close(), "{fields:?} for {target}");
            client.expect_close();
        }
    }
}

/// §9.3 looks for `close` first, whatever else there is.
#[test]
fn close_wins_over_keep_alive() {
    let origin = Origin::start();
    for version in ["1.0", "1.1"] {
        for fields in [
            "Connection: keep-alive, close",
            "Connection: close, keep-alive",
            "Connection: close\r\nConnection: keep-alive",
            "Connection: keep-alive\r\nConnection: close",
        ] {
            let mut client = origin.connect();
            let request = format!("GET /n HTTP/{version}\r\nHost: test\r\n{fields}\r\n\r\n");
            client.send(request.repeat(2));
            assert_eq!(client.response().status, 200);
            assert_eq!(client.closed(), Ok(()), "HTTP/{version} {fields:?}");
        }
    }
}

/// What is not quite `close` is not close.
#[test]
fn only_close_is_close() {
    let origin = Origin::start();
    let mut client = origin.connect();
    for fields in [
        "Connection: closed",
        "Connection: close-",
        "Connection: \"close\"",
        "X-Connection: close",
        "Proxy-Connection: close",
    ] {
        client.send(get("/n", fields));
        assert!(!client.response().says_close(), "{fields}");
    }
    assert_eq!(client.get("/n").status, 200);
}

/// §9.3: "If the received protocol is HTTP/1.0, the "keep-alive" connection option is present, [...] the connection
/// will persist after the current response; otherwise, the connection will close".
#[test]
fn http_1_0_persists_if_asked() {
    let origin = Origin::start();
    let ask = |fields: &str| format!("GET /n HTTP/1.0\r\nHost: test\r\n{fields}\r\n");
    let mut client = origin.connect();
    for fields in
        ["Connection: keep-alive\r\n", "Connection: Keep-Alive\r\n", "Connection: x, keep-alive\r\n"]
    {
        client.send(ask(fields));
        let answer = client.response();
        assert_eq!(answer.status, 200);
        // Or the client would wait for the end of the connection.
        assert_eq!(
            answer.header("connection").map(str::to_lowercase).as_deref(),
            Some("keep-alive"),
            "{fields:?}"
        );
        assert!(answer.header("content-length").is_some());
    }
    for fields in ["", "Keep-Alive: timeout=5\r\n", "Connection: x\r\n"] {
        let mut client = origin.connect();
        client.send(ask(fields).repeat(2));
        assert_eq!(client.response().status, 200);
        client.expect_close();
    }
}

/// As above: of a length that is not known, the end of the connection is the end of the content, whatever was asked
/// for.
#[test]
fn http_1_0_ends_with_a_content_of_unknown_length() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.response();
    assert_eq!(answer.text(), "part 1\npart 2\npart 3\n");
    assert_ne!(
        answer.header("connection").map(str::to_lowercase).as_deref(),
        Some("keep-alive"),
        "{answer:?}"
    );
}

/// §9.3: "A server MUST read the entire request message body or close the connection after sending its response;
/// otherwise, the remaining data on a persistent connection would be misinterpreted as the next request."
#[test]
fn content_is_read_or_the_connection_closed() {
    let origin = Origin::start();
    for length in [1, 1000, 60_000, 99_999, 1_000_000, 5_000_000] {
        let content = "GET /n HTTP/1.1\r\nHost: test\r\n\r\n".repeat(length / 31 + 1);
        let content = &content[..length];
        for (target, statuses) in [("/n", [200, 413]), ("/gone", [404, 413]), ("/status/403", [403, 413])] {
            let mut client = origin.connect();
            let _cut_off = client.try_send(post(target, &format!("Content-Length: {length}"), content));
            let _cut_off = client.try_send(get("/n?n=after", ""));
            let answer = client.response();
            assert!(statuses.contains(&answer.status), "{length} bytes to {target}: {answer:?}");
            match client.try_response("GET") {
                Ok(Some(after)) => assert_eq!(after.text(), "after", "{length} bytes to {target}"),
                Ok(None) => {}
                Err(error) => panic!("{length} bytes to {target}: {error}"),
            }
        }
    }
}

/// As above: many clients send the content in a packet of its own. A little of it that nobody reads is not worth a
/// connection.
#[test]
fn a_little_content_that_comes_late_is_read_over() {
    let origin = Origin::start();
    let mut client = origin.connect();
    for (target, status) in [("/n", 200), ("/gone", 404), ("/some", 405), ("/status/403", 403)] {
        client.send(message("POST", target, "Content-Length: 5"));
        client.until_read();
        client.send("hello");
        let answer = client.response();
        assert_eq!((answer.status, answer.says_close()), (status, false), "{target}");
    }
    assert_eq!(client.get("/n?n=after").text(), "after");
}

/// §9.3.2: "A server MAY process a sequence of pipelined requests in parallel [...] but it MUST send the
/// corresponding responses in the same order that the requests were received."
#[test]
fn a_pipeline_is_answered_in_order() {
    let origin = Origin::start();
    let mut client = origin.connect();
    let (mut pipeline, mut expected) = (String::new(), Vec::new());
    for n in 0..60 {
        let (request, status, content) = match n % 6 {
            0 => (get(&format!("/n?n={n}"), ""), 200, n.to_string()),
            1 => (get("/files/ten.txt", ""), 200, "0123456789".to_owned()),
            2 => (post("/echo", "Content-Length: 5", "hello"), 200, "hello".to_owned()),
            3 => (get("/stream", ""), 200, "part 1\npart 2\npart 3\n".to_owned()),
            4 => (chunked(&format!("2\r\n{n:02}\r\n0\r\nA: b\r\n\r\n")), 200, format!("{n:02}")),
            _ => (message("DELETE", "/status/204", ""), 204, String::new()),
        };
        pipeline += &request;
        expected.push((status, content));
    }
    client.send(pipeline);
    for (n, expected) in expected.into_iter().enumerate() {
        let answer = client.response();
        assert_eq!((answer.status, answer.text()), expected, "answer {n}");
    }
    assert_eq!(client.get("/n?n=after").text(), "after");
}

/// §9.3.2 with HEAD, whose answers have no content though their fields say so.
#[test]
fn head_in_a_pipeline_does_not_shift_it() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(
        [
            message("HEAD", "/n", ""),
            get("/n?n=1", ""),
            message("HEAD", "/files/ten.txt", ""),
            message("HEAD", "/stream", ""),
            get("/n?n=2", ""),
        ]
        .concat(),
    );
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.response().text(), "1");
    assert_eq!(client.response_to_head().header("content-length"), Some("10"));
    assert_eq!(client.response_to_head().status, 200);
    assert_eq!(client.response().text(), "2");
}

/// §9.3.2, with a client that reads nothing until it has sent everything.
#[test]
fn a_long_pipeline_waits_for_its_reader() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(get("/n?n=0123456789", "").repeat(2_000));
    for n in 0..2_000 {
        assert_eq!(client.response().text(), "0123456789", "answer {n}");
    }
}
