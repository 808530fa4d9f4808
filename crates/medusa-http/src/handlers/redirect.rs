//! Sends clients elsewhere: to the encrypted form of what they asked for ([`Https`]), or where a script says
//! ([`Redirect`]).
//!
//! **Invariant:** a script decides which server a client is sent to, or the client itself by the `Host` it asked for,
//! never the path of a link. A target like `//evil.example/` behind a redirect from `/old/` to `/` would otherwise lead
//! to a server of the link's author, under the good name of this one. What goes into `Location` has been read as a URL
//! before, so that no field can be smuggled into it.

use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::header::HeaderValue;
use http::{Method, StatusCode, Uri};
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerFuture};
use crate::request::{Head, Request};
use crate::response::Response;

/// The port that `https` URLs need not name ([RFC 9110 §4.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.2)).
const HTTPS_PORT: u16 = 443;

/// Redirects every request to `https`, with the same host, path and query: 301 for GET and HEAD, 308 for others, whose
/// body must be sent again.
///
/// A request without a host is answered 400; one that is encrypted already, here or at a trusted proxy, with 404, and
/// the log says once that the mount is on the wrong server: redirected, it would come again for ever.
#[derive(Debug)]
pub struct Https {
    port: Option<NonZeroU16>,
    warned: AtomicBool,
}

impl Https {
    /// To this port of the host; 443 if there is none.
    pub fn new(port: Option<NonZeroU16>) -> Self {
        Self { port: port.filter(|port| port.get() != HTTPS_PORT), warned: AtomicBool::new(false) }
    }

    fn answer(&self, head: &Head) -> Response {
        if head.secure {
            if !self.warned.swap(true, Relaxed) {
                tracing::warn!(
                    path = %head.uri.path(),
                    "a request for medusa.handler.https is encrypted already and gets 404: mount it on a server that \
                     listens without TLS"
                );
            }
            return Response::page(StatusCode::NOT_FOUND);
        }
        match self.location(head) {
            Some(location) => Response::redirect(&head.method, &location),
            None => Response::page(StatusCode::BAD_REQUEST),
        }
    }

    /// `None` if the request does not say whom it is for.
    fn location(&self, head: &Head) -> Option<String> {
        let host = head.host().filter(|host| !host.is_empty())?;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut location = format!("https://{host}");
        if let Some(port) = self.port {
            // Writing to a string cannot fail.
            let _infallible = write!(location, ":{port}");
        }
        location.push_str(target);
        Some(location)
    }
}

impl Handler for Https {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(std::future::ready(Ok(self.answer(&request.head))))
    }

    fn status(&self) -> Status {
        Status::new("handler.https", "")
            .field("port", u64::from(self.port.map_or(HTTPS_PORT, NonZeroU16::get)))
    }
}

/// The options of a [`Redirect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedirectOptions {
    /// Whether clients may remember it for good: 301 and 308 instead of 302 and 307
    /// ([RFC 9110 §15.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.4)). Default false: it cannot be taken back.
    pub permanent: bool,
    /// Whether the path below the mount, and the query, go behind the target. Default false.
    pub keep_path: bool,
}

/// The reason why there can be no such redirect.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// Not a place that a client can be sent to.
    #[error(
        "{0:?} is no place to redirect to: use a path (\"/new/\") or a URL (\"https://example.com/\"), with other characters \
         than those of ASCII percent-encoded"
    )]
    Target(String),
    /// There is no place for a path behind a query or a fragment.
    #[error(
        "{0:?} has a query or a fragment, and `keep_path` would put the path behind it: leave one of them out"
    )]
    PathBehindQuery(String),
}

/// Redirects every request to one place, or with [`RedirectOptions::keep_path`] to the same path below it.
#[derive(Debug)]
pub struct Redirect {
    to: HeaderValue,
    options: RedirectOptions,
}

impl Redirect {
    /// To `to`: a path on this server, or a URL of `http` or `https`.
    ///
    /// # Errors
    ///
    /// See [`RedirectError`].
    pub fn new(to: &str, options: RedirectOptions) -> Result<Self, RedirectError> {
        let field = HeaderValue::from_str(to).ok().filter(|_| is_target(to));
        let field = field.ok_or_else(|| RedirectError::Target(to.to_owned()))?;
        if options.keep_path && to.contains(['?', '#']) {
            return Err(RedirectError::PathBehindQuery(to.to_owned()));
        }
        Ok(Self { to: field, options })
    }

    fn answer(&self, head: &Head) -> Response {
        let location = if self.options.keep_path { self.below(head) } else { Some(self.to.clone()) };
        match location {
            Some(location) => Response::redirect_page(self.status_for(&head.method), location),
            None => Response::page(StatusCode::BAD_REQUEST),
        }
    }

    /// The request's place below the target.
    fn below(&self, head: &Head) -> Option<HeaderValue> {
        let mut location = self.to.to_str().ok()?.to_owned();
        let tail = head.tail().trim_start_matches(['/', '\\']);
        if !tail.is_empty() {
            // One slash between the two: two at the beginning would name a host, and none would continue the target's.
            location.truncate(location.trim_end_matches('/').len());
            location.push('/');
            location.push_str(tail);
        }
        if let Some(query) = head.uri.query() {
            location.push('?');
            location.push_str(query);
        }
        HeaderValue::try_from(location).ok()
    }

    fn status_for(&self, method: &Method) -> StatusCode {
        match (self.options.permanent, matches!(*method, Method::GET | Method::HEAD)) {
            (true, true) => StatusCode::MOVED_PERMANENTLY,
            (true, false) => StatusCode::PERMANENT_REDIRECT,
            (false, true) => StatusCode::FOUND,
            (false, false) => StatusCode::TEMPORARY_REDIRECT,
        }
    }
}

impl Handler for Redirect {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(std::future::ready(Ok(self.answer(&request.head))))
    }

    fn status(&self) -> Status {
        Status::new("handler.redirect", self.to.to_str().unwrap_or_default())
            .field("permanent", self.options.permanent)
            .field("keep_path", self.options.keep_path)
    }
}

/// Whether a script may name it: an absolute path on this server, or a URL of the web with a host.
fn is_target(to: &str) -> bool {
    let is_spelled = to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_path = to.starts_with('/') && !to.starts_with("//");
    is_spelled && to.parse::<Uri>().is_ok_and(|uri| is_path || is_web(&uri))
}

fn is_web(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http::header;
    use proptest::prelude::*;

    use super::*;
    use crate::request::RequestBody;

    /// The status and the place that a request is sent to, if it is sent anywhere.
    fn answer(handler: &dyn Handler, head: Head) -> (u16, String) {
        let request = Request { head: head.into(), body: RequestBody::from_bytes(bytes::Bytes::new()) };
        let answered = handler.handle(request).now_or_never().expect("it waits for nothing");
        let response = answered.expect("it never fails");
        let location = response.headers.get(header::LOCATION);
        (
            response.status.as_u16(),
            location.map_or_else(String::new, |place| place.to_str().unwrap().to_owned()),
        )
    }

    fn head(method: Method, host: Option<&'static str>, target: &str) -> Head {
        let mut head = Head::new(method, target.parse().unwrap());
        if let Some(host) = host {
            head.headers.insert(header::HOST, HeaderValue::from_static(host));
        }
        head
    }

    #[test]
    fn everything_is_sent_to_its_encrypted_form() {
        let https = Https::new(None);
        let asked = |method, host, target| answer(&https, head(method, Some(host), target));
        assert_eq!(
            asked(Method::GET, "example.com", "/a%20b?q=1&r"),
            (301, "https://example.com/a%20b?q=1&r".to_owned())
        );
        assert_eq!(asked(Method::HEAD, "example.com:8080", "/"), (301, "https://example.com/".to_owned()));
        assert_eq!(asked(Method::POST, "example.com", "/form"), (308, "https://example.com/form".to_owned()));
        assert_eq!(asked(Method::GET, "[::1]:80", "/"), (301, "https://[::1]/".to_owned()));
        assert_eq!(
            asked(Method::GET, "example.com", "//evil.example/"),
            (301, "https://example.com//evil.example/".to_owned())
        );
        let other = Https::new(NonZeroU16::new(8443));
        let asked = answer(&other, head(Method::GET, Some("example.com:8080"), "/x"));
        assert_eq!(asked, (301, "https://example.com:8443/x".to_owned()));
    }

    #[test]
    fn a_request_for_nobody_is_refused() {
        let https = Https::new(None);
        for host in [None, Some(""), Some(":80")] {
            assert_eq!(answer(&https, head(Method::GET, host, "/")), (400, String::new()), "{host:?}");
        }
    }

    #[test]
    fn what_is_encrypted_is_not_sent_around_in_circles() {
        let https = Https::new(None);
        let secure = Head { secure: true, ..head(Method::GET, Some("example.com"), "/") };
        assert_eq!(answer(&https, secure), (404, String::new()));
    }

    #[test]
    fn a_status_says_whether_it_is_for_good() {
        for (permanent, method, status) in [
            (false, Method::GET, 302),
            (false, Method::POST, 307),
            (true, Method::HEAD, 301),
            (true, Method::PUT, 308),
        ] {
            let options = RedirectOptions { permanent, ..RedirectOptions::default() };
            let handler = Redirect::new("/new?a=b#c", options).unwrap();
            assert_eq!(answer(&handler, head(method, None, "/old?x")), (status, "/new?a=b#c".to_owned()));
        }
    }

    /// The target of a request below `/old/`.
    fn below(target: &str, tail: &str) -> String {
        let options = RedirectOptions { keep_path: true, ..RedirectOptions::default() };
        let handler = Redirect::new(target, options).unwrap();
        let head = Head { tail: "/old/".len(), ..head(Method::GET, None, &format!("/old/{tail}")) };
        answer(&handler, head).1
    }

    #[test]
    fn a_path_is_kept_below_the_target() {
        assert_eq!(below("/new/", "a/b?q=1"), "/new/a/b?q=1");
        assert_eq!(below("/new", "?q"), "/new?q");
        assert_eq!(below("https://new.example", "a"), "https://new.example/a");
        assert_eq!(below("https://new.example", ".evil.example/"), "https://new.example/.evil.example/");
        assert_eq!(below("/", "/evil.example/"), "/evil.example/");
        assert_eq!(below("/", "//evil.example/"), "/evil.example/");
    }

    #[test]
    fn only_places_are_taken() {
        let plain = RedirectOptions::default();
        for good in ["/", "/a?b#c", "http://a.example", "https://[::1]:8443/x?y"] {
            assert!(Redirect::new(good, plain).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "https:///x",
            "/a\r\nSet-Cookie: b=c",
            "/ä",
            "/a b",
        ] {
            let error = Redirect::new(bad, plain).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{bad:?} is no place")), "{error}");
        }
        let keep = RedirectOptions { keep_path: true, ..plain };
        assert!(Redirect::new("/a?b", keep).is_err() && Redirect::new("/a#b", keep).is_err());
    }

    proptest! {
        /// Whatever a link says, its reader ends up below the target.
        #[test]
        fn no_path_leads_elsewhere(tail in r"[/\\.a-z%:@?0-9]{0,12}") {
            let Ok(_uri) = format!("/old/{tail}").parse::<Uri>() else { return Ok(()) };
            let place = below("/", &tail);
            prop_assert!(place.starts_with('/') && !place[1..].starts_with(['/', '\\']), "{place}");
            let place = below("https://new.example", &tail);
            let behind = place.strip_prefix("https://new.example");
            prop_assert!(behind.is_some_and(|path| path.is_empty() || path.starts_with(['/', '?'])), "{place}");
        }
    }
}
