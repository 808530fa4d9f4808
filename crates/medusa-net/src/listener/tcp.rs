//! TCP sockets: one per worker on the same address.
//!
//! Invariant: an address that anyone listens on is refused, although the sockets of one listener share theirs. The first
//! socket is bound before it allows sharing (`SO_REUSEPORT`), which the kernel grants only if nobody else listens; the
//! others join it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, TcpKeepalive, Type};

use super::bind::{BoundAddress, Options, Socket};
use super::error::BindError;
use crate::address::ListenAddr;

/// Asked after a minute of silence, and given up four unanswered questions later: within two minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

pub(super) fn bind(addr: SocketAddr, workers: usize, options: &Options) -> Result<BoundAddress, BindError> {
    let first = match bind_first(addr) {
        Err(error) if means_everywhere(addr) && is_without_ipv6(&error) => {
            bind_first(SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())))
        }
        bound => bound,
    };
    let bound = first.and_then(|(first, real)| bind_others(first, real, workers, options));
    bound.map_err(|source| BindError::tcp(addr, source))
}

/// Binds the socket that decides whether the address is free, and which port it is.
fn bind_first(addr: SocketAddr) -> io::Result<(socket2::Socket, SocketAddr)> {
    let socket = new_socket(addr)?;
    socket.bind(&addr.into())?;
    socket.set_reuse_port(true)?;
    let real = socket.local_addr()?.as_socket().unwrap_or(addr);
    Ok((socket, real))
}

fn bind_others(
    first: socket2::Socket,
    addr: SocketAddr,
    workers: usize,
    options: &Options,
) -> io::Result<BoundAddress> {
    let mut sockets = vec![first];
    for _ in 1..workers {
        let socket = new_socket(addr)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        sockets.push(socket);
    }
    // Listening begins when all are bound, so that the first connections spread over all of them.
    for socket in &sockets {
        socket.listen(options.backlog)?;
    }
    let sockets = sockets.into_iter().map(|socket| Socket::Tcp(socket.into())).collect();
    Ok(BoundAddress { addr: ListenAddr::Tcp(addr), sockets, file: None })
}

fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a server that just ended may linger in TIME_WAIT; they are not in the way.
    socket.set_reuse_address(true)?;
    // Inherited by accepted sockets on Linux: set here, it costs no system call per connection.
    socket.set_tcp_nodelay(true)?;
    // A peer whose machine has gone is noticed while a response is waited for. Inherited likewise.
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    if addr.is_ipv6() {
        // `[::]` serves IPv4 too, whatever the machine's default; for any other address this says nothing.
        socket.set_only_v6(!means_everywhere(addr))?;
    }
    Ok(socket)
}

fn means_everywhere(addr: SocketAddr) -> bool {
    addr.is_ipv6() && addr.ip().is_unspecified()
}

/// Whether binding `[::]` failed because the machine has no IPv6, in which case "everywhere" is `0.0.0.0`.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}
