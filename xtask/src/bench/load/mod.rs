//! Load, by whichever tool a case needs, and what every tool counts.
//!
//! Invariant: a tool reports what went wrong beside what went well. Whoever presses decides what an error means (see
//! [`super::side`]); nothing is dropped on the way.

mod h2load;
mod handshakes;
mod wrk;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use medusa_testkit::load::Broken;

pub(super) use self::h2load::H2load;
pub(super) use self::handshakes::Handshakes;
pub(super) use self::wrk::{Asks, Wrk};
use super::tls::Identity;
use crate::error::Result;

/// Seconds of load that are not counted: caches fill, the allocator settles.
pub(super) const WARM_UP: u32 = 2;

/// A tool and how hard it presses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// Requests over keep-alive connections, HTTP/1.1.
    Wrk(Wrk),
    /// Requests over multiplexed connections, HTTP/2.
    H2load(H2load),
    /// TLS connections, a request each.
    Handshakes(Handshakes),
}

/// The target of a load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// Where the server listens.
    pub(super) address: SocketAddr,
    /// The path that is asked for.
    pub(super) path: &'a str,
    /// Whom to expect there; `None` where the connection is not encrypted.
    pub(super) identity: Option<&'a Identity>,
}

/// What a tool counted: of a WebSocket, `requests` are messages; `bytes` are 0 where nobody counted.
pub(super) use medusa_testkit::load::Report as Counted;

impl Load {
    /// Presses on `target` and returns what was counted. Errors of the server are counted, not returned.
    pub(super) fn press(&self, seconds: u32, target: Target<'_>) -> Result<Counted> {
        match self {
            Self::Wrk(wrk) => wrk.press(seconds, target),
            Self::H2load(h2load) => h2load.press(seconds, target),
            Self::Handshakes(handshakes) => handshakes.press(seconds, target),
        }
    }
}

/// As it is typed, less the duration and the address.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrk(wrk) => wrk.fmt(f),
            Self::H2load(h2load) => h2load.fmt(f),
            Self::Handshakes(handshakes) => handshakes.fmt(f),
        }
    }
}

impl Target<'_> {
    /// As a tool takes it.
    fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.path)
    }
}

/// The errors, by kind: `2 failed reads, 1 failed writes`; nothing if nothing did.
pub(super) fn errors(counted: &Counted) -> String {
    let Broken { connect, read, write, timeout } = counted.broken;
    let kinds = [
        (connect, "failed connects"),
        (read, "failed reads"),
        (write, "failed writes"),
        (timeout, "requests that took too long"),
        (counted.failed, "answers of the wrong status"),
    ];
    let counts = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// Adds up the latency of every response, all of which came within `elapsed`.
pub(super) fn of_latencies(mut latencies: Vec<Duration>, elapsed: Duration, bytes: u64) -> Counted {
    latencies.sort_unstable();
    let count = latencies.len();
    let at = |share: f64| {
        let rank = (count as f64 * share).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    Counted {
        requests: count as u64,
        bytes,
        per_second: count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
        p50: at(0.50),
        p99: at(0.99),
        max: at(1.0),
        ..Counted::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_kind() {
        let broken = Broken { connect: 1, read: 20, write: 300, timeout: 4000 };
        assert_eq!(
            errors(&Counted { broken, failed: 50_000, ..Counted::default() }),
            "1 failed connects, 20 failed reads, 300 failed writes, 4000 requests that took too long, 50000 answers of \
             the wrong status"
        );
        assert_eq!(errors(&Counted::default()), "");
    }

    #[test]
    fn latencies_are_added_up() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let counted = of_latencies(latencies, Duration::from_secs(4), 7);
        assert_eq!((counted.requests, counted.bytes), (200, 7));
        assert!((counted.per_second - 50.0).abs() < 1e-9);
        let milliseconds = [counted.p50, counted.p99, counted.max].map(|latency| latency.as_millis());
        assert_eq!(milliseconds, [100, 198, 200]);
        assert_eq!(of_latencies(Vec::new(), Duration::ZERO, 0).max, Duration::ZERO);
    }
}
