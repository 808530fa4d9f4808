//! The session's cookie: found in a request, taken out of it, and set.
//!
//! Where the client's connection is encrypted, its name has the prefix `__Host-`, by which browsers vouch that this very host has set
//! it, over TLS; elsewhere they would not take that.

use http::header::{self, HeaderMap, HeaderValue};
use medusa_proto::cookie::{CookieError, SetCookie, pairs};

/// What such a name begins with.
const PREFIX: &str = "__Host-";

/// The longest name that may be chosen.
const LONGEST_NAME: usize = 64;

/// The cookie that a session is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionCookie {
    /// Its name with the prefix.
    name: String,
}

impl SessionCookie {
    /// The one of this name, without a prefix. None if there can be none.
    pub(super) fn new(name: &str) -> Option<Self> {
        let cookie = Self { name: format!("{PREFIX}{name}") };
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with("__");
        (fits && cookie.set("", false, None).is_ok()).then_some(cookie)
    }

    /// Its name.
    fn name(&self, secure: bool) -> &str {
        let cut = if secure { 0 } else { PREFIX.len() };
        self.name.get(cut..).unwrap_or_default()
    }

    /// Its value, if it is there once: where it is there twice, one of them is somebody else's.
    pub(super) fn find<'h>(&self, headers: &'h HeaderMap, secure: bool) -> Option<&'h [u8]> {
        let name = self.name(secure).as_bytes();
        let fields = headers.get_all(header::COOKIE).iter();
        let mut values = fields.flat_map(|field| pairs(field.as_bytes())).filter(|(known, _)| *known == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Takes it out of what the client has sent, by either name.
    pub(super) fn take_out(&self, headers: &mut HeaderMap) {
        let is_ours = |part: &[u8]| {
            let name = part.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
            [true, false].iter().any(|secure| self.name(*secure).as_bytes() == name)
        };
        let parts = |field: &HeaderValue| {
            let parts = field.as_bytes().split(|&byte| byte == b';');
            let (ours, others): (Vec<_>, Vec<_>) = parts.partition(|part| is_ours(part));
            (!ours.is_empty())
                .then(|| others.into_iter().map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b"; "[..]))
        };
        let fields: Vec<_> = headers.get_all(header::COOKIE).iter().map(parts).collect();
        if fields.iter().all(Option::is_none) {
            return;
        }
        let before: Vec<_> = headers.get_all(header::COOKIE).iter().cloned().collect();
        headers.remove(header::COOKIE);
        for (before, without) in before.into_iter().zip(fields) {
            let field = match without {
                None => Some(before),
                // A part of a field is one.
                Some(others) => HeaderValue::from_bytes(&others).ok().filter(|field| !field.is_empty()),
            };
            if let Some(field) = field {
                // There is room: there were as many.
                let _full = headers.try_append(header::COOKIE, field);
            }
        }
    }

    /// The field that sets it, for so many seconds.
    pub(super) fn set(
        &self,
        value: &str,
        secure: bool,
        seconds: Option<u64>,
    ) -> Result<HeaderValue, CookieError> {
        let max_age = seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let cookie = SetCookie { secure, max_age, ..SetCookie::new(self.name(secure), value) };
        let field = cookie.field()?;
        Ok(HeaderValue::try_from(field).expect("a cookie is printable ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.try_append(header::COOKIE, HeaderValue::from_static(field)).expect("there is room");
        }
        headers
    }

    #[test]
    fn there_is_one_of_the_name() {
        let cookie = SessionCookie::new("login").expect("a name");
        for (fields, plain, secure) in [
            (&["login=a"][..], Some("a"), None),
            (&["x=1; login=a; y"], Some("a"), None),
            (&["x=1", "login=\"a\""], Some("a"), None),
            (&["login=a; login=a"], None, None),
            (&["login=a", "login=b"], None, None),
            (&["login=a; __Host-login=b"], Some("a"), Some("b")),
            (&["Login=a; xlogin=a; login; =login"], None, None),
            (&[], None, None),
        ] {
            let headers = headers(fields);
            let found = [false, true].map(|secure| cookie.find(&headers, secure));
            assert_eq!(found, [plain, secure].map(|value| value.map(str::as_bytes)), "{fields:?}");
        }
    }

    #[test]
    fn it_is_taken_out_and_nothing_else() {
        let cookie = SessionCookie::new("login").expect("a name");
        for (fields, left) in [
            (&["login=a"][..], &[][..]),
            (&["a=1; login=a;b = 2 "], &["a=1; b = 2"]),
            (&["a=1", " login =x", "b;c"], &["a=1", "b;c"]),
            (&["a=1;__Host-login=x; login=y; login"], &["a=1"]),
            (&["a=1 ;b=2"], &["a=1 ;b=2"]),
            (&[], &[]),
        ] {
            let mut headers = headers(fields);
            cookie.take_out(&mut headers);
            let after: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
            assert_eq!(after, left, "{fields:?}");
        }
    }

    #[test]
    fn it_is_for_this_host_and_no_script() {
        let cookie = SessionCookie::new("login").expect("a name");
        let set =
            |secure| cookie.set("a", secure, Some(60)).map(|field| field.to_str().map(str::to_owned).ok());
        assert_eq!(set(false), Ok(Some("login=a; Path=/; Max-Age=60; HttpOnly; SameSite=Lax".to_owned())));
        let secure = "__Host-login=a; Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax";
        assert_eq!(set(true), Ok(Some(secure.to_owned())));
        for wrong in ["", "a b", "a;b", "\u{fc}", "__Host-x", &"x".repeat(65)] {
            assert_eq!(SessionCookie::new(wrong), None, "{wrong}");
        }
    }
}
