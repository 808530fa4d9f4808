//! Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CR LF.
//!
//! **Invariant: one line has one meaning.** Numbers have no signs and no leading zeros, fields one space between them:
//! what another parser could read differently is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Error, Header, Parsed};

/// The beginning of a line.
pub(super) const PREFIX: &[u8] = b"PROXY ";

/// The longest line, its end included.
pub(super) const MAX_LEN: usize = 107;

/// Reads a line, given that it begins with [`PREFIX`], or may.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    let within = bytes.get(..MAX_LEN).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_LEN { Ok(Parsed::Incomplete) } else { Err(Error::TooLong(MAX_LEN)) };
    };
    let line = within.get(..end).unwrap_or_default();
    let header = std::str::from_utf8(line).ok().and_then(parse_line);
    match header {
        Some(header) => Ok(Parsed::Complete { header, len: end + 2 }),
        None => Err(Error::BadLine(String::from_utf8_lossy(line).into_owned())),
    }
}

fn parse_line(line: &str) -> Option<Header> {
    let mut fields = line.split(' ');
    if fields.next() != Some("PROXY") {
        return None;
    }
    let address = match fields.next()? {
        // "the receiver must ignore anything presented before the CRLF"
        "UNKNOWN" => return Some(Header::Unknown),
        "TCP4" => |text: &str| text.parse().map(Ipv4Addr::into).ok(),
        "TCP6" => |text: &str| text.parse().map(Ipv6Addr::into).ok(),
        _ => return None,
    };
    let address: fn(&str) -> Option<IpAddr> = address;
    let (source, destination) = (address(fields.next()?)?, address(fields.next()?)?);
    let (source_port, destination_port) = (port(fields.next()?)?, port(fields.next()?)?);
    if fields.next().is_some() {
        return None;
    }
    Some(Header::Inet {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn port(text: &str) -> Option<u16> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}
