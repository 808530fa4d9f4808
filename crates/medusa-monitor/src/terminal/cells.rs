//! Text as a terminal shows it: what each character looks like, and how many columns that takes.
//!
//! Terminals do not agree on how wide an emoji of several code points is. We say so (`contested`), and whoever draws
//! one tells the terminal where the next character goes.
//!
//! **Invariant:** what is shown steers nothing: it has no control character in it, and every character can be seen.

use medusa_proto::shown::Escaped;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns a tab takes.
const TAB: usize = 4;

/// The longest character that is shown, in bytes: the families and flags there are stay below. One may have as many
/// marks as there is room for.
const MAX_CLUSTER: usize = 64;

/// How a grapheme cluster is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It ends the line.
    Break,
    /// As it is, in one or more columns.
    Same { columns: usize, contested: bool },
    /// As this text, in ASCII.
    Escaped(String),
}

/// The grapheme clusters of `text`, with where they begin.
pub(super) fn clusters(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.grapheme_indices(true)
}

/// How `cluster` is shown.
pub(super) fn shown(cluster: &str) -> Shown {
    match cluster.as_bytes() {
        b"\n" => return Shown::Break,
        b"\t" => return Shown::Escaped(" ".repeat(TAB)),
        [0x20..=0x7e] => return Shown::Same { columns: 1, contested: false },
        _ => {}
    }
    if cluster.len() > MAX_CLUSTER {
        return Shown::Escaped(format!("<{} code points>", cluster.chars().count()));
    }
    let escaped = Escaped::line(cluster).to_string();
    if escaped != cluster {
        return Shown::Escaped(escaped);
    }
    match cluster.width() {
        0 => Shown::Escaped(cluster.escape_unicode().to_string()),
        columns => {
            let parts: usize = cluster.chars().map(|c| c.width().unwrap_or(0)).sum();
            let young = cluster.contains(|c| c >= '\u{1f000}' || matches!(c, '\u{fe0e}' | '\u{fe0f}'));
            Shown::Same { columns, contested: young || parts != columns }
        }
    }
}

/// The first row of `text`, as it is shown in so many columns: what is in it, how wide it is, and how many bytes of
/// `text` it took, with the line break if it ends with one.
pub(super) fn first_row(text: &str, columns: usize) -> (String, usize, usize) {
    let (mut row, mut width) = (String::new(), 0);
    for (at, cluster) in clusters(text) {
        let (piece, wide) = match shown(cluster) {
            Shown::Break => return (row, width, at + cluster.len()),
            Shown::Same { columns: wide, .. } => (cluster.into(), wide.min(columns)),
            Shown::Escaped(escaped) => {
                let wide = escaped.len();
                (escaped, wide)
            }
        };
        if width + wide > columns && width > 0 {
            return (row, width, at);
        }
        // Alone it may be too wide, if it is escaped: then it is ASCII.
        row.push_str(if wide > columns { piece.get(..columns).unwrap_or_default() } else { &piece });
        width += wide.min(columns);
    }
    (row, width, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_and_everything_is_seen() {
        let same = |columns, contested| Shown::Same { columns, contested };
        for (cluster, expected) in [
            ("a", same(1, false)),
            ("世", same(2, false)),
            ("e\u{301}", same(1, false)),
            ("👍", same(2, true)),
            ("👨\u{200d}👩\u{200d}👧", same(2, true)),
            ("❤\u{fe0f}", same(2, true)),
            ("\n", Shown::Break),
            ("\u{1b}", Shown::Escaped(r"\u{1b}".into())),
            ("\r\n", Shown::Escaped(r"\r\n".into())),
            ("\u{202e}", Shown::Escaped(r"\u{202e}".into())),
            ("\u{200b}", Shown::Escaped(r"\u{200b}".into())),
            ("\u{301}", Shown::Escaped(r"\u{301}".into())),
        ] {
            assert_eq!(shown(cluster), expected, "{cluster:?}");
        }
    }

    #[test]
    fn a_row_is_as_wide_as_it_may_be() {
        assert_eq!(first_row("ab世d", 4), ("ab世".into(), 4, 5));
        assert_eq!(first_row("abc世", 4), ("abc".into(), 3, 3));
        assert_eq!(first_row("a\nb", 4), ("a".into(), 1, 2));
        assert_eq!(first_row("\u{1b}[A", 4), (r"\u{1".into(), 4, 1));
        assert_eq!(first_row("", 4), (String::new(), 0, 0));
    }
}
