//! Requests, checked before anything is sent.
//!
//! Scripts put what visitors sent into URLs and fields. A line end in either would be a second request of the visitor's
//! making, sent from inside the network (request smuggling, RFC 9112 §11.2); a `Host` that is not the URL's, or a
//! framing field that is not the client's, comes to the same. All are refused here, so that what is sent is one request,
//! to where the URL says.
//!
//! Which hosts a script may reach is not decided here: a script that takes a whole URL from a visitor lets the visitor ask
//! this machine's neighbours.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::bounds::MAX_URL;
use crate::error::redacted;
use crate::redirect::{Auth, Hop};

/// The most fields of a request. Servers take a hundred or so.
pub const MAX_FIELDS: usize = 100;

/// The most bytes of their names and values, and of a login. Servers take 8 to 32 KiB.
pub const MAX_FIELD_BYTES: usize = 64 * 1024;

/// The length of a name that an error shows, in characters.
const SHOWN: usize = 64;

/// The most redirects that can be asked for.
pub const MAX_REDIRECTS: usize = 20;

/// Fields that frame a message or steer its connection, which is the client's business (RFC 9110 §7.6.1, §10.1.1), and
/// `Host`, which is the URL's.
const OURS: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One fetch.
#[derive(Clone)]
pub struct Request {
    pub(crate) hop: Hop,
    /// Bounds of time, redirects and size.
    pub limits: Limits,
    /// A PEM file of certificate authorities to trust beside the system's. Read for each fetch, so that a new one is
    /// taken up. Default: none.
    pub ca: Option<PathBuf>,
    /// Whether to take any certificate for any host. For local work. Default: no.
    pub insecure: bool,
    /// Whether the body is read by the caller, piece by piece, instead of into memory. Default: no.
    pub stream: bool,
}

/// Limits of a fetch: how long, how far and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole fetch: waiting for its turn, connecting, redirects, the body. Default: 10 s, which is a third of
    /// what a request's script may take. At most [`MAX_TIMEOUT`](crate::MAX_TIMEOUT).
    pub timeout: Duration,
    /// Of each connection: looking up the name, TCP, TLS. Default: 3 s; TCP sends its first packet again after one second
    /// and after three. Fetches that differ in this do not share connections.
    pub connect_timeout: Duration,
    /// Redirects that are followed; with 0 the redirect is the answer. Default: 5; at most [`MAX_REDIRECTS`].
    pub redirects: usize,
    /// The longest body of the answer, in bytes, decompressed. Default: 8 MiB, which 32 at once can have
    /// ([`MEMORY`](crate::MEMORY)).
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            redirects: 5,
            max_bytes: 8 * 1024 * 1024,
        }
    }
}

/// The reason why a request cannot be sent. No value is shown: it may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method is no token, or one that makes no sense here.
    #[error("the method {0:?} cannot be fetched with; use GET, POST, PUT or the like")]
    Method(String),
    /// The URL is none.
    #[error("the URL is none: {0}; give one like \"https://example.com/path\"")]
    Url(String),
    /// The URL is neither http nor https.
    #[error("the URL's scheme is {0:?}; only http:// and https:// can be fetched")]
    Scheme(String),
    /// The URL holds a user name or a password.
    #[error("the URL holds a user name or password; use `basic = {{ user =, pass = }}`")]
    Userinfo,
    /// A field's name is none.
    #[error("{0:?} is no field name")]
    FieldName(String),
    /// A field is the client's own.
    #[error("the field \"{0}\" is the client's business and cannot be set")]
    OurField(String),
    /// A field's value has control characters.
    #[error("the value of \"{0}\" holds a line end or another control character")]
    FieldValue(String),
    /// There are too many fields.
    #[error("there are more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// The fields, or a login, are too long.
    #[error("the fields are longer than {} KiB together", MAX_FIELD_BYTES >> 10)]
    FieldsTooLong,
    /// There are several ways to log in.
    #[error("give only one of `basic`, `bearer` and the field \"authorization\"")]
    TwoLogins,
    /// A user name with a colon (RFC 7617 §2), or control characters in either.
    #[error("a user name holds no colon, and neither it nor a password a control character")]
    Credentials,
}

impl Request {
    /// A request without fields and body. `method` is taken in upper case.
    ///
    /// # Errors
    ///
    /// The method or the URL is none that can be fetched.
    pub fn new(method: &str, url: &str) -> Result<Self, RequestError> {
        let hop = Hop {
            method: parse_method(method)?,
            url: parse_url(url)?,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            auth: Auth::None,
        };
        Ok(Self { hop, limits: Limits::default(), ca: None, insecure: false, stream: false })
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// The name or the value is none, or the field cannot be set.
    pub fn field(&mut self, name: &str, value: &[u8]) -> Result<(), RequestError> {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(RequestError::FieldName(name.chars().take(SHOWN).collect()));
        };
        if OURS.contains(&parsed.as_str()) {
            return Err(RequestError::OurField(parsed.to_string()));
        }
        if self.field_bytes() + name.len() + value.len() > MAX_FIELD_BYTES {
            return Err(RequestError::FieldsTooLong);
        }
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return Err(RequestError::FieldValue(parsed.to_string()));
        };
        if self.hop.headers.len() >= MAX_FIELDS {
            return Err(RequestError::TooManyFields);
        }
        if parsed == header::AUTHORIZATION && !matches!(self.hop.auth, Auth::None) {
            return Err(RequestError::TwoLogins);
        }
        // It is full long after there are too many.
        self.hop.headers.try_append(parsed, value).map_err(|_full| RequestError::TooManyFields)?;
        Ok(())
    }

    fn field_bytes(&self) -> usize {
        self.hop.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }

    /// Whether it has the field `name`.
    pub fn has_field(&self, name: &str) -> bool {
        self.hop.headers.contains_key(name)
    }

    /// Sets the body.
    pub fn body(&mut self, body: impl Into<Bytes>) {
        self.hop.body = body.into();
    }

    /// Logs in with user name and password ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    ///
    /// # Errors
    ///
    /// They cannot be sent, or there is another login.
    pub fn basic(&mut self, user: String, pass: String) -> Result<(), RequestError> {
        if user.len() + pass.len() > MAX_FIELD_BYTES {
            return Err(RequestError::FieldsTooLong);
        }
        if user.contains(':') || user.chars().chain(pass.chars()).any(char::is_control) {
            return Err(RequestError::Credentials);
        }
        self.login(Auth::Basic { user, pass })
    }

    /// Logs in with a token ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
    ///
    /// # Errors
    ///
    /// It cannot be sent, or there is another login.
    pub fn bearer(&mut self, token: String) -> Result<(), RequestError> {
        if token.len() > MAX_FIELD_BYTES {
            return Err(RequestError::FieldsTooLong);
        }
        if HeaderValue::from_str(&token).is_err() {
            return Err(RequestError::FieldValue("bearer".to_owned()));
        }
        self.login(Auth::Bearer(token))
    }

    fn login(&mut self, auth: Auth) -> Result<(), RequestError> {
        if !matches!(self.hop.auth, Auth::None) || self.has_field("authorization") {
            return Err(RequestError::TwoLogins);
        }
        self.hop.auth = auth;
        Ok(())
    }

    /// Its destination, as messages show it.
    pub(crate) fn place(&self) -> String {
        redacted(&self.hop.url)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.hop.method)
            .field("url", &self.place())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn parse_method(method: &str) -> Result<Method, RequestError> {
    let wrong = || RequestError::Method(method.chars().take(40).collect());
    let parsed = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_none| wrong())?;
    // A tunnel is no exchange, and TRACE sends back what proxies added, which no client should ask for.
    if parsed == Method::CONNECT || parsed == Method::TRACE { Err(wrong()) } else { Ok(parsed) }
}

fn parse_url(url: &str) -> Result<Url, RequestError> {
    if url.len() > MAX_URL {
        return Err(RequestError::Url(format!("it is longer than {MAX_URL} bytes")));
    }
    // The parser would drop these silently, and a visitor's line end is better refused.
    if url.contains(|character: char| character.is_ascii_control() || character == ' ') {
        return Err(RequestError::Url(
            "it holds a space, a line end or another control character".to_owned(),
        ));
    }
    let url = Url::parse(url).map_err(|error| RequestError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(RequestError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RequestError::Userinfo);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Request {
        Request::new("get", "https://example.com/?key=secret").unwrap()
    }

    #[test]
    fn only_urls_that_can_be_fetched_are_taken() {
        for wrong in
            ["", "example.com", "/path", "http://", "http://a b/", "http://h/\r\nX: y", "http://h/\t"]
        {
            assert!(matches!(Request::new("GET", wrong), Err(RequestError::Url(_))), "{wrong:?}");
        }
        for scheme in ["file:///etc/passwd", "ftp://h/", "unix:/x", "data:,x", "javascript:1"] {
            assert!(matches!(Request::new("GET", scheme), Err(RequestError::Scheme(_))), "{scheme:?}");
        }
        let error = Request::new("GET", "https://joe:secret@h/").unwrap_err();
        assert_eq!(error, RequestError::Userinfo);
        assert!(!error.to_string().contains("secret"));
        assert!(Request::new("GET", &format!("http://h/{}", "x".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn only_methods_that_make_sense_are_taken() {
        assert_eq!(get().hop.method, Method::GET);
        assert_eq!(Request::new("PROPFIND", "http://h/").unwrap().hop.method, "PROPFIND");
        for wrong in ["", "GET /", "A\r\nB", "CONNECT", "trace"] {
            assert!(matches!(Request::new(wrong, "http://h/"), Err(RequestError::Method(_))), "{wrong:?}");
        }
    }

    #[test]
    fn fields_that_would_make_another_request_are_refused() {
        for value in [&b"a\r\nHost: b"[..], b"a\nb", b"a\rb", b"a\0b"] {
            assert_eq!(get().field("X-A", value), Err(RequestError::FieldValue("x-a".into())), "{value:?}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "ä"] {
            assert_eq!(get().field(name, b"v"), Err(RequestError::FieldName(name.into())));
        }
        for name in ["Host", "Content-Length", "TRANSFER-ENCODING", "connection", "Upgrade"] {
            assert!(matches!(get().field(name, b"v"), Err(RequestError::OurField(_))), "{name}");
        }
    }

    #[test]
    fn fields_are_counted() {
        let mut request = get();
        for number in 0..MAX_FIELDS {
            request.field(&format!("x-{number}"), b"v").unwrap();
        }
        assert_eq!(request.field("x-more", b"v"), Err(RequestError::TooManyFields));
        let mut request = get();
        let kib = [b'v'; 1024];
        for number in 0..63 {
            request.field(&format!("x-{number}"), &kib).unwrap();
        }
        assert_eq!(request.field("x-more", &kib), Err(RequestError::FieldsTooLong));
        assert_eq!(request.basic("u".into(), "p".repeat(MAX_FIELD_BYTES)), Err(RequestError::FieldsTooLong));
        assert_eq!(request.bearer("p".repeat(MAX_FIELD_BYTES + 1)), Err(RequestError::FieldsTooLong));
        let Err(RequestError::FieldName(shown)) = request.field(&"a b".repeat(1000), b"v") else { panic!() };
        assert_eq!(shown.len(), SHOWN);
    }

    #[test]
    fn there_is_one_login() {
        let mut request = get();
        request.bearer("token".into()).unwrap();
        assert_eq!(request.basic("u".into(), "p".into()), Err(RequestError::TwoLogins));
        assert_eq!(request.field("Authorization", b"Basic x"), Err(RequestError::TwoLogins));
        let mut request = get();
        request.field("Authorization", b"Basic x").unwrap();
        assert_eq!(request.bearer("token".into()), Err(RequestError::TwoLogins));
        assert_eq!(get().basic("a:b".into(), "p".into()), Err(RequestError::Credentials));
        assert_eq!(get().basic("a".into(), "p\n".into()), Err(RequestError::Credentials));
        assert!(get().bearer("a\r\nb".into()).is_err());
    }

    #[test]
    fn debug_shows_no_secrets() {
        let mut request = get();
        request.basic("joe".into(), "secret".into()).unwrap();
        request.field("x-api-key", b"secret").unwrap();
        let shown = format!("{request:?}");
        assert!(shown.contains("https://example.com/"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
