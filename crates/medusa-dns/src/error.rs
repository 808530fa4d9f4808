//! Reasons why there is no resolver.

use std::io;
use std::path::PathBuf;

use crate::LookupError;

/// The reason why a [`Resolver`](crate::Resolver) cannot be used. The cause, where there is one, is its `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// No server was given.
    #[error("a resolver needs a name server: name one, or use the system's resolver")]
    NoServer,
    /// More servers than one would wait for.
    #[error("{0} name servers are too many: give at most {max}", max = crate::options::MAX_SERVERS)]
    TooManyServers(usize),
    /// A number out of its range.
    #[error("`{option}` is {given}: it must be {range}")]
    OutOfRange {
        /// Which option.
        option: &'static str,
        /// What was given.
        given: String,
        /// What could have been given.
        range: &'static str,
    },
    /// An option that only means something for another protocol.
    #[error("`{option}` has no meaning for the protocol {protocol}: leave it out, or use one of {meant_for}")]
    Meaningless {
        /// Which option.
        option: &'static str,
        /// The protocol that was chosen.
        protocol: crate::Protocol,
        /// The protocols it is for.
        meant_for: &'static str,
    },
    /// A name that no certificate can have.
    #[error("{0:?} cannot be the name in a server's certificate: give a host name or an address")]
    TlsName(String),
    /// The path of an HTTPS server is none.
    #[error(
        "{0:?} is not the path of an HTTPS name server: it starts with `/` and has no spaces, like `/dns-query`"
    )]
    HttpsPath(String),
    /// A file could not be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than one of its kind may be.
    #[error("{path:?} has more than {limit} bytes, too many for a file of its kind")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The number of bytes that it may have.
        limit: u64,
    },
    /// A file of certificates has none.
    #[error("{path:?} has no certificate in it: it must be a PEM file of certificate authorities")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that cannot be used.
    #[error("cannot use the certificates in {path:?}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system's certificate authorities cannot be used.
    #[error("cannot use the system's certificate authorities: install `ca-certificates`, or give `ca`")]
    Roots {
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The resolver's thread could not be started.
    #[error("cannot start the resolver's thread")]
    Thread(#[source] io::Error),
    /// More pins than a resolver takes.
    #[error("{0} names are pinned, which is as many as there can be: unpin some")]
    TooManyPins(usize),
    /// A pin without an address.
    #[error("cannot pin {0:?} to no address at all: give an address, or unpin it")]
    EmptyPin(String),
    /// A name that is none.
    #[error(transparent)]
    Name(LookupError),
}
