//! Hostile HTTP/1: slow, greedy, deaf, and wrong.

use std::io::{self, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::{Attack, AttackKind, MOST_CONNECTIONS};
use crate::soak::rng::bytes;

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("slow heads", slow_heads),
    AttackKind::new("slow bodies", slow_bodies),
    AttackKind::new("slow readers", slow_readers),
    AttackKind::new("silent", silent),
    AttackKind::new("half-closed", half_closed),
    AttackKind::new("pipelines unread", pipelines_unread),
    AttackKind::new("pipelines of errors", pipelines_of_errors),
    AttackKind::new("header bombs", header_bombs),
    AttackKind::new("URI bombs", uri_bombs),
    AttackKind::new("range bombs", range_bombs),
    AttackKind::new("listing floods", listing_floods),
    AttackKind::new("smuggling", smuggling),
    AttackKind::new("garbage", garbage),
    AttackKind::new("connect and reset", connect_and_reset),
    AttackKind::new("upgrades abandoned", upgrades_abandoned),
];

/// Asks for the large file.
const LARGE: &[u8] = b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOWLY: Duration = Duration::from_millis(100);

fn slow_heads(attack: &mut Attack<'_>) -> io::Result<()> {
    let herd = attack.herd(attack.targets.plain, b"GET / HTTP/1.1\r\nHost: x\r\nA: ")?;
    attack.trickle(herd, b"a", SLOWLY);
    Ok(())
}

fn slow_bodies(attack: &mut Attack<'_>) -> io::Result<()> {
    let head = b"POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let herd = attack.herd(attack.targets.plain, head)?;
    attack.trickle(herd, b"a", SLOWLY);
    Ok(())
}

fn slow_readers(attack: &mut Attack<'_>) -> io::Result<()> {
    let held = attack.gather(MOST_CONNECTIONS, |attack| {
        let mut stream = attack.dial_narrow()?;
        stream.write_all(LARGE)?;
        Ok(stream)
    })?;
    attack.hold(held);
    Ok(())
}

fn silent(attack: &mut Attack<'_>) -> io::Result<()> {
    let herd = attack.herd(attack.targets.plain, b"")?;
    attack.hold(herd);
    Ok(())
}

fn half_closed(attack: &mut Attack<'_>) -> io::Result<()> {
    let herd = attack.herd(attack.targets.plain, LARGE)?;
    let deaf: io::Result<Vec<()>> = herd.iter().map(|stream| stream.shutdown(Shutdown::Write)).collect();
    attack.hold(herd);
    deaf.map(drop)
}

fn pipelines_unread(attack: &mut Attack<'_>) -> io::Result<()> {
    let request = b"GET /listed/ HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    while !attack.over() {
        let mut stream = attack.dial_narrow()?;
        let _full = attack.flood(&mut stream, &request);
    }
    Ok(())
}

fn pipelines_of_errors(attack: &mut Attack<'_>) -> io::Result<()> {
    let request = b"GET /bad/error_value?token=secret HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    while !attack.over() {
        let mut stream = attack.dial()?;
        let _full = stream.write_all(&request);
        super::drain(&mut stream);
    }
    Ok(())
}

fn header_bombs(attack: &mut Attack<'_>) -> io::Result<()> {
    attack.repeat(|rng| {
        let mut head = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
        match rng.usize(..4) {
            0 => head.extend((0..20_000).flat_map(|number| format!("F{number}: a\r\n").into_bytes())),
            1 => head.extend_from_slice(&b"Cookie: a=b\r\n".repeat(10_000)),
            2 => head.extend_from_slice(&[&b"Long: "[..], &vec![b'a'; 1 << 20]].concat()),
            _ => head.extend_from_slice(&[&vec![b'a'; 1 << 20][..], b": long\r\n"].concat()),
        }
        head.extend_from_slice(b"\r\n");
        head
    })
}

fn uri_bombs(attack: &mut Attack<'_>) -> io::Result<()> {
    attack.repeat(|rng| {
        let target = match rng.usize(..4) {
            0 => "/a".repeat(4_000),
            1 => format!("/{}", "..%2f".repeat(1_600)),
            2 => format!("/takes?as=args&{}", "a=1&".repeat(2_000)),
            _ => format!("/{}", "a".repeat(1 << 20)),
        };
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
    })
}

fn range_bombs(attack: &mut Attack<'_>) -> io::Result<()> {
    attack.repeat(|rng| {
        let ranges = match rng.usize(..3) {
            0 => "0-,".repeat(1_000),
            1 => (0..1_000).map(|start| format!("{start}-{start},")).collect::<Vec<_>>().concat(),
            _ => "-1,".repeat(16),
        };
        format!("GET /large.bin HTTP/1.1\r\nHost: x\r\nRange: bytes={ranges}0-0\r\n\r\n").into_bytes()
    })
}

fn listing_floods(attack: &mut Attack<'_>) -> io::Result<()> {
    attack.repeat(|_| b"GET /listed/ HTTP/1.1\r\nHost: x\r\n\r\n".to_vec())
}

fn smuggling(attack: &mut Attack<'_>) -> io::Result<()> {
    const TRIES: [&str; 6] = [
        "POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
        "POST /takes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
        "POST /takes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        "POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /takes HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    ];
    attack.repeat(|rng| TRIES[rng.usize(..TRIES.len())].as_bytes().to_vec())
}

fn garbage(attack: &mut Attack<'_>) -> io::Result<()> {
    attack.repeat(|rng| {
        let length = rng.usize(..4096);
        bytes(rng, length)
    })
}

/// Closed with data unread: the server sees a reset, sometimes before it has accepted.
fn connect_and_reset(attack: &mut Attack<'_>) -> io::Result<()> {
    for _ in 0..2_000 {
        if attack.over() {
            break;
        }
        let mut stream = attack.dial()?;
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    }
    Ok(())
}

fn upgrades_abandoned(attack: &mut Attack<'_>) -> io::Result<()> {
    let head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\nExpect: 100-continue\r\n\
        Content-Length: 10\r\n\r\n";
    let herd = attack.herd(attack.targets.plain, head)?;
    attack.hold(herd);
    Ok(())
}
