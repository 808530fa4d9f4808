//! The client against what a server might say, good and bad.

use std::net::TcpListener;
use std::thread;

use super::*;

/// A client of a server that says `reply` and closes the connection.
fn client_of(reply: &'static [u8]) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        // In two parts, so that nothing depends on where a read ends.
        let (first, second) = reply.split_at(reply.len() / 2);
        stream.write_all(first).expect("taken");
        stream.write_all(second).expect("taken");
    });
    Client::connect(address)
}

#[test]
fn responses_are_told_apart() {
    let mut client = client_of(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none\
          HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\
          HTTP/1.0 404 Not Found\r\nX: y\r\n\r\nrest",
    );
    assert_eq!(client.response().text(), "one");
    assert_eq!(client.response().text(), "two");
    let head = client.response_to_head();
    assert_eq!((head.header("content-length"), head.body.len()), (Some("5"), 0));
    let last = client.response();
    assert_eq!((last.version.as_str(), last.status, last.text().as_str()), ("HTTP/1.0", 404, "rest"));
    assert_eq!(last.header("x"), Some("y"));
    client.expect_close();
}

#[test]
#[should_panic(expected = "closed in the middle")]
fn a_body_that_is_cut_off_is_no_response() {
    client_of(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort").response();
}

#[test]
#[should_panic(expected = "a chunk without its end")]
fn a_chunk_that_is_longer_than_it_says_is_no_response() {
    client_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nthree\r\n0\r\n\r\n").response();
}

#[test]
fn a_response_is_no_longer_than_may_be_however_it_is_framed() {
    const CHUNKS: &str = "8\r\n12345678\r\n8\r\n12345678\r\n8\r\n12345678\r\n";
    for (framing, body) in [
        ("Transfer-Encoding: chunked", format!("{CHUNKS}{CHUNKS}{CHUNKS}{CHUNKS}{CHUNKS}{CHUNKS}0\r\n\r\n")),
        ("Content-Length: 144", "x".repeat(144)),
        ("Connection: close", "x".repeat(144)),
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}").leak();
        let mut client = client_of(reply.as_bytes());
        client.read_at_most(100);
        let error = client.try_response("GET").expect_err("it is longer").to_string();
        assert_eq!(error, "a response of more than 100 bytes", "{framing}");
    }
}

#[test]
#[should_panic(expected = "the server goes on with \"more\"")]
fn bytes_after_the_last_response_show() {
    let mut client = client_of(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nonemore");
    client.response();
    client.expect_close();
}

#[test]
fn a_head_can_be_had_before_its_body() {
    let mut client = client_of(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.head().status, 200);
    let mut body = Vec::new();
    loop {
        match client.read_some(3) {
            some if some.is_empty() => break,
            some => body.extend(some),
        }
    }
    assert_eq!(body, b"body");
}

#[test]
fn a_connection_comes_from_the_address_that_was_chosen() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let from = Ipv4Addr::new(127, 0, 9, 1);
    let to = listener.local_addr().expect("an address");
    let _stream = dial(from, to, PATIENCE, Some(4096)).expect("connected");
    let (_, peer) = listener.accept().expect("a client");
    assert_eq!(peer.ip(), from);
}
