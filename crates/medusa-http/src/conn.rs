//! One connection: drives hyper over it, acts on deadlines and drains, and closes so that the peer gets every byte.
//!
//! hyper reads and writes through a *cork* ([`medusa_net::cork`]): what it writes during one poll of this task goes out
//! in one write at the end of the poll.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medusa_net::cork::{CorkHandle, cork};
use medusa_net::{Accept, Conn, Phase, Signal, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::exchange::{Connection, exchange};
use crate::server::Directory;

/// The longest head of a request, in bytes. Longer is answered 431 (or 414, if the target is to blame).
const MAX_HEAD: usize = 64 * 1024;

/// How much of what a peer still sends is thrown away before its connection is closed on it.
const MAX_LINGER: usize = 256 * 1024;

/// Speaks HTTP on accepted connections.
pub struct HttpAccept {
    directory: Arc<dyn Directory>,
}

impl HttpAccept {
    /// Answers with whatever server `directory` names at each request.
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self { directory }
    }
}

impl fmt::Debug for HttpAccept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAccept").field("directory", &self.directory).finish()
    }
}

impl Accept for HttpAccept {
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(serve(stream, conn, Arc::clone(&self.directory)))
    }
}

/// How hyper's part of a connection ended.
#[derive(Debug)]
enum End {
    /// As agreed: the peer left, or a response said `Connection: close`.
    Done,
    /// The peer sent something that is not HTTP/1. hyper has answered it with this status.
    Malformed(StatusCode),
    /// The peer speaks HTTP/2 with prior knowledge, which hyper's HTTP/1 leaves unanswered: 505.
    NotHttp1,
    /// A head did not arrive in time: 408.
    HeadTimeout,
    /// A response broke off. What there is of it is still the peer's.
    BrokeOff,
    /// There is nobody to talk to any more.
    Gone,
}

async fn serve(stream: Stream, conn: Rc<Conn>, directory: Arc<dyn Directory>) {
    let (io, handle) = cork(stream, Rc::clone(&conn));
    let context = Rc::new(Connection::new(Rc::clone(&conn), directory));
    context.apply_limits();
    let service = service_fn(|request| exchange(request, Rc::clone(&context)));
    let mut builder = http1::Builder::new();
    // A client that shuts down its sending side after its request still gets its answer. Deadlines are the
    // registry's, which needs no timer per request.
    builder.half_close(true).header_read_timeout(None).max_buf_size(MAX_HEAD).ignore_invalid_headers(false);
    let mut http = pin!(builder.serve_connection(TokioIo::new(io), service));

    let end = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = http.as_mut().poll(cx) {
                return Poll::Ready(match result {
                    Ok(()) => End::Done,
                    Err(error) => End::of(&error),
                });
            }
            match conn.poll_signal(cx) {
                Signal::None => break,
                Signal::Drain => http.as_mut().graceful_shutdown(),
                Signal::Expired(Phase::Head) => return Poll::Ready(End::HeadTimeout),
                Signal::Expired(_) | Signal::Stalled => return Poll::Ready(End::Gone),
            }
        }
        match handle.poll_write_out(cx) {
            Poll::Ready(Err(_gone)) => Poll::Ready(End::Gone),
            _ => Poll::Pending,
        }
    })
    .await;
    close(&handle, &conn, &context, end).await;
}

impl End {
    /// hyper tells its errors apart by their text alone, beyond the coarse kinds.
    fn of(error: &hyper::Error) -> Self {
        if !error.is_parse() {
            return if error.is_user() { Self::BrokeOff } else { Self::Gone };
        }
        let text = error.to_string();
        if text.contains("HTTP2 preface") {
            Self::NotHttp1
        } else if text.contains("URI too long") {
            Self::Malformed(StatusCode::URI_TOO_LONG)
        } else if error.is_parse_too_large() {
            Self::Malformed(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        } else {
            Self::Malformed(StatusCode::BAD_REQUEST)
        }
    }

    /// The status of a request that never came to be one, for its record.
    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Malformed(status) => Some(*status),
            Self::NotHttp1 => Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
            Self::HeadTimeout => Some(StatusCode::REQUEST_TIMEOUT),
            Self::Done | Self::BrokeOff | Self::Gone => None,
        }
    }

    /// What is left for us to answer.
    fn reply(&self) -> Option<&'static [u8]> {
        match self {
            Self::NotHttp1 => Some(VERSION_NOT_SUPPORTED),
            Self::HeadTimeout => Some(REQUEST_TIMEOUT),
            Self::Done | Self::Malformed(_) | Self::BrokeOff | Self::Gone => None,
        }
    }
}

/// Sends what is left to send, then waits for the peer to hear it: closing a socket with unread bytes would reset the
/// connection and could take the last response with it
/// ([RFC 9112 §9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)).
async fn close(handle: &CorkHandle<Stream>, conn: &Conn, context: &Connection, end: End) {
    if let Some(status) = end.status() {
        context.record_unread(status);
    }
    if matches!(end, End::Gone) || end.reply().is_some_and(|reply| !handle.push_raw(reply)) {
        return;
    }
    conn.enter(Phase::Closing);
    let mut closing = Closing { shut: false, thrown_away: 0, wait: !conn.is_draining() };
    poll_fn(|cx| {
        if !matches!(conn.poll_signal(cx), Signal::None | Signal::Drain) {
            return Poll::Ready(());
        }
        if matches!(end, End::BrokeOff) {
            // Not shut down in order: the peer must see that something is missing.
            return handle.poll_write_out(cx).map(drop);
        }
        closing.poll(handle, cx)
    })
    .await;
}

/// How far a connection's end has come.
struct Closing {
    /// Our side has said that it is done.
    shut: bool,
    thrown_away: usize,
    /// Whether to wait for the peer's end. Not when the server is on its way out: clients that keep a connection in
    /// reserve would hold it up.
    wait: bool,
}

impl Closing {
    fn poll(&mut self, handle: &CorkHandle<Stream>, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = handle.io();
        if !self.shut {
            // Writes out first.
            if ready!(Pin::new(&mut io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        let mut bin = [0; 4096];
        while self.thrown_away < MAX_LINGER {
            let mut bin = ReadBuf::new(&mut bin);
            match Pin::new(&mut io).poll_read(cx, &mut bin) {
                Poll::Ready(Ok(())) if !bin.filled().is_empty() => self.thrown_away += bin.filled().len(),
                Poll::Pending if self.wait => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

/// What hyper does not send itself.
const VERSION_NOT_SUPPORTED: &[u8] =
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nserver: medusa\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nserver: medusa\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
