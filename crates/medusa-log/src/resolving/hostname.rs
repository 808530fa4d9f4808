//! Names from DNS that may stand in a log.
//!
//! A name is whatever the owner of an address has put into the DNS: any bytes, at any length up to 255 (RFC 2181 §11).
//! It is a host's if it keeps to RFC 1123 §2.1, with the underscore that real networks use beside it.

/// The longest name, without the dot at its end (RFC 1035 §2.3.4, as text).
const MAX_NAME: usize = 253;

/// The longest label.
const MAX_LABEL: usize = 63;

/// `name` as it may be logged, without the dot at its end; `None` if it is not a host's.
///
/// A name that ends in a number is none either: `127.0.0.1` is made of good labels, but a reader, and every tool that
/// reads logs, takes it for an address (the WHATWG URL standard draws the same line, §3.5).
pub fn hostname(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next()?;
    let good = name.len() <= MAX_NAME && name.split('.').all(is_label) && !is_number(last);
    good.then_some(name)
}

fn is_label(label: &str) -> bool {
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|byte| inside(&byte))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    label.bytes().all(|byte| byte.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_hosts_are_taken_as_they_are() {
        for name in [
            "localhost",
            "a.example",
            "Mail-1.Example",
            "p4fd._x.example",
            "1.2.3.4.example",
            "xn--bcher-kva",
        ] {
            assert_eq!(hostname(name), Some(name));
            assert_eq!(hostname(&format!("{name}.")), Some(name));
        }
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(hostname(&longest), Some(longest.as_str()));
    }

    #[test]
    fn what_is_no_host_or_looks_like_an_address_is_refused() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
        let label = "a".repeat(64);
        let bad = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b",
            "a\tb",
            "a\nb",
            "a\u{1b}[31m",
            "a\"b",
            "ä.example",
            "*.example",
            "a/b",
            "a:b",
            "::1",
            "-a.example",
            "a-.example",
            "127.0.0.1",
            "127.0.0.1.",
            "10",
            "example.0x7f",
            "example.0x",
            &long,
            &label,
        ];
        for name in bad {
            assert_eq!(hostname(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_plain_and_no_address(name in "\\PC{0,80}|[0-9a-fx.:-]{0,40}") {
            if let Some(taken) = hostname(&name) {
                prop_assert!(taken.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\%/:".contains(&byte)));
                prop_assert!(taken.parse::<std::net::IpAddr>().is_err());
            }
        }
    }
}
