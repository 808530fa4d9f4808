//! As much of Luau's syntax as a prompt needs: the words of a text, and what they are about.
//!
//! Luau's own parser is not within reach, and what is typed at a prompt is mostly unfinished. So this knows words, brackets
//! and blocks, and nothing of what is allowed: whether a text is right is up to the compiler.
//!
//! - [`mod@blocks`]: where blocks begin and end;
//! - [`chain`]: what the cursor is behind;
//! - [`functions`]: a function's parameters, and the line it ends in;
//! - [`mod@locals`]: what a statement declares for itself;
//! - [`open_text`]: whether anything is open at the end of a text that comes line by line.

mod blocks;
mod chain;
mod functions;
mod locals;
mod open_text;

pub(crate) use chain::{Chain, ChainRoot, ChainStep, Key, Spot, spot};
pub(crate) use functions::{last_line, parameters};
pub(crate) use locals::{Locals, locals};
pub use open_text::OpenText;

/// The kind of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name of the script's.
    Name,
    /// A reserved word.
    Keyword,
    Number,
    /// With its quotes.
    String,
    Symbol,
    /// A string or a comment without an end.
    Unfinished,
}

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    /// Where it begins, in bytes.
    pub(crate) from: usize,
}

impl Token<'_> {
    /// Where it ends, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.from + self.text.len()
    }

    fn is(&self, kind: TokenKind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }

    fn is_symbol(&self, text: &str) -> bool {
        self.is(TokenKind::Symbol, text)
    }
}

const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Those of more than one character, longer ones before what they begin with.
const SYMBOLS: [&str; 17] =
    ["...", "..=", "//=", "..", "::", "->", "==", "~=", "<=", ">=", "//", "+=", "-=", "*=", "/=", "%=", "^="];

/// The words of a text, without comments.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
        let (kind, length) = next(rest);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: rest.get(..length).unwrap_or(rest), from: at });
        }
        at += length;
    }
    tokens
}

/// The kind of what a text begins with, none for what is no word, and its length.
fn next(rest: &str) -> (Option<TokenKind>, usize) {
    let first = rest.chars().next().unwrap_or_default();
    let while_in = |holds: fn(char) -> bool| rest.find(|c| !holds(c)).unwrap_or(rest.len());
    match first {
        _ if first.is_whitespace() => (None, while_in(char::is_whitespace)),
        'a'..='z' | 'A'..='Z' | '_' => {
            let length = while_in(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_keyword = rest.get(..length).is_some_and(|word| KEYWORDS.contains(&word));
            (Some(if is_keyword { TokenKind::Keyword } else { TokenKind::Name }), length)
        }
        '0'..='9' => (Some(TokenKind::Number), number(rest)),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Some(TokenKind::Number), number(rest)),
        '"' | '\'' => string(quoted(rest, first), rest),
        '`' => string(interpolated(rest), rest),
        '[' if long_bracket(rest).is_some() => string(long(rest), rest),
        '-' if rest.starts_with("--") => {
            let comment = rest.get(2..).unwrap_or_default();
            match long_bracket(comment) {
                Some(_) => match long(comment) {
                    Some(length) => (None, 2 + length),
                    None => (Some(TokenKind::Unfinished), rest.len()),
                },
                None => match rest.find('\n') {
                    Some(length) => (None, length),
                    None => (Some(TokenKind::Unfinished), rest.len()),
                },
            }
        }
        _ => {
            let known = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            (Some(TokenKind::Symbol), known.map_or(first.len_utf8(), |symbol| symbol.len()))
        }
    }
}

fn string(length: Option<usize>, rest: &str) -> (Option<TokenKind>, usize) {
    match length {
        Some(length) => (Some(TokenKind::String), length),
        None => (Some(TokenKind::Unfinished), rest.len()),
    }
}

fn number(rest: &str) -> usize {
    let mut before = ' ';
    let end = rest.char_indices().find(|&(at, c)| {
        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !rest.starts_with("0x");
        // `1..2` is a number, and then another.
        let dot = c == '.' && !rest[at..].starts_with("..");
        before = c;
        !(c.is_ascii_alphanumeric() || c == '_' || sign || dot)
    });
    end.map_or(rest.len(), |(at, _)| at)
}

/// The length of a string in quotes, if it has an end.
fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' => return None,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of a string with expressions in it, if it has an end. What is in braces is not looked into: it ends where as
/// many are closed as were opened.
fn interpolated(rest: &str) -> Option<usize> {
    let (mut escaped, mut depth) = (false, 0_usize);
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '`' if depth == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The number of `=` in the bracket that a long string begins with, if this is one.
fn long_bracket(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('[')?;
    let level = rest.find(|c| c != '=')?;
    rest[level..].starts_with('[').then_some(level)
}

/// The length of a long string, if it has an end.
fn long(rest: &str) -> Option<usize> {
    let level = long_bracket(rest)?;
    let end = format!("]{}]", "=".repeat(level));
    rest.find(&end).map(|at| at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        let words = |source| tokens(source).into_iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(words("web:mount('/a', f) -- x\n"), ["web", ":", "mount", "(", "'/a'", ",", "f", ")"]);
        assert_eq!(
            words("1..2 .5 0x1e+1 1e-3 a..b"),
            ["1", "..", "2", ".5", "0x1e", "+", "1", "1e-3", "a", "..", "b"]
        );
        assert_eq!(words("a --[==[ ]] \n ]==] b [[x]] `{`{1}`}`"), ["a", "b", "[[x]]", "`{`{1}`}`"]);
        assert_eq!(words("'a\\'b' x += 1"), ["'a\\'b'", "x", "+=", "1"]);
    }

    #[test]
    fn what_has_no_end_is_told() {
        for source in ["x = 'abc", "x = `a{b", "x -- c", "x --[[ c", "x = [[", "x = \"a\\\""] {
            let last = tokens(source).pop().unwrap();
            assert_eq!((last.kind, last.end()), (TokenKind::Unfinished, source.len()), "{source}");
        }
    }

    #[test]
    fn whatever_it_is_it_ends() {
        for source in ["é'ü\u{0}\\", "[==", "--", "--[", "[[]", "`", "\\", "0x", "9é", ".", "-"] {
            let words = tokens(source);
            assert!(
                words.iter().all(|token| source.get(token.from..token.end()) == Some(token.text)),
                "{source}"
            );
        }
    }
}
