//! Connecting: from a target to a connection.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::SocketType;

use super::datagram::Datagrams;
use super::resolve::{PATIENCE, Resolver};
use super::stream::Stream;
use super::target::{RemoteTarget, Scheme, UnixKind};
use super::tls::Secured;
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
            Self::Stream(stream) => &stream.wire,
            Self::Datagrams(datagrams) => &datagrams.wire,
        }
    }

    /// Tells whether the other end is still there, as far as is known.
    pub(super) fn check(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.check(),
            Self::Datagrams(datagrams) => datagrams.check(),
        }
    }

    /// The number of records, from the first on, that are not to be sent again: those that the other end of RELP has
    /// acknowledged, and by UDP, where nobody does, those that are sent.
    pub(super) fn delivered(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.session.as_ref().map_or(0, |session| session.delivered()),
            Self::Datagrams(datagrams) if datagrams.is_watched() => 0,
            Self::Datagrams(datagrams) => datagrams.sent,
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
    /// Whether datagrams are for the journal, which takes in a file what is too long.
    takes_files: bool,
    resolver: Option<Resolver>,
    /// The addresses that were found last: better than none while the name server is down.
    known: Vec<SocketAddr>,
}

impl Connector {
    pub(super) fn new(target: RemoteTarget, max_size: Option<usize>, takes_files: bool) -> Self {
        let resolver = target.host().map(Resolver::new);
        Self { target, max_size, takes_files, resolver, known: Vec::new() }
    }

    /// Tries the target once, at all of its addresses in turn. Also says which one it was.
    pub(super) fn connect(&mut self, secured: Option<&Secured>) -> io::Result<(Connection, String)> {
        if let RemoteTarget::Unix(path, kind) = &self.target {
            return Ok((self.unix(path, *kind)?, path.display().to_string()));
        }
        if let Some(resolver) = &mut self.resolver {
            match resolver.resolve(PATIENCE) {
                Ok(found) => self.known = found,
                Err(error) if self.known.is_empty() => return Err(error),
                Err(_) => {}
            }
        }
        let mut failed = io::Error::other("the name has no address");
        for &addr in &self.known {
            match self.reach(addr, secured) {
                Ok(connection) => return Ok((connection, addr.to_string())),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn reach(&self, addr: SocketAddr, secured: Option<&Secured>) -> io::Result<Connection> {
        if self.target.scheme() == Some(Scheme::Udp) {
            return Datagrams::udp(addr, self.max_size).map(Connection::Datagrams);
        }
        let wire = Wire::tcp(addr)?;
        let stream = match secured {
            Some(secured) => Stream::tls(wire, secured.connection()?)?,
            None if self.target.is_tls() => return Err(io::Error::other("TLS is not set up")),
            None => Stream::bare(wire),
        };
        if self.target.is_relp() { stream.open_relp() } else { Ok(stream) }.map(Connection::Stream)
    }

    fn unix(&self, path: &Path, kind: UnixKind) -> io::Result<Connection> {
        let stream = || Ok(Connection::Stream(Stream::bare(Wire::unix(path, SocketType::STREAM)?)));
        if kind == UnixKind::Stream {
            return stream();
        }
        match Datagrams::unix(path, self.max_size, self.takes_files) {
            Err(error)
                if kind == UnixKind::Either && Errno::from_io_error(&error) == Some(Errno::PROTOTYPE) =>
            {
                stream()
            }
            datagrams => datagrams.map(Connection::Datagrams),
        }
    }
}
