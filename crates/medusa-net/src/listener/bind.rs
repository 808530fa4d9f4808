//! From an address to one listening socket per worker.
//!
//! Invariant: what comes out is listening, non-blocking and closed on exec; nothing else can fail before accepting.

use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};

use super::error::BindError;
use super::tcp;
use super::unix::{self, SocketFile};
use crate::address::ListenAddr;
use crate::conn::Peer;
use crate::stream::Stream;

/// Options for binding an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The number of connections that the kernel queues for each socket before it turns further ones away. Default
    /// 4096, which is also the most that Linux allows unless `net.core.somaxconn` is raised.
    pub backlog: i32,
    /// The permissions of a unix socket's file. Default `0o660`: its user and group may connect, so that a web server in
    /// front joins by being in the group.
    pub unix_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { backlog: 4096, unix_mode: 0o660 }
    }
}

/// A bound address.
#[derive(Debug)]
pub(super) struct BoundAddress {
    pub(super) addr: ListenAddr,
    pub(super) sockets: Vec<Socket>,
    pub(super) file: Option<SocketFile>,
}

pub(super) fn bind(addr: &ListenAddr, workers: usize, options: &Options) -> Result<BoundAddress, BindError> {
    match addr {
        ListenAddr::Tcp(addr) => tcp::bind(*addr, workers, options),
        ListenAddr::Unix(path) => unix::bind(path, workers, options),
    }
}

/// A listening socket that no event loop has yet, or any more.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Socket {
    /// Adds the socket to this worker's event loop.
    pub(super) fn register(self) -> io::Result<Registered> {
        match self {
            Self::Tcp(socket) => TcpListener::from_std(socket).map(Registered::Tcp),
            Self::Unix(socket) => UnixListener::from_std(socket).map(Registered::Unix),
        }
    }

    /// Accepts a connection that is queued; `WouldBlock` if none is.
    pub(super) fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Tcp(tokio::net::TcpStream::from_std(stream)?), peer.into()))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Unix(tokio::net::UnixStream::from_std(stream)?), Peer::Unix))
            }
        }
    }
}

/// A listening socket in a worker's event loop.
#[derive(Debug)]
pub(super) enum Registered {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Registered {
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
        match self {
            Self::Tcp(socket) => {
                socket.poll_accept(cx).map_ok(|(stream, peer)| (Stream::Tcp(stream), peer.into()))
            }
            Self::Unix(socket) => {
                socket.poll_accept(cx).map_ok(|(stream, _)| (Stream::Unix(stream), Peer::Unix))
            }
        }
    }

    /// Takes the socket out of the event loop.
    pub(super) fn unregister(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Socket::Tcp),
            Self::Unix(socket) => socket.into_std().map(Socket::Unix),
        }
    }
}
