//! What comes of the login page: a name, a password, and where to go then.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use medusa_auth::{MAX_PASSWORD, MAX_USER, Secret};
use medusa_proto::query;

use crate::handler::HandlerError;
use crate::request::RequestBody;

/// The longest form, in bytes: the longest fields, each byte of them written as three, and some of the page's own.
const LONGEST_FORM: u64 = 16 * 1024;

/// The longest way back.
const LONGEST_NEXT: usize = 2048;

/// A form that was filled in.
#[derive(Debug)]
pub(super) struct LoginForm {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) next: Next,
}

/// The page to go to: below the mount, or elsewhere on this host.
///
/// **Invariant:** no other host is meant, whatever a browser makes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Next(String);

impl Next {
    /// The one that a client names; the mount itself in the place of one that will not do.
    pub(super) fn new(text: &[u8]) -> Self {
        let text = std::str::from_utf8(text).unwrap_or_default();
        // A browser takes a backslash for a slash, and leaves out what cannot be seen.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let is_of_a_host = text.starts_with("//");
        let fits = text.len() <= LONGEST_NEXT && is_plain && !is_of_a_host;
        Self(if fits { text.to_owned() } else { String::new() })
    }

    /// The same text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The place for a browser that is at `.login`.
    pub(super) fn location(&self) -> String {
        // With `./` before it, nothing is a scheme or a host.
        if self.0.starts_with('/') { self.0.clone() } else { format!("./{}", self.0) }
    }
}

impl LoginForm {
    /// Reads it; none if there is no name and password in it that somebody could have.
    ///
    /// # Errors
    ///
    /// It is no form, or the body breaks off or is too long.
    pub(super) async fn read(
        headers: &HeaderMap,
        mut body: RequestBody,
    ) -> Result<Option<Self>, HandlerError> {
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let kind = kind.and_then(|kind| kind.split(|&byte| byte == b';').next()).unwrap_or_default();
        if !kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            let why = "The login takes a form: `application/x-www-form-urlencoded`.";
            return Err(HandlerError::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        body.set_limit(body.limit().min(LONGEST_FORM));
        let text = body.collect().await?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (mut user, mut password, mut next) = (None, None, None);
        for (name, value) in query::pairs(text) {
            let field = match &*name {
                b"username" => &mut user,
                b"password" => &mut password,
                b"next" => &mut next,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        // Keyboards of phones put a space behind a name.
        let text =
            |bytes: Vec<u8>| String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
        let user = text(user?)?.trim().to_owned();
        let password = password?;
        let is_text = std::str::from_utf8(&password).is_ok_and(|text| !text.chars().any(char::is_control));
        let fits = (1..=MAX_USER).contains(&user.len()) && (1..=MAX_PASSWORD).contains(&password.len());
        let form = Self { user, password: password.into(), next: Next::new(&next.unwrap_or_default()) };
        (is_text && fits).then_some(form)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    #[test]
    fn a_form_has_a_name_and_a_password() {
        let parsed = |text: &str| {
            let form = LoginForm::parse(text.as_bytes())?;
            let password = String::from_utf8(form.password.bytes().to_vec()).expect("text");
            Some(format!("{}|{password}|{}", form.user, form.next.location()))
        };
        let fine = [
            ("username=ada&password=p+w%26", "ada|p w&|./"),
            ("password=%20p&x=1&username=+ada%20&next=a/b?c", "ada| p|./a/b?c"),
            ("username=zo%C3%AB&password=%25&next=/x", "zo\u{eb}|%|/x"),
            ("username=ada&password=%zz&next=%0d%0aa", "ada|%zz|./"),
        ];
        for (text, expected) in fine {
            assert_eq!(parsed(text).as_deref(), Some(expected), "{text}");
        }
        let long = "x".repeat(256);
        let wrong = [
            "",
            "&&=&",
            "username=ada",
            "password=x",
            "username=&password=x",
            "username=+&password=x",
            "username=ada&password=",
            "username=ada&username=eve&password=x",
            "username=ada&password=x&password=y",
            "username=%ff&password=x",
            "username=ada&password=%ff",
            "username=a%00&password=x",
            "username=ada&password=a%0ab",
            "{\"username\":\"ada\",\"password\":\"x\"}",
            &format!("username={long}&password=x"),
            &format!("username=ada&password={long}"),
        ];
        for text in wrong {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn the_way_back_is_on_this_host() {
        for (next, location) in [
            ("", "./"),
            ("a/b?c=/d#e", "./a/b?c=/d#e"),
            ("/shop/?x", "/shop/?x"),
            ("https://evil.example/", "./https://evil.example/"),
            ("javascript:alert(1)", "./javascript:alert(1)"),
            ("../x", "./../x"),
            ("//evil.example", "./"),
            ("/\\evil.example", "./"),
            ("\\\\evil.example", "./"),
            ("/\t/evil.example", "./"),
            (" //evil.example", "./"),
            ("/a b", "./"),
            ("/\u{fc}", "./"),
            (&"a".repeat(2049), "./"),
        ] {
            assert_eq!(Next::new(next.as_bytes()).location(), location, "{next:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_leads_nowhere_else(next: Vec<u8>, text in "[/\\\\.:a@?# \t]{0,8}") {
            for next in [next, text.into_bytes()] {
                let location = Next::new(&next).location();
                let is_relative = location.starts_with("./");
                let is_absolute = location.starts_with('/') && !location.starts_with("//");
                prop_assert!(is_relative || is_absolute, "{location}");
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'), "{location}");
            }
        }
    }
}
