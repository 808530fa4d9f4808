//! Refuses what a browser sends because a page of another site had it do so (cross-site request forgery).
//!
//! No tokens: browsers say themselves where a request comes from. The rules are those of Go's
//! `http.CrossOriginProtection` ([Go 1.25](https://pkg.go.dev/net/http#CrossOriginProtection)), in their order:
//!
//! 1. GET, HEAD and OPTIONS may come from anywhere: they must change nothing.
//! 2. `Sec-Fetch-Site` of `same-origin` or `none` (typed, or a bookmark) may; any other value may not, `same-site`
//!    included, unless `Origin` is one that is trusted.
//! 3. Without it and without `Origin` it is no browser, or an old one at home: it may.
//! 4. Else `Origin` must be the host that is asked, or one that is trusted.
//!
//! In two things they are stricter where more is known than there: a page that came unencrypted is of another origin to
//! an encrypted request, and a name in front of the host (`user@`) makes it another. And a default port is none.
//!
//! **Invariant:** a request that is refused does not get to the handler in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{self, HeaderName};
use http::{Method, StatusCode};
use medusa_proto::status::Status;

use super::origin_list::OriginList;
use crate::handler::{Handler, HandlerFuture};
use crate::pass::pass;
use crate::request::{Head, Request, without_default_port};
use crate::response::Response;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A wrapper that answers 403 to what pages of other sites send.
#[derive(Debug)]
pub struct Csrf {
    inner: Arc<dyn Handler>,
    trusted: Arc<OriginList>,
    refused: AtomicU64,
}

impl Csrf {
    /// Wraps `inner`; pages of `trusted` may send what they like.
    pub fn new(inner: Arc<dyn Handler>, trusted: Arc<OriginList>) -> Self {
        Self { inner, trusted, refused: AtomicU64::new(0) }
    }
}

/// Whether a request may change something, as far as it tells where it comes from; pages of `trusted` may.
pub(super) fn may(head: &Head, trusted: &OriginList) -> bool {
    matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS) || is_from_here(head, trusted)
}

/// Whether a request was made by a page of this very site, or one that is trusted, or by a person, or by no browser.
pub(super) fn is_from_here(head: &Head, trusted: &OriginList) -> bool {
    let first = |name| head.headers.get(name).filter(|value: &&http::HeaderValue| !value.is_empty());
    let origin = first(header::ORIGIN);
    let is_trusted = || origin.is_some_and(|origin| trusted.has(origin));
    match first(SEC_FETCH_SITE).map(http::HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => true,
        Some(_) => is_trusted(),
        None => origin.is_none_or(|origin| origin.to_str().is_ok_and(|it| is_here(it, head)) || is_trusted()),
    }
}

/// The answer to one that was not.
pub(super) fn refusal() -> Response {
    Response::refusal(StatusCode::FORBIDDEN, "A page of another site sent this request.")
}

/// Whether an origin is the one that is asked.
fn is_here(origin: &str, head: &Head) -> bool {
    let (Some((scheme, host)), Some(asked)) = (origin.split_once("://"), head.authority()) else {
        return false;
    };
    let is_downgrade = head.secure && scheme.eq_ignore_ascii_case("http");
    let bare = |authority| without_default_port(scheme, authority);
    !is_downgrade && bare(host).eq_ignore_ascii_case(bare(asked))
}

impl Handler for Csrf {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        if may(&request.head, &self.trusted) {
            return pass(&self.inner, request);
        }
        self.refused.fetch_add(1, Relaxed);
        Box::pin(std::future::ready(Ok(refusal())))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, Arc::clone(&self.trusted))))
    }

    fn status(&self) -> Status {
        Status::new("handler.csrf", self.trusted.shown()).counter("refused", self.refused.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::handlers::stand_in::{fine, request_from};

    type Fields<'a> = &'a [(&'static str, &'a str)];

    /// The statuses of each method for these fields.
    async fn statuses(csrf: &Csrf, secure: bool, fields: Fields<'_>) -> Vec<u16> {
        let mut all = Vec::new();
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::DELETE] {
            let mut request = request_from("::1", method, "/", fields);
            let head = Arc::make_mut(&mut request.head);
            head.secure = secure;
            head.headers.insert(header::HOST, HeaderValue::from_static("example.com"));
            all.push(csrf.handle(request).await.expect("an answer").status.as_u16());
        }
        all
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_changes_something_must_come_from_here() {
        let trusted = OriginList::parse(["https://sso.example.com"]).expect("an origin");
        let csrf = Csrf::new(fine(), trusted.into());
        let site = |value| ("sec-fetch-site", value);
        let origin = |value| ("origin", value);
        let cases: [(Fields<'_>, bool, bool); 19] = [
            (&[], false, true),
            (&[site("same-origin")], true, true),
            (&[site("none")], true, true),
            (&[site("same-origin"), origin("null")], true, true),
            (&[site("cross-site")], true, false),
            (&[site("same-site")], true, false),
            (&[site("anything")], true, false),
            (&[site("cross-site"), origin("https://example.com")], true, false),
            (&[site("cross-site"), origin("https://sso.example.com")], true, true),
            (&[site("same-site"), origin("https://sso.example.com")], true, true),
            (&[site(""), origin("https://example.com")], true, true),
            (&[origin("https://example.com:443")], true, true),
            (&[origin("http://example.com")], false, true),
            // A proxy that we know nothing of may have decrypted it.
            (&[origin("https://example.com")], false, true),
            (&[origin("http://example.com")], true, false),
            (&[origin("https://example.com:8443")], true, false),
            (&[origin("https://evil.example")], true, false),
            (&[origin("null")], true, false),
            (&[origin("https://sso.example.com")], true, true),
        ];
        for (fields, secure, may) in cases {
            let changes = if may { 200 } else { 403 };
            let expected = [200, 200, 200, changes, changes];
            assert_eq!(statuses(&csrf, secure, fields).await, expected, "{fields:?} {secure}");
        }
        let refused = cases.iter().filter(|(_, _, may)| !may).count() as u64 * 2;
        let status = Status::new("handler.csrf", "https://sso.example.com").counter("refused", refused);
        assert_eq!(csrf.status(), status);
    }
}
