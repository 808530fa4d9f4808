//! Cookies ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265), and what its successor
//! [6265bis](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis) adds): reading the `Cookie` field,
//! writing `Set-Cookie`.
//!
//! Reading takes what comes, as a client may send anything; writing refuses what a browser would drop or misread. A
//! value that could end its own field or add an attribute to it would let the chooser of the value set other
//! cookies.

mod set_cookie;

pub use set_cookie::{CookieError, SameSite, SetCookie};

/// The names and values in a `Cookie` field, in their order, not decoded: what they mean is between the site and
/// itself ([RFC 6265 §5.4](https://www.rfc-editor.org/rfc/rfc6265#section-5.4)).
///
/// Where a name comes twice, the first is the one with the longer path. A part without `=` is not a cookie and is
/// skipped. The quotes around a value, if any, are not part of it.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|&byte| byte == b';').filter_map(|part| {
        let at = part.iter().position(|&byte| byte == b'=')?;
        let name = part.get(..at)?.trim_ascii();
        let value = part.get(at + 1..)?.trim_ascii();
        (!name.is_empty()).then_some((name, unquoted(value)))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(field: &str) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        pairs(field.as_bytes()).map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn cookies_are_read() {
        assert_eq!(all("a=1; b=2"), [("a", "1"), ("b", "2")]);
        assert_eq!(all("a=b=c;d=\"e f\";  g = h "), [("a", "b=c"), ("d", "e f"), ("g", "h")]);
        assert_eq!(all("nothing; =anonymous; a=; ;"), [("a", "")]);
        assert_eq!(all("a=%20; q=\""), [("a", "%20"), ("q", "\"")]);
        assert_eq!(all(""), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cookies(field: Vec<u8>) {
            for (name, value) in pairs(&field) {
                prop_assert!(!name.is_empty() && name.len() + value.len() < field.len());
                prop_assert!(!name.contains(&b';') && !value.contains(&b';'));
            }
        }
    }
}
