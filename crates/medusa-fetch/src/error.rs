//! Reasons why a fetch came to nothing, for the author of the script.
//!
//! Nothing of the client's own messages is passed on but the innermost cause, which knows of sockets and certificates
//! and not of URLs, in whose query many an API wants its key; the URL is named by [`redacted`].

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use hyper_util::client::legacy;
use url::Url;

use crate::bounds::{MAX_HEAD, MAX_INTERIM, MAX_URL};
use crate::connect::ConnectTimeout;
use crate::resolve::NotFound;
use crate::{MEMORY, RUNNING, WAITING};

/// The length of a URL that a message shows, in bytes.
const MAX_PLACE: usize = 200;

/// A fetch that failed: `fetch https://host/path`; its source is a [`Fault`].
#[derive(Debug, thiserror::Error)]
#[error("fetch {place}")]
pub struct FetchError {
    place: String,
    #[source]
    fault: Fault,
}

impl FetchError {
    pub(crate) fn new(place: String, fault: Fault) -> Self {
        Self { place, fault }
    }

    /// The fault.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

/// The fault of a fetch.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// As many as may run and wait do so already.
    #[error("{RUNNING} fetches are running and {WAITING} are waiting for them; try again later")]
    Busy,
    /// The process has as few descriptors left as the server needs for itself.
    #[error("too many descriptors are open in this process; try again later, or raise `ulimit -n`")]
    Descriptors,
    /// The bodies of all fetches together hold as much as they may.
    #[error(
        "the bodies of all fetches together would hold more than {MEMORY} bytes; use `stream = true`, or fewer at a time"
    )]
    Memory,
    /// It took longer than `timeout`.
    #[error("it took longer than {} s {stage}", .after.as_secs_f64())]
    TimedOut {
        /// The time it had.
        after: Duration,
        /// What it was doing.
        stage: FetchStage,
    },
    /// There was no connection within `connect_timeout`.
    #[error("could not connect within {} s", .0.as_secs_f64())]
    ConnectTimedOut(Duration),
    /// The name could not be looked up.
    #[error("could not look up the host's name")]
    Lookup(#[source] Cause),
    /// There was no connection: refused, unreachable, or TLS was not agreed upon.
    #[error("could not connect")]
    Connect(#[source] Cause),
    /// The connection ended, or what came over it was not HTTP.
    #[error("there was no proper answer")]
    Answer(#[source] Cause),
    /// Too many informational answers (1xx) came before the answer.
    #[error(
        "more than {MAX_INTERIM} informational answers (1xx), or {MAX_HEAD} bytes of them, came before the answer"
    )]
    Interim,
    /// The fields of the answer are too long.
    #[error("the header of the answer is longer than {0} bytes")]
    HeadTooLarge(usize),
    /// The body is longer than `max_bytes`.
    #[error("the body of the answer is longer than {0} bytes; `max_bytes` says how long it may be")]
    BodyTooLarge(u64),
    /// The body ended early, or could not be decompressed.
    #[error("the body of the answer could not be read")]
    Body(#[source] Cause),
    /// There were more redirects than `redirects`.
    #[error("it was redirected more than {0} times")]
    Redirects(usize),
    /// A redirect is no URL that can be fetched.
    #[error("it redirects to what is no http:// or https:// URL of at most {MAX_URL} bytes")]
    RedirectUrl,
    /// A redirect leads from https to http.
    #[error("it redirects from https to {0}, which is not followed: everything would be readable on the way")]
    RedirectDowngrade(String),
    /// The certificates of `ca` cannot be used.
    #[error("the certificates of `ca` cannot be used")]
    Authority(#[source] Cause),
    /// The client could not be made: there are no system certificates, most likely.
    #[error("TLS could not be set up")]
    Setup(#[source] Cause),
    /// The client's thread has ended.
    #[error("the fetch was abandoned")]
    Gone,
}

/// The stage of a fetch when its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStage {
    /// Waiting for other fetches to end.
    Queue,
    /// Connecting, sending, waiting for the answer's header, redirects included.
    Answer,
    /// Reading the body, or waiting for the script to take it.
    Body,
}

impl std::fmt::Display for FetchStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for its turn, as too many fetches are running",
            Self::Answer => "to get an answer",
            Self::Body => "to read the body of the answer",
        })
    }
}

/// The innermost cause of a failure, as a message without a URL in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    /// The last of `error` and its sources.
    pub(crate) fn innermost(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let message = innermost.to_string();
        // What `openssl req -x509` makes. The verifier's own words are those of its source.
        if message.contains("CaUsedAsEndEntity") {
            return Self::new(
                "the server's certificate is that of an authority (CA:TRUE), which no server may use",
            );
        }
        Self(message)
    }

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Fault {
    /// Reads an error of the client that came instead of an answer.
    pub(crate) fn of(error: &legacy::Error, connect_timeout: Duration) -> Self {
        let cause = Cause::innermost(error);
        let is_late = |error: &(dyn Error + 'static)| {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            error.is::<ConnectTimeout>() || kind == Some(ErrorKind::TimedOut)
        };
        if sources(error).any(<dyn Error>::is::<NotFound>) {
            Self::Lookup(cause)
        } else if error.is_connect() && sources(error).any(is_late) {
            Self::ConnectTimedOut(connect_timeout)
        } else if error.is_connect() {
            Self::Connect(cause)
        } else {
            Self::Answer(cause)
        }
    }

    /// Reads an error that came instead of the next piece of the body.
    pub(crate) fn of_body(error: &(dyn Error + 'static)) -> Self {
        Self::Body(Cause::innermost(error))
    }
}

/// The causes of an error, the last first.
fn sources<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// Whether the connection went, without a whole answer having come.
pub(crate) fn is_lost(error: &legacy::Error) -> bool {
    const KINDS: [ErrorKind; 4] = [
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionAborted,
        ErrorKind::BrokenPipe,
        ErrorKind::NotConnected,
    ];
    sources(error).any(|source| {
        let by_hyper = source.downcast_ref::<hyper::Error>();
        by_hyper
            .is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled())
            || source.downcast_ref::<io::Error>().is_some_and(|error| KINDS.contains(&error.kind()))
    })
}

/// What a stream of HTTP/2 has ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2Fault {
    /// The server says that it has done nothing about the request, whatever it is: its stream was refused, or the connection
    /// had ended before it ([RFC 9113 §8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)).
    Unprocessed,
    /// The connection broke.
    Io,
    /// Something else, such as an answer that is against the protocol.
    Other,
}

impl Http2Fault {
    /// The one that an error came of, if it came of one.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let fault = sources(error).find_map(|source| source.downcast_ref::<h2::Error>())?;
        let is_refused = fault.is_reset() && fault.reason() == Some(h2::Reason::REFUSED_STREAM);
        // It ends the streams behind the last one that was looked at, and no others, whatever its reason.
        Some(match fault {
            _ if fault.is_remote() && (is_refused || fault.is_go_away()) => Self::Unprocessed,
            _ if fault.is_io() => Self::Io,
            _ => Self::Other,
        })
    }
}

/// Shortens a URL for a message: scheme, host, port and path, cut where it gets long. Not who logs in, not the query.
pub(crate) fn redacted(url: &Url) -> String {
    let mut place = format!("{}{}", url.origin().ascii_serialization(), url.path());
    if place.len() > MAX_PLACE {
        place.truncate(place.floor_char_boundary(MAX_PLACE));
        place.push('…');
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_shows_no_secrets() {
        let url = Url::parse("https://user:secret@example.com:8443/a/b?key=secret#secret").unwrap();
        assert_eq!(redacted(&url), "https://example.com:8443/a/b");
        let long = format!("http://example.com/{}", "x".repeat(1000));
        assert_eq!(redacted(&Url::parse(&long).unwrap()).chars().count(), MAX_PLACE + 1);
    }
}
