//! What a `WebSocket` is attacked with: frames that cost the server an answer, or nothing but time, and a client that does
//! not read.

use std::time::{Duration, Instant};

use medusa_testkit::websocket::{BINARY, CLOSE, CONTINUE, FIN, PING, PONG, TEXT, close, frame};
use medusa_testkit::{Server, Site, WebSocket, wait};

use super::{MOST, expect_service, limited, press};

/// A server with an echo at `/ws`, and a session that says much to whoever says something at `/much`.
fn target(limits: &str) -> (Site, Server) {
    let (site, server) = limited(
        limits,
        "web:mount('/ws', function(req) return req:websocket(function(ws)
            for message in ws do ws:send(message) end
        end) end)
        web:mount('/much', function(req) return req:websocket(function(ws)
            ws:recv()
            local big = string.rep('x', 1048576)
            for _ = 1, 1000 do ws:send(big) end
        end) end)
        web:mount('/mute', function(req) return req:websocket(function(ws) for _ in ws do end end) end)
        web:mount('/deaf', function(req) return req:websocket(function(ws) medusa.sleep(20) end) end)",
    );
    for _ in 0..20 {
        expect_service(&server);
    }
    (site, server)
}

/// One that pings and does not read its pongs is not read either.
#[test]
fn pongs_that_nobody_reads_do_not_pile_up() {
    let (_site, server) = target("write = 3");
    let ping = frame(FIN | PING, &[b'p'; 125]);
    // The latter pay for their pings.
    for flood in [ping.repeat(500), [ping, frame(FIN | TEXT, &[b'm'; 600])].concat().repeat(100)] {
        let mut ws = WebSocket::connect(server.address(), "/mute");
        let sent = press(&server, ws.client(), &flood);
        assert!(sent < MOST, "it was read on and on");
        wait::until("it is gone", || (server.number("http", "connections") == 0).then_some(()));
    }
    assert_eq!(server.documents("http.faults")[0]["write_stall"], 2);
}

/// The same with messages, which a handler answers as far as the client reads.
#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let (_site, server) = target("write = 3");
    for (path, message) in
        [("/ws", frame(FIN | TEXT, &vec![b'm'; 60_000])), ("/much", frame(FIN | TEXT, b"go"))]
    {
        let mut ws = WebSocket::connect(server.address(), path);
        let sent = press(&server, ws.client(), &message);
        assert!(sent < MOST, "it was read on and on");
        wait::until("it is gone", || (server.number("http", "connections") == 0).then_some(()));
    }
}

/// What is no message has a price, whether its answers are read or there are none.
#[test]
fn a_flood_of_what_is_no_message_ends_the_session() {
    let (_site, server) = target("");
    let ping = frame(FIN | PING, &[b'p'; 125]);
    let begun = [frame(TEXT, b"x"), frame(CONTINUE, b"").repeat(500)].concat();
    for (what, first, flood) in [
        ("pings", vec![], ping.repeat(500)),
        ("pongs", vec![], frame(FIN | PONG, b"").repeat(5000)),
        ("fragments of nothing", begun, frame(CONTINUE, b"").repeat(5000)),
        ("pings within a message", frame(BINARY, b"x"), frame(FIN | PING, b"").repeat(5000)),
    ] {
        let mut ws = WebSocket::connect(server.address(), "/ws");
        ws.client().send(&first);
        let begun = Instant::now();
        let mut sent = 0;
        while ws.client().try_send(&flood).is_ok() {
            sent += flood.len();
            assert!(sent < MOST, "{what} are taken without end");
            // Its answers are read, as far as they are there.
            while ws.client().is_readable_within(Duration::ZERO) {
                match ws.client().try_read_some(1 << 20) {
                    Ok(bytes) if !bytes.is_empty() => {}
                    _ended => break,
                }
            }
        }
        eprintln!("{what}: over after {sent} bytes and {:?}", begun.elapsed());
        expect_service(&server);
    }
}

/// The reason can be read by one that stops in time.
#[test]
fn who_pings_too_much_is_told() {
    let (_site, server) = target("");
    let mut ws = WebSocket::connect(server.address(), "/ws");
    let pings = frame(FIN | PING, b"").repeat(1000);
    let close = (0..1000).find_map(|_| {
        ws.client().send(&pings);
        (0..1000).map(|_| ws.frame()).find(|frame| frame.code != PONG)
    });
    let close = close.expect("a close");
    assert_eq!((close.code, &close.payload[..2]), (CLOSE, &1008_u16.to_be_bytes()[..]));
}

/// Pings now and then are free, however long, and small messages and fragments are messages.
#[test]
fn honest_sessions_pay_nothing() {
    let (_site, server) = target("");
    let mut ws = WebSocket::connect(server.address(), "/ws");
    for round in 0..20_000 {
        if round % 20 == 0 {
            ws.send_frame(FIN | PING, &[b'p'; 125]);
            assert_eq!(ws.frame().code, PONG);
        }
        ws.send("ab");
        assert_eq!(ws.text(), "ab");
    }
    let long = [frame(BINARY, b""), frame(CONTINUE, &[b'x'; 64]).repeat(1 << 13), frame(FIN | CONTINUE, b"")];
    for _ in 0..8 {
        ws.client().send(long.concat());
        assert_eq!(ws.message().1.len(), 1 << 19);
    }
    ws.close(1000, "");
}

/// Many closes, and messages behind a close: only the first counts, and nothing piles up.
#[test]
fn nothing_is_kept_of_what_comes_behind_a_close() {
    let (_site, server) = target("");
    let closes = frame(FIN | CLOSE, &close(1000, "bye")).repeat(1000);
    let messages = frame(FIN | TEXT, &[b'x'; 1000]).repeat(1000);
    for flood in [closes, messages] {
        let mut ws = WebSocket::connect(server.address(), "/deaf");
        ws.send_frame(FIN | CLOSE, &close(1000, "bye"));
        let sent = press(&server, ws.client(), &flood);
        assert!(sent < MOST, "it was read on and on");
    }
}
