//! Which kind of form a request carries, by its `Content-Type`.

use http::header::{self, HeaderMap};

use super::FormError;

/// The longest boundary ([RFC 2046 §5.1.1](https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1)).
const MAX_BOUNDARY: usize = 70;

/// A format of forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `application/x-www-form-urlencoded`
    UrlEncoded,
    /// `multipart/form-data` ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578))
    Multipart { boundary: String },
}

impl Kind {
    /// What a request says of its body.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, FormError> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Err(FormError::NotAForm("of no type (`Content-Type` is missing)".to_owned()));
        };
        let other = || FormError::NotAForm(super::shown(value.as_bytes()));
        let text = value.to_str().map_err(|_not_ascii| other())?;
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let charset = text.split(';').skip(1).find_map(charset);
            return charset.map_or(Ok(()), |charset| check_charset(&charset)).map(|()| Self::UrlEncoded);
        }
        if essence.eq_ignore_ascii_case("multipart/form-data") {
            let boundary = multer::parse_boundary(text);
            let boundary = boundary.map_err(|error| FormError::Malformed(error.to_string()))?;
            if boundary.is_empty() || boundary.len() > MAX_BOUNDARY {
                return Err(FormError::Malformed(format!(
                    "its boundary has not 1 to {MAX_BOUNDARY} characters"
                )));
            }
            return Ok(Self::Multipart { boundary });
        }
        Err(other())
    }
}

/// The value of a parameter `charset=...`.
fn charset(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
}

/// Refuses charsets in which the bytes of a form would mean other characters.
pub(super) fn check_charset(charset: &str) -> Result<(), FormError> {
    let same = ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    if same { Ok(()) } else { Err(FormError::Charset(super::shown(charset.as_bytes()))) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn kind(content_type: &'static str) -> Result<Kind, Option<u16>> {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
        Kind::of(&headers).map_err(|error| error.status().map(|status| status.as_u16()))
    }

    #[test]
    fn the_type_says_how_to_read_it() {
        let multipart = |boundary: &str| Ok(Kind::Multipart { boundary: boundary.to_owned() });
        assert_eq!(kind("application/x-www-form-urlencoded"), Ok(Kind::UrlEncoded));
        assert_eq!(kind("Application/X-WWW-Form-URLEncoded ; charset=\"UTF-8\""), Ok(Kind::UrlEncoded));
        assert_eq!(kind("multipart/form-data; boundary=abc"), multipart("abc"));
        assert_eq!(kind("multipart/form-data; boundary=\"a b\""), multipart("a b"));
        assert_eq!(kind("application/x-www-form-urlencoded; charset=iso-8859-1"), Err(Some(415)));
        for other in ["text/plain", "application/json", "multipart/mixed; boundary=a", ""] {
            assert_eq!(kind(other), Err(Some(415)), "{other}");
        }
        assert_eq!(kind("multipart/form-data"), Err(Some(400)));
        assert_eq!(kind("multipart/form-data; boundary="), Err(Some(400)));
        assert_eq!(Kind::of(&HeaderMap::new()).unwrap_err().status().map(|s| s.as_u16()), Some(415));
    }
}
