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

use serde_json::{Value, json};

pub(super) use self::h2load::H2load;
pub(super) use self::handshakes::Handshakes;
pub(super) use self::wrk::{Pipeline, Wrk};
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

/// What is pressed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// Where the server listens.
    pub(super) address: SocketAddr,
    /// What is asked for.
    pub(super) path: &'a str,
    /// Whom to expect there; `None` where the connection is not encrypted.
    pub(super) identity: Option<&'a Identity>,
}

/// What a tool counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Counted {
    /// Responses received (messages, for a WebSocket).
    pub(super) requests: u64,
    /// Bytes received, heads and frames included; 0 where nobody counted.
    pub(super) bytes: u64,
    /// Responses per second.
    pub(super) per_second: f64,
    /// The latency half of the requests stayed below.
    pub(super) p50: Duration,
    /// The latency 99 of 100 requests stayed below.
    pub(super) p99: Duration,
    /// The highest latency of all.
    pub(super) max: Duration,
    /// What went wrong.
    pub(super) errors: Errors,
}

/// What went wrong, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Errors {
    /// Connections that could not be made.
    pub(super) connect: u64,
    /// Connections that broke while a response was awaited.
    pub(super) read: u64,
    /// Connections that broke while a request was sent.
    pub(super) write: u64,
    /// Requests without an answer within the tool's patience.
    pub(super) timeout: u64,
    /// Responses of another status than the case is about.
    pub(super) status: u64,
}

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

/// Every kind there was: `2 failed reads, 1 failed writes`; `none`.
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("none");
        }
        let Self { connect, read, write, timeout, status } = self;
        let kinds = [
            (connect, "failed connects"),
            (read, "failed reads"),
            (write, "failed writes"),
            (timeout, "requests that took too long"),
            (status, "answers of the wrong status"),
        ];
        let told =
            kinds.iter().filter(|(count, _)| **count > 0).map(|(count, kind)| format!("{count} {kind}"));
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

impl Counted {
    /// Every number, under the names that all reports use.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "bytes": self.bytes,
            "requests_per_second": self.per_second,
            "p50_seconds": self.p50.as_secs_f64(),
            "p99_seconds": self.p99.as_secs_f64(),
            "max_seconds": self.max.as_secs_f64(),
        })
    }

    /// Adds up the latency of every response, all of which came within `elapsed`.
    pub(super) fn of_latencies(mut latencies: Vec<Duration>, elapsed: Duration, bytes: u64) -> Self {
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: f64| {
            let rank = (count as f64 * share).ceil() as usize;
            latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self {
            requests: count as u64,
            bytes,
            per_second: count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            p50: at(0.50),
            p99: at(0.99),
            max: at(1.0),
            errors: Errors::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_by_kind() {
        let errors = Errors { connect: 1, read: 20, write: 300, timeout: 4000, status: 50_000 };
        assert_eq!(
            errors.to_string(),
            "1 failed connects, 20 failed reads, 300 failed writes, 4000 requests that took too long, 50000 answers of \
             the wrong status"
        );
        assert_eq!(Errors::default().to_string(), "none");
        assert_eq!(Errors { read: 2, ..Errors::default() }.to_string(), "2 failed reads");
    }

    #[test]
    fn latencies_are_added_up() {
        let latencies = (1..=200).rev().map(Duration::from_millis).collect();
        let counted = Counted::of_latencies(latencies, Duration::from_secs(4), 7);
        assert_eq!((counted.requests, counted.bytes), (200, 7));
        assert!((counted.per_second - 50.0).abs() < 1e-9);
        let milliseconds = [counted.p50, counted.p99, counted.max].map(|latency| latency.as_millis());
        assert_eq!(milliseconds, [100, 198, 200]);
        assert_eq!(Counted::of_latencies(Vec::new(), Duration::ZERO, 0).max, Duration::ZERO);
    }
}
