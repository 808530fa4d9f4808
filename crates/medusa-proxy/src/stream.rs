//! A connection to an upstream, as bytes.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use medusa_net::cork::TurnStream;
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
    /// Whether it is open, and nothing has come that was not asked for: as far as the event loop knows, or, where it must be
    /// `sure`, as the system says at this instant.
    pub(crate) fn is_quiet(&self, sure: bool) -> bool {
        // Where all that came was read in one go, the event loop knows of nothing more.
        if !sure && self.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return true;
        }
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

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => pin!(unix.readable()).poll(cx),
            Self::Tls(tls) => tls.get_ref().0.poll_read_ready(cx),
        }
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
pub(crate) type SharedStream = TurnStream<UpstreamIo>;

impl AsyncRead for UpstreamIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, io => io.is_write_vectored())
    }
}
