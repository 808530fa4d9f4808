//! Makes text from outside harmless within a line.
//!
//! Printable ASCII less `"` and `\` passes at about 16 bytes per step; the rest is rare and takes the slow way, a
//! character at a time. *Hidden* characters are escaped even where a format would allow them: they could end a line,
//! steer a terminal, or show the reader's eye a different text from the one that is there.

/// Appends `value` as it stands between the quotes of a text format: `\"`, `\\`, and `\xHH` for each byte of a hidden
/// character or of what is not UTF-8. Readable UTF-8 is kept. No two values give the same text.
pub(crate) fn text(value: &[u8], out: &mut Vec<u8>) {
    let rest = copy_while(is_plain, value, out);
    if !rest.is_empty() {
        text_slow(rest, text_char, out);
    }
}

/// As [`text`], for a column that has no quotes: a space would start the next column, so it is escaped too.
///
/// Apache leaves it alone, and with it lets a user name add columns of its own.
pub(crate) fn word(value: &[u8], out: &mut Vec<u8>) {
    let rest = copy_while(|byte| is_plain(byte) && byte != b' ', value, out);
    if !rest.is_empty() {
        text_slow(rest, word_char, out);
    }
}

/// As [`text`], and escapes `end` as well: the character by which a reader finds where the value ends.
pub(crate) fn until(value: &[u8], end: Option<char>, out: &mut Vec<u8>) {
    match end {
        // The usual two go the faster ways, where what is looked for is known beforehand.
        None | Some('"') => text(value, out),
        Some(' ') => word(value, out),
        Some(end) => {
            let byte = u8::try_from(end).unwrap_or(0); // only printable ASCII is plain
            let rest = copy_while(|b| is_plain(b) && b != byte, value, out);
            let each =
                |c, out: &mut Vec<u8>| if c == end { push_hex_char(c, out) } else { text_char(c, out) };
            text_slow(rest, each, out);
        }
    }
}

/// Appends `value` as a value of logfmt, with quotes if it needs them.
pub(crate) fn logfmt(value: &[u8], out: &mut Vec<u8>) {
    if plain_length(is_bare, value) == value.len() && value != b"null" || is_bare_unicode(value) {
        out.extend_from_slice(value);
    } else {
        out.push(b'"');
        json(value, out);
        out.push(b'"');
    }
}

/// Whether a value without quotes may have it: go-logfmt takes a backslash for a backslash there.
const fn is_bare(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'='
}

/// Whether `value` needs no quotes though not all of it is ASCII.
fn is_bare_unicode(value: &[u8]) -> bool {
    let shown = |c| !is_hidden(c) && c != char::REPLACEMENT_CHARACTER;
    let bare = |c: char| if c.is_ascii() { is_bare(c as u8) } else { shown(c) };
    !value.is_ascii() && str::from_utf8(value).is_ok_and(|text| text.chars().all(bare))
}

/// Appends `value` as it stands between the quotes of a parameter of structured data
/// ([RFC 5424 §6.3.3](https://www.rfc-editor.org/rfc/rfc5424#section-6.3.3)): `\"`, `\\`, `\]`, and `\xHH` as in [`text`],
/// which a receiver reads as those four characters.
pub(crate) fn param(value: &[u8], out: &mut Vec<u8>) {
    let rest = copy_while(|byte| is_plain(byte) && byte != b']', value, out);
    if !rest.is_empty() {
        text_slow(rest, param_char, out);
    }
}

/// Appends `value` as it stands between the quotes of a JSON string. What is not UTF-8 becomes U+FFFD.
pub(crate) fn json(value: &[u8], out: &mut Vec<u8>) {
    let rest = copy_while(is_plain, value, out);
    for chunk in rest.utf8_chunks() {
        for c in chunk.valid().chars() {
            json_char(c, out);
        }
        if !chunk.invalid().is_empty() {
            push_char(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

/// Copies the longest plain beginning of `value` and returns what is left.
#[inline]
fn copy_while<'a>(plain: impl Fn(u8) -> bool, value: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (plain, rest) = value.split_at_checked(plain_length(plain, value)).unwrap_or((&[], value));
    out.extend_from_slice(plain);
    rest
}

/// The number of bytes at the start of `value` that need no escaping.
#[inline]
fn plain_length(plain: impl Fn(u8) -> bool, value: &[u8]) -> usize {
    let (blocks, _) = value.as_chunks::<16>();
    // Without an early exit inside a block, the compiler tests all 16 bytes at once.
    let whole =
        blocks.iter().take_while(|block| block.iter().fold(true, |all, &b| all & plain(b))).count() * 16;
    let rest = value.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|&&b| plain(b)).count()
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn text_slow(value: &[u8], each: impl Fn(char, &mut Vec<u8>), out: &mut Vec<u8>) {
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            each(c, out);
        }
        for &byte in chunk.invalid() {
            push_hex_byte(byte, out);
        }
    }
}

fn text_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        c if is_hidden(c) => push_hex_char(c, out),
        c => push_char(c, out),
    }
}

fn word_char(c: char, out: &mut Vec<u8>) {
    match c {
        ' ' => push_hex_byte(b' ', out),
        c => text_char(c, out),
    }
}

fn param_char(c: char, out: &mut Vec<u8>) {
    match c {
        ']' => out.extend_from_slice(br"\]"),
        c => text_char(c, out),
    }
}

fn json_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        c if is_hidden(c) => {
            for &unit in &*c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(br"\u");
                for shift in [12, 8, 4, 0] {
                    out.push(hex_digit((unit >> shift) as u8));
                }
            }
        }
        c => push_char(c, out),
    }
}

/// Control characters (C0, DEL, C1), line separators, the marks that reorder the text around them
/// ([UAX #9](https://www.unicode.org/reports/tr9/)), and what is not seen at all, whatever is beside it: spaces of no width, soft
/// hyphens, fillers, tags. Of the latter ([`Default_Ignorable_Code_Point`](https://www.unicode.org/reports/tr44/)) only those are not
/// among them that join what is seen: U+200C, U+200D and U+FE00 to U+FE0F.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether this joins or varies what is before it, and is not seen where that is nothing that could be: U+200C, U+200D, and variation
/// selectors, as emoji and some scripts have them.
pub(crate) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

fn push_char(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_hex_char(c: char, out: &mut Vec<u8>) {
    for &byte in c.encode_utf8(&mut [0; 4]).as_bytes() {
        push_hex_byte(byte, out);
    }
}

fn push_hex_byte(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', b'x', hex_digit(byte >> 4), hex_digit(byte)]);
}

/// The digit of the low four bits.
const fn hex_digit(bits: u8) -> u8 {
    match bits & 15 {
        n @ 0..=9 => b'0' + n,
        n => b'a' + n - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(escape: fn(&[u8], &mut Vec<u8>), value: &[u8]) -> String {
        let mut out = Vec::new();
        escape(value, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn text_keeps_what_is_readable_and_escapes_the_rest() {
        assert_eq!(run(text, b"plain and longer than a block"), "plain and longer than a block");
        assert_eq!(run(text, "jürgen".as_bytes()), "jürgen");
        assert_eq!(run(text, b"a\"b\\c"), r#"a\"b\\c"#);
        assert_eq!(run(text, b"a\r\nb\0\x1b[2J\x7f"), r"a\x0d\x0ab\x00\x1b[2J\x7f");
        assert_eq!(run(text, b"\xff\xfe ok"), r"\xff\xfe ok");
        assert_eq!(run(text, "\u{9b}\u{202e}".as_bytes()), r"\xc2\x9b\xe2\x80\xae");
    }

    #[test]
    fn a_word_has_no_space() {
        assert_eq!(run(word, b"a [b] \"c\""), r#"a\x20[b]\x20\"c\""#);
    }

    #[test]
    fn a_parameter_escapes_the_bracket() {
        assert_eq!(run(param, b"a\"]\\ \n"), r#"a\"\]\\ \x0a"#);
    }

    #[test]
    fn a_value_of_logfmt_has_quotes_if_it_needs_them() {
        for bare in ["", "plain", "a\\b", "/a?b", "jürgen"] {
            assert_eq!(run(logfmt, bare.as_bytes()), bare);
        }
        for (value, quoted) in [
            (&b"a b"[..], r#""a b""#),
            (b"a=b", r#""a=b""#),
            (b"\"", r#""\"""#),
            (b"null", r#""null""#),
            (b"a\nb", r#""a\u000ab""#),
            ("ü\u{202e}".as_bytes(), r#""ü\u202e""#),
            ("ü b".as_bytes(), r#""ü b""#),
            (b"\xff", "\"\u{fffd}\""),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ] {
            assert_eq!(run(logfmt, value), quoted);
        }
    }

    #[test]
    fn json_escapes_with_u_and_replaces_what_is_not_utf8() {
        assert_eq!(run(json, b"a\n\"\\\x1f"), r#"a\u000a\"\\\u001f"#);
        assert_eq!(run(json, b"ok \xff\xfe"), "ok \u{fffd}\u{fffd}");
        assert_eq!(run(json, "\u{2028}\u{200b}\u{e0041}".as_bytes()), r"\u2028\u200b\udb40\udc41");
    }

    /// Reads text back: what `text` and `word` wrote must say exactly what it was given.
    fn unescape(escaped: &str) -> Vec<u8> {
        let mut bytes = escaped.bytes();
        let mut out = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            match bytes.next().expect("an escape goes on") {
                b'x' => {
                    let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                    out.push(u8::from_str_radix(&hex, 16).expect("two digits"));
                }
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn text_can_be_read_back_and_hides_nothing(value: Vec<u8>) {
            for escape in [text, word, param] {
                let escaped = run(escape, &value);
                prop_assert!(!escaped.chars().any(is_hidden));
                prop_assert_eq!(unescape(&escaped), value.clone());
            }
            prop_assert!(!run(word, &value).contains(' '));
        }

        #[test]
        fn json_says_what_it_was_given(value: Vec<u8>) {
            let escaped = run(json, &value);
            prop_assert!(!escaped.chars().any(is_hidden));
            let read: String = serde_json::from_str(&format!("\"{escaped}\"")).expect("a JSON string");
            prop_assert_eq!(read, String::from_utf8_lossy(&value));
        }

        #[test]
        fn json_loses_no_unicode(value: String) {
            let read: String = serde_json::from_str(&format!("\"{}\"", run(json, value.as_bytes()))).expect("JSON");
            prop_assert_eq!(read, value);
        }
    }
}
