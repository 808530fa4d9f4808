//! IP addresses as text, without the formatting machinery: it would be the slowest part of a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decimal;
use crate::access::Peer;

/// Appends the address of `peer`; `unix:` for one on a unix socket, as nginx has it.
pub(crate) fn peer(peer: Peer, out: &mut Vec<u8>) {
    match peer {
        Peer::Ip(address) => ip(address, out),
        Peer::Unix => out.extend_from_slice(b"unix:"),
    }
}

/// Appends `ip`: dotted quad, or the canonical text of [RFC 5952](https://www.rfc-editor.org/rfc/rfc5952).
pub(crate) fn ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => v4(ip, out),
        IpAddr::V6(ip) => v6(ip, out),
    }
}

fn v4(ip: Ipv4Addr, out: &mut Vec<u8>) {
    let [a, b, c, d] = ip.octets();
    decimal(a, out);
    for octet in [b, c, d] {
        out.push(b'.');
        decimal(octet, out);
    }
}

fn v6(ip: Ipv6Addr, out: &mut Vec<u8>) {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return v4(mapped, out);
    }
    let segments = ip.segments();
    let (start, length) = longest_zero_run(segments);
    for (i, segment) in segments.into_iter().enumerate() {
        if i == start && length > 1 {
            out.extend_from_slice(b"::");
        } else if length <= 1 || i < start || i >= start + length {
            if i != 0 && (length <= 1 || i != start + length) {
                out.push(b':');
            }
            hex(segment, out);
        }
    }
}

/// The start of the longest (the first, if several) run of zero segments, and its length.
fn longest_zero_run(segments: [u16; 8]) -> (usize, usize) {
    let (mut best, mut length) = ((0, 0), 0);
    for (i, segment) in segments.into_iter().enumerate() {
        length = if segment == 0 { length + 1 } else { 0 };
        if length > best.1 {
            best = (i + 1 - length, length);
        }
    }
    best
}

/// Lower-case hexadecimal without leading zeros.
fn hex(segment: u16, out: &mut Vec<u8>) {
    let digits = (16 - (segment | 1).leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (segment >> (place * 4) & 15) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(address: impl Into<IpAddr>) -> String {
        let mut out = Vec::new();
        ip(address.into(), &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn zeros_are_compressed_once() {
        for address in
            ["::", "::1", "1::", "2001:db8::1:0:0:1", "2001:db8:0:1:1:1:1:1", "::ffff:192.0.2.1", "0:0:1::"]
        {
            let address: Ipv6Addr = address.parse().expect("an address");
            assert_eq!(text(address), address.to_string());
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(v4: Ipv4Addr, bits: u128, zeros: u8) {
            prop_assert_eq!(text(v4), v4.to_string());
            // Random addresses hold no zero segments: clear those that `zeros` names.
            let mut segments = Ipv6Addr::from_bits(bits).segments();
            for (i, segment) in segments.iter_mut().enumerate() {
                if zeros >> i & 1 == 1 {
                    *segment = 0;
                }
            }
            let v6 = Ipv6Addr::from(segments);
            prop_assert_eq!(text(v6), v6.to_string());
        }
    }
}
