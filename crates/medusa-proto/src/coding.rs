//! Content codings: which compressed form of a representation a client takes ([RFC 9110 §12.5.3]).
//!
//! **Invariant:** a coding that the client has not named, by itself or by `*`, or has given the weight 0, is never
//! chosen. A client that gets a form it cannot read sees rubbish.
//!
//! [RFC 9110 §12.5.3]: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3

/// A way to compress content, as `Content-Encoding` names it.
///
/// The order is ours among codings that a client likes equally: for what is compressed once and sent often, Brotli is
/// the smallest, then Zstandard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli ([RFC 7932](https://www.rfc-editor.org/rfc/rfc7932)).
    Brotli,
    /// Zstandard ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)).
    Zstd,
    /// gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)).
    Gzip,
}

impl Coding {
    /// All of them, the one we like best first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its registered name: `br`, `zstd`, `gzip`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// The suffix of files of this coding: `.br`, `.zst`, `.gz`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// Names have no case, and `x-gzip` is gzip ([RFC 9110 §8.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1)).
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
        Self::ALL.into_iter().find(|coding| coding.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The weight that a client gives each coding, from its `Accept-Encoding` field: 0 (not at all) to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    brotli: u16,
    zstd: u16,
    gzip: u16,
    /// `None` if the field says nothing of it: then it is taken, but liked least.
    identity: Option<u16>,
}

impl Accepts {
    /// A client that says nothing takes what is not encoded. (By the letter it takes anything; those that say nothing
    /// are those that can do nothing.)
    pub const IDENTITY: Self = Self { brotli: 0, zstd: 0, gzip: 0, identity: None };

    /// Reads an `Accept-Encoding` field, line by line. What cannot be understood of it is skipped.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut brotli, mut zstd, mut gzip, mut identity, mut others) = (None, None, None, None, None);
        for element in lines.into_iter().flat_map(|line| line.split(|&byte| byte == b',')) {
            let Some((name, weight)) = weighted(element.trim_ascii()) else { continue };
            match Coding::named(name) {
                Some(Coding::Brotli) => brotli = Some(weight),
                Some(Coding::Zstd) => zstd = Some(weight),
                Some(Coding::Gzip) => gzip = Some(weight),
                None if name == b"*" => others = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                None => {}
            }
        }
        let weight = |named: Option<u16>| named.or(others).unwrap_or(0);
        Self { brotli: weight(brotli), zstd: weight(zstd), gzip: weight(gzip), identity: identity.or(others) }
    }

    /// The weight it gives `coding`.
    #[must_use]
    pub const fn weight(self, coding: Coding) -> u16 {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }

    /// The best of the codings for which `offered` is true; `None` to send the content as it is: because none of them
    /// is taken, or because the client says that it likes that better.
    ///
    /// A client that refuses what is not encoded but takes nothing that is offered gets `None`, too: a server may
    /// disregard the field, and an answer is worth more than 406
    /// ([RFC 9110 §12.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.1)).
    pub fn choose(self, offered: impl Fn(Coding) -> bool) -> Option<Coding> {
        let liked = |coding: &Coding| self.weight(*coding) > 0 && offered(*coding);
        // Of equals, `max_by_key` takes the last.
        let best = Coding::ALL.into_iter().rev().filter(liked).max_by_key(|coding| self.weight(*coding))?;
        (self.weight(best) >= self.identity.unwrap_or(0)).then_some(best)
    }
}

/// `gzip`, `gzip;q=0.5`: the name and its weight in thousandths. `None` if it is neither.
fn weighted(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.splitn(2, |&byte| byte == b';');
    let name = parts.next()?.trim_ascii();
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => weight(parameter.trim_ascii())?,
    };
    (!name.is_empty()).then_some((name, weight))
}

/// `q=` and a `qvalue` ([RFC 9110 §12.4.2](https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2)): `0`, `0.5`, `1.000`.
fn weight(parameter: &[u8]) -> Option<u16> {
    let ([b'q' | b'Q', b'=', value @ ..] | [b'q' | b'Q', b' ', b'=', value @ ..]) = parameter else {
        return None;
    };
    let (whole, fraction) = match value {
        [whole] => (whole, &b""[..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(field: &str) -> Accepts {
        Accepts::parse([field.as_bytes()])
    }

    fn chosen(field: &str) -> Option<Coding> {
        accepts(field).choose(|_| true)
    }

    #[test]
    fn what_clients_send() {
        use Coding::{Brotli, Gzip, Zstd};
        for (field, expected) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("deflate, gzip, br", Some(Brotli)),
            ("zstd, gzip", Some(Zstd)),
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("X-GZIP", Some(Gzip)),
            ("br;q=0.8, gzip;q=0.9", Some(Gzip)),
            ("gzip;q=1.0, br;q=0.001", Some(Gzip)),
            ("br;q=0, gzip", Some(Gzip)),
            ("*", Some(Brotli)),
            ("br;q=0, *;q=0.5", Some(Zstd)),
            ("identity;q=0, gzip;q=0.1", Some(Gzip)),
            ("identity, gzip", Some(Gzip)),
            ("gzip ; q=0.5", Some(Gzip)),
            ("gzip;Q=0.5", Some(Gzip)),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.6, *;q=0.5", None),
            ("", None),
            ("identity", None),
            ("deflate", None),
            ("gzip;q=0", None),
            ("*;q=0", None),
        ] {
            assert_eq!(chosen(field), expected, "{field:?}");
        }
        assert_eq!(Accepts::IDENTITY.choose(|_| true), None);
    }

    #[test]
    fn only_what_is_offered_is_chosen() {
        let all = accepts("br, gzip;q=0.5");
        assert_eq!(all.choose(|coding| coding == Coding::Gzip), Some(Coding::Gzip));
        assert_eq!(all.choose(|coding| coding == Coding::Zstd), None);
    }

    #[test]
    fn lines_are_one_list() {
        let lines: [&[u8]; 2] = [b"gzip;q=0.5", b"zstd"];
        assert_eq!(Accepts::parse(lines).choose(|_| true), Some(Coding::Zstd));
    }

    #[test]
    fn malformed_elements_are_skipped() {
        for element in [
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=0.1234",
            "gzip;q=1.001",
            "gzip;q=-1",
            "gzip;x=1",
            "gzip;q=a",
            ";q=1",
        ] {
            assert_eq!(chosen(element), None, "{element:?}");
            assert_eq!(chosen(&format!("{element}, zstd;q=0.1")), Some(Coding::Zstd), "{element:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_chosen_that_is_not_named(field in "[a-z*;=,.01 ]{0,40}|.*") {
            if let Some(coding) = chosen(&field) {
                prop_assert!(field.to_ascii_lowercase().contains(coding.name()) || field.contains('*'));
            }
        }

        #[test]
        fn weights_are_read_as_written(weight in 0..=1000_u16) {
            let field = format!("gzip;q={}", f64::from(weight) / 1000.0);
            prop_assert_eq!(accepts(&field).weight(Coding::Gzip), weight);
        }

        #[test]
        fn bytes_never_panic(field: Vec<u8>) {
            let _ = Accepts::parse([field.as_slice()]);
        }
    }
}
