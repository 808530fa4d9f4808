//! What HTTP/2 is attacked with: cheap frames that make the server work or keep. The connection ends, the memory stays, and
//! nobody else notices.

use medusa_testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    field, frame, integer, request,
};
use medusa_testkit::{Server, Site, memory, wait};

use super::{expect_service, limited};

/// What an attack may cost beyond what the server holds anyway, in bytes: buffers of one connection, many times over.
const MEMORY: u64 = 24 << 20;

/// How much of an attack is sent before the server must have had enough.
const ROUNDS: usize = 20_000;

/// A server that has warmed up.
fn target() -> (Site, Server) {
    let (site, server) = limited("first_byte = 5, idle = 5", "");
    for _ in 0..20 {
        expect_service(&server);
    }
    (site, server)
}

/// Sends what `round` says, round by round, and expects the server to end the connection, within its memory.
#[track_caller]
fn expect_enough(server: &Server, client: &mut Http2, mut round: impl FnMut(u32) -> Vec<u8>) {
    let before = memory::resident(server.pid());
    let mut rounds = 0;
    for number in 0..ROUNDS {
        if client.try_send(&round(u32::try_from(number).expect("few"))).is_err() {
            break;
        }
        rounds = number + 1;
        if number == 100 {
            expect_service(server);
        }
    }
    let reason = client.end();
    wait::until("it is gone", || (server.number("http", "connections") == 0).then_some(()));
    let grown = memory::resident(server.pid()).saturating_sub(before);
    eprintln!("ended after {rounds} rounds with {reason:?}, {grown} bytes more");
    assert!(grown < MEMORY, "{grown} bytes more");
    expect_service(server);
}

/// The number of faults of one kind.
#[track_caller]
fn counted(server: &Server, name: &str) -> u64 {
    server.documents("http.faults")[0][name].as_u64().unwrap_or(0)
}

/// A request that is reset at once, many times: a hundred of them fit into a round.
#[test]
fn rapid_reset() {
    let (_site, server) = target();
    for path in ["/ok", "/sleep"] {
        let mut client = Http2::connect(&server, &[]);
        let head = request("GET", path);
        expect_enough(&server, &mut client, |round| {
            (0..100)
                .flat_map(|n| {
                    let stream = (round * 100 + n) * 2 + 1;
                    let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
                    both.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
                    both
                })
                .collect()
        });
    }
    assert_eq!(counted(&server, "flood"), 2);
    wait::until("no handler is left", || (server.number("vm", "requests") == 0).then_some(()));
}

#[test]
fn pings() {
    let (_site, server) = target();
    let mut client = Http2::connect(&server, &[]);
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(100);
    expect_enough(&server, &mut client, |_| pings.clone());
    assert_eq!(counted(&server, "flood"), 1);
}

#[test]
fn settings() {
    let (_site, server) = target();
    let mut client = Http2::connect(&server, &[]);
    // The table of fields made large and small, again and again.
    let settings = [frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]), frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0])];
    let settings = settings.concat().repeat(50);
    expect_enough(&server, &mut client, |_| settings.clone());
    assert_eq!(counted(&server, "flood"), 1);
}

#[test]
fn window_updates() {
    let (_site, server) = target();
    for stream in [0, 1] {
        let mut client = Http2::connect(&server, &[]);
        client.get(1, "/sleep");
        let updates = frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]).repeat(100);
        expect_enough(&server, &mut client, |_| updates.clone());
    }
    assert_eq!(counted(&server, "flood"), 2);
}

#[test]
fn continuations_without_end() {
    let (_site, server) = target();
    for piece in [&[][..], &field("name", "value"), &field("name", &"x".repeat(8000))] {
        let mut client = Http2::connect(&server, &[]);
        client.send(HEADERS, END_STREAM, 1, &request("GET", "/ok"));
        let pieces = frame(CONTINUATION, 0, 1, piece).repeat(100);
        expect_enough(&server, &mut client, |_| pieces.clone());
    }
    assert_eq!(counted(&server, "flood"), 3);
}

/// One long field that the table remembers, then a byte for each time it is meant.
#[test]
fn fields_that_unpack_to_much() {
    let (_site, server) = target();
    let mut client = Http2::connect(&server, &[]);
    let mut bomb = vec![0x40];
    integer(&mut bomb, 4);
    bomb.extend(b"bomb");
    integer(&mut bomb, 3900);
    bomb.extend([b'x'; 3900]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &[request("GET", "/ok"), bomb].concat());
    assert_eq!(client.status(1), 200);
    // An indexed field (0x80), at the first place of the table that is the client's (62).
    let bombs = [request("GET", "/ok"), vec![0xbe; 12_000]].concat();
    expect_enough(&server, &mut client, |round| {
        frame(HEADERS, END_HEADERS | END_STREAM, round * 2 + 3, &bombs)
    });
    assert_eq!(counted(&server, "flood"), 1);
}

/// As many answers as one may ask for at a time, and no room for any of them. Each waits with what was read of its file,
/// until `limits.write` ends them all.
#[test]
fn answers_that_are_not_taken() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    const STREAMS: u32 = 128;
    let (site, server) = limited("write = 3", "web:mount('/files/', medusa.handler.files('.'))");
    site.write("large.bin", vec![7; 8 << 20]);
    expect_service(&server);
    let before = memory::resident(server.pid());
    let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    for number in 0..STREAMS {
        client.get(number * 2 + 1, "/files/large.bin");
    }
    for _ in 0..STREAMS {
        client.expect(HEADERS);
    }
    expect_service(&server);
    let grown = memory::resident(server.pid()).saturating_sub(before);
    eprintln!("{STREAMS} answers that wait hold {grown} bytes");
    assert!(grown < u64::from(STREAMS) * (256 << 10), "{grown} bytes for {STREAMS} answers");
    wait::until("they are given up", || (server.number("http", "connections") == 0).then_some(()));
    assert_eq!(counted(&server, "write_stall"), 1);
    expect_service(&server);
}

/// DATA for requests that were refused before their body had come.
#[test]
fn data_that_nobody_wants() {
    let (_site, server) = target();
    let mut client = Http2::connect(&server, &[]);
    let data = frame(DATA, 0, 1, &[0; 16_000]);
    client.send(
        HEADERS,
        END_HEADERS,
        1,
        &[request("POST", "/read"), field("content-length", "2000000")].concat(),
    );
    assert_eq!(client.status(1), 413);
    expect_enough(&server, &mut client, |_| data.clone());
}

/// Frames of no bytes, which no window bounds.
#[test]
fn data_that_is_none() {
    let (_site, server) = target();
    let mut client = Http2::connect(&server, &[]);
    client.post(1, "/read");
    let data = frame(DATA, 0, 1, &[]).repeat(100);
    expect_enough(&server, &mut client, |_| data.clone());
    assert_eq!(counted(&server, "flood"), 1);
}

#[test]
fn frames_that_are_none_end_their_connection_and_are_counted() {
    let (_site, server) = target();
    let malformed = [
        // DATA and a window for a stream that never was, an even stream, a PING of three bytes, a frame too long.
        frame(DATA, 0, 1, b"x"),
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        frame(HEADERS, END_HEADERS | END_STREAM, 2, &request("GET", "/ok")),
        frame(PING, 0, 0, &[0; 3]),
        frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(0x42, 0, 0, &vec![0; 20_000]),
        // Fields by a place in the table that there is not.
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]),
    ];
    for (number, bytes) in (1..).zip(&malformed) {
        let mut client = Http2::connect(&server, &[]);
        let _cut_off = client.try_send(bytes);
        let reason = client.end();
        assert!(reason.is_some_and(|reason| reason != 0), "{reason:?} for {:02x?}", &bytes[..9]);
        assert_eq!(counted(&server, "malformed"), number, "{:02x?}", &bytes[..9]);
        expect_service(&server);
    }
}
