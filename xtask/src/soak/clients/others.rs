//! What does not speak HTTP: broken TLS, broken headers of the PROXY protocol, and users of the control socket.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{Attack, AttackKind, MOST_CONNECTIONS, PATIENCE};
use crate::soak::rng::bytes;

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("TLS garbage", tls_garbage),
    AttackKind::new("TLS half-open", tls_half_open),
    AttackKind::new("TLS in one-byte records", tls_one_byte_records),
    AttackKind::new("HTTP to TLS", http_to_tls),
    AttackKind::new("PROXY garbage", proxy_garbage),
    AttackKind::new("PROXY cut off", proxy_cut_off),
    AttackKind::new("control floods", control_floods),
    AttackKind::new("control held", control_held),
    AttackKind::new("control statements", control_statements),
];

/// The beginning of a handshake record that promises 16 KiB.
const HELLO: [u8; 11] = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];

fn tls_garbage(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = attack.dial_to(attack.targets.tls)?;
        let begins_well = attack.rng.usize(..2) == 0;
        let bytes = bytes(attack.rng, 16_400);
        let start = if begins_well { &HELLO[..] } else { &[] };
        let _refused = stream.write_all(&[start, &bytes].concat());
        super::drain(&mut stream);
    }
    Ok(())
}

fn tls_half_open(attack: &mut Attack<'_>) -> io::Result<()> {
    let herd = attack.herd(attack.targets.tls, &HELLO)?;
    attack.trickle(herd, &[0], Duration::from_millis(200));
    Ok(())
}

fn tls_one_byte_records(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = attack.dial_to(attack.targets.tls)?;
        let _refused = attack.flood(&mut stream, &[22, 3, 1, 0, 1, 1].repeat(500));
    }
    Ok(())
}

fn http_to_tls(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = attack.dial_to(attack.targets.tls)?;
        let _refused = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        super::drain(&mut stream);
    }
    Ok(())
}

fn proxy_garbage(attack: &mut Attack<'_>) -> io::Result<()> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    while !attack.over() {
        let mut stream = attack.dial_to(attack.targets.proxied)?;
        let noise = bytes(attack.rng, 600);
        let header = match attack.rng.usize(..4) {
            0 => noise,
            1 => [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &noise].concat(),
            2 => [SIGNATURE, &noise].concat(),
            _ => [b"PROXY TCP4 ", &noise[..]].concat(),
        };
        let _refused = stream.write_all(&header);
        super::drain(&mut stream);
    }
    Ok(())
}

fn proxy_cut_off(attack: &mut Attack<'_>) -> io::Result<()> {
    let herd = attack.herd(attack.targets.proxied, b"PROXY TCP4 192.0.2.1 ")?;
    attack.trickle(herd, b"1", Duration::from_millis(200));
    Ok(())
}

fn control(attack: &mut Attack<'_>) -> io::Result<UnixStream> {
    attack.made += 1;
    let stream = UnixStream::connect(&attack.targets.control)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn control_floods(attack: &mut Attack<'_>) -> io::Result<()> {
    while !attack.over() {
        let mut stream = control(attack)?;
        let noise = bytes(attack.rng, 65_536);
        let _refused = attack.flood(&mut stream, &noise);
    }
    Ok(())
}

fn control_held(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = attack.gather(MOST_CONNECTIONS, |attack| {
        let mut stream = control(attack)?;
        stream.write_all(b"{\"version\":1,\"op\":")?;
        Ok(stream)
    })?;
    attack.hold(held);
    Ok(())
}

/// Statements that misbehave, as an operator may type them; the session goes before they end.
fn control_statements(attack: &mut Attack<'_>) -> io::Result<()> {
    const STATEMENTS: [&str; 7] = [
        "while true do end",
        "local t = {} while true do t = { t, table.create(46, 1) } end",
        "return table.create(100, table.create(100, string.rep('x', 100000)))",
        "for i = 1, 1000 do print(string.rep('x', 10000)) end",
        "error(string.rep('x', 1000000))",
        "error('/dev/zero:1: x', 0)",
        "return require('bad')",
    ];
    while !attack.over() {
        let statement = STATEMENTS[attack.rng.usize(..STATEMENTS.len())];
        let mut stream = control(attack)?;
        let asked = format!("{{\"version\":1,\"op\":\"eval\",\"source\":\"{statement}\"}}\n");
        let _refused = stream.write_all(asked.as_bytes());
        super::drain(&mut stream);
    }
    Ok(())
}
