//! Reasons why an upstream gave no answer, for the log: clients are told no more than 502 or 504.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::HandlerError;

/// An upstream that gave no answer: `http://127.0.0.1:9000`; its source is a [`Fault`].
#[derive(Debug, thiserror::Error)]
#[error("{upstream}")]
pub(crate) struct ProxyError {
    pub(crate) upstream: Arc<str>,
    #[source]
    pub(crate) fault: Fault,
}

impl ProxyError {
    pub(crate) fn new(upstream: &Arc<str>, fault: Fault) -> Self {
        Self { upstream: Arc::clone(upstream), fault }
    }
}

impl From<ProxyError> for HandlerError {
    fn from(error: ProxyError) -> Self {
        match error.fault {
            Fault::Descriptors => Self::unavailable(error),
            Fault::ConnectTimedOut(_) | Fault::TimedOut(_) => Self::upstream(true, error),
            _ => Self::upstream(false, error),
        }
    }
}

/// The fault of an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the host's name could not be looked up")]
    Lookup(#[source] io::Error),
    #[error("could not connect")]
    Connect(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("it does not speak HTTP/2: {0}")]
    NoHttp2(&'static str),
    #[error("it takes no requests: it allows 0 at a time (SETTINGS_MAX_CONCURRENT_STREAMS)")]
    NoStreams,
    #[error("could not connect within {} s (`connect_timeout`)", .0.as_secs_f64())]
    ConnectTimedOut(Duration),
    #[error("too many descriptors are open in this process; raise `ulimit -n`")]
    Descriptors,
    #[error("no answer within {} s (`timeout`)", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the connection ended before the answer")]
    Ended(#[source] Cause),
    #[error("the request was not taken")]
    NotTaken(#[source] Cause),
    #[error("the answer is not proper HTTP")]
    Malformed(#[source] Cause),
    #[error("the answer is framed twice, by `Transfer-Encoding` and `Content-Length`")]
    FramedTwice,
    #[error("the answer has a `Transfer-Encoding` other than \"chunked\"")]
    Coding,
    #[error("more came than the answer's length says, or an answer that nobody asked for")]
    Surplus,
    #[error("it switches protocols (101) without having been asked to, or to one that was not asked for")]
    UnaskedUpgrade,
    #[error("its `Sec-WebSocket-Accept` does not fit the key")]
    AcceptKey,
    #[error("the answer broke off in its body")]
    BrokeOff(#[source] Cause),
    #[error("silent for {} s within the answer's body (`idle_timeout`)", .0.as_secs_f64())]
    Silent(Duration),
    #[error("the status of its health check is {0}")]
    Unwell(u16),
    #[error(
        "the connection ended before the answer, and of late too many requests were sent again (a fifth of all may be)"
    )]
    RepeatBudget(#[source] Cause),
}

impl Fault {
    /// The same, for another request that waited for the same connection.
    pub(crate) fn of_opening(&self) -> Self {
        let same = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
        match self {
            Self::Lookup(error) => Self::Lookup(same(error)),
            Self::Connect(error) => Self::Connect(same(error)),
            Self::Tls(error) => Self::Tls(same(error)),
            Self::ConnectTimedOut(limit) => Self::ConnectTimedOut(*limit),
            Self::NoHttp2(reason) => Self::NoHttp2(reason),
            Self::NoStreams => Self::NoStreams,
            Self::Descriptors => Self::Descriptors,
            other => Self::Connect(io::Error::other(other.to_string())),
        }
    }
}

/// The innermost cause of an error of the client's, in whose own words there is nothing of interest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(String);

impl Cause {
    pub(crate) fn new(message: &str) -> Self {
        Self(message.to_owned())
    }

    pub(crate) fn innermost(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self(innermost.to_string())
    }
}

/// What became of a request that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was not sent, or nobody has looked at it, as the upstream says.
    Unseen,
    /// Its connection ended before anything of an answer came.
    Unanswered,
    /// Something came.
    Answered,
}

/// How a request ended that has no answer.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) progress: Progress,
    pub(crate) cause: Cause,
}

impl SendFailure {
    pub(crate) fn into_fault(self) -> Fault {
        match self.progress {
            Progress::Unseen => Fault::NotTaken(self.cause),
            Progress::Unanswered => Fault::Ended(self.cause),
            Progress::Answered => Fault::Malformed(self.cause),
        }
    }
}
