//! The response that a handler gives back, and the pages the server answers with on its own account.

use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::shown::push_cut;
use tokio::sync::Notify;

use crate::body::{Body, BodyStream, TrailerSlot};
use crate::end_hook::{Delivery, EndHook};
use crate::escaped::Escaped;
use crate::event_stream::{self, EventStream};
use crate::handler::HandlerError;
use crate::sessions::Sessions;
use crate::upgrade::Upgrade;

/// `text/plain; charset=utf-8`
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// `text/html; charset=utf-8`
pub const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The value of `Connection` in the last response of a connection.
pub(crate) const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// One HTTP response.
///
/// `Date`, `Server` and the framing fields (`Content-Length`, `Transfer-Encoding`, `Connection`) are the server's to
/// write, not the handler's.
#[derive(Debug, Default)]
pub struct Response {
    /// The status; 200 unless told otherwise.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
    /// The place where the body's stream leaves the fields behind it, if there may be any.
    pub trailers: Option<TrailerSlot>,
    /// The protocol that goes on after a 101 (Switching Protocols); nothing for any other status.
    pub upgrade: Option<Upgrade>,
    /// Told when the connection should end soon, where the body would not otherwise: see [`Self::stream`].
    pub finish: Option<Rc<Notify>>,
    /// The action when it has ended: see [`Self::on_end`].
    pub end_hook: EndHook,
    /// Whether the body is the server's own page for the status, which a wrapper may put another in the place of.
    pub is_page: bool,
    /// What a handler has failed with, where this is the answer in its place: it is yet to be counted and logged.
    pub failure: Option<Box<HandlerError>>,
}

/// In seconds: what holds the memory is given up within a minute, and most of it sooner, and others are done by then.
pub(crate) const BUSY_FOR: HeaderValue = HeaderValue::from_static("10");

impl Response {
    /// 200 with a body and its type.
    pub fn new(content_type: HeaderValue, body: impl Into<Body>) -> Self {
        Self::default().with(header::CONTENT_TYPE, content_type).body(body)
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<Body>) -> Self {
        Self::new(TEXT, text)
    }

    /// Just a status.
    pub fn status(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a field, in place of any of the same name.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.is_page = false;
        self
    }

    /// Sets a body that is sent as it comes. A stream of server-sent events is one of `sessions`: it ends, between two
    /// events if it can, when they do (for which it may have `keep` more) and when its connection should.
    #[must_use]
    pub fn stream(mut self, stream: BodyStream, sessions: &Sessions, keep: Duration) -> Self {
        self.body = Body::Stream(if event_stream::is_one(&self.headers) {
            let finish = Rc::clone(self.finish.insert(Rc::default()));
            Box::pin(EventStream::new(stream, &self.headers, sessions.join_event_stream(keep), finish))
        } else {
            stream
        });
        self
    }

    /// Has `hook` called once, on the request's own worker: when the body's last byte was handed over, or the response is
    /// dropped. After a 101 it is when the other protocol ends.
    #[must_use]
    pub fn on_end(mut self, hook: impl FnOnce(Delivery) + 'static) -> Self {
        self.end_hook.add(hook);
        self
    }

    /// The server's own page for a status: short, readable on a phone, in light and dark, and free of anything that
    /// tells about the server's inside.
    pub fn page(status: StatusCode) -> Self {
        let mut response = Self::status(status);
        if may_have_body(status) {
            response.headers.insert(header::CONTENT_TYPE, HTML);
            response.body = Body::Bytes(ready_page(status));
            response.is_page = true;
        }
        response
    }

    /// The answer in the place of one that a handler has failed to give.
    pub fn failed(error: HandlerError) -> Self {
        let status = error.status();
        let mut response = if error.is_busy() {
            Self::busy()
        } else if error.blames_client() {
            Self::refusal(status, &error.to_string())
        } else {
            Self::page(status)
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers.insert(header::RETRY_AFTER, BUSY_FOR);
        }
        // What is left of a body that broke off, or came too slowly, is not to be told from a request.
        if matches!(
            status,
            StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
        ) {
            response.headers.insert(header::CONNECTION, CLOSE);
        }
        response.failure = Some(Box::new(error));
        response
    }

    /// The page for a status with the reason why this client, who is to blame, got it.
    pub(crate) fn refusal(status: StatusCode, reason: &str) -> Self {
        let mut shown = String::new();
        push_cut(&mut shown, MAX_REASON, format_args!("{reason}"));
        let mut response = Self::page(status);
        response.body = Body::Bytes(page(status, Escaped(&shown)).into());
        response
    }

    /// 503 for one who asks for more than there is at the moment, with the time after which there may be more. Without a
    /// page: an HTTP/2 client that takes none of it would hold the request open.
    pub(crate) fn busy() -> Self {
        Self::status(StatusCode::SERVICE_UNAVAILABLE).with(header::RETRY_AFTER, BUSY_FOR)
    }

    /// A redirect to `location` that keeps links and bookmarks right: 301 for GET and HEAD, 308 for methods whose
    /// body must be sent again ([RFC 9110 §15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)).
    pub fn redirect(method: &Method, location: &str) -> Self {
        let status = if matches!(*method, Method::GET | Method::HEAD) {
            StatusCode::MOVED_PERMANENTLY
        } else {
            StatusCode::PERMANENT_REDIRECT
        };
        match HeaderValue::from_str(location) {
            Ok(location) => Self::redirect_page(status, location),
            Err(_invalid) => Self::page(StatusCode::BAD_REQUEST),
        }
    }

    /// A redirect of this status, whose page links to where it leads. `location` is a path, or a URL of `http` or `https`.
    pub(crate) fn redirect_page(status: StatusCode, location: HeaderValue) -> Self {
        let mut response = Self::page(status);
        if let Ok(target) = std::str::from_utf8(location.as_bytes()) {
            let target = Escaped(target);
            let link = format!("<a href=\"{target}\">{target}</a>");
            response.body = Body::Bytes(page(status, link).into());
        }
        response.with(header::LOCATION, location)
    }

    /// 405 with its `Allow` field ([RFC 9110 §15.5.6](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6)).
    pub fn method_not_allowed<'a>(allow: impl IntoIterator<Item = &'a str>) -> Self {
        Self::page(StatusCode::METHOD_NOT_ALLOWED).allow(allow)
    }

    /// Adds the `Allow` field.
    #[must_use]
    pub(crate) fn allow<'a>(self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        let methods = methods.into_iter().collect::<Vec<_>>().join(", ");
        let methods = HeaderValue::from_str(&methods).unwrap_or(const { HeaderValue::from_static("") });
        self.with(header::ALLOW, methods)
    }
}

/// Whether a response of this status has a body at all
/// ([RFC 9110 §6.4.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.4.1)).
pub(crate) fn may_have_body(status: StatusCode) -> bool {
    !(status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED))
}

/// The page of a status, made when it is first asked for.
fn ready_page(status: StatusCode) -> Bytes {
    static PAGES: [OnceLock<String>; 500] = [const { OnceLock::new() }; 500];
    match PAGES.get(usize::from(status.as_u16() - 100)) {
        Some(ready) => Bytes::from_static(ready.get_or_init(|| page(status, hint(status))).as_bytes()),
        None => page(status, hint(status)).into(),
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "You have to log in to see this.",
        StatusCode::TOO_MANY_REQUESTS => "That was too often. Try again later.",
        StatusCode::NOT_FOUND => "There is nothing at this address.",
        StatusCode::INTERNAL_SERVER_ERROR => "The server failed to answer. Its log says why.",
        StatusCode::BAD_GATEWAY => "The server behind this one failed to answer. Try again later.",
        StatusCode::GATEWAY_TIMEOUT => "The server behind this one did not answer in time. Try again later.",
        StatusCode::URI_TOO_LONG => "The address is too long.",
        StatusCode::TOO_MANY_REQUESTS => "You have asked too often. Try again later.",
        StatusCode::SERVICE_UNAVAILABLE => "The server could not answer in time. Try again later.",
        _ => "",
    }
}

/// The most of a reason that a client is told, in bytes.
const MAX_REASON: usize = 300;

/// `hint` is HTML.
fn page(status: StatusCode, hint: impl fmt::Display) -> String {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or("Unknown status");
    let hint = hint.to_string();
    let hint = if hint.is_empty() { hint } else { format!("<p>{hint}</p>\n") };
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{code} {reason}</title>\n\
         <style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;\
         margin:18vh auto;padding:0 1.5rem}}h1{{font-size:1.6rem;margin:0 0 .5rem}}\
         h1 span{{opacity:.55;font-weight:400}}</style>\n\
         <h1><span>{code}</span> {reason}</h1>\n{hint}</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_bodies_only_where_a_status_allows_one() {
        assert!(!Response::page(StatusCode::NOT_FOUND).body.is_empty());
        for code in [100, 200, 599, 600, 999] {
            let page = ready_page(StatusCode::from_u16(code).unwrap());
            assert!(page.starts_with(b"<!doctype html>"), "{code}");
        }
        assert!(Response::page(StatusCode::NOT_MODIFIED).body.is_empty());
        assert!(Response::page(StatusCode::NO_CONTENT).headers.is_empty());
    }

    #[test]
    fn a_redirects_page_links_to_where_it_leads() {
        let text = |method, location| match Response::redirect(&method, location).body {
            Body::Bytes(page) => String::from_utf8(page.into()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(text(Method::GET, "/a/?b&c").contains("<p><a href=\"/a/?b&amp;c\">/a/?b&amp;c</a></p>"));
        let page = text(Method::POST, "/\"><script>'");
        assert!(page.contains("<a href=\"/&quot;&gt;&lt;script&gt;&#39;\">"), "{page}");
        assert!(!text(Method::GET, "/a\r\nx").contains("<p></p>"));
    }

    #[test]
    fn a_redirect_keeps_the_method_of_what_is_not_safe() {
        assert_eq!(Response::redirect(&Method::GET, "/a/").status, 301);
        assert_eq!(Response::redirect(&Method::POST, "/a/").status, 308);
        assert_eq!(Response::redirect(&Method::GET, "/a\r\nx").status, 400);
    }
}
