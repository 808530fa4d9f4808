//! The `Set-Cookie` field ([RFC 6265 §4.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1)).

use std::fmt::{self, Write as _};

/// The longest name and value together that browsers keep
/// ([6265bis §5.6](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.6)).
const MAX_PAIR: usize = 4096;

/// The longest attribute value that browsers heed.
const MAX_ATTRIBUTE: usize = 1024;

/// A cookie to be set.
///
/// The defaults are the safe ones: for the whole site, out of reach of scripts, not sent along with requests that other
/// sites make (except when a link is followed), gone with the browser's session.
#[derive(Clone)]
pub struct SetCookie<'a> {
    /// A token.
    pub name: &'a str,
    /// Printable ASCII without space, `"`, `,`, `;` and `\`.
    pub value: &'a str,
    /// Below which path it is sent. Default `/`; without one a browser takes the directory of the request, which is
    /// seldom meant.
    pub path: &'a str,
    /// The domain whose subdomains get it too. Default: only the host that set it.
    pub domain: Option<&'a str>,
    /// The number of seconds that it lives; 0 or less removes it.
    pub max_age: Option<i64>,
    /// Until when it lives, as an HTTP date. `max_age` wins where there are both.
    pub expires: Option<&'a str>,
    /// Only sent over TLS.
    pub secure: bool,
    /// Out of reach of scripts in the page.
    pub http_only: bool,
    /// Whether it is sent with requests from other sites.
    pub same_site: SameSite,
    /// Kept apart for each site that embeds this one (CHIPS).
    pub partitioned: bool,
}

/// The rule for sending a cookie with a request that another site caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always; browsers want `Secure` with it.
    None,
}

/// The reason why a cookie cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// The name is no token.
    #[error("{0:?} is no name of a cookie: use letters, digits and !#$%&'*+-.^_`|~")]
    Name(String),
    /// The value holds a character that would end or change the field. The value is not told: it may be a secret.
    #[error("its value has the character {0:?}: encode it (`medusa.url.encode`)")]
    Value(char),
    /// An attribute holds such a character, or is not what it should be.
    #[error("its {0} cannot be {1:?}")]
    Attribute(&'static str, String),
    /// Name and value are too long.
    #[error("its name and value are {0} bytes long; browsers keep 4096")]
    TooLong(usize),
    /// What its name's prefix or an attribute promises does not hold.
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
}

impl<'a> SetCookie<'a> {
    /// A cookie with the defaults.
    pub fn new(name: &'a str, value: &'a str) -> Self {
        Self {
            name,
            value,
            path: "/",
            domain: None,
            max_age: None,
            expires: None,
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
        }
    }

    /// The field's value.
    ///
    /// # Errors
    ///
    /// A browser would drop the cookie or read another one.
    pub fn field(&self) -> Result<String, CookieError> {
        self.check_pair()?;
        self.check_attributes()?;
        self.check_promises()?;
        let mut field = String::new();
        // Writing to a string cannot fail.
        let _infallible = self.write(&mut field);
        Ok(field)
    }

    fn check_pair(&self) -> Result<(), CookieError> {
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return Err(CookieError::Name(self.name.to_owned()));
        }
        if let Some(wrong) = self.value.chars().find(|&c| !is_cookie_octet(c)) {
            return Err(CookieError::Value(wrong));
        }
        match self.name.len() + self.value.len() {
            0..=MAX_PAIR => Ok(()),
            length => Err(CookieError::TooLong(length)),
        }
    }

    fn check_attributes(&self) -> Result<(), CookieError> {
        let check = |name, value: &str, right: bool| {
            let fits =
                value.len() <= MAX_ATTRIBUTE && value.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';');
            if fits && right { Ok(()) } else { Err(CookieError::Attribute(name, value.to_owned())) }
        };
        check("path", self.path, self.path.starts_with('/'))?;
        if let Some(domain) = self.domain {
            let is_host = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
            check("domain", domain, !domain.is_empty() && domain.bytes().all(is_host))?;
        }
        self.expires.map_or(Ok(()), |expires| check("expires", expires, true))
    }

    /// [6265bis §4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3): the prefixes
    /// hold whatever their case.
    fn check_promises(&self) -> Result<(), CookieError> {
        let has_prefix = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let needs = |holds: bool, what, condition| {
            if holds { Ok(()) } else { Err(CookieError::Needs(what, condition)) }
        };
        if has_prefix("__Secure-") {
            needs(self.secure, "the prefix __Secure-", "`secure = true`")?;
        }
        if has_prefix("__Host-") {
            needs(self.secure, "the prefix __Host-", "`secure = true`")?;
            needs(self.path == "/", "the prefix __Host-", "the path `/`")?;
            needs(self.domain.is_none(), "the prefix __Host-", "that there is no domain")?;
        }
        needs(self.secure || !self.partitioned, "`partitioned`", "`secure = true`")?;
        needs(self.secure || self.same_site != SameSite::None, "`same_site = \"none\"`", "`secure = true`")
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        write!(out, "{}={}; Path={}", self.name, self.value, self.path)?;
        if let Some(domain) = self.domain {
            write!(out, "; Domain={domain}")?;
        }
        if let Some(seconds) = self.max_age {
            write!(out, "; Max-Age={seconds}")?;
        }
        if let Some(expires) = self.expires {
            write!(out, "; Expires={expires}")?;
        }
        let site = match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        };
        let flags = [
            (self.secure, "; Secure"),
            (self.http_only, "; HttpOnly"),
            (true, site),
            (self.partitioned, "; Partitioned"),
        ];
        flags.into_iter().filter(|(on, _)| *on).try_for_each(|(_, flag)| out.write_str(flag))
    }
}

/// Not the value: it is a secret more often than not.
impl fmt::Debug for SetCookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// [RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// `cookie-octet` of [RFC 6265 §4.1.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1)
const fn is_cookie_octet(c: char) -> bool {
    matches!(c, '!' | '#'..='+' | '-'..=':' | '<'..='[' | ']'..='~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(cookie: SetCookie<'_>) -> String {
        cookie.field().expect_err("a cookie that must be refused").to_string()
    }

    #[test]
    fn the_defaults_are_the_safe_ones() {
        let field = SetCookie::new("session", "abc").field();
        assert_eq!(field.as_deref(), Ok("session=abc; Path=/; HttpOnly; SameSite=Lax"));
    }

    #[test]
    fn every_attribute_is_written() {
        let cookie = SetCookie {
            path: "/app",
            domain: Some("example.com"),
            max_age: Some(-1),
            expires: Some("Sun, 06 Nov 1994 08:49:37 GMT"),
            secure: true,
            http_only: false,
            same_site: SameSite::None,
            partitioned: true,
            ..SetCookie::new("a", "")
        };
        assert_eq!(
            cookie.field().as_deref(),
            Ok(
                "a=; Path=/app; Domain=example.com; Max-Age=-1; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; \
                SameSite=None; Partitioned"
            )
        );
    }

    #[test]
    fn what_would_become_another_cookie_is_refused() {
        for name in ["", "a b", "a=b", "a;b", "ü", "a\r\n"] {
            assert!(refused(SetCookie::new(name, "v")).contains("no name of a cookie"), "{name}");
        }
        for value in ["a b", "a;b", "a,b", "\"a\"", "a\\b", "a\r\nX: y", "ü", "\0"] {
            let refused = refused(SetCookie::new("a", value));
            assert!(refused.contains("its value has the character"), "{refused}");
        }
        for path in ["", "here", "/a; Domain=evil.example", "/\n"] {
            assert!(refused(SetCookie { path, ..SetCookie::new("a", "v") }).contains("path"), "{path}");
        }
        for domain in ["", "a b", "a;b", "a\n", "a/b"] {
            let cookie = SetCookie { domain: Some(domain), ..SetCookie::new("a", "v") };
            assert!(refused(cookie).contains("domain"), "{domain}");
        }
        let long = "x".repeat(4096);
        assert!(refused(SetCookie::new("a", &long)).contains("4097 bytes"));
        assert!(SetCookie::new("a", &long[1..]).field().is_ok());
    }

    #[test]
    fn promises_are_kept() {
        let secure = SetCookie { secure: true, ..SetCookie::new("__Host-a", "v") };
        assert!(secure.field().is_ok());
        assert!(SetCookie { name: "__Secure-a", path: "/x", ..secure.clone() }.field().is_ok());
        for (wrong, needs) in [
            (SetCookie { secure: false, ..secure.clone() }, "needs `secure = true`"),
            (SetCookie { path: "/x", ..secure.clone() }, "needs the path `/`"),
            (SetCookie { domain: Some("example.com"), ..secure.clone() }, "no domain"),
            (SetCookie::new("__host-a", "v"), "needs `secure = true`"),
            (SetCookie::new("__secure-a", "v"), "needs `secure = true`"),
            (SetCookie { partitioned: true, ..SetCookie::new("a", "v") }, "needs `secure = true`"),
            (SetCookie { same_site: SameSite::None, ..SetCookie::new("a", "v") }, "needs `secure = true`"),
        ] {
            let refused = refused(wrong);
            assert!(refused.contains(needs), "{refused}");
        }
    }

    #[test]
    fn a_value_is_not_shown() {
        assert!(!format!("{:?}", SetCookie::new("a", "hidden")).contains("hidden"));
        assert!(!refused(SetCookie::new("a", "hidden secret")).contains("hidden"));
    }

    proptest! {
        /// Whatever is accepted is one cookie with that name and value and no other, as a browser takes it apart.
        #[test]
        fn what_is_written_is_read_back(name in "[ -~é]{0,3}", value in "[ -~\r\né]{0,4}", path in "/[ -~\r\né]{0,4}") {
            if let Ok(field) = (SetCookie { path: &path, ..SetCookie::new(&name, &value) }).field() {
                let parts: Vec<&str> = field.split("; ").collect();
                let path = format!("Path={path}");
                let expected = [&format!("{name}={value}"), path.as_str(), "HttpOnly", "SameSite=Lax"];
                prop_assert_eq!(parts, expected);
            }
        }
    }
}
