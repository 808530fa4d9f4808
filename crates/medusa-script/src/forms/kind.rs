//! Which kind of form a request carries, by its `Content-Type`.

use http::header::{self, HeaderMap};
use medusa_http::forms::{Charset, boundary};

use super::error::FormError;
use crate::counted::shown_name;

/// A format of forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `application/x-www-form-urlencoded`
    UrlEncoded(Charset),
    /// `multipart/form-data` ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578))
    Multipart { boundary: String },
}

impl Kind {
    /// Reads what a request says of its body.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, FormError> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Err(FormError::NotAForm("of no type (`Content-Type` is missing)".to_owned()));
        };
        let value = value.as_bytes();
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Ok(Self::UrlEncoded(Charset::of(value)?));
        }
        if essence.eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(Self::Multipart { boundary: boundary(value)? });
        }
        Err(FormError::NotAForm(shown_name(value)))
    }
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
        let urlencoded = |charset| Ok(Kind::UrlEncoded(charset));
        assert_eq!(kind("application/x-www-form-urlencoded"), urlencoded(Charset::Utf8));
        assert_eq!(kind("Application/X-WWW-Form-URLEncoded ; charset=\"UTF-8\""), urlencoded(Charset::Utf8));
        assert_eq!(
            kind("application/x-www-form-urlencoded; charset=ISO-8859-1"),
            urlencoded(Charset::Latin1)
        );
        assert_eq!(kind("multipart/form-data; boundary=abc"), multipart("abc"));
        assert_eq!(kind("Multipart/Form-Data;BOUNDARY=abc"), multipart("abc"));
        assert_eq!(
            kind("multipart/form-data; x=\"; boundary=z\"; boundary=----=_Part_1"),
            multipart("----=_Part_1")
        );
        assert_eq!(kind("multipart/form-data; boundary=\"a b\""), multipart("a b"));
        assert_eq!(kind("application/x-www-form-urlencoded; charset=utf-16"), Err(Some(415)));
        for other in ["text/plain", "application/json", "multipart/mixed; boundary=a", ""] {
            assert_eq!(kind(other), Err(Some(415)), "{other}");
        }
        assert_eq!(kind("multipart/form-data"), Err(Some(400)));
        assert_eq!(kind("multipart/form-data; boundary="), Err(Some(400)));
        assert_eq!(Kind::of(&HeaderMap::new()).unwrap_err().status().map(|s| s.as_u16()), Some(415));
    }
}
