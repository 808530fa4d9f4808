//! The colours of Luau: what kind of thing each part of a text is. It may be unfinished, or no Luau at all.

/// A kind of thing that stands out. Everything else does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Keyword,
    /// `true`, `false`, `nil`, a number.
    Literal,
    String,
    Comment,
}

/// Words that cannot be names, and `continue`, which is one of these where it is meant so.
const KEYWORDS: &[&str] = &[
    "and", "break", "continue", "do", "else", "elseif", "end", "for", "function", "if", "in", "local", "not",
    "or", "repeat", "return", "then", "until", "while",
];

/// The parts of `text` that stand out, in order: where each begins and ends.
pub(super) fn highlight(text: &str) -> Vec<(usize, usize, Class)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, class) = token(rest);
        if let Some(class) = class {
            found.push((at, at + length, class));
        }
        at += length;
    }
    found
}

/// The length of what `text` begins with, and what it is.
fn token(text: &str) -> (usize, Option<Class>) {
    let first = text.chars().next().unwrap_or(' ');
    match first {
        '-' if text.starts_with("--") => {
            let long = text.get(2..).and_then(long_bracket).map(|length| 2 + length);
            (long.unwrap_or_else(|| text.find('\n').unwrap_or(text.len())), Some(Class::Comment))
        }
        '[' => long_bracket(text).map_or((1, None), |length| (length, Some(Class::String))),
        '"' | '\'' | '`' => (quoted(text, first), Some(Class::String)),
        '0'..='9' => (number(text), Some(Class::Literal)),
        '.' if text.starts_with("..") => (2, None),
        '.' if text.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => (number(text), Some(Class::Literal)),
        _ if in_name(first) => {
            let length = text.find(|c| !in_name(c)).unwrap_or(text.len());
            let class = match text.get(..length).unwrap_or_default() {
                "true" | "false" | "nil" => Some(Class::Literal),
                word if KEYWORDS.contains(&word) => Some(Class::Keyword),
                _ => None,
            };
            (length, class)
        }
        _ => (first.len_utf8(), None),
    }
}

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The length of `[[...]]` or `[=[...]=]`, to the end if it has none.
fn long_bracket(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('[')?;
    let level = inside.len() - inside.trim_start_matches('=').len();
    inside.get(level..)?.strip_prefix('[')?;
    let end = format!("]{}]", "=".repeat(level));
    Some(text.find(&end).map_or(text.len(), |at| at + end.len()))
}

/// The length of a string: to its quote, or the end of its line.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if quote != '`' => return at,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `1`, `0xff`, `1_000.5e-3`; a range of two dots is none.
fn number(text: &str) -> usize {
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        let hex = text.starts_with("0x") || text.starts_with("0X");
        let signed = matches!(c, '+' | '-') && matches!(last, 'e' | 'E') && !hex;
        let dot = c == '.' && !text.get(at..).is_some_and(|rest| rest.starts_with(".."));
        if !(in_name(c) || signed || dot) {
            return at;
        }
        last = c;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found() {
        let kinds = |text: &str| -> String {
            let mut shown = " ".repeat(text.len()).into_bytes();
            for (from, to, class) in highlight(text) {
                let letter = match class {
                    Class::Keyword => b'k',
                    Class::Literal => b'n',
                    Class::String => b's',
                    Class::Comment => b'c',
                };
                shown[from..to].fill(letter);
            }
            String::from_utf8(shown).expect("letters").trim_end().to_owned()
        };
        for (text, expected) in [
            ("local ending = nil -- end", "kkkkk          nnn cccccc"),
            ("f('a\\'b' .. \"c\", `d{e}`)", "  ssssss    sss  ssssss"),
            ("x[1], y[[2]], z[=[]]]=]", "  n    sssss   ssssssss"),
            ("--[[ a\nb ]] 1", "ccccccccccc n"),
            ("0xfe-1e-3..2 1_000.5", "nnnn nnnn  n nnnnnnn"),
            ("'open\nend", "sssss kkk"),
            ("ß --[[", "   cccc"),
            ("--", "cc"),
        ] {
            assert_eq!(kinds(text).replace('\n', " ").trim_end(), expected.trim_end(), "{text}");
        }
    }
}
