//! Entity tags ([RFC 9110 §8.8.3]) and lists of them.
//!
//! A tag may hold a comma, so a list cannot be split at commas: it is read tag by tag.
//!
//! [RFC 9110 §8.8.3]: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3

use std::fmt::{self, Display, Formatter};

/// An entity tag, borrowed from the field it stands in.
///
/// `==` compares what is written. What a request asks is whether two tags are equal [strongly](Self::strong_eq) or
/// [weakly](Self::weak_eq), depending on the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag<'a> {
    weak: bool,
    /// What stands between the quotes.
    opaque: &'a [u8],
}

impl<'a> ETag<'a> {
    /// Reads a field value that is one tag and nothing else: `"xyzzy"` or `W/"xyzzy"`.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match take(value)? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// Whether it is a weak one: `W/"..."`.
    pub const fn is_weak(self) -> bool {
        self.weak
    }

    /// The text between its quotes.
    pub const fn opaque(self) -> &'a [u8] {
        self.opaque
    }

    /// The strong comparison: the same bytes, and neither is weak. For `If-Match` and `If-Range`.
    pub fn strong_eq(self, other: ETag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The weak comparison: the same bytes. For `If-None-Match`.
    pub fn weak_eq(self, other: ETag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

impl Display for ETag<'_> {
    /// As it stands in a field; what is not UTF-8 is replaced.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let prefix = if self.weak { "W/" } else { "" };
        write!(f, "{prefix}\"{}\"", String::from_utf8_lossy(self.opaque))
    }
}

/// The tags of a list, up to the first thing that is none.
pub(super) fn list(field: &[u8]) -> impl Iterator<Item = ETag<'_>> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        // Empty elements do not count (RFC 9110 §5.6.1.2).
        let start = skip(rest.take()?, |b| matches!(b, b' ' | b'\t' | b','));
        let (tag, after) = take(start)?;
        let after = skip(after, |b| matches!(b, b' ' | b'\t'));
        rest = (after.is_empty() || after.starts_with(b",")).then_some(after);
        Some(tag)
    })
}

/// Reads one tag at the start of `input` and returns it with what follows.
fn take(input: &[u8]) -> Option<(ETag<'_>, &[u8])> {
    let (weak, quoted) = match input.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, input),
    };
    let body = quoted.strip_prefix(b"\"")?;
    let end = body.iter().position(|&b| !is_etagc(b))?;
    let (opaque, after) = body.split_at_checked(end)?;
    Some((ETag { weak, opaque }, after.strip_prefix(b"\"")?))
}

/// `%x21 / %x23-7E / obs-text`
const fn is_etagc(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)
}

fn skip(input: &[u8], what: fn(u8) -> bool) -> &[u8] {
    let end = input.iter().position(|&b| !what(b)).unwrap_or(input.len());
    input.get(end..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(field: &str) -> Vec<String> {
        list(field.as_bytes()).map(|tag| tag.to_string()).collect()
    }

    #[test]
    fn a_tag_is_quoted_and_may_be_weak() {
        let tag = ETag::parse(b"W/\"x,y\"").expect("a tag");
        assert!(tag.is_weak());
        assert_eq!(tag.opaque(), b"x,y");
        for bad in
            ["", "x", "\"x", "x\"", "w/\"x\"", "W/x", "\"a b\"", "\"a\"b", "\"a\"\"", "W/ \"a\"", "\"\x7f\""]
        {
            assert_eq!(ETag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn comparison_is_the_table_of_the_rfc() {
        let tag = |value: &'static str| ETag::parse(value.as_bytes()).expect("a tag");
        for (one, two, strong, weak) in [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ] {
            assert_eq!(tag(one).strong_eq(tag(two)), strong);
            assert_eq!(tag(one).weak_eq(tag(two)), weak);
        }
    }

    #[test]
    fn a_list_is_read_up_to_the_first_fault() {
        assert_eq!(tags(r#""a", W/"b","c,d""#), [r#""a""#, r#"W/"b""#, r#""c,d""#]);
        assert_eq!(tags(r#" , "a" ,, "b","#), [r#""a""#, r#""b""#]);
        assert_eq!(tags(r#""a" "b""#), [r#""a""#]);
        assert_eq!(tags(r#""a", b, "c""#), [r#""a""#]);
        assert_eq!(tags("*"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(written in proptest::collection::vec((any::<bool>(), "[!#-~]{0,8}"), 0..8)) {
            let field: Vec<String> =
                written.iter().map(|(weak, opaque)| format!("{}\"{opaque}\"", if *weak { "W/" } else { "" })).collect();
            prop_assert_eq!(tags(&field.join(", ")), field);
        }

        #[test]
        fn bytes_never_panic(field: Vec<u8>) {
            prop_assert!(list(&field).count() <= field.len());
            let _ = ETag::parse(&field);
        }
    }
}
