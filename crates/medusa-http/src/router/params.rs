//! The matches of a pattern's wildcards in one request.
//!
//! **Invariant:** the values own their bytes and are decoded, so they outlive the request's path and nobody decodes
//! them twice. Names are shared with the pattern; values of up to [`INLINE`] bytes in all need no allocation.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

/// Room for values inside [`Params`] itself: an identifier or two.
const INLINE: usize = 32;

/// The names of a pattern's wildcards, from left to right.
pub(super) type Names = Arc<[Box<str>]>;

/// The values of a pattern's wildcards, by name.
///
/// A value is bytes: percent-encoding can spell any byte but NUL. That of one segment holds no `/` and is neither `.`
/// nor `..`; that of a rest is a path without such segments.
#[derive(Clone, Default)]
pub struct Params {
    names: Option<Names>,
    bytes: SmallVec<[u8; INLINE]>,
    /// The end of each value in `bytes`.
    ends: SmallVec<[usize; 3]>,
}

impl Params {
    pub(super) fn new(names: &Names) -> Self {
        Self { names: (!names.is_empty()).then(|| Arc::clone(names)), ..Self::default() }
    }

    /// Adds the value of the next name.
    pub(super) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// The value of the wildcard called `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let values = starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end));
        self.names.iter().flat_map(|names| names.iter()).map(AsRef::as_ref).zip(values)
    }

    /// Whether the pattern has no named wildcard.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// For requests that no router has seen: made by a handler, or by a test.
impl<'a> FromIterator<(&'a str, &'a [u8])> for Params {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(pairs: I) -> Self {
        let (names, values): (Vec<&str>, Vec<&[u8]>) = pairs.into_iter().unzip();
        let mut params = Self::new(&names.into_iter().map(Into::into).collect());
        for value in values {
            params.push(value);
        }
        params
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Params {}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_kept_apart() {
        let params: Params = [("a", &b"1"[..]), ("b", b""), ("c", b"3\xff")].into_iter().collect();
        assert_eq!(params.get("a"), Some(&b"1"[..]));
        assert_eq!(params.get("b"), Some(&b""[..]));
        assert_eq!(params.get("c"), Some(&b"3\xff"[..]));
        assert_eq!(params.get("d"), None);
        assert_eq!(params.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(Params::default().is_empty() && !params.is_empty());
    }

    #[test]
    fn long_values_are_whole() {
        let long = vec![b'x'; 1000];
        let params: Params = [("a", &long[..]), ("b", b"y")].into_iter().collect();
        assert_eq!(params.get("a"), Some(&long[..]));
        assert_eq!(params.get("b"), Some(&b"y"[..]));
    }
}
