//! Reasons why a lookup has no answer.

use std::fmt;
use std::sync::Arc;

use crate::RecordType;

/// The reason why a lookup has no answer. Cheap to clone: everyone who waited for it gets one, and the cache keeps one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name (RFC 2308 §2.1).
    #[error("{name}: no such name")]
    NxDomain {
        /// The name.
        name: Arc<str>,
    },
    /// The name exists, but has no record of this type (RFC 2308 §2.2).
    #[error("{name} has no record of type {kind}")]
    NoData {
        /// The name.
        name: Arc<str>,
        /// The type.
        kind: RecordType,
    },
    /// Every server that answered said it could not, or would not.
    #[error("{name}: the name server answered {code}")]
    Failed {
        /// The name.
        name: Arc<str>,
        /// What it answered.
        code: Rcode,
    },
    /// No server answered in time.
    #[error("{name}: no name server answered in time")]
    Timeout {
        /// The name.
        name: Arc<str>,
    },
    /// No server could be reached.
    #[error("{name}: no name server could be asked: {cause}")]
    Unreachable {
        /// The name.
        name: Arc<str>,
        /// What stood in the way at the last of them.
        cause: Arc<str>,
    },
    /// The answer was not one to the question.
    #[error("{name}: the name server's answer cannot be used: {cause}")]
    Malformed {
        /// The name.
        name: Arc<str>,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The text that was asked for cannot be a name (RFC 1035 §2.3.4).
    #[error("{name:?} cannot be looked up: {problem}")]
    BadName {
        /// What was asked for, cut if it is long.
        name: Arc<str>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Too much is being asked already. Nothing was sent; try again later.
    #[error("too many names are being looked up at once: try again later")]
    Busy,
    /// The resolver has not been prepared.
    #[error("the resolver is not running yet: it is prepared when the site that uses it is")]
    NotPrepared,
    /// The resolver has ended while the question was open.
    #[error("the resolver ended before there was an answer")]
    Closed,
}

impl LookupError {
    /// Whether it is an answer, too: there is no such name, or no such record.
    pub const fn is_negative(&self) -> bool {
        matches!(self, Self::NxDomain { .. } | Self::NoData { .. })
    }

    /// About how many bytes it takes beside itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Unreachable { name, cause } => name.len() + cause.len(),
            Self::NxDomain { name }
            | Self::NoData { name, .. }
            | Self::Failed { name, .. }
            | Self::Timeout { name }
            | Self::Malformed { name, .. }
            | Self::BadName { name, .. } => name.len(),
            Self::Busy | Self::NotPrepared | Self::Closed => 0,
        }
    }

    /// One word for it, as in logs and counters: `nxdomain`, `nodata`, `failed`, `timeout`, `unreachable`, `malformed`,
    /// `bad name`, `busy`, `not prepared`, `closed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NxDomain { .. } => "nxdomain",
            Self::NoData { .. } => "nodata",
            Self::Failed { .. } => "failed",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Malformed { .. } => "malformed",
            Self::BadName { .. } => "bad name",
            Self::Busy => "busy",
            Self::NotPrepared => "not prepared",
            Self::Closed => "closed",
        }
    }
}

/// The code that a server sends instead of an answer (RFC 1035 §4.1.1, RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// The server does not understand the question.
    pub const FORMERR: Self = Self(1);
    /// The server has a problem of its own.
    pub const SERVFAIL: Self = Self(2);
    /// The server cannot answer this kind of question.
    pub const NOTIMP: Self = Self(4);
    /// The server does not want to answer.
    pub const REFUSED: Self = Self(5);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FORMERR => f.write_str("FORMERR"),
            Self::SERVFAIL => f.write_str("SERVFAIL"),
            Self::NOTIMP => f.write_str("NOTIMP"),
            Self::REFUSED => f.write_str("REFUSED"),
            Self(code) => write!(f, "the error code {code}"),
        }
    }
}
