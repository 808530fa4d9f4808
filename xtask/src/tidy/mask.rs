//! Rust source with its comments and literals blanked out.
//!
//! A rule that looks for `todo!` must not fire on the sentence that forbids it. The mask keeps every line break and
//! every byte position, so that what is found in it is found at the same place in the file. It is a lexer of the
//! parts that matter here, not of Rust: for what does not compile it may be wrong, and never fails.

/// `source` with every byte of a comment, string, byte string or character literal replaced by a space.
pub(super) fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let (kind, length) = token(rest);
        let (text, after) = rest.split_at(length);
        match kind {
            TokenKind::Code => out.push_str(text),
            TokenKind::Hidden => out.extend(text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    out
}

/// The kind of a token, to this lexer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Code,
    /// A comment or a literal.
    Hidden,
}

/// The token that `rest` begins with, and its length in bytes: at least 1, at a character's boundary. A comment or a
/// literal that never ends takes all that follows.
fn token(rest: &str) -> (TokenKind, usize) {
    let hidden = |length: Option<usize>| (TokenKind::Hidden, length.unwrap_or(rest.len()));
    match rest.as_bytes() {
        [b'/', b'/', ..] => hidden(rest.find('\n')),
        [b'/', b'*', ..] => hidden(block_comment(rest)),
        [b'"', ..] => hidden(quoted(rest, b'"')),
        [b'\'', ..] => character_or_lifetime(rest),
        [first, ..] if is_word(*first) => word_or_string(rest),
        _ => (TokenKind::Code, rest.chars().next().map_or(rest.len(), char::len_utf8)),
    }
}

/// Block comments nest.
fn block_comment(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// A literal that begins and ends with `quote`, with backslash escapes.
fn quoted(rest: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (at, &byte) in rest.as_bytes().iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `'x'` and `'\n'` are literals; of the lifetime `'a` only the quote is taken.
fn character_or_lifetime(rest: &str) -> (TokenKind, usize) {
    let mut inner = rest.chars().skip(1);
    match inner.next() {
        Some('\\') => (TokenKind::Hidden, quoted(rest, b'\'').unwrap_or(rest.len())),
        Some(character) if inner.next() == Some('\'') => (TokenKind::Hidden, character.len_utf8() + 2),
        _ => (TokenKind::Code, 1),
    }
}

/// A word; or, where the word is a string's prefix, that string: `r"..."`, `br##"..."##`, `c"..."`.
fn word_or_string(rest: &str) -> (TokenKind, usize) {
    let word = rest.bytes().take_while(|byte| is_word(*byte)).count();
    let (prefix, after) = rest.split_at(word);
    let string = match prefix {
        "b" | "c" if after.starts_with('"') => quoted(after, b'"'),
        "b" if after.starts_with('\'') => quoted(after, b'\''),
        "r" | "br" | "cr" if after.trim_start_matches('#').starts_with('"') => raw_string(after),
        _ => return (TokenKind::Code, word),
    };
    (TokenKind::Hidden, string.map_or(rest.len(), |length| word + length))
}

/// `#`s, a quote, anything, a quote, as many `#`s. `None` when it never ends.
fn raw_string(after: &str) -> Option<usize> {
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let body = hashes + 1;
    after.get(body..)?.find(&end).map(|at| body + at + end.len())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_masked(source: &str, expected: &str) {
        let masked = code_only(source);
        assert_eq!(masked, expected);
        assert_eq!(masked.len(), source.len());
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        assert_masked("a // b\nc", "a     \nc");
        assert_masked("a /* b /* c\n */ d */ e", "a          \n         e");
        assert_masked("// é\nx", "     \nx");
    }

    #[test]
    fn strings_vanish_with_their_escapes() {
        assert_masked(r#"f("a\"b", x)"#, "f(      , x)");
        assert_masked("f(\"a\\\\\", \"b\")", "f(     ,    )");
        assert_masked("b\"a\" c\"b\" d", "          d");
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        assert_masked("r#\"a\"b\"# + c", "         + c");
        assert_masked("br\"\\\" + c", "      + c");
        assert_masked("r#type + c", "r#type + c");
    }

    #[test]
    fn a_lifetime_is_code_and_a_character_is_not() {
        assert_masked("&'a str, 'b', '\\'', '\"' x", "&'a str,    ,     ,     x");
        assert_masked("'é' x", "     x");
    }

    #[test]
    fn what_never_ends_takes_the_rest() {
        assert_masked("a \"b\nc", "a   \n ");
        assert_masked("a /* b", "a     ");
        assert_masked("a r\"b", "a    ");
    }
}
