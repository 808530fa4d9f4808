//! Lets pages of other origins read what the handler in it answers ([Fetch, CORS
//! protocol](https://fetch.spec.whatwg.org/#http-cors-protocol)).
//!
//! Preflights are answered here, with 204; the handler never sees them, and the router brings them to the mount that
//! would get the request they ask about ([`Handler::answers_preflights`]). All other requests go on, whatever their
//! origin: this is no protection of the server, it tells browsers which pages may see the answer. What the handler says
//! of these fields itself is replaced; a page of the server's, as where the handler has failed, has them, too.
//!
//! **Invariant:** an origin is allowed by its name or not at all; with credentials there is no `*`; and where the
//! answer depends on the origin, `Vary` says so also to those who sent none, as a cache may ask for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_proto::status::Status;

use super::compress::vary;
use super::origin_list::OriginList;
use crate::handler::{Handler, HandlerFuture, OverdueFuture};
use crate::pass::answer;
use crate::preflight::asked_method;
use crate::request::{Head, Request};
use crate::response::Response;

/// In place of a list: all.
const ANY: &str = "*";
const ANY_VALUE: HeaderValue = HeaderValue::from_static(ANY);
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What pages of other origins may do.
#[derive(Debug, Clone, Default)]
pub struct CorsOptions {
    /// The origins; none: all there are.
    pub origins: Option<OriginList>,
    /// The methods beside GET, HEAD and POST, which need no leave; `*` for all.
    pub methods: Vec<String>,
    /// The fields that a request may have beside those that need no leave; `*` for all.
    pub headers: Vec<String>,
    /// The fields of the answer that a page may read beside those that all may; `*` for all.
    pub expose: Vec<String>,
    /// Whether requests may come with cookies and the like.
    pub credentials: bool,
    /// The time for which a browser may keep the answer to a preflight, in seconds; none: 5, says the standard.
    pub max_age: Option<u32>,
}

/// The reason why there can be no such rules.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CorsError {
    /// Browsers would refuse the answer.
    #[error("`origins` is \"*\", which browsers do not take together with `credentials`; list the origins")]
    AnyOrigin,
    /// It would be a name like any other.
    #[error("`{0}` has \"*\", which does not stand for all together with `credentials`; list them")]
    AnyName(&'static str),
    /// Nobody would be allowed anything.
    #[error("`origins` is empty; list those that may, or leave the wrapper out")]
    NoOrigin,
    /// Not a method.
    #[error("`methods`: {0:?} is not a method")]
    Method(String),
    /// Not a field.
    #[error("`{option}`: {name:?} is not the name of a field")]
    Field {
        /// The option.
        option: &'static str,
        /// The name.
        name: String,
    },
}

/// [`CorsOptions`] that were checked, as the fields that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRules {
    origins: Option<OriginList>,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
}

impl CorsRules {
    /// Checks `options`.
    ///
    /// # Errors
    ///
    /// See [`CorsError`].
    pub fn new(options: CorsOptions) -> Result<Self, CorsError> {
        let CorsOptions { origins, methods, headers, expose, credentials, max_age } = options;
        match &origins {
            None if credentials => return Err(CorsError::AnyOrigin),
            Some(origins) if origins.is_empty() => return Err(CorsError::NoOrigin),
            _ => {}
        }
        let method = |name: &String| {
            let upper = name.to_ascii_uppercase();
            let is_one = Method::from_bytes(upper.as_bytes()).is_ok();
            if is_one { Ok(upper) } else { Err(CorsError::Method(name.clone())) }
        };
        let field = |option: &'static str| {
            move |name: &String| match HeaderName::from_bytes(name.as_bytes()) {
                Ok(field) => Ok(field.as_str().to_owned()),
                Err(_none) => Err(CorsError::Field { option, name: name.clone() }),
            }
        };
        let methods = list("methods", &methods, credentials, method)?;
        let headers = list("headers", &headers, credentials, field("headers"))?;
        let expose = list("expose", &expose, credentials, field("expose"))?;
        Ok(Self { origins, credentials, methods, headers, expose, max_age: max_age.map(HeaderValue::from) })
    }

    /// The same text for the same rules, and another for others.
    pub fn key(&self) -> String {
        format!("{self:?}")
    }

    /// Says whether pages of the request's origin may. Returns that.
    fn allow(&self, head: &Head, fields: &mut HeaderMap) -> bool {
        let Some(origins) = &self.origins else {
            fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_VALUE);
            return true;
        };
        vary(fields, "Origin");
        let mut given = head.headers.get_all(header::ORIGIN).iter();
        match (given.next(), given.next()) {
            (Some(origin), None) if origins.has(origin) => {
                fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                if self.credentials {
                    fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
                }
                true
            }
            _ => false,
        }
    }

    fn preflight(&self, head: &Head) -> (Response, bool) {
        let mut response = Response::status(StatusCode::NO_CONTENT);
        let fields = &mut response.headers;
        let is_allowed = self.allow(head, fields);
        if is_allowed {
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
                (header::ACCESS_CONTROL_MAX_AGE, &self.max_age),
            ] {
                if let Some(value) = value {
                    fields.insert(name, value.clone());
                }
            }
        }
        (response, is_allowed)
    }

    fn dress(&self, head: &Head, fields: &mut HeaderMap) {
        fields.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        fields.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        fields.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        if self.allow(head, fields)
            && let Some(expose) = &self.expose
        {
            fields.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// The field of a list: its names in an order that does not depend on who lists them; none for no names.
fn list(
    option: &'static str,
    given: &[String],
    credentials: bool,
    name: impl Fn(&String) -> Result<String, CorsError>,
) -> Result<Option<HeaderValue>, CorsError> {
    if given.iter().any(|name| name == ANY) {
        return if credentials { Err(CorsError::AnyName(option)) } else { Ok(Some(ANY_VALUE)) };
    }
    let mut names = given.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(None);
    }
    let joined = names.join(", ");
    let as_field = |_not_one| CorsError::Field { option, name: joined.clone() };
    HeaderValue::from_str(&joined).map(Some).map_err(as_field)
}

/// A wrapper that tells browsers which pages may see what the handler in it answers.
#[derive(Debug)]
pub struct Cors {
    inner: Arc<dyn Handler>,
    rules: Arc<CorsRules>,
    preflights: AtomicU64,
    refused: AtomicU64,
}

impl Cors {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, rules: Arc<CorsRules>) -> Self {
        let (preflights, refused) = Default::default();
        Self { inner, rules, preflights, refused }
    }

    fn preflight(&self, head: &Head) -> Response {
        let (response, is_allowed) = self.rules.preflight(head);
        self.preflights.fetch_add(1, Relaxed);
        self.refused.fetch_add(u64::from(!is_allowed), Relaxed);
        response
    }

    fn dressed(&self, head: &Head, mut response: Response) -> Response {
        // Browsers let any page open a WebSocket: that has `origins` of its own.
        if response.upgrade.is_none() {
            self.rules.dress(head, &mut response.headers);
        }
        response
    }
}

impl Handler for Cors {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        if asked_method(&request.head).is_some() {
            return Box::pin(std::future::ready(Ok(self.preflight(&request.head))));
        }
        Box::pin(async move {
            let head = Arc::clone(&request.head);
            Ok(self.dressed(&head, answer(&self.inner, request).await))
        })
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        Box::pin(async move { self.dressed(head, self.inner.overdue(head, page).await) })
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, Arc::clone(&self.rules))))
    }

    fn answers_preflights(&self) -> bool {
        true
    }

    fn status(&self) -> Status {
        let origins = self.rules.origins.as_ref().map_or_else(|| ANY.to_owned(), OriginList::shown);
        Status::new("handler.cors", origins)
            .counter("preflights", self.preflights.load(Relaxed))
            .counter("preflights_refused", self.refused.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::stand_in::{answers, request_from};

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn listed() -> CorsOptions {
        CorsOptions {
            origins: Some(
                OriginList::parse(["https://app.example", "http://localhost:3000"]).expect("origins"),
            ),
            methods: texts(&["put", "DELETE"]),
            headers: texts(&["X-Token", "content-type"]),
            expose: texts(&["ETag"]),
            credentials: true,
            max_age: Some(600),
        }
    }

    fn cors(options: CorsOptions) -> Cors {
        let inner = answers(|| {
            let own = HeaderValue::from_static("https://own.example");
            Response::text("fine")
                .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, own)
                .with(header::VARY, HeaderValue::from_static("accept"))
        });
        Cors::new(inner, CorsRules::new(options).expect("good rules").into())
    }

    /// The status and what the answer says about origins.
    async fn ask(cors: &Cors, method: &str, fields: &[(&'static str, &str)]) -> (u16, Vec<String>) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = cors.handle(request_from("::1", method, "/", fields)).await.expect("an answer");
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let name = name.as_str().strip_prefix("access-control-").unwrap_or(name.as_str());
            (name != "content-type").then(|| format!("{name}: {}", value.to_str().expect("text")))
        };
        let mut fields: Vec<_> = answer.headers.iter().filter_map(shown).collect();
        fields.sort();
        (answer.status.as_u16(), fields)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_preflight_is_answered_for_those_who_may() {
        let cors = cors(listed());
        let asked = ("access-control-request-method", "PUT");
        let (status, fields) = ask(&cors, "OPTIONS", &[("origin", "https://app.example"), asked]).await;
        assert_eq!(status, 204);
        let expected = [
            "allow-credentials: true",
            "allow-headers: content-type, x-token",
            "allow-methods: DELETE, PUT",
            "allow-origin: https://app.example",
            "max-age: 600",
            "vary: Origin",
        ];
        assert_eq!(fields, expected);
        for other in
            ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example"]
        {
            let (status, fields) = ask(&cors, "OPTIONS", &[("origin", other), asked]).await;
            assert_eq!((status, &*fields), (204, &["vary: Origin".to_owned()][..]), "{other}");
        }
        let counted = Status::new("handler.cors", "http://localhost:3000 https://app.example");
        let counted = counted.counter("preflights", 5_u64).counter("preflights_refused", 4_u64);
        assert_eq!(cors.status(), counted);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn other_requests_go_on_and_the_answer_says_who_may_see_it() {
        let cors = cors(listed());
        let allowed = [
            "allow-credentials: true",
            "allow-origin: http://localhost:3000",
            "expose-headers: etag",
            "vary: Origin",
            "vary: accept",
        ];
        for method in ["GET", "POST", "OPTIONS"] {
            let (status, fields) = ask(&cors, method, &[("origin", "http://localhost:3000")]).await;
            assert_eq!((status, fields), (200, texts(&allowed)), "{method}");
        }
        let nobody = (200, texts(&["vary: Origin", "vary: accept"]));
        assert_eq!(ask(&cors, "GET", &[]).await, nobody, "a cache may ask for somebody else");
        assert_eq!(ask(&cors, "GET", &[("origin", "https://evil.example")]).await, nobody);
        let twice = [("origin", "http://localhost:3000"), ("origin", "http://localhost:3000")];
        assert_eq!(ask(&cors, "GET", &twice).await, nobody, "no browser sends two");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn all_origins_need_no_vary() {
        let cors = cors(CorsOptions { methods: texts(&["*"]), ..CorsOptions::default() });
        let any = (200, texts(&["allow-origin: *", "vary: accept"]));
        assert_eq!(ask(&cors, "GET", &[("origin", "null")]).await, any);
        assert_eq!(ask(&cors, "GET", &[]).await, any);
        let asked = [("origin", "http://a"), ("access-control-request-method", "PUT")];
        let (_, fields) = ask(&cors, "OPTIONS", &asked).await;
        assert_eq!(fields, ["allow-methods: *", "allow-origin: *"]);
    }

    #[test]
    fn rules_that_browsers_would_not_take_are_refused() {
        let refused = |options| CorsRules::new(options).expect_err("not to be had");
        let credentials = CorsOptions { credentials: true, ..CorsOptions::default() };
        assert_eq!(refused(credentials), CorsError::AnyOrigin);
        let methods = CorsOptions { methods: texts(&["*"]), ..listed() };
        assert_eq!(refused(methods), CorsError::AnyName("methods"));
        let expose = CorsOptions { expose: texts(&["*"]), ..listed() };
        assert_eq!(refused(expose), CorsError::AnyName("expose"));
        let nobody = CorsOptions { origins: Some(OriginList::default()), ..CorsOptions::default() };
        assert_eq!(refused(nobody), CorsError::NoOrigin);
        let method = CorsOptions { methods: texts(&["A B"]), ..CorsOptions::default() };
        assert_eq!(refused(method), CorsError::Method("A B".to_owned()));
        let field = CorsOptions { headers: texts(&["a:"]), ..CorsOptions::default() };
        assert_eq!(refused(field), CorsError::Field { option: "headers", name: "a:".to_owned() });
    }

    #[test]
    fn the_order_of_a_list_does_not_matter() {
        let rules = |headers: &[&str]| {
            CorsRules::new(CorsOptions { headers: texts(headers), ..CorsOptions::default() }).expect("rules")
        };
        assert_eq!(rules(&["X-A", "x-b"]), rules(&["x-b", "x-a", "x-b"]));
    }
}
