//! What does not speak HTTP: broken TLS, broken headers of the PROXY protocol, and users of the control socket.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Attack, AttackKind, MOST_CONNECTIONS, PATIENCE, after};
use crate::soak::rng::bytes;

/// The beginning of a handshake record that promises 16 KiB.
const HELLO: [u8; 11] = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
/// What a binary header of the PROXY protocol begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Statements that misbehave, as an operator may type them; the session goes before they end.
const STATEMENTS: [&str; 7] = [
    "while true do end",
    "local t = {} while true do t = { t, table.create(46, 1) } end",
    "return table.create(100, table.create(100, string.rep('x', 100000)))",
    "for i = 1, 1000 do print(string.rep('x', 10000)) end",
    "error(string.rep('x', 1000000))",
    "error('/dev/zero:1: x', 0)",
    "return require('bad')",
];
const SLOWLY: Duration = Duration::from_millis(200);

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("TLS garbage", |attack| {
        attack.say(tls, |rng| {
            let start = if rng.usize(..2) == 0 { &HELLO[..] } else { &[] };
            [start, &bytes(rng, 16_400)].concat()
        })
    }),
    AttackKind::new("TLS half-open", |attack| {
        attack.trickle(MOST_CONNECTIONS, |attack| after(&HELLO, tls(attack)?), &[0], SLOWLY)
    }),
    AttackKind::new("TLS in one-byte records", |attack| attack.flood(tls, &[22, 3, 1, 0, 1, 1].repeat(500))),
    AttackKind::new("HTTP to TLS", |attack| {
        attack.say(tls, |_| b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())
    }),
    AttackKind::new("PROXY garbage", |attack| {
        attack.say(proxied, |rng| {
            let noise = bytes(rng, 600);
            match rng.usize(..4) {
                0 => noise,
                1 => [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &noise].concat(),
                2 => [SIGNATURE, &noise].concat(),
                _ => [b"PROXY TCP4 ", &noise[..]].concat(),
            }
        })
    }),
    AttackKind::new("PROXY cut off", |attack| {
        let begun = b"PROXY TCP4 192.0.2.1 ";
        attack.trickle(MOST_CONNECTIONS, |attack| after(begun, proxied(attack)?), b"1", SLOWLY)
    }),
    AttackKind::new("control floods", |attack| {
        let noise = bytes(attack.rng, 65_536);
        attack.flood(control, &noise)
    }),
    AttackKind::new("control held", |attack| {
        attack.hold(MOST_CONNECTIONS, |attack| after(b"{\"version\":1,\"op\":", control(attack)?))
    }),
    AttackKind::new("control statements", |attack| {
        attack.say(control, |rng| {
            let statement = STATEMENTS[rng.usize(..STATEMENTS.len())];
            format!("{{\"version\":1,\"op\":\"eval\",\"source\":\"{statement}\"}}\n").into_bytes()
        })
    }),
];

fn tls(attack: &mut Attack<'_>) -> io::Result<TcpStream> {
    attack.dial_to(attack.targets.tls)
}

fn proxied(attack: &mut Attack<'_>) -> io::Result<TcpStream> {
    attack.dial_to(attack.targets.proxied)
}

fn control(attack: &mut Attack<'_>) -> io::Result<UnixStream> {
    attack.made += 1;
    let stream = UnixStream::connect(&attack.targets.control)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
