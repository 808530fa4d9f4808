//! Hostile clients of WebSocket, in frames written by hand ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)).

use std::io::{self, Read as _, Write};
use std::net::TcpStream;
use std::time::Duration;

use medusa_testkit::websocket::{BINARY, FIN, PING, TEXT, frame};

use super::{Attack, AttackKind, MOST_CONNECTIONS};
use crate::soak::rng::bytes;

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("ws pings unread", pings_unread),
    AttackKind::new("ws echoes unread", echoes_unread),
    AttackKind::new("ws fragments", fragments),
    AttackKind::new("ws huge frames", huge_frames),
    AttackKind::new("ws garbage", garbage),
    AttackKind::new("ws idle", idle),
    AttackKind::new("ws lost", lost),
];

fn open(attack: &mut Attack<'_>) -> io::Result<TcpStream> {
    let mut stream = attack.dial_narrow()?;
    stream.write_all(
        b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut begun = [0; 12];
    stream.read_exact(&mut begun)?;
    if begun.ends_with(b"101") { Ok(stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// Floods one connection after the other.
fn flood(attack: &mut Attack<'_>, frames: &[u8]) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack)?;
        let _full = attack.flood(&mut stream, frames);
    }
    Ok(())
}

fn pings_unread(attack: &mut Attack<'_>) -> io::Result<()> {
    flood(attack, &frame(FIN | PING, &[b'p'; 125]).repeat(500))
}

fn echoes_unread(attack: &mut Attack<'_>) -> io::Result<()> {
    flood(attack, &frame(FIN | BINARY, &vec![7; 60_000]))
}

fn fragments(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack)?;
        stream.write_all(&frame(TEXT, b"a"))?;
        let _refused = attack.flood(&mut stream, &frame(0, &[]).repeat(500));
    }
    Ok(())
}

fn huge_frames(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack)?;
        let length = [&[FIN | BINARY, 0x80 + 127][..], &u64::MAX.to_be_bytes()].concat();
        stream.write_all(&length)?;
        let _refused = attack.flood(&mut stream, &[0; 4096]);
    }
    Ok(())
}

fn garbage(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack)?;
        let bytes = bytes(attack.rng, 2_000);
        let _refused = stream.write_all(&bytes);
        super::drain(&mut stream);
    }
    Ok(())
}

fn idle(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = attack.gather(MOST_CONNECTIONS, open)?;
    attack.trickle(held, &frame(FIN | TEXT, b"hello"), Duration::from_millis(300));
    Ok(())
}

/// Gone without a close, in the middle of a frame.
fn lost(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = open(attack)?;
        stream.write_all(&frame(FIN | TEXT, &[b'a'; 100])[..50])?;
    }
    Ok(())
}
