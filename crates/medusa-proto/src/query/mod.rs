//! `application/x-www-form-urlencoded`: the pairs of a query or of a form's body, as browsers write them
//! ([WHATWG URL §5](https://url.spec.whatwg.org/#application/x-www-form-urlencoded)).
//!
//! The one decoder of the server: where two read the same query differently, a check made with one is no check of what
//! the other sees. Any bytes are a query; what is no valid escape stands for itself. The number of pairs is bounded, so
//! that a table made of them is.

mod percent;

use std::borrow::Cow;

pub use percent::{decode, encode};

/// The most pairs that are read: more than any form has, few enough that a table of them costs nothing.
pub const MAX_PAIRS: usize = 1000;

/// A name and its value, decoded. They are bytes, as nothing says that they are text.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The pairs of `text`, the first [`MAX_PAIRS`] of them.
///
/// They are separated by `&` (`;` separates nothing); empty ones are skipped, one without `=` has an empty value.
pub fn pairs(text: &[u8]) -> Pairs<'_> {
    Pairs { rest: text, left: MAX_PAIRS }
}

/// The first value of `name`.
pub fn first<'a>(text: &'a [u8], name: &[u8]) -> Option<Cow<'a, [u8]>> {
    pairs(text).find_map(|(key, value)| (key == name).then_some(value))
}

/// See [`pairs`].
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Pairs<'a> {
    /// Whether there are pairs that will not be given, as there are too many: asked when there is no next one.
    pub fn is_cut_off(&self) -> bool {
        self.left == 0 && self.rest.iter().any(|&byte| byte != b'&')
    }

    /// The next part that is not empty.
    fn part(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (part, rest) = split(self.rest, b'&').unwrap_or((self.rest, &[]));
            self.rest = rest;
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        if self.left == 0 {
            return None;
        }
        let part = self.part()?;
        self.left -= 1;
        let (name, value) = split(part, b'=').unwrap_or((part, &[]));
        Some((form_decode(name), form_decode(value)))
    }
}

/// Splits a text at the first `separator`.
fn split(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// [`decode`] for a name or a value of a form or a query, where `+` is a space besides.
pub fn form_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return decode(text);
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(decode(&spaced).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(query: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        pairs(query.as_bytes()).map(|(name, value)| (text(&name), text(&value))).collect()
    }

    fn expect(query: &str, expected: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            expected.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(all(query), expected, "{query}");
    }

    #[test]
    fn pairs_are_split_and_decoded() {
        expect("a=1&b=x+y%21&c", &[("a", "1"), ("b", "x y!"), ("c", "")]);
        expect("&&a=1&&=2&", &[("a", "1"), ("", "2")]);
        expect("a=b=c&%61+b=%2B", &[("a", "b=c"), ("a b", "+")]);
        expect("a=1;b=2", &[("a", "1;b=2")]);
        expect("a=%&b=%4&c=%zz&d=%00", &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "\0")]);
        expect("", &[]);
    }

    #[test]
    fn the_first_of_a_name_is_found() {
        assert_eq!(first(b"a=1&b=2&%61=3", b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(first(b"%61=1", b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(first(b"a=1", b"b"), None);
    }

    #[test]
    fn too_many_pairs_are_cut_off_and_it_can_be_told() {
        let fits = "a=1&".repeat(MAX_PAIRS);
        let mut fitting = pairs(fits.as_bytes());
        assert_eq!(fitting.by_ref().count(), MAX_PAIRS);
        assert!(!fitting.is_cut_off());
        let over = format!("{fits}&b");
        let mut cut = pairs(over.as_bytes());
        assert_eq!(cut.by_ref().count(), MAX_PAIRS);
        assert!(cut.is_cut_off());
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(written in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..20)) {
            let query: Vec<String> = written.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
            let read: Vec<(Vec<u8>, Vec<u8>)> =
                pairs(query.join("&").as_bytes()).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_bytes_are_a_query(text: Vec<u8>) {
            for (name, value) in pairs(&text) {
                prop_assert!(name.len() + value.len() <= text.len());
            }
        }
    }
}
