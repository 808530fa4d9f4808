//! RFC 9112 §8, [Handling Incomplete Messages](https://www.rfc-editor.org/rfc/rfc9112#section-8): half a request is
//! none.

use crate::support::{Origin, chunked, expect_all, get, post};

/// §8: "A server that receives an incomplete request message, usually due to a canceled request or a triggered
/// timeout exception, MAY send an error response prior to closing the connection." What it may not do is to process
/// it as if it were whole.
#[test]
fn content_that_breaks_off_is_not_taken_for_whole() {
    let origin = Origin::start();
    let whole = [
        post("/echo", "Content-Length: 5", "hello"),
        chunked("5\r\nhello\r\n0\r\n\r\n"),
        chunked("5\r\nhello\r\n0\r\nTrailer: value\r\n\r\n"),
    ];
    let halves = whole.iter().flat_map(|whole| {
        let head = whole.find("\r\n\r\n").expect("a head") + 4;
        (head..whole.len()).map(move |cut| &whole[..cut])
    });
    expect_all(halves, |half| {
        let mut client = origin.connect();
        client.send(half);
        client.finish_sending();
        match client.try_response("POST") {
            Ok(None) => Ok(()),
            Ok(Some(answer)) if (400..500).contains(&answer.status) => client.closed(),
            other => Err(format!("{half:?}: {other:?}")),
        }
    });
    origin.answers(get("/n", ""), 200);
}

/// As above, for a head: nothing is answered but, at most, an error.
#[test]
fn a_head_that_breaks_off_is_no_request() {
    let origin = Origin::start();
    let whole = get("/n", "Name: value");
    expect_all(1..whole.len(), |cut| {
        let mut client = origin.connect();
        client.send(&whole[..cut]);
        client.finish_sending();
        match client.try_response("GET") {
            Ok(None) => Ok(()),
            Ok(Some(answer)) if (400..500).contains(&answer.status) => client.closed(),
            other => Err(format!("{:?}: {other:?}", &whole[..cut])),
        }
    });
}

/// A request that is whole before one that breaks off is answered.
#[test]
fn what_is_whole_before_it_is_answered() {
    let origin = Origin::start();
    for half in [
        "G",
        "GET /n",
        "GET /n HTTP/1.1\r\nHost: test\r\n",
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel",
    ] {
        let mut client = origin.connect();
        client.send(get("/n?n=1", "") + &get("/stream", "") + half);
        client.finish_sending();
        assert_eq!(client.response().text(), "1");
        assert_eq!(client.response().text(), "part 1\npart 2\npart 3\n");
        assert!(!matches!(client.try_response("GET"), Ok(Some(answer)) if answer.status == 200), "{half:?}");
    }
}

/// §8, the other way: "A message body that uses the chunked transfer coding is incomplete if the zero-sized chunk that
/// terminates the encoding has not been received." What a handler could not finish must not look finished.
#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    let origin = Origin::start();
    let mut client = origin.connect();
    client.send(get("/stream/fails", ""));
    let broken = client.try_response("GET");
    assert!(broken.is_err(), "{broken:?}");
    origin.answers(get("/n", ""), 200);
}

/// RFC 9110 §15.5.9, of content: who waits for it is told that it did not come, and nothing is processed without it.
#[test]
fn content_that_does_not_come_is_answered_408() {
    let origin = Origin::with(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { body_idle = 1 } }
        web:mount('/echo', function(req) return req:body() end)",
    );
    let halves = [
        post("/echo", "Content-Length: 5", ""),
        post("/echo", "Content-Length: 5", "hel"),
        chunked("5\r\nhel"),
        chunked("5\r\nhello\r\n"),
        chunked("5\r\nhello\r\n0\r\n"),
    ];
    let mut clients: Vec<_> = halves
        .iter()
        .map(|half| {
            let mut client = origin.connect();
            client.send(half);
            client
        })
        .collect();
    for (client, half) in clients.iter_mut().zip(halves) {
        assert_eq!(client.response().status, 408, "{half:?}");
        assert_eq!(client.closed(), Ok(()), "{half:?}");
    }
}

/// RFC 9110 §15.5.9: 408 "indicates that the server did not receive a complete request message within the time that
/// it was prepared to wait"; §9.5 has the connection closed in order. A connection on which nothing was asked is
/// closed without a word.
#[test]
fn a_request_that_does_not_come_is_answered_408() {
    let origin = Origin::impatient();
    let mut clients: Vec<_> = ["G", "GET /n HTTP/1.1\r\n", "GET /n HTTP/1.1\r\nHost: test\r\nName: va"]
        .iter()
        .flat_map(|half| [("", half), ("before", half)])
        .map(|(before, half)| {
            let mut client = origin.connect();
            if !before.is_empty() {
                assert_eq!(client.get("/n").status, 200);
            }
            client.send(half);
            client
        })
        .collect();
    let mut idle = origin.connect();
    assert_eq!(idle.get("/n").status, 200);
    for client in &mut clients {
        let answer = client.response();
        assert_eq!(answer.status, 408);
        assert!(answer.says_close(), "{answer:?}");
        client.expect_close();
    }
    idle.expect_close();
}
