//! What carries a request to an upstream and its answer back: a connection of HTTP/1.1, or a stream of one of HTTP/2.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;

use crate::connection::UpstreamConnection;
use crate::error::{Cause, Fault, Progress, SendFailure};
use crate::http2::UpstreamStream;
use crate::pool;
use crate::sent::SentRequest;
use crate::upstream::Upstream;

/// See above.
pub(crate) enum Carrier {
    Connection(Box<UpstreamConnection>),
    Stream(UpstreamStream),
}

impl Carrier {
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        match self {
            Self::Connection(connection) => &connection.upstream,
            Self::Stream(stream) => &stream.upstream,
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether its connection has had a request before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Connection(connection) => connection.is_reused,
            Self::Stream(stream) => stream.is_reused,
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<SentRequest>,
    ) -> Result<http::Response<Incoming>, SendFailure> {
        match self {
            Self::Connection(connection) => connection.send(request).await.map_err(|mut failure| {
                let progress = if failure.take_message().is_some() {
                    Progress::Unseen
                } else if connection.has_answered() {
                    Progress::Answered
                } else {
                    Progress::Unanswered
                };
                SendFailure { progress, cause: Cause::innermost(failure.error()) }
            }),
            Self::Stream(stream) => stream.send(request).await,
        }
    }

    /// Has a connection kept for so long.
    pub(crate) fn keep_for(&mut self, time: Duration) {
        if let Self::Connection(connection) = self {
            connection.kept_for = time;
        }
    }

    /// Nothing came in time.
    pub(crate) fn waited_in_vain(&self) {
        if let Self::Stream(stream) = self {
            stream.waited_in_vain();
        }
    }

    /// The next piece of an answer's body.
    pub(crate) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let broke_off = |error: hyper::Error| Fault::BrokeOff(Cause::innermost(&error));
        match self {
            Self::Connection(connection) => {
                connection.poll_frame(body, cx).map(|frame| frame.map(|frame| frame.map_err(broke_off)))
            }
            Self::Stream(_) => match Pin::new(&mut *body).poll_frame(cx) {
                // hyper takes a stream that is reset without an error for one that has ended.
                Poll::Ready(None) if !body.is_end_stream() => {
                    let cause = Cause::new("its stream was reset (NO_ERROR)");
                    Poll::Ready(Some(Err(Fault::BrokeOff(cause))))
                }
                polled => polled.map(|frame| frame.map(|frame| frame.map_err(broke_off))),
            },
        }
    }

    /// Keeps a connection behind a whole answer, if it may have another request: `most` of one upstream.
    pub(crate) fn settle(self, most: usize) -> Result<(), Fault> {
        let Self::Connection(mut connection) = self else { return Ok(()) };
        match connection.settle() {
            Ok(true) => pool::put(connection, most),
            Ok(false) => {}
            // The system's errors have a source; it was closed, then.
            Err(error) if error.source().is_some() => {}
            Err(_surplus) => return Err(Fault::Surplus),
        }
        Ok(())
    }
}
