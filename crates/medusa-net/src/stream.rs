//! A connection's byte stream, whatever carries it.
//!
//! Invariant: protocols see a [`Stream`] and never what is inside, so a new transport is a new variant here and nothing
//! anywhere else.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::address::ListenAddr;
use crate::conn::Peer;
use crate::tls::{TlsInfo, TlsStream};

/// An accepted connection. Small writes go out at once (`TCP_NODELAY`): collecting them is the [`cork`](crate::cork)'s
/// work.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
    /// Encrypted, over one of the others.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The other end. A system call; [`Conn::peer`](crate::Conn::peer) is free.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn peer(&self) -> io::Result<Peer> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().map(Peer::from),
            Self::Unix(_) => Ok(Peer::Unix),
            Self::Tls(tls) => tls.carrier().peer(),
        }
    }

    /// The address the peer connected to, which on a listener for every address says which one. A system call.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn local(&self) -> io::Result<ListenAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().map(ListenAddr::Tcp),
            Self::Unix(unix) => {
                let path = unix.local_addr()?.as_pathname().map(ToOwned::to_owned);
                Ok(ListenAddr::Unix(path.unwrap_or_default()))
            }
            Self::Tls(tls) => tls.carrier().local(),
        }
    }

    /// Facts about the encryption; `None` if there is none.
    pub fn tls(&self) -> Option<Arc<TlsInfo>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(tls) => Some(tls.info().clone()),
        }
    }

    /// Waits for bytes, and copies the first ones to `buf` without taking them: the next read gets them again. How
    /// many, at least one; 0 if the peer has ended its side.
    ///
    /// With some bytes there it never waits for more: take them before asking for what follows.
    ///
    /// # Errors
    ///
    /// The connection is gone, or it is encrypted, where there is no looking ahead.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.peek(buf).await,
            Self::Unix(unix) => {
                let peek = || Ok(rustix::net::recv(unix, &mut *buf, RecvFlags::PEEK)?.0);
                unix.async_io(Interest::READABLE, peek).await
            }
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The state of a peer's side of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerSide {
    /// It may send.
    Open,
    /// It has ended its sending side. It may still read, or have left.
    Ended,
    /// It has left for certain.
    Gone,
}

impl Stream {
    /// Looks at the peer's side, without taking anything of what it sent. One system call.
    pub fn peer_side(&self) -> PeerSide {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let mut byte = [0];
        let looked = match self {
            Self::Tcp(tcp) => rustix::net::recv(tcp, &mut byte, flags),
            Self::Unix(unix) => rustix::net::recv(unix, &mut byte, flags),
            Self::Tls(tls) => return tls.carrier().peer_side(),
        };
        match looked {
            Ok((0, _)) => PeerSide::Ended,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => PeerSide::Open,
            Err(_gone) => PeerSide::Gone,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
            Self::Tls(tls) => tls.carrier().as_fd(),
        }
    }
}

impl SendFile for Stream {
    fn can_send_files(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            // What goes out must be encrypted first.
            Self::Tls(_) => false,
        }
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        at: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let sent = match self {
                Self::Tcp(tcp) => {
                    ready!(tcp.poll_write_ready(cx))?;
                    tcp.try_io(Interest::WRITABLE, || send_file(&tcp, file, at, len))
                }
                Self::Unix(unix) => {
                    ready!(unix.poll_write_ready(cx))?;
                    unix.try_io(Interest::WRITABLE, || send_file(&unix, file, at, len))
                }
                Self::Tls(_) => return Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

fn send_file(socket: impl AsFd, file: &File, mut at: u64, len: usize) -> io::Result<usize> {
    Ok(rustix::fs::sendfile(socket, file, Some(&mut at), len)?)
}

/// A stream that the kernel can send a file on by itself, without a copy through this process.
pub trait SendFile {
    /// Whether it can; if not, [`poll_send_file`](Self::poll_send_file) is an error.
    fn can_send_files(&self) -> bool;

    /// Sends up to `len` bytes of `file` from `at` on (sendfile(2)), and returns how many; 0 at the file's end.
    ///
    /// # Errors
    ///
    /// The stream's or the file's.
    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        at: u64,
        len: usize,
    ) -> Poll<io::Result<usize>>;
}

/// Calls the same method on whatever is inside.
macro_rules! forward {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).$method($($argument),*),
            Self::Unix(unix) => Pin::new(unix).$method($($argument),*),
            Self::Tls(tls) => Pin::new(&mut **tls).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, poll_shutdown(cx))
    }
}
