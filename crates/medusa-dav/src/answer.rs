//! What is answered, as XML ([RFC 4918 §13](https://www.rfc-editor.org/rfc/rfc4918#section-13)).

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue, StatusCode};
use medusa_http::store::PagePath;
use medusa_http::{Body, Response};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::xml::escape;

const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");

pub(crate) const LOCK_TOKEN: HeaderName = HeaderName::from_static("lock-token");

pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
/// The beginning of a body of 207 (Multi-Status).
pub(crate) const BEGIN: &str =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n";
/// Its end.
pub(crate) const END: &str = "</D:multistatus>\n";

/// What need not be encoded in a segment of a path: less than may stand there, as clients compare texts.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The address below which the directory is, as a raw path with a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPath(String);

impl MountPath {
    /// That of a request whose path is this, up to the mount's part.
    pub(crate) fn new(path: &str) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        Self(format!("{path}/"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The raw path of something below it.
    pub(crate) fn href(&self, path: &PagePath) -> String {
        self.href_of(path.path(), path.is_directory())
    }

    pub(crate) fn href_of(&self, path: &str, is_directory: bool) -> String {
        let mut href = self.0.clone();
        for (at, segment) in path.split('/').enumerate() {
            if at > 0 {
                href.push('/');
            }
            href.extend(utf8_percent_encode(segment, SEGMENT));
        }
        if is_directory && !href.ends_with('/') {
            href.push('/');
        }
        href
    }
}

/// An answer, on its way from another thread.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    lock_token: Option<HeaderValue>,
    /// XML, or nothing.
    body: String,
}

impl Answer {
    /// Just a status.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self::xml(status, String::new())
    }

    pub(crate) fn xml(status: StatusCode, body: String) -> Self {
        Self { status, lock_token: None, body }
    }

    /// Tells the token of a new lock.
    pub(crate) fn with_lock(self, token: &str) -> Self {
        Self { lock_token: HeaderValue::from_str(&format!("<{token}>")).ok(), ..self }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let Answer { status, lock_token, body } = answer;
        let mut response = if body.is_empty() { Self::status(status) } else { xml(status, body) };
        if let Some(token) = lock_token {
            response.headers.insert(LOCK_TOKEN, token);
        }
        response
    }
}

/// A response whose body is XML.
pub(crate) fn xml(status: StatusCode, body: impl Into<Body>) -> Response {
    Response { status, ..Response::new(XML, body) }
}

/// 207 with these responses.
pub(crate) fn multistatus(responses: &str) -> Answer {
    Answer::xml(StatusCode::MULTI_STATUS, format!("{BEGIN}{responses}{END}"))
}

/// The answer that a condition of a method does not hold ([RFC 4918 §16](https://www.rfc-editor.org/rfc/rfc4918#section-16)).
pub(crate) fn precondition(status: StatusCode, code: &str, href: Option<&str>) -> Answer {
    let mut body = format!("{DECLARATION}<D:error xmlns:D=\"DAV:\"><D:{code}");
    match href {
        Some(href) => {
            body.push('>');
            element(&mut body, "href", href);
            let _written = write!(body, "</D:{code}>");
        }
        None => body.push_str("/>"),
    }
    body.push_str("</D:error>\n");
    Answer::xml(status, body)
}

/// Writes an element of WebDAV's with text in it.
pub(crate) fn element(out: &mut String, name: &str, text: &str) {
    let _written = write!(out, "<D:{name}>");
    escape(out, text);
    let _written = write!(out, "</D:{name}>");
}

/// Writes a status.
pub(crate) fn status(out: &mut String, status: StatusCode) {
    let reason = status.canonical_reason().unwrap_or_default();
    let _written = write!(out, "<D:status>HTTP/1.1 {} {reason}</D:status>", status.as_u16());
}

/// Writes the response that something has a status.
pub(crate) fn failure(out: &mut String, href: &str, code: StatusCode) {
    out.push_str("<D:response>");
    element(out, "href", href);
    status(out, code);
    out.push_str("</D:response>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_below_the_mount() {
        let mount = MountPath::new("/dav/");
        assert_eq!(mount, MountPath::new("/dav"));
        let href = |tail: &str| mount.href(&PagePath::parse(tail).expect("a path"));
        assert_eq!(href(""), "/dav/");
        assert_eq!(href("a/"), "/dav/a/");
        assert_eq!(href("a%20b/%C3%A9&.txt"), "/dav/a%20b/%C3%A9%26.txt");
        assert_eq!(MountPath::new("/").href_of("a", true), "/a/");
    }
}
