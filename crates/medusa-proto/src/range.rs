//! Byte ranges: which parts of a representation a `Range` field asks for ([RFC 9110 §14]).
//!
//! **Invariant: every [`Range`] handed out lies within the representation and is not empty**, and all of them together
//! are no longer than it. A small request can therefore not ask for more bytes than the plain one would get: many and
//! overlapping ranges are how servers have been brought down ([RFC 9110 §17.15]).
//!
//! A field that cannot be understood is ignored, as [§14.2] allows: the client gets the whole, which is never wrong.
//!
//! [RFC 9110 §14]: https://www.rfc-editor.org/rfc/rfc9110#section-14
//! [§14.2]: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
//! [RFC 9110 §17.15]: https://www.rfc-editor.org/rfc/rfc9110#section-17.15

/// The most ranges one field may name, the unsatisfiable ones included; with more, the field is ignored.
///
/// Download managers and PDF readers ask for a handful.
pub const MAX_RANGES: usize = 16;

/// The ranges to send, given a `Range` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// All of it, with 200: there was no field, or one to be ignored.
    Whole,
    /// One part, with 206 and `Content-Range`.
    One(Range),
    /// Several parts in the order asked for, at least two and at most [`MAX_RANGES`], with 206 and
    /// `multipart/byteranges`.
    Many(Vec<Range>),
    /// Nothing: 416 with the `Content-Range` of [`unsatisfied`].
    Unsatisfiable,
}

/// A part of a representation: within it, and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes, at least one.
    pub len: u64,
}

impl Range {
    /// The value of `Content-Range` beside this part, where `total` is the length of the whole: `bytes 0-99/1234`.
    #[must_use]
    pub fn content_range(self, total: u64) -> String {
        let last = self.start.saturating_add(self.len.saturating_sub(1));
        format!("bytes {}-{last}/{total}", self.start)
    }
}

/// The value of `Content-Range` in a 416 response, where `total` is the length of the whole: `bytes */1234`.
#[must_use]
pub fn unsatisfied(total: u64) -> String {
    format!("bytes */{total}")
}

/// Reads the `Range` field of a GET request for a representation of `total` bytes.
///
/// For any other method the field has no meaning ([RFC 9110 §14.2]): do not ask. Nor if `If-Range` says no (see
/// [`if_range`](crate::conditional::if_range)).
///
/// [RFC 9110 §14.2]: https://www.rfc-editor.org/rfc/rfc9110#section-14.2
#[must_use]
pub fn parse(field: Option<&[u8]>, total: u64) -> Ranges {
    field.and_then(|field| parse_field(field, total)).unwrap_or(Ranges::Whole)
}

/// `None` if the field is to be ignored.
fn parse_field(field: &[u8], total: u64) -> Option<Ranges> {
    let (unit, set) = split_once(field.trim_ascii(), b'=')?;
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut named = 0;
    let mut ranges = Vec::new();
    let mut sum = 0_u64;
    // A list may have empty elements, which do not count (RFC 9110 §5.6.1.2).
    for spec in set.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        named += 1;
        if named > MAX_RANGES {
            return None;
        }
        match parse_spec(spec)?.resolve(total) {
            Resolved::Part(range) => {
                sum = sum.checked_add(range.len)?;
                ranges.push(range);
            }
            Resolved::Nothing => {}
            Resolved::Ignore => return None,
        }
    }
    match (named, ranges.as_slice()) {
        (0, _) => None,
        (_, []) => Some(Ranges::Unsatisfiable),
        (_, &[range]) => Some(Ranges::One(range)),
        _ if sum > total => None,
        _ => Some(Ranges::Many(ranges)),
    }
}

/// One element of the list, before the length of the representation is known.
#[derive(Clone, Copy)]
enum Spec {
    /// `first-last`, `last` included; `first-` has the largest number as its last.
    From(u64, u64),
    /// `-length`: that many bytes at the end.
    Suffix(u64),
}

/// The meaning of a [`Spec`] for a representation.
enum Resolved {
    Part(Range),
    /// No byte of it: unsatisfiable, if all are.
    Nothing,
    /// No answer but the whole one fits.
    Ignore,
}

impl Spec {
    fn resolve(self, total: u64) -> Resolved {
        match self {
            Self::Suffix(0) => Resolved::Nothing,
            // Satisfiable by the letter of §14.1.2, but `Content-Range` cannot say "the last bytes of nothing".
            Self::Suffix(_) if total == 0 => Resolved::Ignore,
            Self::Suffix(length) => {
                let len = length.min(total);
                Resolved::Part(Range { start: total - len, len })
            }
            Self::From(first, _) if first >= total => Resolved::Nothing,
            Self::From(first, last) => {
                Resolved::Part(Range { start: first, len: last.min(total - 1) - first + 1 })
            }
        }
    }
}

/// `None` if malformed, a `last` below its `first` included.
fn parse_spec(spec: &[u8]) -> Option<Spec> {
    let (first, last) = split_once(spec, b'-')?;
    match (first, last) {
        (b"", length) => Some(Spec::Suffix(number(length)?)),
        (first, b"") => Some(Spec::From(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, last))
        }
    }
}

/// A run of digits. A number too large to hold is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n: u64, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(start: u64, len: u64) -> Ranges {
        Ranges::One(Range { start, len })
    }

    fn read(field: &str, total: u64) -> Ranges {
        parse(Some(field.as_bytes()), total)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(read("bytes=0-499", 10_000), one(0, 500));
        assert_eq!(read("bytes=500-999", 10_000), one(500, 500));
        assert_eq!(read("bytes=-500", 10_000), one(9_500, 500));
        assert_eq!(read("bytes=9500-", 10_000), one(9_500, 500));
        let two = vec![Range { start: 0, len: 1 }, Range { start: 9_999, len: 1 }];
        assert_eq!(read("bytes=0-0,-1", 10_000), Ranges::Many(two));
    }

    #[test]
    fn what_reaches_beyond_the_end_is_cut() {
        assert_eq!(read("bytes=90-200", 100), one(90, 10));
        assert_eq!(read("bytes=-200", 100), one(0, 100));
        assert_eq!(read("bytes=0-99999999999999999999999", 100), one(0, 100));
    }

    #[test]
    fn what_names_no_byte_is_unsatisfiable() {
        for field in
            ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-", "bytes=100-,200-"]
        {
            assert_eq!(read(field, 100), Ranges::Unsatisfiable, "{field}");
        }
        assert_eq!(read("bytes=0-", 0), Ranges::Unsatisfiable);
        assert_eq!(read("bytes=200-,5-5", 100), one(5, 1), "one satisfiable range is enough");
    }

    #[test]
    fn a_sum_beyond_all_numbers_is_more_than_the_whole() {
        assert_eq!(read("bytes=2-9,20-29,1-", u64::MAX), Ranges::Whole);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        assert_eq!(parse(None, 100), Ranges::Whole);
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=0x1-2",
            "lines=0-1",
            "bytes 0-1",
            "bytes=1",
            "bytes=0-1,x",
            "bytes=1 - 2",
        ] {
            assert_eq!(read(field, 100), Ranges::Whole, "{field}");
        }
        assert_eq!(read("bytes=-5", 0), Ranges::Whole);
    }

    #[test]
    fn units_have_no_case_and_lists_have_gaps() {
        assert_eq!(read("Bytes=0-1", 100), one(0, 2));
        assert_eq!(read(" bytes= , 0-1 ,, ", 100), one(0, 2));
    }

    #[test]
    fn too_many_or_too_much_gets_the_whole() {
        let list = |count: usize| {
            let specs: Vec<String> = (0..count).map(|i| format!("{i}-{i}")).collect();
            read(&format!("bytes={}", specs.join(",")), 1000)
        };
        assert!(matches!(list(MAX_RANGES), Ranges::Many(ranges) if ranges.len() == MAX_RANGES));
        assert_eq!(list(MAX_RANGES + 1), Ranges::Whole);
        assert_eq!(read("bytes=0-,0-,0-", 1000), Ranges::Whole);
    }

    #[test]
    fn content_range_is_written() {
        assert_eq!(Range { start: 0, len: 100 }.content_range(1234), "bytes 0-99/1234");
        assert_eq!(unsatisfied(1234), "bytes */1234");
    }

    /// Any of what a `Range` field is made of, so that much of it parses.
    fn fields() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::collection::vec("(0|[1-9][0-9]{0,3})?-(0|[1-9][0-9]{0,3})?", 1..20)
                .prop_map(|specs| format!("bytes={}", specs.join(","))),
            "bytes=[0-9, -]{0,40}",
            ".*",
        ]
    }

    proptest! {
        #[test]
        fn every_range_lies_within(field in fields(), total in prop_oneof![0..2000_u64, any::<u64>()]) {
            let ranges = match read(&field, total) {
                Ranges::One(range) => vec![range],
                Ranges::Many(ranges) => {
                    prop_assert!((2..=MAX_RANGES).contains(&ranges.len()));
                    ranges
                }
                Ranges::Whole | Ranges::Unsatisfiable => vec![],
            };
            let mut sum = 0_u128;
            for range in ranges {
                prop_assert!(range.len > 0);
                prop_assert!(u128::from(range.start) + u128::from(range.len) <= u128::from(total));
                sum += u128::from(range.len);
            }
            prop_assert!(sum <= u128::from(total));
        }

        #[test]
        fn a_range_asked_for_is_the_range_given(start: u32, len in 1..u32::MAX, beyond: u32) {
            let (start, len) = (u64::from(start), u64::from(len));
            let total = start + len + u64::from(beyond);
            prop_assert_eq!(read(&format!("bytes={start}-{}", start + len - 1), total), one(start, len));
            prop_assert_eq!(read(&format!("bytes=-{len}"), total), one(total - len, len));
        }

        #[test]
        fn bytes_never_panic(field: Vec<u8>, total: u64) {
            let _ = parse(Some(&field), total);
        }
    }
}
