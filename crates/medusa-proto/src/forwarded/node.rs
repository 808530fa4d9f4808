//! An address as proxies write it, with or without a port ([RFC 7239 §6]).
//!
//! **Invariant: what is not wholly an address is none.** `192.0.2.1.evil` is not an address with something behind it.
//!
//! [RFC 7239 §6]: https://www.rfc-editor.org/rfc/rfc7239#section-6

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. The port may also be a
/// hidden one (`_http`). `None` for `unknown`, hidden names and whatever else.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
            return None;
        }
        address.parse::<Ipv6Addr>().ok()?.into()
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        if !is_port(port) {
            return None;
        }
        address.parse::<Ipv4Addr>().ok()?.into()
    };
    Some(address.to_canonical())
}

/// A number of up to five digits, or a hidden name: what a port is called is of no interest.
fn is_port(text: &str) -> bool {
    let number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let hidden = || {
        text.len() > 1
            && text.starts_with('_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    number || hidden()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_all_their_forms() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("192.0.2.1:_http", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8::1]:65535", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:c000:201]", "192.0.2.1"),
        ] {
            let expected = expected.parse().expect("an address");
            assert_eq!(address(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_wholly_an_address_is_none() {
        for text in [
            "",
            "unknown",
            "_hidden",
            "_",
            "localhost",
            "192.0.2",
            "192.0.2.1.5",
            "192.0.2.01",
            "192.0.2.1 x",
            " 192.0.2.1",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:123456",
            "192.0.2.1:_",
            "192.0.2.1:-1",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[[::1]]",
            "[::1%eth0]",
            "::1%1",
            "192.0.2.1\0",
            "\"192.0.2.1\"",
            "0x7f.1",
            "3221225985",
        ] {
            assert_eq!(address(text.as_bytes()), None, "{text}");
        }
        assert_eq!(address(b"\xff"), None);
    }
}
