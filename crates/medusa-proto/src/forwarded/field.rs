//! The `Forwarded` field ([RFC 7239 §4]), read from its end.
//!
//! From its end, because the end was written by a proxy and the beginning perhaps by an attacker: read from the beginning, a
//! quote that is opened and never closed would swallow what the proxies wrote behind it.
//!
//! **Invariant: an element that follows the grammar comes out the same, whatever stands before it in the line.**
//!
//! [RFC 7239 §4]: https://www.rfc-editor.org/rfc/rfc7239#section-4

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Scheme, node};

/// The element that one proxy wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// `for`: where it got the request from; `None` if it does not say or hides it.
    pub(super) address: Option<IpAddr>,
    /// `proto`: how.
    pub(super) proto: Option<Scheme>,
    /// `host`: with which `Host`.
    pub(super) host: Option<String>,
}

/// The elements of a line from the last one. An element that does not follow the grammar is `None`.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = Option<Element>> {
    let elements = FromEnd { rest: Some(line), separator: b',' };
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).map(Element::parse)
}

impl Element {
    fn parse(element: &[u8]) -> Option<Self> {
        let (mut client, mut proto, mut host) = (None, None, None);
        let pairs = FromEnd { rest: Some(element), separator: b';' };
        for pair in pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = (pair.get(..at)?, value(pair.get(at + 1..)?)?);
            let slot = match name.to_ascii_lowercase().as_slice() {
                b"for" => &mut client,
                b"proto" => &mut proto,
                b"host" => &mut host,
                // `by`, and what may come (§5.5).
                name if is_token(name) => continue,
                _ => return None,
            };
            // "Each parameter MUST NOT occur more than once": which of two would be meant?
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Some(Self {
            address: client.and_then(|client| node::address(&client)),
            proto: proto.and_then(|proto| Scheme::parse(&proto)),
            host: host.and_then(|host| host_text(&host)),
        })
    }
}

/// A token or quoted string, without the quoting.
fn value(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // Colons and brackets should be quoted, and some proxies do not.
        let lenient = |&byte: &u8| is_token_byte(byte) || matches!(byte, b':' | b'[' | b']');
        return (!text.is_empty() && text.iter().all(lenient)).then_some(Cow::Borrowed(text));
    };
    let quoted = quoted.strip_suffix(b"\"")?;
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(*bytes.next()?),
            b'"' => return None,
            byte => plain.push(byte),
        }
    }
    Some(Cow::Owned(plain))
}

/// A host name or address with or without a port; nothing that could be anything else where hosts are shown or compared.
fn host_text(host: &[u8]) -> Option<String> {
    let belongs =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let is_host = (1..=261).contains(&host.len()) && host.iter().all(belongs);
    is_host.then(|| host.iter().map(|&byte| char::from(byte.to_ascii_lowercase())).collect())
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// [RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Splits at separators outside of quotes, from the end.
struct FromEnd<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for FromEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut quoted = false;
        for (at, &byte) in rest.iter().enumerate().rev() {
            if byte == b'"' && !is_escaped(rest, at) {
                quoted = !quoted;
            } else if byte == self.separator && !quoted {
                self.rest = rest.get(..at);
                return rest.get(at + 1..);
            }
        }
        Some(rest)
    }
}

/// Whether an odd number of backslashes stands before the place.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Vec<Option<Element>> {
        elements(line.as_bytes()).collect()
    }

    fn element(address: &str, proto: Option<Scheme>, host: Option<&str>) -> Element {
        let address = (!address.is_empty()).then(|| address.parse().expect("an address"));
        Element { address, proto, host: host.map(str::to_owned) }
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(read("for=\"_gazonk\""), [Some(element("", None, None))]);
        assert_eq!(
            read("For=\"[2001:db8:cafe::17]:4711\""),
            [Some(element("2001:db8:cafe::17", None, None))]
        );
        assert_eq!(
            read("for=192.0.2.60;proto=http;by=203.0.113.43"),
            [Some(element("192.0.2.60", Some(Scheme::Http), None))]
        );
        assert_eq!(
            read("for=192.0.2.43, for=198.51.100.17"),
            [Some(element("198.51.100.17", None, None)), Some(element("192.0.2.43", None, None))]
        );
        assert_eq!(
            read("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown"),
            [
                Some(element("", None, None)),
                Some(element("2001:db8:cafe::17", None, None)),
                Some(element("192.0.2.43", None, None))
            ]
        );
        assert_eq!(
            read("proto=HTTPS; host=\"Example.com:8443\" ;for=_SEVKISEK ;; ext=\"a;b,c\\\"\""),
            [Some(element("", Some(Scheme::Https), Some("example.com:8443")))]
        );
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_none() {
        for line in [
            "for",
            "for=",
            "=x",
            "for=a b",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"a\"b\"",
            "for=\"192.0.2.1\\\"",
            "for=192.0.2.1;for=192.0.2.2",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "a b=c",
            "for=192.0.2.1;x",
            "192.0.2.1",
            "for=192.0.2.1{}",
        ] {
            assert_eq!(read(line), [None], "{line}");
        }
    }

    #[test]
    fn a_host_is_nothing_but_a_host() {
        for host in ["a/b", "a\\\"b", "a b", "<b>", "", "\u{e4}", "a@b", "a,b"] {
            assert_eq!(read(&format!("host=\"{host}\"")), [Some(element("", None, None))], "{host}");
        }
    }

    proptest! {
        #[test]
        fn what_stands_before_changes_nothing(garbage in "[ -~]{0,40}") {
            let line = format!("{garbage}, for=\"[2001:db8::1]:80\";proto=https");
            prop_assert_eq!(
                elements(line.as_bytes()).next(),
                Some(Some(element("2001:db8::1", Some(Scheme::Https), None))),
                "{}", line
            );
        }

        #[test]
        fn bytes_never_panic(line: Vec<u8>) {
            prop_assert!(elements(&line).count() <= line.len());
        }

        #[test]
        fn quoting_can_be_undone(plain in "[ -~]{0,20}") {
            let quoted: String = plain.chars().flat_map(|char| ['\\', char]).collect();
            let quoted = format!("\"{quoted}\"");
            let undone = value(quoted.as_bytes());
            prop_assert_eq!(undone.as_deref(), Some(plain.as_bytes()));
        }
    }
}
