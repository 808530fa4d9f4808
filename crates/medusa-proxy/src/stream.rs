//! A connection to an upstream, as bytes.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// The three kinds there are.
#[derive(Debug)]
pub(crate) enum UpstreamIo {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl UpstreamIo {
    /// Whether nothing has come that was not asked for, the end of the connection included. Asks the system, as the event loop
    /// may not have come to it yet.
    fn is_quiet(&self) -> bool {
        let mut byte = [0_u8];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = match self {
            Self::Tcp(tcp) => recv(tcp, &mut byte, flags),
            Self::Unix(unix) => recv(unix, &mut byte, flags),
            // Tickets come right behind the handshake, with the first answer at the latest: later it is an alert.
            Self::Tls(tls) => recv(tls.get_ref().0, &mut byte, flags),
        };
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }
}

macro_rules! each {
    ($io:expr, $stream:ident => $call:expr) => {
        match $io {
            UpstreamIo::Tcp($stream) => $call,
            UpstreamIo::Unix($stream) => $call,
            UpstreamIo::Tls($stream) => $call,
        }
    };
}

/// A connection that hyper drives, and that can be looked at meanwhile. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct SharedStream(Rc<StreamState>);

#[derive(Debug)]
struct StreamState {
    io: RefCell<UpstreamIo>,
    received: Cell<u64>,
}

impl SharedStream {
    pub(crate) fn new(io: UpstreamIo) -> Self {
        Self(Rc::new(StreamState { io: RefCell::new(io), received: Cell::new(0) }))
    }

    /// The number of bytes that came over it.
    pub(crate) fn received(&self) -> u64 {
        self.0.received.get()
    }

    /// Whether it is open, and nothing has come that was not read.
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.io.borrow().is_quiet()
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(each!(&mut *self.0.io.borrow_mut(), io => Pin::new(io).poll_read(cx, buf)))?;
        self.0.received.set(self.0.received.get() + (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(&mut *self.0.io.borrow_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self.0.io.borrow_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self.0.io.borrow_mut(), io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self.0.io.borrow_mut(), io => Pin::new(io).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        each!(&*self.0.io.borrow(), io => io.is_write_vectored())
    }
}
