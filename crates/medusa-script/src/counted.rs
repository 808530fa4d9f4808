//! Text of a bounded length: what the host writes for a script, or from a script's values.
//!
//! Such text is not in the VM's memory, and what it is made of can be as long as the VM is large, many times over: a
//! table may hold the same string a thousand times. So it is counted while it is written, and what does not fit is
//! never made.

use std::fmt;

/// A text that ends at its limit.
#[derive(Debug)]
pub(crate) struct Counted {
    text: String,
    most: usize,
    cut: bool,
}

impl Counted {
    /// An empty text of at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { text: String::new(), most, cut: false }
    }

    /// The number of bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        if self.cut { 0 } else { self.most - self.text.len() }
    }

    /// Appends `bytes`, as text, or the beginning of it that fits. Says whether all did.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.get(..self.room()).unwrap_or(bytes);
        for chunk in fits.utf8_chunks() {
            self.push_str(chunk.valid());
            // What is at the end may be the beginning of a character that was cut in two.
            if !chunk.invalid().is_empty() && (fits.len() == bytes.len() || !ends_with(fits, chunk.invalid()))
            {
                self.push_str("\u{FFFD}");
            }
        }
        self.cut |= fits.len() < bytes.len();
        !self.cut
    }

    /// Appends `text`, or the beginning of it that fits.
    pub(crate) fn push_str(&mut self, text: &str) {
        let fits = &text[..text.floor_char_boundary(self.room())];
        self.text.push_str(fits);
        self.cut |= fits.len() < text.len();
    }

    /// The text that was written, with an ellipsis if that is not all.
    pub(crate) fn finish(mut self) -> String {
        if self.cut {
            self.text.push('…');
        }
        self.text
    }
}

/// The names that are told of a list that may be long.
const NAMED: usize = 10;

/// Some of these names, and how many more there are.
pub(crate) fn some_of(names: &[String]) -> String {
    let told = names.get(..NAMED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => told,
        more => format!("{told}, {more} more"),
    }
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    std::ptr::eq(text.as_ptr_range().end, end.as_ptr_range().end)
}

/// Fails where it is full, so that no more is formatted.
impl fmt::Write for Counted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        if self.cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// `value` as text, or the first `most` bytes of it.
pub(crate) fn shown(value: impl fmt::Display, most: usize) -> String {
    let mut text = Counted::new(most);
    // An error says that it is full.
    let _full = fmt::write(&mut text, format_args!("{value}"));
    text.finish()
}

/// `bytes` as text, or the first `most` of them.
pub(crate) fn shown_bytes(bytes: &[u8], most: usize) -> String {
    let mut text = Counted::new(most);
    text.push(bytes);
    text.finish()
}

/// A name or key from outside, short enough for a message.
pub(crate) fn shown_name(name: &[u8]) -> String {
    shown_bytes(name, 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_its_limit_between_two_characters() {
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown("abcd", 3), "abc…");
        assert_eq!(shown("aéé", 4), "aé…");
        assert_eq!(shown_bytes("aéé".as_bytes(), 4), "aé…");
        assert_eq!(shown_bytes(b"a\xff", 3), "a…", "as text it is longer");
        assert_eq!(shown_bytes(b"a\xff", 9), "a\u{FFFD}");
        let mut text = Counted::new(2);
        assert!(text.push(b"ab") && !text.push(b"c") && text.room() == 0);
        text.push_str("d");
        assert_eq!(text.finish(), "ab…");
    }
}
