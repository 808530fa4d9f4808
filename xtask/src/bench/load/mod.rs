//! Load, by whichever tool a case needs, and what every tool counts.
//!
//! Invariant: a tool reports what went wrong beside what went well. Whoever presses decides what an error means (see
//! [`super::side`]); nothing is dropped on the way.

mod handshakes;

use std::fmt;
use std::net::SocketAddr;

use medusa_testkit::load::Broken;

pub(super) use self::handshakes::Handshakes;
use super::tls::Identity;
use crate::error::Result;
pub(super) use medusa_testkit::h2load::Multiplexed;
pub(super) use medusa_testkit::load::{Asks, Wrk};

/// Seconds of load that are not counted: caches fill, the allocator settles.
pub(super) const WARM_UP: u32 = 2;

/// A tool and how hard it presses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// Requests over keep-alive connections, HTTP/1.1.
    Wrk(Wrk),
    /// Requests over multiplexed connections, HTTP/2.
    H2load(Multiplexed),
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
            Self::Wrk(wrk) => Ok(wrk.press(&target.url(), seconds)),
            Self::H2load(h2load) => Ok(h2load.press(&target.url(), seconds)),
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
}
