//! Reasons why a listener could not be bound or started, with what to do about it.
//!
//! Invariant: the message alone is enough to act on: it names the address and the cure. The system's own words are the
//! `source`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::address::ListenAddr;
use crate::worker::WorkerGone;

/// The reason why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone listens there, perhaps another Medusa.
    #[error("cannot listen on {addr}: another process listens there already; `ss -ltnp 'sport = :{port}'` shows which", port = .addr.port())]
    InUse {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "cannot listen on {addr}: ports below 1024 are for root or a process with CAP_NET_BIND_SERVICE \
         (`setcap cap_net_bind_service=+ep` on the program, or `AmbientCapabilities=` in a systemd unit)"
    )]
    PrivilegedPort {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No network interface has the address.
    #[error("cannot listen on {addr}: {ip} is not an address of this machine; `ip addr` lists those it has", ip = .addr.ip())]
    NotLocal {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A server answers on the unix socket.
    #[error("cannot listen on unix:{path}: another process listens there already; `ss -lxp` shows which", path = .path.display())]
    SocketInUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something that is not a socket has the path.
    #[error("cannot listen on unix:{path}: there is a file of that name that is not a socket; remove it or choose another name", path = .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The directory is missing.
    #[error("cannot listen on unix:{path}: its directory does not exist; create it first", path = .path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory is not ours to write to.
    #[error("cannot listen on unix:{path}: no permission to create a socket in its directory, or to replace the one there", path = .path.display())]
    NoPermission {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {addr}")]
    Other {
        /// The address.
        addr: ListenAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn tcp(addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { addr, source },
            io::ErrorKind::PermissionDenied if addr.port() < 1024 => Self::PrivilegedPort { addr, source },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { addr, source },
            _ => Self::Other { addr: ListenAddr::Tcp(addr), source },
        }
    }

    pub(super) fn unix(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::SocketInUse { path },
            io::ErrorKind::NotFound => Self::NoDirectory { path, source },
            io::ErrorKind::PermissionDenied => Self::NoPermission { path, source },
            _ => Self::Other { addr: ListenAddr::Unix(path), source },
        }
    }
}

/// The reason why a bound listener could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was started before.
    #[error("the listener on {addr} was started already")]
    Started {
        /// Its address.
        addr: ListenAddr,
    },
    /// The socket could not be added to a worker's event loop.
    #[error("cannot accept on {addr}: its socket could not be added to a worker's event loop")]
    Register {
        /// Its address.
        addr: ListenAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A worker is not there to accept.
    #[error("cannot accept on {addr}")]
    Worker {
        /// Its address.
        addr: ListenAddr,
        /// Which one.
        source: WorkerGone,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn tcp(addr: &str, kind: io::ErrorKind) -> BindError {
        BindError::tcp(addr.parse().expect("an address"), kind.into())
    }

    #[test]
    fn only_a_low_port_is_blamed_on_privileges() {
        let low = tcp("0.0.0.0:80", io::ErrorKind::PermissionDenied);
        let message = low.to_string();
        assert!(message.starts_with("cannot listen on 0.0.0.0:80: ports below 1024"), "{message}");
        assert!(message.contains("setcap cap_net_bind_service=+ep"), "{message}");
        assert!(low.source().is_some(), "the system's own words are kept");

        let high = tcp("0.0.0.0:8080", io::ErrorKind::PermissionDenied);
        assert!(matches!(high, BindError::Other { .. }), "{high:?}");
        assert!(high.source().is_some());
    }

    #[test]
    fn a_directory_that_is_not_ours_says_so() {
        let error = BindError::unix("/run/x.sock".into(), io::ErrorKind::PermissionDenied.into());
        let message = error.to_string();
        assert!(message.starts_with("cannot listen on unix:/run/x.sock: no permission"), "{message}");
    }
}
