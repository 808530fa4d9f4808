//! RFC 9112 §9.6, [Tear-down](https://www.rfc-editor.org/rfc/rfc9112#section-9.6), and §9.5, Failures and Timeouts:
//! how a connection ends, so that the last answer arrives.

use crate::support::{Origin, get, post};

/// §9.6: "If a server performs an immediate close of a TCP connection, there is a significant risk that the client
/// will not be able to read the last HTTP response. [...] To avoid the TCP reset problem, servers typically close a
/// connection in stages."
#[test]
fn the_last_answer_is_not_lost_to_what_is_still_sent() {
    let origin = Origin::start();
    let more = "x".repeat(200_000);
    for request in [
        "nonsense\r\n\r\n".to_owned(),
        "GET /n HTTP/1.1\r\n\r\n".to_owned(),
        get("/n", "Connection: close"),
        post("/echo", "Transfer-Encoding: chunked", "nonsense\r\n"),
    ] {
        let mut client = origin.connect();
        // All of it is sent before anything is read.
        let _cut_off = client.try_send(format!("{request}{more}"));
        let answer = client.response();
        assert!(matches!(answer.status, 200 | 400 | 413), "{request:?}: {answer:?}");
        client.expect_close();
    }
}

/// §9.6: "a client that half-closes" has its answer still to come: the end of what it sends is not the end of what it
/// reads.
#[test]
fn a_half_closed_connection_is_answered() {
    let origin = Origin::start();
    for (request, answers) in [
        (get("/n?n=1", ""), vec!["1"]),
        (get("/stream", ""), vec!["part 1\npart 2\npart 3\n"]),
        (post("/echo", "Content-Length: 5", "hello"), vec!["hello"]),
        (get("/n?n=1", "") + &get("/files/ten.txt", "") + &get("/n?n=3", ""), vec!["1", "0123456789", "3"]),
    ] {
        let mut client = origin.connect();
        client.send(&request);
        client.finish_sending();
        for answer in answers {
            assert_eq!(client.response().text(), answer);
        }
        client.expect_close();
    }
}

/// As above, with content that nobody reads: it may be read over, which is not to be taken for the beginning of a request
/// that does not come.
#[test]
fn content_that_was_read_over_is_not_half_a_request() {
    let origin = Origin::impatient();
    for (request, status) in [
        (post("/n", "Content-Length: 200000", &"x".repeat(200_000)), 200),
        (post("/echo", "Content-Length: 200000", &"x".repeat(200_000)), 413),
        (post("/gone", "Content-Length: 200000", &"x".repeat(200_000)), 404),
    ] {
        let mut client = origin.connect();
        client.send(&request);
        assert_eq!(client.response().status, status);
        assert_eq!(client.closed(), Ok(()), "after {status}");
    }
}

/// §9.6, of a connection that has had its share of requests: the last answer says so, and what is pipelined behind is not
/// processed, so that the client knows what to ask again.
#[test]
fn the_last_of_its_requests_is_announced() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { requests = 3 } }
        web:mount('/n', function(req) return req:arg('n') end)",
    );
    let mut client = origin.connect();
    client.send((1..=5).map(|n| get(&format!("/n?n={n}"), "")).collect::<String>());
    for n in 1..=3 {
        let answer = client.response();
        assert_eq!((answer.text(), answer.says_close()), (n.to_string(), n == 3));
    }
    client.expect_close();
}

/// §9.5: "A client, server, or proxy MAY close the transport connection at any time": one that leaves in the middle
/// takes nobody with it.
#[test]
fn who_leaves_in_the_middle_hurts_nobody() {
    let origin = Origin::start();
    for request in [
        "GET /n HT".to_owned(),
        get("/n", ""),
        get("/stream", ""),
        get("/files/ten.txt", ""),
        post("/echo", "Content-Length: 500", "half"),
        post("/echo", "Transfer-Encoding: chunked", "5\r\nhel"),
        get("/n", "").repeat(500),
    ] {
        for _ in 0..5 {
            let mut client = origin.connect();
            client.send(&request);
            client.reset();
        }
    }
    origin.answers(get("/n", ""), 200);
    let text = origin.server.stderr().text();
    assert!(!text.contains("panic"), "{text}");
}

/// §9.5: "A server SHOULD sustain persistent connections, when possible"; one that it gives up is closed in order and
/// never in the middle of an exchange.
#[test]
fn an_idle_connection_is_closed_in_order() {
    let origin = Origin::impatient();
    let mut client = origin.connect();
    assert_eq!(client.get("/n").status, 200);
    client.expect_close();
}

/// RFC 9112 §9.6: "A server that sends a "close" connection option MUST initiate closure of the connection after it
/// sends the response containing the "close" connection option. The server MUST NOT process any further requests
/// received on that connection."
#[test]
fn who_says_close_closes() {
    let origin = Origin::start();
    for refused in ["nonsense\r\n\r\n", "GET /n HTTP/1.1\r\n\r\n", "GET /n HTTP/1.1\r\nHost: a b\r\n\r\n"] {
        let mut client = origin.connect();
        client.send(format!("{refused}{}", get("/n", "").repeat(3)));
        assert!(client.response().says_close());
        client.expect_close();
    }
}

/// §9.6: "The server SHOULD send a "close" connection option in its final response on that connection", also if it is
/// the content of a request that is at fault.
#[test]
fn who_closes_says_so() {
    let origin = Origin::start();
    origin.refuses_all(
        [
            post("/echo", "Transfer-Encoding: chunked", "nonsense\r\n"),
            post("/echo", "Transfer-Encoding: chunked", "5\r\nhello!\r\n0\r\n\r\n"),
            post("/echo", "Transfer-Encoding: chunked", "ffffffffffffffff5\r\nhello"),
        ],
        &[400],
    );
}
