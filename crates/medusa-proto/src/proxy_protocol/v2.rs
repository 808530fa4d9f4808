//! Version 2: a signature no other protocol begins with, four bytes, the addresses, and extensions, which are skipped.
//!
//! **Invariant: the length in the header alone says where it ends**, whatever the addresses and extensions hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Error, Header, MAX_LEN, Parsed};

/// The beginning of a header.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family and transport, and the length of the rest.
const FIXED: usize = 16;

/// Two paths of 108 bytes.
const UNIX_ADDRESSES: usize = 216;

/// Reads a header, given that it begins with [`SIGNATURE`], or may.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    let Some(&[version_command, family, high, low]) =
        bytes.get(SIGNATURE.len()..).and_then(|rest| rest.first_chunk())
    else {
        return Ok(Parsed::Incomplete);
    };
    let is_local = match (version_command >> 4, version_command & 0x0f) {
        (2, 0) => true,
        (2, 1) => false,
        (2, command) => return Err(Error::BadCommand(command)),
        (version, _) => return Err(Error::BadVersion(version)),
    };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_LEN {
        return Err(Error::TooLong(MAX_LEN));
    }
    let Some(rest) = bytes.get(FIXED..len) else { return Ok(Parsed::Incomplete) };
    // Of a local connection the family and addresses have no meaning, whatever they are.
    let header = if is_local { Header::Local } else { proxied(family, rest)? };
    Ok(Parsed::Complete { header, len })
}

fn proxied(family: u8, rest: &[u8]) -> Result<Header, Error> {
    let header = match family {
        0x00 => Some(Header::Unknown),
        // Streams, and datagrams: a proxy may pass on HTTP/3 as HTTP/1.
        0x11 | 0x12 => rest.first_chunk::<12>().map(|&[a, b, c, d, e, f, g, h, ports @ ..]| {
            inet(Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into(), ports)
        }),
        0x21 | 0x22 => inet6(rest),
        0x31 | 0x32 => (rest.len() >= UNIX_ADDRESSES).then_some(Header::Unix),
        other => return Err(Error::BadFamily(other)),
    };
    header.ok_or(Error::ShortAddresses(rest.len()))
}

fn inet6(rest: &[u8]) -> Option<Header> {
    let (&source, rest) = rest.split_first_chunk::<16>()?;
    let (&destination, rest) = rest.split_first_chunk::<16>()?;
    let &ports = rest.first_chunk()?;
    Some(inet(Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), ports))
}

fn inet(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Header {
    Header::Inet {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}
