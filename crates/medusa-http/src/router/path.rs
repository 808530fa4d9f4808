//! Request paths as they came: whether one is well formed, what its clean form is, what a segment means.
//!
//! **Invariant:** only a clean path is matched. A path with empty, `.` or `..` segments, however they are encoded, is
//! answered with a redirect to its clean form, so that no two spellings of a path meet different mounts: a mount that
//! protects `/private/` cannot be walked around by `//private/` or `/x/%2e%2e/private/`.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode, utf8_percent_encode};

/// The use that a path is fit for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Can be matched as it is.
    Clean,
    /// Has another, clean spelling.
    Unclean(String),
    /// Has no meaning: not absolute, a broken percent-encoding, or an encoded NUL.
    Bad,
}

/// Looks at a path once, before it is matched. Allocates only to spell an unclean one anew.
pub(super) fn shape(path: &str) -> Shape {
    if !path.starts_with('/') {
        return Shape::Bad;
    }
    if !is_suspicious(path.as_bytes()) {
        return Shape::Clean;
    }
    let mut clean = true;
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if !is_well_formed(segment.as_bytes()) {
            return Shape::Bad;
        }
        let trailing_slash = segment.is_empty() && segments.peek().is_none();
        clean &= trailing_slash || matches!(SegmentStep::of(segment), SegmentStep::Down);
    }
    if clean { Shape::Clean } else { Shape::Unclean(cleaned(path)) }
}

/// Whether a path can be matched as it is.
pub(crate) fn is_clean(path: &str) -> bool {
    shape(path) == Shape::Clean
}

/// Whether a path holds anything that asks for the slow look: `%`, `//` or `/.`, or a NUL.
fn is_suspicious(path: &[u8]) -> bool {
    let mut previous = 0;
    path.iter().any(|&byte| {
        let after_slash = std::mem::replace(&mut previous, byte) == b'/';
        matches!(byte, b'%' | 0) || (after_slash && matches!(byte, b'/' | b'.'))
    })
}

/// The step through the hierarchy that a segment is.
enum SegmentStep {
    Stay,
    Up,
    Down,
}

impl SegmentStep {
    fn of(segment: &str) -> Self {
        match &*decode(segment) {
            b"" | b"." => Self::Stay,
            b".." => Self::Up,
            _ => Self::Down,
        }
    }
}

/// Removes dot segments as [RFC 3986 §5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4) and empty
/// segments. `..` at the top stays at the top. The result never begins with `//`, so it cannot lead a browser to
/// another host.
fn cleaned(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_directory = false;
    for segment in path.split('/').skip(1) {
        let step = SegmentStep::of(segment);
        is_directory = !matches!(step, SegmentStep::Down);
        match step {
            SegmentStep::Stay => {}
            SegmentStep::Up => drop(kept.pop()),
            SegmentStep::Down => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        push_escaped(&mut clean, segment);
    }
    if is_directory || kept.is_empty() {
        clean.push('/');
    }
    clean
}

/// The same path with a slash at its end, fit for a `Location` field.
pub(crate) fn with_slash(path: &str) -> String {
    let mut location = String::with_capacity(path.len() + 1);
    push_escaped(&mut location, path);
    location.push('/');
    location
}

/// All that a segment cannot hold as it is ([RFC 3986 §3.3](https://www.rfc-editor.org/rfc/rfc3986#section-3.3)).
const NOT_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// All that an already encoded path cannot hold. A backslash must not pass: browsers read `/\host` as `//host`.
const NOT_PATH: &AsciiSet = &NOT_SEGMENT.remove(b'/').remove(b'%');

fn push_escaped(out: &mut String, path: &str) {
    out.extend(utf8_percent_encode(path, NOT_PATH));
}

/// The raw form of a segment's bytes.
pub(crate) fn encode(segment: &[u8]) -> PercentEncode<'_> {
    percent_encode(segment, NOT_SEGMENT)
}

/// Whether every `%` begins an escape of a byte that is not NUL, and there is no bare NUL.
pub(super) fn is_well_formed(segment: &[u8]) -> bool {
    let mut rest = segment;
    while let Some(at) = memchr2(b'%', 0, rest) {
        match &rest[at..] {
            [b'%', high, low, after @ ..] if escaped_byte(*high, *low).is_some_and(|byte| byte != 0) => {
                rest = after;
            }
            _ => return false,
        }
    }
    true
}

/// Whether a raw path, which is well formed, holds a slash that is part of a segment.
pub(super) fn has_escaped_slash(path: &str) -> bool {
    memchr_iter(b'%', path.as_bytes())
        .any(|at| matches!(path.as_bytes().get(at + 1..at + 3), Some([b'2', b'F' | b'f'])))
}

fn escaped_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |hex: u8| char::from(hex).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// The bytes a raw segment stands for. Borrowed when there is nothing to decode.
pub(super) fn decode(segment: &str) -> Cow<'_, [u8]> {
    match memchr(b'%', segment.as_bytes()) {
        Some(_) => percent_encoding::percent_decode_str(segment).into(),
        None => segment.as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_paths_stay_as_they_are() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c/d",
            "/.well-known/x",
            "/a/...",
            "/a/..b",
            "/%41/%2F",
            "/caf%C3%A9",
            "/*",
        ] {
            assert_eq!(shape(path), Shape::Clean, "{path}");
        }
    }

    #[test]
    fn unclean_paths_are_told_their_clean_form() {
        let table = [
            ("//", "/"),
            ("//evil.example", "/evil.example"),
            ("/.//evil.example/", "/evil.example/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/%2e%2E/c", "/a/c"),
            ("/a/.%2e/c", "/c"),
            ("/%2e/c", "/c"),
            ("/../../c", "/c"),
            ("/a//", "/a/"),
            ("/a%20b//c", "/a%20b/c"),
            ("//\\evil.example", "/%5Cevil.example"),
        ];
        for (path, clean) in table {
            assert_eq!(shape(path), Shape::Unclean(clean.into()), "{path}");
            assert_eq!(shape(clean), Shape::Clean, "{clean}");
        }
    }

    #[test]
    fn paths_without_meaning_are_bad() {
        for path in ["", "a", "*", "/%", "/a%2", "/%zz", "/a/%00", "/%2", "/a%/b", "//%", "/..%0", "/\0"] {
            assert_eq!(shape(path), Shape::Bad, "{path:?}");
        }
    }

    #[test]
    fn a_redirect_cannot_leave_the_host() {
        assert_eq!(with_slash("/\\evil.example"), "/%5Cevil.example/");
        assert_eq!(with_slash("/a%20b\u{e9}"), "/a%20b%C3%A9/");
    }
}
