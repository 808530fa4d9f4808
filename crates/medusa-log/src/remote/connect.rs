//! Connecting: from a target to a connection.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::SocketType;

use super::RemoteShared;
use super::datagram::Datagrams;
use super::resolve::{PATIENCE, Resolver};
use super::stream::Stream;
use super::target::{RemoteTarget, UnixKind};
use super::wire::Wire;

/// A way to the target.
#[derive(Debug)]
pub(super) enum Connection {
    Stream(Stream),
    Datagrams(Datagrams),
}

impl Connection {
    pub(super) const fn wire(&self) -> &Wire {
        match self {
            Self::Stream(stream) => stream.wire(),
            Self::Datagrams(datagrams) => datagrams.wire(),
        }
    }

    /// Tells whether what has not arrived is known, so that it can be sent again.
    pub(super) const fn is_watched(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Datagrams(datagrams) => datagrams.is_watched(),
        }
    }
}

/// Connects to one target, as often as need be.
#[derive(Debug)]
pub(super) struct Connector {
    target: RemoteTarget,
    /// The most bytes of a datagram, if the user has said.
    max_size: Option<usize>,
    resolver: Option<Resolver>,
    /// The addresses that were found last: better than none while the name server is down.
    known: Vec<SocketAddr>,
    shared: Arc<RemoteShared>,
}

impl Connector {
    pub(super) fn new(target: RemoteTarget, max_size: Option<usize>, shared: Arc<RemoteShared>) -> Self {
        let resolver = target.host().map(Resolver::new);
        Self { target, max_size, resolver, known: Vec::new(), shared }
    }

    /// Tries the target once, at all of its addresses in turn. Also says which one it was.
    pub(super) fn connect(&mut self) -> io::Result<(Connection, String)> {
        let addresses = self.addresses()?;
        match &self.target {
            RemoteTarget::Unix(path, kind) => {
                let connection = unix(path, *kind, self.max_size)?;
                Ok((connection, path.display().to_string()))
            }
            target => in_turn(&addresses, |addr| self.reach(target, addr)),
        }
    }

    fn reach(&self, target: &RemoteTarget, addr: SocketAddr) -> io::Result<Connection> {
        match target {
            RemoteTarget::Udp(_) => Datagrams::udp(addr, self.max_size).map(Connection::Datagrams),
            RemoteTarget::Tls(_) | RemoteTarget::RelpTls(_) => {
                let Some(secured) = self.shared.state.lock().secured.clone() else {
                    return Err(io::Error::other("TLS is not set up"));
                };
                let stream = Stream::tls(Wire::tcp(addr)?, secured.connection()?)?;
                if target.is_relp() { stream.open_relp() } else { Ok(stream) }.map(Connection::Stream)
            }
            RemoteTarget::Relp(_) => Stream::bare(Wire::tcp(addr)?).open_relp().map(Connection::Stream),
            RemoteTarget::Tcp(_) | RemoteTarget::Unix(..) => {
                Ok(Connection::Stream(Stream::bare(Wire::tcp(addr)?)))
            }
        }
    }

    fn addresses(&mut self) -> io::Result<Vec<SocketAddr>> {
        let Some(resolver) = &mut self.resolver else { return Ok(Vec::new()) };
        match resolver.resolve(PATIENCE) {
            Ok(found) => self.known = found,
            Err(error) if self.known.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(self.known.clone())
    }
}

/// The first of `addresses` that can be reached, else why the last cannot.
fn in_turn(
    addresses: &[SocketAddr],
    reach: impl Fn(SocketAddr) -> io::Result<Connection>,
) -> io::Result<(Connection, String)> {
    let mut failed = io::Error::other("the name has no address");
    for addr in addresses {
        match reach(*addr) {
            Ok(connection) => return Ok((connection, addr.to_string())),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn unix(path: &Path, kind: UnixKind, max_size: Option<usize>) -> io::Result<Connection> {
    let stream = || Ok(Connection::Stream(Stream::bare(Wire::unix(path, SocketType::STREAM)?)));
    if kind == UnixKind::Stream {
        return stream();
    }
    match Datagrams::unix(path, max_size) {
        Ok(datagrams) => Ok(Connection::Datagrams(datagrams)),
        Err(error) if kind == UnixKind::Either && is(&error, Errno::PROTOTYPE) => stream(),
        Err(error) => Err(error),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
