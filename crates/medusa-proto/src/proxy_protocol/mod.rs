//! The PROXY protocol: what a proxy says about a connection before it passes the connection's bytes on, in versions 1
//! (a line of text) and 2 (binary), as [its specification] has it.
//!
//! A header is believed, so it must only be read where proxies alone can connect; whoever else can connect can say to be
//! anyone. And it must be read where it is expected: a listener that takes connections with *or* without one lets every
//! client write its own.
//!
//! **Invariant: [`parse`] never takes a byte that is not the header's, and never asks for more than [`MAX_LEN`] bytes.**
//! What follows belongs to the next protocol, perhaps a handshake that must not be read twice.
//!
//! [its specification]: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt

mod v1;
mod v2;

use std::net::SocketAddr;

/// The longest header taken, in bytes.
///
/// Version 1 has its own limit of 107. Version 2 allows 64 KiB, nearly all for extensions that are skipped here; what the
/// specification promises to arrive in one packet on any network is 536 bytes, and real ones have about 100.
pub const MAX_LEN: usize = 536;

/// A header: what a proxy says about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// It is the proxy's own (a health check): its peer is who it seems to be.
    Local,
    /// It is passed on, and the proxy does not know, or can not say, for whom.
    Unknown,
    /// It is passed on for a client with an address.
    Inet {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to, which is the proxy's.
        destination: SocketAddr,
    },
    /// It is passed on for a client of the proxy's machine, over a unix socket. The paths are not kept.
    Unix,
}

/// The progress of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// All bytes given belong to a header, and there are more to come.
    Incomplete,
    /// There is a header.
    Complete {
        /// The header as it is said.
        header: Header,
        /// How many of the bytes given are its own. The rest is what it is about.
        len: usize,
    },
}

/// A mistake in a header. There is no use in going on: what the bytes would mean is anyone's guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is something else, for instance a client that is no proxy.
    #[error(
        "the connection does not begin with a PROXY protocol header; is the other side a proxy that sends one?"
    )]
    NotAHeader,
    /// It has more bytes than may be.
    #[error("the PROXY protocol header is longer than {0} bytes")]
    TooLong(usize),
    /// A line of version 1 that does not say what it should.
    #[error("the PROXY protocol line {0:?} can not be understood")]
    BadLine(String),
    /// A version that does not exist.
    #[error("the PROXY protocol header has version {0}; 1 and 2 are known")]
    BadVersion(u8),
    /// A command that does not exist.
    #[error("the PROXY protocol header has command {0}; 0 (local) and 1 (proxy) are known")]
    BadCommand(u8),
    /// A family of addresses that does not exist.
    #[error("the PROXY protocol header has the address family and transport {0:#04x}, which do not exist")]
    BadFamily(u8),
    /// Fewer bytes than the addresses have.
    #[error("the PROXY protocol header has {0} bytes for its addresses, which is too few")]
    ShortAddresses(usize),
}

/// Reads a header from the beginning of a connection. To be called again with more bytes while it is
/// [`Parsed::Incomplete`].
///
/// # Errors
///
/// It is not a header, or a bad one; told as soon as that is certain.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    // The two begin with different bytes.
    if begins(bytes, &v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins(bytes, v1::PREFIX) {
        v1::parse(bytes)
    } else {
        Err(Error::NotAHeader)
    }
}

/// Whether `bytes` begins with `prefix`, or may when more of it has come.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests;
