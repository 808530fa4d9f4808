//! Times: seconds after which a client that is silent, slow or deaf is let go.

use std::thread;
use std::time::Duration;

use medusa_testkit::{Client, Server, Site, wait};

use super::super::support::start;
use super::{after_a_second, expect_end, expect_faults, expect_service, limited};

/// Sends `bytes` again and again, faster than any pause that is allowed, until the server has had enough.
fn trickle(mut client: Client, bytes: &'static str) -> thread::JoinHandle<Client> {
    thread::spawn(move || {
        for _ in 0..100 {
            if client.try_send(bytes).is_err() || client.is_readable_within(Duration::from_millis(200)) {
                break;
            }
        }
        client
    })
}

#[test]
fn first_byte_a_silent_connection_is_closed() {
    let (_site, server) = limited("first_byte = 1", "");
    let mut client = server.connect();
    after_a_second(&server, || client.expect_close());
    // Browsers connect ahead of need: nobody's fault.
    expect_faults(&server, &[]);
}

#[test]
fn head_a_trickled_head_is_answered_408() {
    let (_site, server) = limited("head = 1", "");
    let mut client = server.connect();
    client.send("GET /ok HTTP/1.1\r\nHost: t\r\n");
    let mut client = after_a_second(&server, || trickle(client, "a: b\r\n").join().expect("no panic"));
    assert_eq!(client.response().status, 408);
    expect_end(&mut client);
    expect_faults(&server, &[("head_timeout", 1)]);
}

#[test]
fn head_read_a_head_that_pauses_is_answered_408() {
    let (_site, server) = limited("head_read = 1", "");
    for before in [0, 1] {
        let mut client = server.connect();
        for _ in 0..before {
            assert_eq!(client.get("/ok").status, 200);
        }
        client.send("GET /ok HTTP/1.1\r\nHost: t\r\n");
        let answer = after_a_second(&server, || client.response());
        assert_eq!(answer.status, 408);
        assert!(answer.says_close());
        client.expect_close();
    }
    expect_faults(&server, &[("head_timeout", 2)]);
}

#[test]
fn head_read_a_head_that_goes_on_is_not_cut_off() {
    let (_site, server) = limited("head_read = 1, head = 0", "");
    let mut client = server.connect();
    client.send("GET /ok HTTP/1.1\r\nHost: t\r\n");
    // Three times the pause that is allowed, with nothing to be heard.
    for _ in 0..15 {
        client.send("a: b\r\n");
        assert!(!client.is_readable_within(Duration::from_millis(200)), "cut off");
    }
    client.send("\r\n");
    assert_eq!(client.response().text(), "ok");
    expect_faults(&server, &[]);
}

#[test]
fn body_idle_a_body_that_pauses_is_answered_408() {
    let (_site, server) = limited("body_idle = 1", "");
    for framing in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut client = server.connect();
        client.send(format!("POST /read HTTP/1.1\r\nHost: t\r\n{framing}"));
        let answer = after_a_second(&server, || client.response());
        assert_eq!(answer.status, 408, "{framing:?}");
        assert!(answer.says_close());
        client.expect_close();
    }
    expect_faults(&server, &[("body_timeout", 2)]);
}

/// The rate counts after ten seconds only, so this is a test of some twelve.
#[test]
fn body_rate_a_body_that_trickles_is_answered_408() {
    let (_site, server) = limited("body_rate = 1000, body_idle = 5", "");
    let mut client = server.connect();
    client.send("POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
    let trickling = trickle(client, "xx");
    expect_service(&server);
    let mut client = trickling.join().expect("no panic");
    let answer = client.response();
    assert_eq!(answer.status, 408);
    assert!(answer.says_close());
    expect_service(&server);
    expect_faults(&server, &[("body_timeout", 1)]);
}

#[test]
fn handler_one_that_does_not_answer_is_answered_for() {
    let (_site, server) = limited("handler = 1", "");
    let mut client = server.connect();
    client.send("GET /sleep HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(after_a_second(&server, || client.response()).status, 503);
    // The client has done nothing wrong: its connection stays.
    assert_eq!(client.get("/ok").text(), "ok");
    wait::until("the handler is gone", || (server.number("vm", "requests") == 0).then_some(()));
    expect_faults(&server, &[("handler_timeout", 1)]);
}

#[test]
fn write_a_reader_that_stops_is_left() {
    let (site, server) = limited(
        "write = 1",
        "web:mount('/files/', medusa.handler.files('.'))
        web:mount('/stream', function()
            return { body = function(write) while true do write(string.rep('x', 65536)) end end }
        end)",
    );
    site.write("big.bin", vec![7; 48 << 20]);
    for (path, connection) in
        [("/files/big.bin", "keep-alive"), ("/files/big.bin", "close"), ("/stream", "keep-alive")]
    {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: {connection}\r\n\r\n"));
        assert_eq!(client.head().status, 200, "{path}");
        after_a_second(&server, || {
            wait::until("it is left", || (server.number("http", "connections") == 0).then_some(()));
        });
    }
    expect_faults(&server, &[("write_stall", 3)]);
}

/// The answer fits into the buffers on the way, all but its end: nothing is left to do but to send.
#[test]
fn write_a_reader_that_stops_before_the_last_bytes_is_left_as_well() {
    let (_site, server) =
        limited("write = 1", "web:mount('/once', function() return string.rep('x', 8 * 1024 * 1024) end)");
    for connection in ["close", "keep-alive"] {
        let mut client = server.connect();
        client.send(format!("GET /once HTTP/1.1\r\nHost: t\r\nConnection: {connection}\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        after_a_second(&server, || {
            wait::until("it is left", || (server.number("http", "connections") == 0).then_some(()));
        });
    }
    expect_faults(&server, &[("write_stall", 2)]);
}

#[test]
fn idle_a_kept_connection_is_closed() {
    let (_site, server) = limited("idle = 1", "");
    let mut client = server.connect();
    assert_eq!(client.get("/ok").status, 200);
    after_a_second(&server, || client.expect_close());
    expect_faults(&server, &[]);
}

#[test]
fn handshake_a_client_that_does_not_begin_is_left() {
    let site = Site::script(
        "web = medusa.http.server { listen = {
            '127.0.0.1:0',
            { address = '127.0.0.1:0', tls = 'self-signed' },
            { address = '127.0.0.1:0', proxy_protocol = true },
        }, limits = { handshake = 1 } }
        web:mount('/ok', function() return 'ok' end)",
    );
    let server = start(&site);
    // Nothing, and the beginning of a ClientHello.
    for beginning in [&b""[..], b"\x16\x03\x01\x02"] {
        let mut client = Client::connect(listener(&server, 1));
        client.send(beginning);
        after_a_second(&server, || client.expect_close());
    }
    expect_faults(&server, &[("tls_handshake", 2)]);
    for beginning in ["", "PROXY TCP4 192.0.2.1 "] {
        let mut client = Client::connect(listener(&server, 2));
        client.send(beginning);
        after_a_second(&server, || client.expect_close());
    }
    expect_faults(&server, &[("proxy_header", 2), ("tls_handshake", 2)]);
}

/// The address of its listener number `at`.
#[track_caller]
pub(super) fn listener(server: &Server, at: usize) -> std::net::SocketAddr {
    let listeners = server.documents("listener");
    let text = listeners[at]["address"].as_str().expect("text");
    text.parse().unwrap_or_else(|_error| panic!("{text} is no address"))
}

#[test]
fn connection_a_life_ends_between_requests_and_not_in_one() {
    let (_site, server) =
        limited("connection = 1", "web:mount('/slow', function() medusa.sleep(4) return 'whole' end)");
    let mut idle = server.connect();
    assert_eq!(idle.get("/ok").text(), "ok");
    after_a_second(&server, || idle.expect_close());

    let mut busy = server.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    let answer = after_a_second(&server, || busy.response());
    assert_eq!(answer.text(), "whole", "what has begun is finished");
    assert!(answer.says_close());
    busy.expect_close();

    // Between two requests of one on a busy machine its life may end, too: as that of an idle one, before the next is read.
    let is_told = |_| {
        let mut in_a_row = server.connect();
        after_a_second(&server, || {
            loop {
                if in_a_row.try_send("GET /ok HTTP/1.1\r\nHost: t\r\n\r\n").is_err() {
                    return false;
                }
                let Ok(Some(answer)) = in_a_row.try_response("GET") else { return false };
                assert_eq!(answer.text(), "ok", "no request is lost");
                if answer.says_close() {
                    in_a_row.expect_close();
                    return true;
                }
            }
        })
    };
    assert!((0..10).any(is_told));
    expect_faults(&server, &[]);
}
