//! The access record: what one answered request leaves behind.
//!
//! A [`Record`] borrows all its text, so that making one costs nothing: the worker fills it from the request it has at
//! hand, and whoever keeps it longer (a batch of the log) copies it. Its fields are what the peer sent, *unescaped and
//! untrusted*; making them harmless is the business of [`format`](mod@crate::format).

use std::fmt;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

/// One answered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The time when the request's head had been read.
    pub time: Timestamp,
    /// The client that asked.
    pub peer: Peer,
    /// The host name of that address, if a resolving sink has found one.
    pub name: Option<&'a str>,
    /// The name the peer has authenticated as, if it has.
    pub user: Option<&'a str>,
    /// The request method, as sent. Empty if the request line could not be understood.
    pub method: &'a str,
    /// The request target, as sent. Empty if the request line could not be understood.
    pub target: &'a str,
    /// The protocol version of the request.
    pub version: Version,
    /// The authority asked for: the `Host` field or its HTTP/2 equivalent, with its port if it had one.
    pub host: Option<&'a str>,
    /// The status code of the answer.
    pub status: u16,
    /// Body bytes sent, without the head and without chunk framing.
    pub bytes: u64,
    /// From the head read to the last byte handed to the kernel, in microseconds.
    pub duration_us: u64,
    /// The `Referer` field, as sent.
    pub referer: Option<&'a [u8]>,
    /// The `User-Agent` field, as sent.
    pub user_agent: Option<&'a [u8]>,
    /// The name of the server that answered, as the script calls it.
    pub server: &'a str,
    /// The request id, if the request was given one.
    pub id: Option<&'a str>,
}

/// An instant of wall-clock time, in microseconds since 1970-01-01 00:00 UTC.
///
/// Always within the years 1970 to 9999, so that every format can write it: what is outside is moved to the nearer end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31 23:59:59.999999 UTC.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < 0 {
            Self(0)
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Microseconds since the last whole second: 0 to 999,999.
    pub const fn subsec_micros(self) -> u32 {
        (self.0 % 1_000_000) as u32
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The other end of a connection, as far as the log is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer.
    Ip(IpAddr),
    /// A peer on a unix socket; it has no address worth logging.
    Unix,
}

impl fmt::Display for Peer {
    /// For a person: `192.0.2.7`, `unix`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl From<IpAddr> for Peer {
    /// An IPv4 address that came in through an IPv6 socket (`::ffff:192.0.2.1`) is logged as the IPv4 address it is.
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// The bare number: `1.0`, `1.1`, `2`.
    pub const fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }

    /// As Apache writes it in a request line: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// Records that could not be logged, and over which stretch of time: what a sink writes in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The number of records.
    pub records: u64,
    /// The time of the earliest of them.
    pub from: Timestamp,
    /// The time of the latest of them.
    pub to: Timestamp,
}

impl Loss {
    /// The loss that covers both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_stay_within_four_digit_years() {
        assert_eq!(Timestamp::from_micros(-1).micros(), 0);
        assert_eq!(Timestamp::from_micros(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(5)), Timestamp::default());
        let time = Timestamp::from(UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        assert_eq!((time.seconds(), time.subsec_micros()), (1_700_000_000, 123_456));
    }

    #[test]
    fn a_mapped_address_is_logged_as_ipv4() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(Peer::from(mapped), Peer::Ip("192.0.2.1".parse().expect("an address")));
    }

    #[test]
    fn losses_merge_to_the_wider_stretch() {
        let at = Timestamp::from_micros;
        let one = Loss { records: 2, from: at(10), to: at(20) };
        let two = Loss { records: 3, from: at(5), to: at(15) };
        assert_eq!(one.merge(two), Loss { records: 5, from: at(5), to: at(20) });
    }
}
