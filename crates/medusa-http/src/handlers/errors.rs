//! Own pages in the place of the server's, by status.
//!
//! A page is the answer of a handler, which is asked by a GET (or HEAD) without a body and without the conditions and ranges that
//! the client may have named: an error has a page as a whole or not at all. The status stays what it was, and so does what an error
//! says beside its page: how to log in, when to come again, which methods there are.
//!
//! What the server has to say is replaced wherever it comes from: a wrapper, a missing file, a handler that has failed, was stopped,
//! or took too long. So is an answer without any content. An error page of the handler's own is left as it is unless it is asked for
//! otherwise (`intercept`).
//!
//! **Invariant:** a page that fails leaves the answer that was there before, with a line in the log; there is no page for a page.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use medusa_proto::status::Status;
use medusa_proto::with_causes;

use crate::handler::{Handler, HandlerFuture, OverdueFuture};
use crate::pass::answer;
use crate::request::{Head, Purpose, Request, RequestBody};
use crate::response::Response;
use crate::router::encode_segment;

/// The errors that a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorStatus {
    /// Those of one status.
    One(StatusCode),
    /// All of the client (4) or of the server (5), unless there is a page for the very status.
    Class(u16),
}

impl ErrorStatus {
    /// That of a number from 400 to 599.
    pub fn one(number: u16) -> Option<Self> {
        let status = (400..600).contains(&number).then(|| StatusCode::from_u16(number).ok());
        status.flatten().map(Self::One)
    }

    /// That of `4xx` or `5xx`.
    pub fn class(name: &str) -> Option<Self> {
        match name {
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ => None,
        }
    }

    fn has(self, status: StatusCode) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => status.as_u16() / 100 == class,
        }
    }

    /// The same text as a script gives.
    pub fn shown(self) -> String {
        match self {
            Self::One(status) => status.as_u16().to_string(),
            Self::Class(class) => format!("{class}xx"),
        }
    }
}

/// A page, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    /// The errors.
    pub status: ErrorStatus,
    /// The place of its handler among those of the pages.
    pub handler: usize,
    /// The name of the file that the handler is asked for; none: what the client has asked for.
    pub file: Option<String>,
}

/// What tells wrappers of this kind from each other, beside their handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPages {
    /// The pages.
    pub pages: Vec<ErrorPage>,
    /// Whether errors that come with content of the handler's own are replaced, too. Default no.
    pub intercept: bool,
}

/// A wrapper that puts own pages in the place of the server's.
#[derive(Debug)]
pub struct Errors {
    handler: Arc<dyn Handler>,
    /// That again, and behind it what makes the pages.
    inner: Vec<Arc<dyn Handler>>,
    rules: Arc<ErrorPages>,
}

/// Fields of a request that are about its content, or ask for less than a whole page.
const NOT_ASKED: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// Fields by which a client would ask for a page again, which is another page's then.
const NOT_TOLD: [HeaderName; 3] = [header::ETAG, header::LAST_MODIFIED, header::ACCEPT_RANGES];

impl Errors {
    /// Stands before the first of `inner`; the others make the pages.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn new(inner: Vec<Arc<dyn Handler>>, rules: Arc<ErrorPages>) -> Self {
        let handler = Arc::clone(inner.first().expect("a wrapper stands before a handler"));
        Self { handler, inner, rules }
    }

    /// The page to be put in the place of an answer, if one is.
    fn page_for(&self, response: &Response) -> Option<&ErrorPage> {
        let is_error = response.status.is_client_error() || response.status.is_server_error();
        let is_busy = response.failure.as_ref().is_some_and(|error| error.is_busy());
        let is_ours = || response.is_page || self.rules.intercept || is_bare(response);
        if !is_error || is_busy || response.upgrade.is_some() || !is_ours() {
            return None;
        }
        let pages = &self.rules.pages;
        let of = |is_class| {
            let mut those =
                pages.iter().filter(move |page| matches!(page.status, ErrorStatus::Class(_)) == is_class);
            those.find(|page| page.status.has(response.status))
        };
        of(false).or_else(|| of(true))
    }

    async fn dressed(&self, head: &Arc<Head>, response: Response) -> Response {
        let Some(rule) = self.page_for(&response) else { return response };
        let Some(handler) = self.inner.get(rule.handler + 1) else { return response };
        let file = rule.file.as_deref();
        let Some(request) = page_request(head, response.status, file) else { return response };
        put_page("medusa.handler.errors", handler, request, file, response).await
    }
}

/// Puts the page that a handler makes in the place of that of an answer, which stays as it is if that makes none: with a line in the
/// log, by `function`, if it should have.
pub(super) async fn put_page(
    function: &str,
    handler: &Arc<dyn Handler>,
    request: Request,
    file: Option<&str>,
    response: Response,
) -> Response {
    let head = Arc::clone(&request.head);
    let page = answer(handler, request).await;
    let status = response.status;
    if page.status == StatusCode::OK && is_bare(&page) {
        return response;
    }
    let is_one = page.status.is_success() || (page.status == status && file.is_none());
    if !is_one || page.is_page || page.failure.is_some() || page.upgrade.is_some() {
        let given = page.status.as_u16();
        let why = page.failure.map(|error| format!(": {}", with_causes(&*error))).unwrap_or_default();
        let file = file.map(tracing::field::display);
        tracing::warn!(request = %head.id, method = %head.method, path = %head.path(), file, "{function}: there is no page for {}, as what makes it answers {given}{why}", status.as_u16());
        return response;
    }
    with_page(response, page)
}

/// Whether there is nothing to be read in it. An answer to HEAD tells of content that it does not have.
fn is_bare(response: &Response) -> bool {
    let is_told = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    response.body.is_empty() && !is_told.iter().any(|name| response.headers.contains_key(name))
}

/// What the handler of a page is asked.
pub(super) fn page_request(head: &Arc<Head>, status: StatusCode, file: Option<&str>) -> Option<Request> {
    let mut asked = Head::clone(head);
    if asked.method != Method::HEAD {
        asked.method = Method::GET;
    }
    if let Some(file) = file {
        asked.uri = format!("/{}", encode_segment(file.as_bytes())).parse().ok()?;
        asked.tail = 1;
    }
    for name in NOT_ASKED {
        asked.headers.remove(name);
    }
    asked.websocket = false;
    asked.purpose = Purpose::Page(status);
    Some(Request { head: Arc::new(asked), body: RequestBody::from_bytes(Bytes::new()) })
}

/// An answer with another page.
fn with_page(response: Response, page: Response) -> Response {
    let Response { status, headers, mut end_hook, failure, .. } = response;
    let mut answer = Response { status, failure, ..page };
    for name in NOT_TOLD {
        answer.headers.remove(name);
    }
    let own: Vec<_> = answer.headers.keys().cloned().collect();
    for (name, value) in &headers {
        let is_of_content = name.as_str().starts_with("content-") || NOT_TOLD.contains(name);
        let is_kept = *name == header::VARY || (!is_of_content && !own.contains(name));
        if is_kept {
            append(&mut answer.headers, name, value);
        }
    }
    answer.end_hook.add(move |delivery| end_hook.call(delivery));
    answer
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &http::HeaderValue) {
    // There is room: neither of both had too many.
    let _full = headers.try_append(name.clone(), value.clone());
}

impl Handler for Errors {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let head = Arc::clone(&request.head);
            let response = answer(&self.handler, request).await;
            Ok(self.dressed(&head, response).await)
        })
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        Box::pin(async move {
            let response = self.handler.overdue(head, page).await;
            self.dressed(head, response).await
        })
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        (inner.len() == self.inner.len())
            .then(|| Arc::new(Self::new(inner, Arc::clone(&self.rules))) as Arc<dyn Handler>)
    }

    fn answers_preflights(&self) -> bool {
        self.handler.answers_preflights()
    }

    fn status(&self) -> Status {
        let shown = self.rules.pages.iter().map(|page| page.status.shown()).collect::<Vec<_>>().join(" ");
        Status::new("handler.errors", shown).field("intercept", self.rules.intercept)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::end_hook::Delivery;
    use crate::handler::HandlerError;
    use crate::handlers::stand_in::{answers, request_from};

    fn errors(inner: Vec<Arc<dyn Handler>>, pages: &[(&str, usize)], intercept: bool) -> Errors {
        let pages = pages.iter().map(|&(status, handler)| {
            let number = status.parse().ok().and_then(ErrorStatus::one);
            let status = number.or_else(|| ErrorStatus::class(status)).expect("a status");
            ErrorPage { status, handler, file: None }
        });
        Errors::new(inner, ErrorPages { pages: pages.collect(), intercept }.into())
    }

    /// The status, the text, and a field of an answer to a GET.
    async fn ask(errors: &Errors) -> (u16, String, Response) {
        let mut answer = errors.handle(request_from("::1", Method::GET, "/x", &[])).await.expect("an answer");
        let text = match std::mem::take(&mut answer.body) {
            crate::Body::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        };
        (answer.status.as_u16(), text, answer)
    }

    /// Fails as a handler may.
    #[derive(Debug)]
    struct Fails(fn() -> HandlerError);

    impl Handler for Fails {
        fn handle(&self, _request: Request) -> HandlerFuture<'_> {
            Box::pin(std::future::ready(Err((self.0)())))
        }

        fn status(&self) -> Status {
            Status::new("test", "fails")
        }
    }

    /// Panics.
    #[derive(Debug)]
    struct Panics;

    impl Handler for Panics {
        fn handle(&self, _request: Request) -> HandlerFuture<'_> {
            let fails: fn() -> Result<Response, HandlerError> = || panic!("no");
            Box::pin(async move { fails() })
        }

        fn status(&self) -> Status {
            Status::new("test", "panics")
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_page_is_that_of_the_status_or_else_of_its_class() {
        let of = |status: u16| {
            let inner = answers(move || Response::page(StatusCode::from_u16(status).expect("a status")));
            let pages = ["one", "class"].map(|text| answers(move || Response::text(text)));
            errors([&[inner][..], &pages].concat(), &[("4xx", 1), ("404", 0)], false)
        };
        for (status, text) in [(404, "one"), (403, "class"), (410, "class")] {
            let (given, page, _) = ask(&of(status)).await;
            assert_eq!((given, page.as_str()), (status, text));
        }
        assert!(ask(&of(500)).await.1.starts_with("<!doctype"), "there is none");
        assert_eq!(ask(&of(200)).await.0, 200);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_handler_says_itself_stays_unless_it_is_asked_for() {
        let own = |make: fn() -> Response, intercept| {
            errors(
                vec![answers(make), answers(|| Response::text("page"))],
                &[("404", 0), ("503", 0)],
                intercept,
            )
        };
        let says = || Response { status: StatusCode::NOT_FOUND, ..Response::text("own") };
        let bare = || Response::status(StatusCode::NOT_FOUND);
        let head = || {
            Response::status(StatusCode::NOT_FOUND)
                .with(header::CONTENT_LENGTH, HeaderValue::from_static("9"))
        };
        assert_eq!(ask(&own(says, false)).await.1, "own");
        assert_eq!(ask(&own(says, true)).await.1, "page");
        assert_eq!(ask(&own(bare, false)).await.1, "page");
        assert_eq!(ask(&own(head, false)).await.1, "Empty");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn failures_have_pages_and_are_told_all_the_same() {
        let page = || answers(|| Response::text("page"));
        for (status, inner) in [
            (500, Arc::new(Fails(|| HandlerError::internal("no"))) as Arc<dyn Handler>),
            (503, Arc::new(Fails(|| HandlerError::unavailable("no")))),
            (413, Arc::new(Fails(|| HandlerError::client(StatusCode::PAYLOAD_TOO_LARGE, "no")))),
            (500, Arc::new(Panics)),
        ] {
            let (given, text, answer) =
                ask(&errors(vec![inner, page()], &[("4xx", 0), ("5xx", 0)], false)).await;
            assert_eq!((given, text.as_str()), (status, "page"));
            assert_eq!(answer.failure.expect("why").status(), status);
            assert_eq!(answer.headers.contains_key(header::RETRY_AFTER), status == 503);
            assert_eq!(answer.headers.contains_key(header::CONNECTION), status == 413);
        }
        let busy = Arc::new(Fails(|| HandlerError::client(StatusCode::SERVICE_UNAVAILABLE, "no memory")));
        assert_eq!(ask(&errors(vec![busy, page()], &[("5xx", 0)], true)).await.1, "Empty", "it takes memory");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_error_keeps_what_it_says_beside_its_page() {
        let ended = Arc::<parking_lot::Mutex<Vec<Delivery>>>::default();
        let inner = {
            let ended = Arc::clone(&ended);
            answers(move || {
                let ended = Arc::clone(&ended);
                Response::page(StatusCode::UNAUTHORIZED)
                    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))
                    .with(header::VARY, HeaderValue::from_static("origin"))
                    .with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
                    .on_end(move |delivery| ended.lock().push(delivery))
            })
        };
        let page = answers(|| {
            Response::text("page")
                .with(header::ETAG, HeaderValue::from_static("\"e\""))
                .with(header::VARY, HeaderValue::from_static("accept-encoding"))
        });
        let (status, text, mut answer) = ask(&errors(vec![inner, page], &[("401", 0)], false)).await;
        assert_eq!((status, text.as_str()), (401, "page"));
        let mut fields: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        fields.sort();
        let expected = [
            "content-type: text/plain; charset=utf-8",
            "vary: accept-encoding",
            "vary: origin",
            "www-authenticate: Basic",
        ];
        assert_eq!(fields, expected);
        assert!(ended.lock().is_empty());
        let sent = Delivery { bytes: 4, is_whole: true };
        answer.end_hook.call(sent);
        assert_eq!(*ended.lock(), [sent]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_page_that_fails_leaves_the_servers() {
        let not_found = || answers(|| Response::page(StatusCode::NOT_FOUND));
        for page in [
            Arc::new(Fails(|| HandlerError::internal("no"))) as Arc<dyn Handler>,
            Arc::new(Panics),
            not_found(),
            answers(|| Response { status: StatusCode::FOUND, ..Response::text("elsewhere") }),
        ] {
            let (status, text, answer) = ask(&errors(vec![not_found(), page], &[("404", 0)], false)).await;
            assert!(status == 404 && text.starts_with("<!doctype") && answer.failure.is_none(), "{text}");
        }
    }

    /// Says how it was asked.
    #[derive(Debug)]
    struct Echo;

    impl Handler for Echo {
        fn handle(&self, request: Request) -> HandlerFuture<'_> {
            let Head { method, headers, purpose, .. } = &*request.head;
            let text = format!(
                "{method} {} {} {purpose:?} {}",
                request.head.path(),
                headers.len(),
                request.body.is_empty()
            );
            Box::pin(std::future::ready(Ok(Response::text(text))))
        }

        fn status(&self) -> Status {
            Status::new("test", "echo")
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_page_is_asked_for_as_a_whole() {
        let inner = || answers(|| Response::page(StatusCode::PRECONDITION_FAILED));
        let fields = [
            ("if-match", "\"a\""),
            ("range", "bytes=0-1"),
            ("content-type", "text/plain"),
            ("accept", "text/html"),
        ];
        for (method, file, expected) in [
            (Method::POST, None, "GET /x 1 Page(412) true"),
            (Method::HEAD, None, "HEAD /x 1 Page(412) true"),
            (Method::PUT, Some("a b.html"), "GET /a%20b.html 1 Page(412) true"),
        ] {
            let page = ErrorPage { status: ErrorStatus::Class(4), handler: 0, file: file.map(str::to_owned) };
            let rules = ErrorPages { pages: vec![page], intercept: false };
            let errors = Errors::new(vec![inner(), Arc::new(Echo)], rules.into());
            let answer = errors.handle(request_from("::1", method, "/x", &fields)).await.expect("an answer");
            assert!(
                matches!(&answer.body, crate::Body::Bytes(text) if *text == expected),
                "{:?}",
                answer.body
            );
        }
    }
}
