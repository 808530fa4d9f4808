//! The task of one connection, from its first byte to its last. What its requests have in common is in
//! [`connection`](crate::connection), what the kernel and the worker know of it in [`medusa_net::conn`].
//!
//! 1. [`open`]: the PROXY protocol's header where a balancer sends one, admission, TLS.
//! 2. [`first_bytes`]: what the client says first tells HTTP/1 from HTTP/2. Until then, and whenever a kept connection
//!    rests, there are no buffers.
//! 3. [`http1`] or [`http2`] drive hyper over a *cork* ([`medusa_net::cork`]): what is written during one poll of this task
//!    goes out in one write at its end. Of HTTP/1, hyper reads what is [`strict`]ly right. A [`session`] takes over where a
//!    handler wants another protocol.
//! 4. [`close`]: so that the client gets every byte.
//!
//! [`end`] says how each of these can end.
//!
//! Invariant: whatever a client sends or does not send, its task ends: each stage ends by itself, by a deadline, or by the
//! server's shutdown.

mod close;
mod end;
mod http1;
mod http2;
mod open;
mod session;
mod strict;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use medusa_net::{Accept, Conn, Phase, Signal, Stream};
use tokio::io::{AsyncRead, ReadBuf};

use crate::admission::ConnectionPermit;
use crate::connection::Connection;
use crate::server::Directory;
use end::HttpEnd;

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
        Box::pin(serve(Box::pin(begin(stream, conn, Arc::clone(&self.directory)))))
    }
}

/// Opens a connection; `None` if it has ended already.
async fn begin(
    stream: Stream,
    conn: Rc<Conn>,
    directory: Arc<dyn Directory>,
) -> Option<(Rc<Connection>, Option<ConnectionPermit>)> {
    let opened = open::open(stream, &conn, &directory).await?;
    let account = opened.permit.as_ref().map(|permit| permit.account().clone()).unwrap_or_default();
    Some((Rc::new(Connection::new(conn, directory, opened.stream, account)), opened.permit))
}

/// Serves a connection. Futures that last for a while only are boxed: a connection that rests holds none of them.
async fn serve(
    beginning: Pin<Box<impl Future<Output = Option<(Rc<Connection>, Option<ConnectionPermit>)>>>>,
) {
    let Some((context, permit)) = beginning.await else { return };
    let end = loop {
        let end = match first_bytes(&context).await {
            Ok(Protocol::Http1) => Box::pin(http1::drive(&context)).await,
            Ok(Protocol::Http2) => Box::pin(http2::drive(&context)).await,
            Err(end) => end,
        };
        match end {
            HttpEnd::Rest => {}
            HttpEnd::Upgraded(upgrade) => {
                Box::pin(session::run(upgrade, &context)).await;
                break HttpEnd::Parted;
            }
            end => break end,
        }
    };
    Box::pin(close::close(&context, end)).await;
    drop(permit);
}

/// A protocol that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// The beginning of a client that speaks HTTP/2 ([RFC 9113 §3.4](https://www.rfc-editor.org/rfc/rfc9113#section-3.4)).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The size that is read at once while nobody has a buffer: the head of a common request.
const FIRST_READ: usize = 2048;

/// Waits until the client speaks, and finds out what. What it said is there to be read.
async fn first_bytes(context: &Connection) -> Result<Protocol, HttpEnd> {
    let (conn, handle) = (&context.conn, &context.handle);
    let mut io = handle.io();
    let mut bytes = Vec::new();
    loop {
        let read = poll_fn(|cx| {
            let mut buf = [std::mem::MaybeUninit::uninit(); FIRST_READ];
            let mut buf = ReadBuf::uninit(&mut buf);
            if let Poll::Ready(read) = Pin::new(&mut io).poll_read(cx, &mut buf) {
                bytes.extend_from_slice(buf.filled());
                return Poll::Ready(read.map(|()| !buf.filled().is_empty()).map_err(|_gone| HttpEnd::Gone));
            }
            match conn.poll_signal(cx) {
                // Nothing is under way that could be finished first.
                Signal::Drain if conn.phase() == Phase::Idle => Poll::Ready(Err(HttpEnd::Done)),
                Signal::None | Signal::Rest | Signal::CheckPeer | Signal::Drain => Poll::Pending,
                Signal::Expired(Phase::Head) => Poll::Ready(Err(HttpEnd::HeadTimeout)),
                Signal::Expired(_) | Signal::Stalled => Poll::Ready(Err(HttpEnd::Gone)),
            }
        });
        if !read.await? {
            return Err(HttpEnd::Done);
        }
        if context.has_agreed_on_http2() {
            // What begins in any other way is an error of that protocol (RFC 9113 §3.4).
            handle.unread(Bytes::from(bytes));
            return Ok(Protocol::Http2);
        }
        let begins = PREFACE.len().min(bytes.len());
        // Within a connection of HTTP/1 it is none: a proxy that reuses its connections would not know.
        if !context.may_begin_http2() || bytes[..begins] != PREFACE[..begins] {
            handle.unread(Bytes::from(bytes));
            return Ok(Protocol::Http1);
        }
        if begins == PREFACE.len() {
            handle.unread(Bytes::from(bytes));
            return Ok(Protocol::Http2);
        }
    }
}
