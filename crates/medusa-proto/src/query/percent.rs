//! Percent-encoding ([RFC 3986 §2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)).

use std::borrow::Cow;

/// Replaces each `%` and two hexadecimal digits by the byte they name. Any other `%` stands for itself.
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(start) = text.iter().position(|&byte| byte == b'%') else { return Cow::Borrowed(text) };
    let (plain, mut rest) = text.split_at_checked(start).unwrap_or((text, &[]));
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = escape(rest).unwrap_or((byte, behind));
        decoded.push(byte);
        rest = behind;
    }
    Cow::Owned(decoded)
}

/// The byte that an escape at the start of `text` names, and what is behind it.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, rest @ ..] => Some((digit(*high)? << 4 | digit(*low)?, rest)),
        _ => None,
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Escapes every byte that is not *unreserved* ([RFC 3986 §2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)):
/// the result can stand anywhere in a URI and keeps its meaning there.
pub fn encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    encoded
}

/// The upper-case digit of a number below 16.
const fn hex(number: u8) -> char {
    match number {
        0..=9 => (b'0' + number) as char,
        _ => (b'A' + number - 10) as char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_unreserved_is_escaped() {
        assert_eq!(encode("a-b_c.d~e /?&=+%é\0".as_bytes()), "a-b_c.d~e%20%2F%3F%26%3D%2B%25%C3%A9%00");
    }

    #[test]
    fn escapes_are_read_in_either_case_and_once() {
        assert_eq!(&*decode(b"%2f%2F%252f"), b"//%2f");
        assert_eq!(&*decode(b"plain+"), b"plain+");
        assert_eq!(&*decode(b"%"), b"%");
    }
}
