//! The charsets that forms come in.

use std::borrow::Cow;

use super::PartError;
use super::params::param;

/// A charset whose text can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// UTF-8, and with it US-ASCII. Its bytes are what a script gets; nobody checks them.
    #[default]
    Utf8,
    /// Latin-1 as it is in use: Windows-1252 (WHATWG Encoding §4.2). What Apache's client says of each text by default.
    Latin1,
}

/// The characters of the bytes from 0x80 to 0x9F in Windows-1252; in Latin-1 they would be control characters.
const C1: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Charset {
    /// The charset of that name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is(&["utf-8", "utf8", "us-ascii", "ascii"]) {
            Some(Self::Utf8)
        } else if is(&["iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252"]) {
            Some(Self::Latin1)
        } else {
            None
        }
    }

    /// Reads a field's parameter `charset`; UTF-8 where it says nothing. One that is not known is refused: guessing
    /// would make other characters of the text.
    ///
    /// # Errors
    ///
    /// [`PartError::Charset`]
    pub fn of(content_type: &[u8]) -> Result<Self, PartError> {
        let Some(name) = param(content_type, "charset") else { return Ok(Self::Utf8) };
        Self::named(&name).ok_or_else(|| PartError::charset(&name))
    }

    /// Text in this charset as UTF-8. It is the same in whatever pieces it comes.
    pub fn to_utf8(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self == Self::Utf8 || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let chars = text.iter().map(|&byte| match byte {
            0x80..=0x9F => C1[usize::from(byte - 0x80)],
            other => char::from(other),
        });
        Cow::Owned(chars.collect::<String>().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_1_becomes_utf_8() {
        let latin = Charset::named(b"ISO-8859-1").unwrap();
        assert_eq!(&*latin.to_utf8(b"na\xefve \x80 \xff"), "naïve € ÿ".as_bytes());
        assert_eq!(&*Charset::named(b"UTF-8").unwrap().to_utf8(b"\xef"), b"\xef");
        assert_eq!(Charset::named(b"utf-16"), None);
        assert_eq!(Charset::of(b"text/plain; CHARSET=\"latin1\"").unwrap(), Charset::Latin1);
        assert_eq!(Charset::of(b"text/plain").unwrap(), Charset::Utf8);
        assert!(Charset::of(b"text/plain; charset=shift_jis").unwrap_err().to_string().contains("shift_jis"));
    }
}
