//! The end of a stretch of HTTP on a connection: what is counted and answered for it.

use http::StatusCode;

use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::upgrade::Upgrade;

/// The end of a stretch of HTTP on a connection.
#[derive(Debug)]
pub(super) enum HttpEnd {
    /// As agreed: the peer left, or a response said that it is the last.
    Done,
    /// The same, with a protocol in which nothing is sent at the end that the peer could miss.
    Parted,
    /// Nothing has happened for a while: go on without buffers.
    Rest,
    /// The 101 is out, and another protocol goes on.
    Upgraded(Box<(Upgrade, Exchange)>),
    /// The peer sent something that is not HTTP/1.
    Malformed {
        /// What it is answered with.
        status: StatusCode,
        /// Whether it has been.
        is_answered: bool,
    },
    /// The peer sent frames that are not HTTP/2, or too many for nothing. It was told by a GOAWAY.
    BadFrames(Fault),
    /// A head did not arrive in time: 408.
    HeadTimeout,
    /// A response broke off. What there is of it is still the peer's.
    BrokeOff,
    /// There is nobody to talk to any more, or nobody to be talked to.
    Gone,
}

impl HttpEnd {
    /// The fault that is counted.
    pub(super) fn fault(&self) -> Option<Fault> {
        if let Self::BadFrames(fault) = self {
            return Some(*fault);
        }
        match self.status()? {
            StatusCode::REQUEST_TIMEOUT => Some(Fault::HeadTimeout),
            StatusCode::URI_TOO_LONG => Some(Fault::UriTooLong),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Some(Fault::HeadTooLarge),
            _ => Some(Fault::Malformed),
        }
    }

    /// Whether it came with an answer that a peer may miss which is still sending what it answers.
    pub(super) fn may_be_amid_a_body(&self) -> bool {
        matches!(self, Self::Done | Self::Malformed { .. })
    }

    /// The status of a request that never came to be one.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Malformed { status, .. } => Some(*status),
            Self::HeadTimeout => Some(StatusCode::REQUEST_TIMEOUT),
            Self::BadFrames(_)
            | Self::Done
            | Self::Parted
            | Self::Rest
            | Self::Upgraded(_)
            | Self::BrokeOff
            | Self::Gone => None,
        }
    }

    /// The same, if it is still to be answered.
    pub(super) fn unanswered(&self) -> Option<StatusCode> {
        match self {
            Self::Malformed { is_answered: true, .. } => None,
            end => end.status(),
        }
    }
}
