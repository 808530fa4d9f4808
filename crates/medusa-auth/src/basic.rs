//! The credentials of a request, `Authorization: Basic ...` ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::{MAX_PASSWORD, MAX_USER, Secret};

/// Some clients leave out what pads the digits.
const DIGITS: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most digits: those of the longest name and password, in Latin-1 or in UTF-8.
const MAX_DIGITS: usize = (MAX_USER + 1 + MAX_PASSWORD).div_ceil(3) * 4;

/// A name and a password, as a client gave them.
#[derive(Debug)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password, in UTF-8.
    pub password: Secret,
}

/// The reason why a field has no such credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBasic {
    /// It is of another scheme.
    #[error("the credentials are not of the scheme Basic")]
    OtherScheme,
    /// It is of the scheme, and wrong.
    #[error("the credentials of the scheme Basic are malformed: {0}")]
    Malformed(&'static str),
}

/// The token in the value of a field `Authorization`, if it is of the scheme Bearer
/// ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
pub fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = split(field);
    scheme.eq_ignore_ascii_case(b"Bearer").then_some(token)
}

/// The scheme of a field, and what is behind it.
pub(crate) fn split(field: &[u8]) -> (&[u8], &[u8]) {
    let field = field.trim_ascii();
    let end = field.iter().position(|byte| *byte == b' ' || *byte == b'\t').unwrap_or(field.len());
    let (scheme, rest) = field.split_at_checked(end).unwrap_or_default();
    (scheme, rest.trim_ascii())
}

/// The credentials in the value of a field `Authorization`.
///
/// Bytes that are not UTF-8 are taken for ISO 8859-1, which some clients send whatever they are asked for.
///
/// # Errors
///
/// See [`NotBasic`].
pub fn parse(field: &[u8]) -> Result<Credentials, NotBasic> {
    let (scheme, digits) = split(field);
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return Err(NotBasic::OtherScheme);
    }
    if digits.len() > MAX_DIGITS {
        return Err(NotBasic::Malformed("too long"));
    }
    let decoded = Zeroizing::new(DIGITS.decode(digits).map_err(|_invalid| NotBasic::Malformed("no Base64"))?);
    let text = match std::str::from_utf8(&decoded) {
        Ok(text) => Zeroizing::new(text.to_owned()),
        Err(_latin_1) => Zeroizing::new(decoded.iter().copied().map(char::from).collect()),
    };
    let (user, password) = text.split_once(':').ok_or(NotBasic::Malformed("no colon"))?;
    if text.chars().any(char::is_control) {
        return Err(NotBasic::Malformed("a control character"));
    }
    if user.len() > MAX_USER || password.len() > MAX_PASSWORD {
        return Err(NotBasic::Malformed("too long"));
    }
    Ok(Credentials { user: user.to_owned(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    fn field(credentials: &[u8]) -> Vec<u8> {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials)).into_bytes()
    }

    fn parsed(field: &[u8]) -> Result<(String, String), NotBasic> {
        let Credentials { user, password } = parse(field)?;
        Ok((user, String::from_utf8(password.bytes().to_vec()).expect("UTF-8")))
    }

    #[test]
    fn a_name_and_a_password_are_read() {
        let told = |field: &[u8]| {
            let (user, password) = parsed(field).expect("credentials");
            format!("{user}|{password}")
        };
        // RFC 7617 §2 and §2.1.
        assert_eq!(told(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "Aladdin|open sesame");
        assert_eq!(told(b"Basic dGVzdDoxMjPCow=="), "test|123\u{a3}");
        assert_eq!(told(&field(b"test:123\xa3")), "test|123\u{a3}");
        assert_eq!(told(b"  bAsIc \t QWxhZGRpbjpvcGVuIHNlc2FtZQ  "), "Aladdin|open sesame");
        assert_eq!(told(&field(b"a:b:c")), "a|b:c");
        assert_eq!(told(&field(b":")), "|");
    }

    #[test]
    fn a_token_is_read() {
        assert_eq!(bearer(b"Bearer abc.def"), Some(&b"abc.def"[..]));
        assert_eq!(bearer(b" bearer  x "), Some(&b"x"[..]));
        assert_eq!(bearer(b"Bearer"), Some(&b""[..]));
        assert_eq!((bearer(b"Basic YTpi"), bearer(b""), bearer(b"Bearerabc")), (None, None, None));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        use NotBasic::{Malformed, OtherScheme};
        let long = vec![b'a'; MAX_USER + 1];
        let table: &[(&[u8], NotBasic)] = &[
            (b"", OtherScheme),
            (b"Bearer abc", OtherScheme),
            (b"BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==", OtherScheme),
            (b"Digest username=\"a\"", OtherScheme),
            (b"\xff\xfe", OtherScheme),
            (b"Basic", Malformed("no colon")),
            (b"Basic ", Malformed("no colon")),
            (b"Basic %%%%", Malformed("no Base64")),
            (b"Basic QWxh ZGRp", Malformed("no Base64")),
            (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic eDp5", Malformed("no Base64")),
            (b"Basic QQ===", Malformed("no Base64")),
            (b"Basic Q", Malformed("no Base64")),
            (b"Basic QWxhZGRpbg==", Malformed("no colon")),
            (&field(b"a\0:b"), Malformed("a control character")),
            (&field(b"a:b\r\nx: y"), Malformed("a control character")),
            (&field(b"a:b\x7f"), Malformed("a control character")),
            (&field(b"\xff\x85:b"), Malformed("a control character")),
            (&field(&[&long[..], b":"].concat()), Malformed("too long")),
            (&field(&[b":", &long[..]].concat()), Malformed("too long")),
            (&field(&vec![b'a'; 40_000]), Malformed("too long")),
        ];
        for (field, why) in table {
            assert_eq!(parsed(field).expect_err("refused"), *why, "{}", String::from_utf8_lossy(field));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", parse(&field(b"me:secret")).expect("credentials"));
        assert!(shown.contains("me") && !shown.contains("secret") && !shown.contains("115"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_field_makes_it_panic(bytes in any::<Vec<u8>>()) {
            let _parsed = parse(&bytes);
            let _parsed = parse(&field(&bytes));
        }
    }
}
