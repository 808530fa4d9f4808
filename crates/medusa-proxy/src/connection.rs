//! One connection to an upstream: hyper's client, which the task that has the request drives by itself.
//!
//! hyper would have each connection be a task of its own. Driven by the request's, a request costs no switch of tasks, its
//! connection ends with it, and one that is idle is nothing but a socket. So whoever waits for something of a connection
//! polls it first ([`drive`](UpstreamConnection::drive)).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::sent::SentRequest;
use crate::stream::{SharedStream, UpstreamIo};
use crate::upstream::Upstream;

/// The most that is read ahead of the client, and the longest head of an answer, in bytes. With hyper's own 400 KiB, a thousand
/// slow readers would hold as many.
const BUFFER: usize = 64 * 1024;

type Sending = TrySendError<http::Request<SentRequest>>;

/// A connection to an upstream.
pub(crate) struct UpstreamConnection {
    sender: SendRequest<SentRequest>,
    driver: Connection<TokioIo<SharedStream>, SentRequest>,
    /// The driver has ended, and must not be polled again.
    is_over: bool,
    /// What it ended with.
    fault: Option<hyper::Error>,
    pub(crate) stream: SharedStream,
    pub(crate) upstream: Arc<Upstream>,
    /// It has had a request before.
    pub(crate) is_reused: bool,
    /// The bytes that had come when the last request was sent.
    received_before: u64,
    /// The time for which the upstream keeps it open, as it says itself.
    pub(crate) kept_for: Duration,
}

impl UpstreamConnection {
    pub(crate) async fn new(
        io: UpstreamIo,
        upstream: &Arc<Upstream>,
        kept_for: Duration,
    ) -> hyper::Result<Box<Self>> {
        let stream = SharedStream::new(io);
        let handshake = Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream.clone()));
        let (sender, driver) = handshake.await?;
        let upstream = Arc::clone(upstream);
        let (is_over, fault, is_reused, received_before) = Default::default();
        Ok(Box::new(Self {
            sender,
            driver,
            is_over,
            fault,
            stream,
            upstream,
            is_reused,
            received_before,
            kept_for,
        }))
    }

    /// Does what there is to do on the connection.
    fn drive(&mut self, cx: &mut Context<'_>) {
        // Not beyond the end of HTTP: another protocol may follow.
        if !self.is_over
            && let Poll::Ready(ended) = self.driver.poll_without_shutdown(cx)
        {
            self.is_over = true;
            self.fault = ended.err();
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: http::Request<SentRequest>,
    ) -> Result<http::Response<Incoming>, Sending> {
        self.received_before = self.stream.bytes_read();
        let mut answer = pin!(self.sender.try_send_request(request));
        let (driver, is_over, fault) = (&mut self.driver, &mut self.is_over, &mut self.fault);
        poll_fn(|cx| {
            if !*is_over && let Poll::Ready(ended) = driver.poll_without_shutdown(cx) {
                *is_over = true;
                *fault = ended.err();
            }
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Whether a byte has come since the last request was sent.
    pub(crate) fn has_answered(&self) -> bool {
        self.stream.bytes_read() != self.received_before
    }

    /// The next piece of an answer's body.
    pub(crate) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => {
                self.drive(cx);
                Pin::new(body).poll_frame(cx)
            }
            ready @ Poll::Ready(_) => ready,
        }
    }

    /// Whether it can have another request, after a whole answer. Nobody drives it until then.
    ///
    /// # Errors
    ///
    /// More came than the answer.
    pub(crate) fn settle(&mut self) -> Result<bool, hyper::Error> {
        // Whoever polled it last would be woken when the upstream closes it.
        self.drive(&mut Context::from_waker(Waker::noop()));
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(!self.is_over && self.sender.is_ready()),
        }
    }

    /// The connection itself, behind the head of an answer, and what has come of it already.
    pub(crate) fn into_stream(self) -> (SharedStream, Bytes) {
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }
}

impl std::fmt::Debug for UpstreamConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamConnection").field("upstream", &self.upstream.name).finish_non_exhaustive()
    }
}
