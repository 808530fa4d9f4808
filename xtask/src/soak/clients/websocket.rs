//! Hostile clients of WebSocket, in frames written by hand ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)).

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use medusa_testkit::websocket::{BINARY, FIN, PING, TEXT, frame};

use super::{Attack, AttackKind, MOST_CONNECTIONS, after};
use crate::soak::rng::bytes;

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("ws pings unread", |attack| {
        attack.flood(open, &frame(FIN | PING, &[b'p'; 125]).repeat(500))
    }),
    AttackKind::new("ws echoes unread", |attack| attack.flood(open, &frame(FIN | BINARY, &vec![7; 60_000]))),
    AttackKind::new("ws fragments", |attack| {
        attack.flood(|attack| after(&frame(TEXT, b"a"), open(attack)?), &frame(0, &[]).repeat(500))
    }),
    AttackKind::new("ws huge frames", |attack| {
        let length = [&[FIN | BINARY, 0x80 + 127][..], &u64::MAX.to_be_bytes()].concat();
        attack.flood(|attack| after(&length, open(attack)?), &[0; 4096])
    }),
    AttackKind::new("ws garbage", |attack| attack.say(open, |rng| bytes(rng, 2_000))),
    AttackKind::new("ws idle", |attack| {
        attack.trickle(MOST_CONNECTIONS, open, &frame(FIN | TEXT, b"hello"), Duration::from_millis(300))
    }),
    // Gone without a close, in the middle of a frame.
    AttackKind::new("ws lost", |attack| {
        attack.again(|attack| after(&frame(FIN | TEXT, &[b'a'; 100])[..50], open(attack)?).map(drop))
    }),
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
