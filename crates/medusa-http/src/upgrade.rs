//! From HTTP to another protocol on the same connection ([RFC 9110 §7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8)),
//! or on a stream of HTTP/2 ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)).
//!
//! A handler that answers 101 gives its response an [`Upgrade`]: what is to happen with the byte stream once the 101 is
//! out. It runs as part of the connection's task, so that it ends with it, and everything it writes during one poll goes
//! out in one write, as HTTP's does. On a stream it is a task of its own, and ends with its stream.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use medusa_net::Stream;
use medusa_net::cork::CorkIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::budget::Account;
use crate::limits::Limits;

/// The protocol that takes a connection over. Not `Send`: it lives and dies on its worker.
pub type Session = Pin<Box<dyn Future<Output = ()>>>;

/// The other protocol, ready to begin.
pub struct Upgrade(Box<dyn FnOnce(Upgraded) -> Session>);

impl Upgrade {
    /// `begin` is given the byte stream when the 101 is out.
    pub fn new(begin: impl FnOnce(Upgraded) -> Session + 'static) -> Self {
        Self(Box::new(begin))
    }

    /// Begins it.
    pub(crate) fn begin(self, upgraded: Upgraded) -> Session {
        (self.0)(upgraded)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

/// A connection, or a stream of one, that no longer speaks HTTP.
#[derive(Debug)]
pub struct Upgraded {
    /// The byte stream. What is written to it goes out when the session waits; flushing does nothing.
    pub io: Io,
    /// The account of the memory it takes, and the limits of that.
    pub(crate) account: Account,
    pub(crate) limits: Limits,
    /// Told when the connection should end soon: the server is going, or its listener was removed.
    pub finish: Rc<Notify>,
}

/// A byte stream.
#[derive(Debug)]
pub enum Io {
    /// A whole connection.
    Connection(CorkIo<Stream>),
    /// A stream of HTTP/2.
    Stream(StreamIo),
}

/// A stream of HTTP/2, and what went over it.
#[derive(Debug)]
pub struct StreamIo {
    io: TokioIo<hyper::upgrade::Upgraded>,
    read: u64,
    written: Rc<Cell<u64>>,
}

impl StreamIo {
    /// Counts in `written` what is written to it.
    pub(crate) fn new(io: hyper::upgrade::Upgraded, written: Rc<Cell<u64>>) -> Self {
        Self { io: TokioIo::new(io), read: 0, written }
    }
}

impl Io {
    /// The number of bytes that were read.
    pub fn bytes_read(&self) -> u64 {
        match self {
            Self::Connection(io) => io.bytes_read(),
            Self::Stream(stream) => stream.read,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_read(cx, buf),
            Self::Stream(StreamIo { io, read, .. }) => {
                let before = buf.filled().len();
                ready!(Pin::new(io).poll_read(cx, buf))?;
                *read += (buf.filled().len() - before) as u64;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_write(cx, buf),
            Self::Stream(StreamIo { io, written, .. }) => {
                let wrote = ready!(Pin::new(io).poll_write(cx, buf))?;
                written.set(written.get() + wrote as u64);
                Poll::Ready(Ok(wrote))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_flush(cx),
            Self::Stream(StreamIo { io, .. }) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_shutdown(cx),
            Self::Stream(StreamIo { io, .. }) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
