//! Results of a lookup: records, for how long they hold, and their source.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Data;

/// The records of one name and type. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records, at least one, in the order in which the server gave them.
    pub records: Arc<[Data]>,
    /// For how long they still hold.
    pub ttl: Duration,
    /// Its source.
    pub source: Source,
}

impl Answer {
    /// The addresses among the records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.records.iter().filter_map(Data::address)
    }

    /// The first name among the records: what a `PTR` or `CNAME` record points to.
    pub fn name(&self) -> Option<&str> {
        self.records.iter().find_map(Data::name)
    }
}

/// The addresses of a host, in the order in which to try them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The name they belong to: the one asked for, or that with a domain of the search list behind it.
    pub name: Arc<str>,
    /// At least one. The families take turns, so that a caller that tries one after the other soon tries both.
    pub addresses: Vec<IpAddr>,
    /// For how long they still hold.
    pub ttl: Duration,
    /// Its source; of two answers (`A` and `AAAA`) the one less fresh.
    pub source: Source,
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The name asked for was an address.
    Literal,
    /// Someone has pinned it.
    Pinned,
    /// The hosts file, or a name that has a fixed meaning (`localhost`).
    Hosts,
    /// A server, just now.
    Server,
    /// A server, some time ago; it still holds.
    Cache,
    /// A server, some time ago; it holds no longer, but the server does not answer (RFC 8767).
    Stale,
}

impl Source {
    /// Its name: `literal`, `pinned`, `hosts`, `server`, `cache`, `stale`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Pinned => "pinned",
            Self::Hosts => "hosts",
            Self::Server => "server",
            Self::Cache => "cache",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
