//! Which files can be edited as text, and how text comes through a form unchanged.
//!
//! Browsers turn the ends of lines into CR LF when they send a text, so it is noted how a file has them. What an HTML parser would change
//! otherwise (NUL, a CR alone, what is not UTF-8) is no text here, and nobody is offered to edit it.

use std::fmt::{self, Display, Formatter, Write as _};
use std::os::unix::fs::FileExt as _;

use crate::store::{StoreError, StoredContent};

/// The longest text that is edited or compared, in bytes: what a browser's text field can still be used for.
pub(super) const MAX_TEXT: u64 = 1024 * 1024;

/// A file that can be edited.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) ends: LineEnds,
}

/// How lines end in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    Lf,
    CrLf,
}

impl LineEnds {
    /// As the form has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lf => "lf",
            Self::CrLf => "crlf",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        if name == "crlf" { Self::CrLf } else { Self::Lf }
    }

    /// A text that came by a form, as the file has it.
    pub(super) fn of_form(self, text: &str) -> String {
        let text = text.replace("\r\n", "\n");
        match self {
            Self::Lf => text,
            Self::CrLf => text.replace('\n', "\r\n"),
        }
    }
}

impl Text {
    /// Reads a file; none if it is too long, or no text.
    pub(super) fn read(content: &StoredContent) -> Result<Option<Self>, StoreError> {
        let size = u64::try_from(content.stat.st_size).unwrap_or(u64::MAX);
        if size > MAX_TEXT {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        match content.file.read_exact_at(&mut bytes, 0) {
            // Others have made it shorter meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(Self::of(bytes))
    }

    pub(super) fn of(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8(bytes).ok()?;
        let is_text = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r') || c > '\u{7f}';
        let ends =
            match (text.matches("\r\n").count(), text.matches('\n').count(), text.matches('\r').count()) {
                (0, _, 0) => LineEnds::Lf,
                (pairs, lines, returns) if pairs == lines && pairs == returns => LineEnds::CrLf,
                // Both, or a CR alone: which is which would be lost.
                _ => return None,
            };
        text.chars().all(is_text).then_some(Self { text, ends })
    }
}

/// Text as the content of a `textarea`, where it is to come out again as it is.
pub(super) struct Verbatim<'t>(pub(super) &'t str);

impl Display for Verbatim<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>']) {
            let (before, behind) = rest.split_at(at);
            f.write_str(before)?;
            f.write_str(match behind.as_bytes().first() {
                Some(b'&') => "&amp;",
                Some(b'<') => "&lt;",
                _ => "&gt;",
            })?;
            rest = behind.get(1..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

/// The field that a text is edited in.
pub(super) fn area(page: &mut String, text: &str) {
    // The parser takes the first end of a line away.
    let _infallible = write!(
        page,
        "<textarea id=\"text\" name=\"text\" rows=\"20\" spellcheck=\"false\" autocapitalize=\"off\" autocomplete=\"off\">\n{}</textarea>",
        Verbatim(text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_comes_through_a_form_unchanged() {
        let ends = |bytes: &[u8]| Text::of(bytes.to_vec()).map(|text| text.ends);
        assert_eq!(ends(b""), Some(LineEnds::Lf));
        assert_eq!(ends("a\tb\né\n".as_bytes()), Some(LineEnds::Lf));
        assert_eq!(ends(b"a\r\nb\r\n"), Some(LineEnds::CrLf));
        for binary in [&b"a\r\nb\n"[..], b"a\rb", b"a\0b", b"\x1b[1m", b"\xff", b"a\x7f"] {
            assert_eq!(ends(binary), None, "{binary:?}");
        }
        assert_eq!(LineEnds::CrLf.of_form("a\r\nb\nc"), "a\r\nb\r\nc");
        assert_eq!(LineEnds::Lf.of_form("a\r\nb\nc"), "a\nb\nc");
        assert_eq!(Verbatim("\"</textarea>&amp;\t'").to_string(), "\"&lt;/textarea&gt;&amp;amp;\t'");
    }
}
