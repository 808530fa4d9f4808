//! RFC 9110 §10.1.1, [Expect](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1): a client that asks before it
//! sends its content.

use crate::support::{Origin, get, message, post};

const FIELDS: &str = "Content-Length: 5\r\nExpect: 100-continue";

/// "an origin server MUST send either: an immediate response with a final status code, if that status can be
/// determined by examining just the method, target URI, and header fields; or an immediate 100 (Continue) response to
/// encourage the client to send the request content. The origin server MUST NOT wait for the content before sending
/// the 100 (Continue) response." Ours comes when the handler begins to read.
#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let origin = Origin::start();
    for expectation in ["100-continue", "100-Continue", "100-CONTINUE"] {
        let mut client = origin.connect();
        for _ in 0..2 {
            client.send(message("POST", "/echo", &format!("Content-Length: 5\r\nExpect: {expectation}")));
            let interim = client.response();
            assert_eq!((interim.status, interim.header("content-length")), (100, None), "{expectation}");
            client.send("hello");
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{expectation}");
        }
    }
}

/// As above, with content in chunks.
#[test]
fn a_client_that_waits_with_chunks_is_told_to_go_on() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(message("POST", "/echo", "Transfer-Encoding: chunked\r\nExpect: 100-continue"));
    assert_eq!(client.response().status, 100);
    client.send("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "hello");
    assert_eq!(client.get("/n?n=after").text(), "after");
}

/// "an immediate response with a final status code": who is not going to read sends no 100, and content that was not
/// asked for is either read over or the connection closed. The client may send it or not: what comes behind must not
/// be taken for it, nor it for a request.
#[test]
fn a_handler_that_does_not_read_asks_for_nothing() {
    let origin = Origin::start();
    for (target, status) in [("/n", 200), ("/gone", 404), ("/some", 405), ("/status/403", 403)] {
        let mut client = origin.connect();
        client.send(message("POST", target, FIELDS));
        let answer = client.response();
        assert_eq!(answer.status, status, "{target}");
        if answer.says_close() {
            client.expect_close();
        } else {
            client.send(format!("hello{}", get("/n?n=after", "")));
            match client.try_response("GET") {
                Ok(None) => {}
                Ok(Some(after)) => assert_eq!(after.text(), "after", "{target}"),
                Err(error) => panic!("{target}: {error}"),
            }
        }
    }
}

/// "A server that responds with a final status code instead of reading the entire request content SHOULD indicate whether
/// it intends to close the connection [...] or continue reading the request content." Or the client sends its next
/// request into the void.
#[test]
fn a_refusal_says_whether_the_connection_ends() {
    let origin = Origin::start();
    for (target, status) in [("/n", 200), ("/gone", 404), ("/some", 405)] {
        let mut client = origin.connect();
        client.send(message("POST", target, FIELDS));
        let answer = client.response();
        assert_eq!(answer.status, status, "{target}");
        if !answer.says_close() {
            client.send(format!("hello{}", get("/n?n=after", "")));
            assert_eq!(client.response().text(), "after", "{target}");
        }
    }
}

/// As above: too much is refused before any of it is sent.
#[test]
fn too_much_is_refused_before_it_is_sent() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(message("POST", "/echo", "Content-Length: 10000000\r\nExpect: 100-continue"));
    assert_eq!(client.response().status, 413);
}

/// "A server MAY omit sending a 100 (Continue) response if it has already received some or all of the content for the
/// corresponding request".
#[test]
fn a_client_that_does_not_wait_is_answered() {
    let origin = Origin::start();
    for _ in 0..20 {
        let mut client = origin.connect();
        client.send(post("/echo", FIELDS, "hello") + &get("/n?n=after", ""));
        let mut answer = client.response();
        if answer.status == 100 {
            answer = client.response();
        }
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert_eq!(client.response().text(), "after");
    }
}

/// "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation."
#[test]
fn http_1_0_expects_nothing() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(format!("POST /echo HTTP/1.0\r\nHost: test\r\n{FIELDS}\r\n\r\n"));
    client.until_read();
    client.send("hello");
    let answer = client.response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

/// Without content to come there is nothing to go on with.
#[test]
fn without_content_there_is_no_100() {
    let origin = Origin::start();
    for fields in ["Expect: 100-continue", "Expect: 100-continue\r\nContent-Length: 0"] {
        for method in ["GET", "POST"] {
            assert_eq!(
                origin.answers(message(method, "/echo", fields), 200).text(),
                "",
                "{method} {fields:?}"
            );
        }
    }
}

/// "A server that receives an Expect field value containing a member other than 100-continue MAY respond with a 417
/// (Expectation Failed) status code to indicate that the unexpected expectation cannot be met."
#[test]
fn another_expectation_is_answered_417() {
    let origin = Origin::start();
    for expectation in
        ["x", "200-ok", "100-continue, x", "x, 100-continue", "100-continue; a=b", "100-continue=1"]
    {
        origin.answers(get("/n", &format!("Expect: {expectation}")), 417);
    }
    origin.answers(get("/n", "Expect: x\r\nExpect: 100-continue"), 417);
}

/// As above, in a field of its own.
#[test]
fn another_expectation_behind_the_one_we_know_is_answered_417() {
    let origin = Origin::start();
    origin.answers(get("/n", "Expect: 100-continue\r\nExpect: x"), 417);
    origin.answers(post("/echo", &format!("{FIELDS}\r\nExpect: x"), "hello"), 417);
}

/// The client leaves instead of going on.
#[test]
fn a_client_that_does_not_go_on_hurts_nobody() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(message("POST", "/echo", FIELDS));
    assert_eq!(client.response().status, 100);
    client.finish_sending();
    assert!(!matches!(client.try_response("POST"), Ok(Some(answer)) if answer.status < 400));
    origin.answers(get("/n", ""), 200);
}
