//! Text from outside, for the eyes of a person: [harmless](Escaped) on a terminal, and [cut](push_cut) to a length.

use std::fmt::{self, Display, Formatter, Write};

pub use crate::format::escape::is_hidden;
use crate::format::escape::is_joiner;

/// Shows text with everything escaped that could end a line, steer a terminal, or show the eye a different text from the
/// one that is there: control characters (C0, DEL, C1), line separators, marks that reorder, what has no width; and what
/// joins, behind ASCII, where it joins nothing. They are shown as Rust writes them: `\n`, `\u{1b}`.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    text: &'a str,
    margin: Option<&'a str>,
}

impl<'a> Escaped<'a> {
    /// In one line, whatever is in it.
    pub const fn line(text: &'a str) -> Self {
        Self { text, margin: None }
    }

    /// In its own lines, each but the first behind `margin`. Tabs stay.
    pub const fn lines(text: &'a str, margin: &'a str) -> Self {
        Self { text, margin: Some(margin) }
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let stays = |c| self.margin.is_some() && matches!(c, '\n' | '\t');
        let (mut shown, mut before) = (0, None::<char>);
        for (at, c) in self.text.char_indices() {
            let joins_nothing =
                is_joiner(c) && before.is_none_or(|before| before.is_ascii() || is_hidden(before));
            before = if joins_nothing { before } else { Some(c) };
            let margin = self.margin.filter(|_| c == '\n');
            let is_escaped = (is_hidden(c) || joins_nothing) && !stays(c);
            if !is_escaped && margin.is_none() {
                continue;
            }
            let end = at + c.len_utf8();
            f.write_str(self.text.get(shown..if is_escaped { at } else { end }).unwrap_or_default())?;
            if is_escaped {
                write!(f, "{}", c.escape_default())?;
            } else if let Some(margin) = margin {
                f.write_str(margin)?;
            }
            shown = end;
        }
        f.write_str(self.text.get(shown..).unwrap_or_default())
    }
}

/// Shows a number in few digits, as scripts do, however large or small it is: `60`, `0.5`, `1e300`.
#[derive(Clone, Copy, Debug)]
pub struct ShortNumber(pub f64);

impl Display for ShortNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        let size = number.abs();
        if size >= 1e21 && size.is_finite() || (size > 0.0 && size < 1e-6) {
            write!(f, "{number:e}")
        } else {
            write!(f, "{number}")
        }
    }
}

/// Appends `text` to `to`, at most `limit` bytes of it. What is left out is counted and told: `… (1048576 bytes more)`.
/// It costs no memory, so the text may be as long as it likes.
pub fn push_cut(to: &mut String, limit: usize, text: fmt::Arguments<'_>) {
    let mut cut = Cut { to, room: limit, more: 0 };
    // Memory cannot fail; a `Display` that does has said what it could.
    let _ = cut.write_fmt(text);
    let more = cut.more;
    if more > 0 {
        let _ = write!(to, "… ({more} bytes more)");
    }
}

struct Cut<'a> {
    to: &'a mut String,
    room: usize,
    more: usize,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.more > 0 { 0 } else { text.floor_char_boundary(self.room) };
        let (kept, rest) = text.split_at_checked(room).unwrap_or(("", text));
        self.to.push_str(kept);
        self.room -= kept.len();
        self.more += rest.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_has_few_digits() {
        for (number, shown) in [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (-1e300, "-1e300"),
            (5e-324, "5e-324"),
            (0.000_001, "0.000001"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(ShortNumber(number).to_string(), shown);
        }
    }

    #[test]
    fn what_is_hidden_is_shown() {
        let text = "jürgen\tsays\r\n\x1b[2J\u{9b}31m\u{7f}\u{2028}\u{202e}";
        let escaped = r"\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\u{202e}";
        assert_eq!(Escaped::line(text).to_string(), format!(r"jürgen\tsays\r\n{escaped}"));
        assert_eq!(Escaped::lines(text, "  | ").to_string(), format!("jürgen\tsays\\r\n  | {escaped}"));
        assert_eq!(Escaped::lines("a\n\nb\n", "> ").to_string(), "a\n> \n> b\n> ");
    }

    #[test]
    fn what_has_no_width_is_shown_and_what_joins_where_it_joins_nothing() {
        for hidden in [0xad, 0x34f, 0x115f, 0x200b, 0x2060, 0x2064, 0x3164, 0xfeff, 0xffa0, 0xe0041, 0xe0100]
        {
            let hidden = char::from_u32(hidden).expect("a character");
            let shown = Escaped::line(&format!("a{hidden}é{hidden}")).to_string();
            let escaped = hidden.escape_default();
            assert_eq!(shown, format!("a{escaped}é{escaped}"));
        }
        let seen = "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f} می\u{200c}خواهم";
        assert_eq!(Escaped::line(seen).to_string(), seen);
        let text = "\u{200d}ad\u{200d}\u{200c}min\n\u{fe0f}x\u{200b}\u{200d}";
        let escaped = r"\u{200d}ad\u{200d}\u{200c}min";
        assert_eq!(
            Escaped::lines(text, "| ").to_string(),
            format!("{escaped}\n| \\u{{fe0f}}x\\u{{200b}}\\u{{200d}}")
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_counted() {
        let cut = |limit, text: &str| {
            let mut to = "> ".to_owned();
            push_cut(&mut to, limit, format_args!("{text}{}", "!"));
            to
        };
        assert_eq!(cut(4, "abc"), "> abc!");
        assert_eq!(cut(3, "abc"), "> abc… (1 bytes more)");
        assert_eq!(cut(2, "aßc"), "> a… (4 bytes more)");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            let line = Escaped::line(&text).to_string();
            prop_assert!(!line.contains(is_hidden));
            let lines = Escaped::lines(&text, "| ").to_string();
            prop_assert!(!lines.contains(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert!(lines.lines().skip(1).all(|line| line.starts_with("| ")));
        }

        #[test]
        fn a_cut_is_no_longer_than_it_may_be(text in any::<String>(), limit in 0_usize..40) {
            let mut to = String::new();
            push_cut(&mut to, limit, format_args!("{text}"));
            if text.len() <= limit {
                prop_assert_eq!(to, text);
            } else {
                prop_assert!(to.find("… (").is_some_and(|at| at <= limit));
            }
        }
    }
}
