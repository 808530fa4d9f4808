//! HTTP/2 on one connection, by hyper ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)).
//!
//! Neither hyper nor the RFC bounds how long a client may go on with cheap frames; its [`FrameBudget`](crate::frame_budget::FrameBudget) does.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medusa_net::{Conn, Phase, Signal};
use pin_project_lite::pin_project;

use super::end::HttpEnd;
use crate::connection::Connection;
use crate::exchange::exchange;
use crate::fault::Fault;
use crate::window::{CONNECTION_WINDOW, STREAM_WINDOW};

/// The most of one response that may wait to be sent, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// Requests that may be reset before they were looked at, as h2 has it.
const RESET_BEFORE_SEEN: usize = 20;
/// Requests that may be refused, for errors of the client or as too many at a time, before it is sent away. A client that
/// has not heard yet how many it may have (`limits.streams`) takes it for 100, as browsers, curl and nghttp2 do: that many
/// at once are no attack.
const REFUSED: usize = 128;

/// Runs hyper's tasks, one for each request, on the worker. One whose client takes nothing of its answer is given up by
/// itself, for the client may be at another: hyper does not look at a body while there is no room for it.
#[derive(Debug, Clone)]
struct LocalExecutor(Rc<Connection>);

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        let (connection, unseen) = (Rc::clone(&self.0), Some(UnstartedRequest::new(&self.0)));
        tokio::task::spawn_local(RequestTask { task, owing: None, ticket: None, connection, unseen });
    }
}

pin_project! {
    /// The task of one request. A type of its own: an `async` block would hold the task, some kilobytes, twice and move it.
    struct RequestTask<F> {
        #[pin]
        task: F,
        // See `Conn::poll_guarded`.
        owing: Option<usize>,
        // See `Conn::poll_in_turn`.
        ticket: Option<u64>,
        connection: Rc<Connection>,
        // Until it is polled for the first time.
        unseen: Option<UnstartedRequest>,
    }
}

impl<F: Future<Output = ()>> Future for RequestTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let (conn, owing, unseen) = (&this.connection.conn, this.owing, this.unseen);
        let polled = conn.poll_in_turn(this.ticket, cx, |cx| {
            *unseen = None;
            conn.poll_guarded(owing, cx, |cx| this.task.poll(cx))
        });
        if polled == Poll::Ready(None) {
            this.connection.count(Fault::WriteStall);
        }
        polled.map(drop)
    }
}

/// A request whose task has not begun, or never will.
struct UnstartedRequest(Rc<Connection>);

impl UnstartedRequest {
    fn new(connection: &Rc<Connection>) -> Self {
        connection.conn.request_read();
        Self(Rc::clone(connection))
    }
}

impl Drop for UnstartedRequest {
    fn drop(&mut self) {
        self.0.conn.request_seen();
    }
}

/// A driver that gives its tasks their turns.
struct TurnsGuard<'a>(&'a Conn);

impl Drop for TurnsGuard<'_> {
    fn drop(&mut self) {
        self.0.end_turns();
    }
}

/// Answers requests until the connection ends.
pub(super) async fn drive(context: &Rc<Connection>) -> HttpEnd {
    let (conn, handle) = (&context.conn, &context.handle);
    context.multiplex();
    let _turns = TurnsGuard(conn);
    let owned = Rc::clone(context);
    let service = service_fn(move |request| exchange(request, Rc::clone(&owned), None));
    let mut http = builder(context).serve_connection(TokioIo::new(handle.io()), service);
    if conn.is_draining() {
        Pin::new(&mut http).graceful_shutdown();
    }
    poll_fn(|cx| {
        conn.begin_turn(cx);
        loop {
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(result.map_or_else(|error| end_of(&error), |()| HttpEnd::Parted));
            }
            if context.frame_budget().is_exceeded(conn, context.unread().read()) {
                let (received, requests, sent) = (conn.received(), conn.requests(), conn.sent());
                tracing::debug!(peer = %conn.peer(), received, requests, sent, frame_budget = ?context.frame_budget(), "a flood of frames");
                context.count(Fault::Flood);
                return Poll::Ready(HttpEnd::Gone);
            }
            match conn.poll_signal(cx) {
                Signal::None | Signal::Rest | Signal::CheckPeer => break,
                Signal::Drain => {
                    Pin::new(&mut http).graceful_shutdown();
                    context.finish();
                    if conn.phase() == Phase::Idle {
                        conn.enter(Phase::Closing);
                    }
                }
                Signal::Expired(Phase::Idle | Phase::Head) => {
                    // The client is told, and has a moment to hear it.
                    Pin::new(&mut http).graceful_shutdown();
                    conn.enter(Phase::Closing);
                }
                Signal::Expired(_) => return Poll::Ready(HttpEnd::Gone),
                Signal::Stalled => {
                    context.count(Fault::WriteStall);
                    return Poll::Ready(HttpEnd::Gone);
                }
            }
        }
        match context.end_turn(cx) {
            Some(()) => Poll::Pending,
            None => Poll::Ready(HttpEnd::Gone),
        }
    })
    .await
}

/// hyper tells its errors apart by their text alone; that of h2 is beneath.
fn end_of(error: &hyper::Error) -> HttpEnd {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if !cause.starts_with("connection error detected") {
        // It was the peer who ended it, or the network.
        HttpEnd::Gone
    } else if cause.contains(EXCESSIVE) {
        HttpEnd::BadFrames(Fault::Flood)
    } else {
        HttpEnd::BadFrames(Fault::Malformed)
    }
}

/// The words of h2 for `ENHANCE_YOUR_CALM` ([RFC 9113 §7](https://www.rfc-editor.org/rfc/rfc9113#section-7)).
const EXCESSIVE: &str = "excessive load";

fn builder(context: &Rc<Connection>) -> http2::Builder<LocalExecutor> {
    let limits = context.limits();
    let mut builder = http2::Builder::new(LocalExecutor(Rc::clone(context)));
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_BEFORE_SEEN)
        .max_local_error_reset_streams(REFUSED);
    builder
}
