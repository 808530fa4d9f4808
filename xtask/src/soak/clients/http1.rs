//! Hostile HTTP/1: slow, greedy, deaf, and wrong.

use std::net::Shutdown;
use std::time::Duration;

use super::{Attack, AttackKind, MOST_CONNECTIONS, after};
use crate::soak::rng::bytes;

/// Asks for the large file.
const LARGE: &[u8] = b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
const LISTING: &[u8] = b"GET /listed/ HTTP/1.1\r\nHost: x\r\n\r\n";
const SLOWLY: Duration = Duration::from_millis(100);

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("slow heads", |attack| {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nA: ";
        attack.trickle(MOST_CONNECTIONS, |attack| after(head, attack.dial()?), b"a", SLOWLY)
    }),
    AttackKind::new("slow bodies", |attack| {
        let head = b"POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        attack.trickle(MOST_CONNECTIONS, |attack| after(head, attack.dial()?), b"a", SLOWLY)
    }),
    AttackKind::new("slow readers", |attack| {
        attack.hold(MOST_CONNECTIONS, |attack| after(LARGE, attack.dial_narrow()?))
    }),
    AttackKind::new("silent", |attack| attack.hold(MOST_CONNECTIONS, Attack::dial)),
    AttackKind::new("half-closed", |attack| {
        attack.hold(MOST_CONNECTIONS, |attack| {
            let stream = after(LARGE, attack.dial()?)?;
            stream.shutdown(Shutdown::Write)?;
            Ok(stream)
        })
    }),
    AttackKind::new("pipelines unread", |attack| attack.flood(Attack::dial_narrow, &LISTING.repeat(200))),
    AttackKind::new("pipelines of errors", |attack| {
        let request = b"GET /bad/error_value?token=secret HTTP/1.1\r\nHost: x\r\n\r\n";
        attack.say(Attack::dial, |_| request.repeat(500))
    }),
    AttackKind::new("header bombs", |attack| {
        attack.repeat(|rng| {
            let fields = match rng.usize(..4) {
                0 => (0..20_000).flat_map(|number| format!("F{number}: a\r\n").into_bytes()).collect(),
                1 => b"Cookie: a=b\r\n".repeat(10_000),
                2 => [&b"Long: "[..], &vec![b'a'; 1 << 20]].concat(),
                _ => [&vec![b'a'; 1 << 20][..], b": long\r\n"].concat(),
            };
            [b"GET / HTTP/1.1\r\nHost: x\r\n", &fields[..], b"\r\n"].concat()
        })
    }),
    AttackKind::new("URI bombs", |attack| {
        attack.repeat(|rng| {
            let target = match rng.usize(..4) {
                0 => "/a".repeat(4_000),
                1 => format!("/{}", "..%2f".repeat(1_600)),
                2 => format!("/takes?as=args&{}", "a=1&".repeat(2_000)),
                _ => format!("/{}", "a".repeat(1 << 20)),
            };
            format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
        })
    }),
    AttackKind::new("range bombs", |attack| {
        attack.repeat(|rng| {
            let ranges = match rng.usize(..3) {
                0 => "0-,".repeat(1_000),
                1 => (0..1_000).map(|start| format!("{start}-{start},")).collect::<Vec<_>>().concat(),
                _ => "-1,".repeat(16),
            };
            format!("GET /large.bin HTTP/1.1\r\nHost: x\r\nRange: bytes={ranges}0-0\r\n\r\n").into_bytes()
        })
    }),
    AttackKind::new("listing floods", |attack| attack.repeat(|_| LISTING.to_vec())),
    AttackKind::new("smuggling", |attack| {
        attack.repeat(|rng| SMUGGLED[rng.usize(..SMUGGLED.len())].as_bytes().to_vec())
    }),
    AttackKind::new("garbage", |attack| {
        attack.repeat(|rng| {
            let length = rng.usize(..4096);
            bytes(rng, length)
        })
    }),
    // Closed with data unread: the server sees a reset, sometimes before it has accepted.
    AttackKind::new("connect and reset", |attack| {
        for _ in 0..2_000 {
            if attack.over() {
                break;
            }
            let stream = attack.dial()?;
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
            after(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", stream)?;
        }
        Ok(())
    }),
    AttackKind::new("upgrades abandoned", |attack| {
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\n\
            Expect: 100-continue\r\nContent-Length: 10\r\n\r\n";
        attack.hold(MOST_CONNECTIONS, |attack| after(head, attack.dial()?))
    }),
];

const SMUGGLED: [&str; 6] = [
    "POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
    "POST /takes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n",
    "POST /takes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "POST /takes HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "POST /takes HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
];
