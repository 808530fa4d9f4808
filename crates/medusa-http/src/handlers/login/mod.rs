//! Lets those through to another handler who have logged in on a page, and shows that page to others.
//!
//! Who has logged in has a cookie with a signed session ([`medusa_auth::sessions`]), which is looked at with every request, also one
//! that asks for a `WebSocket`. Below the mount there are three addresses of this wrapper's own: `.login` takes name and password,
//! `.logout` and `.logout-everywhere` end this session, or all of the user's. What changes something is taken from pages of this very
//! site alone. Everything here is said relative to the address that was asked for, so that it holds behind whatever changes paths.
//!
//! A browser that comes without a session gets the page with a 401 at the address it has asked for: bookmarks, reloads and the way
//! back stay what they are, and no cache keeps a redirect. Whoever is no browser on its way to a page gets a 401 in a line or in
//! JSON.
//!
//! **Invariant:** a request that is let through has its user set; one that is not never reaches the handler. A cookie of whatever shape
//! is a session or none, and never an error.

mod cookie;
mod form;
mod page;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use medusa_auth::sessions::{Lifetime, LoginSession, LoginSessions, now};
use medusa_auth::{Users, Verdict};
use medusa_proto::query;
use medusa_proto::status::Status;

use self::cookie::SessionCookie;
use self::form::{LoginForm, Next};
use self::page::{LoginPage, Said};
use super::OriginList;
use super::auth::{known_as, scope, tell_if_readable, whole_seconds};
use super::csrf::{is_from_here, refusal};
use super::errors::{page_request, put_page};
use crate::handler::{Handler, HandlerError, HandlerFuture, OverdueFuture};
use crate::pass::pass;
use crate::request::{Head, Request};
use crate::response::{Response, TEXT};

/// Its name, in what it says to operators.
const FUNCTION: &str = "medusa.handler.login";

/// The longest title, in bytes.
const LONGEST_TITLE: usize = 200;

const LOGIN: &str = ".login";
const LOGOUT: &str = ".logout";
const LOGOUT_EVERYWHERE: &str = ".logout-everywhere";

/// The query of the page that says that the session was ended.
const LOGGED_OUT: &str = "logged-out";

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");

/// How one logs in: there is no registered scheme for that, and browsers ignore those that they do not know.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Cookie");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// May be kept by the browser alone, which asks each time whether it is still so: after a logout it is not.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// What a wrapper is given beside the users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginOptions {
    /// What is behind it, as its page tells.
    pub title: String,
    /// The name of the cookie, without a prefix.
    pub cookie: String,
    /// The time for which a session goes on.
    pub lifetime: Lifetime,
    /// Whether the handler sees the cookie.
    pub pass_cookie: bool,
    /// Who makes the page.
    pub page: PageMaker,
}

/// Who makes the login page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageMaker {
    /// This wrapper.
    Ours,
    /// The handler behind the one that it stands before: asked for this file, or for what the client has asked for.
    Handler(Option<String>),
}

/// The reason why there can be no such wrapper.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LoginError {
    /// The title.
    #[error("`title` must be one line of 1 to {LONGEST_TITLE} bytes, not {0:?}")]
    Title(String),
    /// The cookie's name.
    #[error(
        "`cookie` must be a name of 1 to 64 letters, digits and !#$%&'*+-.^_`|~ that does not begin with `__`, not {0:?}; \
         over TLS, `__Host-` is put before it"
    )]
    Cookie(String),
    /// The lifetime.
    #[error("`absolute` is less than `lifetime`: a session would end before it could be renewed")]
    Lifetime,
}

/// What options say, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRules {
    title: String,
    cookie: SessionCookie,
    lifetime: Lifetime,
    pass_cookie: bool,
    page: PageMaker,
}

impl LoginRules {
    /// What these options say.
    ///
    /// # Errors
    ///
    /// See [`LoginError`].
    pub fn new(options: LoginOptions) -> Result<Self, LoginError> {
        let LoginOptions { title, cookie, lifetime, pass_cookie, page } = options;
        if !(1..=LONGEST_TITLE).contains(&title.len()) || title.chars().any(char::is_control) {
            return Err(LoginError::Title(title));
        }
        if lifetime.whole < lifetime.idle {
            return Err(LoginError::Lifetime);
        }
        let cookie = SessionCookie::new(&cookie).ok_or(LoginError::Cookie(cookie))?;
        Ok(Self { title, cookie, lifetime, pass_cookie, page })
    }
}

/// A wrapper that lets those through to the handler in it who have logged in.
#[derive(Debug)]
pub struct Login {
    handler: Arc<dyn Handler>,
    /// That again, and behind it what makes the page, if that is not this.
    inner: Vec<Arc<dyn Handler>>,
    users: Arc<Users>,
    sessions: Arc<LoginSessions>,
    rules: Arc<LoginRules>,
    /// Whether it was told that passwords come as anybody on the way can read them.
    told: AtomicBool,
}

/// What is on the page of whoever has to log in.
#[derive(Debug)]
struct PageContent<'a> {
    status: StatusCode,
    said: Said,
    user: &'a str,
    next: &'a str,
}

impl Login {
    /// Stands before the first of `inner`; a second one makes the page.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn new(
        inner: Vec<Arc<dyn Handler>>,
        users: Arc<Users>,
        sessions: Arc<LoginSessions>,
        rules: Arc<LoginRules>,
    ) -> Self {
        let handler = Arc::clone(inner.first().expect("a wrapper stands before a handler"));
        Self { handler, inner, users, sessions, rules, told: AtomicBool::new(false) }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let now = now();
        let session = self.session(&request.head, now).await;
        let everywhere = match request.head.tail() {
            LOGIN => return self.at_login(request, session, now).await,
            LOGOUT => false,
            LOGOUT_EVERYWHERE => true,
            _ => {
                return match session {
                    Some(session) => self.let_through(request, session, now).await,
                    None => Ok(self.ask(&request.head).await),
                };
            }
        };
        Ok(self.at_logout(&request.head, session, everywhere, now).await)
    }

    /// The session of a request, if there is one that goes on.
    async fn session(&self, head: &Head, now: u64) -> Option<LoginSession> {
        let text = self.rules.cookie.find(&head.headers, head.secure)?;
        self.sessions.check(&self.users, text, self.rules.lifetime, now).await
    }

    async fn let_through(
        &self,
        mut request: Request,
        session: LoginSession,
        now: u64,
    ) -> Result<Response, HandlerError> {
        let renewed = session.renewed(self.rules.lifetime, now);
        let secure = request.head.secure;
        known_as(&request.head, session.user, FUNCTION)?;
        if !self.rules.pass_cookie {
            self.rules.cookie.take_out(&mut Arc::make_mut(&mut request.head).headers);
        }
        let mut response = pass(&self.handler, request).await?;
        if response.status.is_informational() {
            return Ok(response);
        }
        let is_said = response.headers.contains_key(header::CACHE_CONTROL);
        // What others may keep is nothing to put a session in.
        if !is_said || (renewed.is_some() && !is_private(&response.headers)) {
            response.headers.insert(header::CACHE_CONTROL, PRIVATE);
        }
        if let Some(renewed) = renewed {
            self.set_cookie(&mut response, secure, Some(&renewed), now);
        }
        Ok(response)
    }

    /// The answer to whoever is not known.
    async fn ask(&self, head: &Arc<Head>) -> Response {
        if !is_for_a_person(head) {
            return unauthorized(&head.headers);
        }
        // What was sent with another method cannot be sent again by following a link.
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let next = if is_read { format!("{}{query}", head.tail()) } else { String::new() };
        let next = Next::new(next.as_bytes());
        self.page(
            head,
            &PageContent {
                status: StatusCode::UNAUTHORIZED,
                said: Said::Nothing,
                user: "",
                next: next.as_str(),
            },
        )
        .await
    }

    async fn at_login(
        &self,
        request: Request,
        session: Option<LoginSession>,
        now: u64,
    ) -> Result<Response, HandlerError> {
        let Request { head, body } = request;
        match head.method {
            Method::POST if is_from_here(&head, &OriginList::default()) => {}
            Method::POST => return Ok(refusal()),
            Method::GET | Method::HEAD => {
                let given = head.uri.query().unwrap_or_default();
                let next = Next::new(&query::first(given.as_bytes(), b"next").unwrap_or_default());
                if session.is_some() {
                    return Ok(see_other(&next.location()));
                }
                let said = if given == LOGGED_OUT { Said::LoggedOut } else { Said::Nothing };
                let shown = PageContent { status: said.status(), said, user: "", next: next.as_str() };
                return Ok(self.page(&head, &shown).await);
            }
            _ => return Ok(Response::method_not_allowed(["GET", "HEAD", "POST"])),
        }
        tell_if_readable(&head, &self.told);
        let Some(form) = LoginForm::read(&head.headers, body).await? else {
            let said = Said::Malformed;
            return Ok(self
                .page(&head, &PageContent { status: said.status(), said, user: "", next: "" })
                .await);
        };
        let LoginForm { user, password, next } = form;
        let said = match self.users.verify(scope(head.client), &user, password).await {
            Verdict::Right(known) => {
                if let Some(begun) = self.sessions.begin(&self.users, &known, now).await {
                    let mut response = see_other(&next.location());
                    self.set_cookie(&mut response, head.secure, Some(&begun), now);
                    return Ok(response);
                }
                // The user is gone since.
                Said::Wrong
            }
            // Only an answer of Digest can be stale.
            Verdict::Wrong | Verdict::Stale => Said::Wrong,
            Verdict::TooMany(wait) => Said::TooMany(whole_seconds(wait)),
            Verdict::Busy(wait) => Said::Busy(whole_seconds(wait)),
        };
        Ok(self
            .page(&head, &PageContent { status: said.status(), said, user: &user, next: next.as_str() })
            .await)
    }

    async fn at_logout(
        &self,
        head: &Head,
        session: Option<LoginSession>,
        everywhere: bool,
        now: u64,
    ) -> Response {
        match head.method {
            Method::POST if is_from_here(head, &OriginList::default()) => {}
            Method::POST => return refusal(),
            Method::GET | Method::HEAD => {
                return match session {
                    Some(session) => {
                        page::logout(&self.rules.title, &session.user).with(header::CACHE_CONTROL, NO_STORE)
                    }
                    None => see_other(&format!("./{LOGIN}")),
                };
            }
            _ => return Response::method_not_allowed(["GET", "HEAD", "POST"]),
        }
        match session {
            Some(session) if everywhere => self.sessions.end_all(Some(&session.user), now).await,
            Some(session) => self.sessions.end(&session, now).await,
            None => {}
        }
        let mut response = see_other(&format!("./{LOGIN}?{LOGGED_OUT}"));
        self.set_cookie(&mut response, head.secure, None, now);
        response
    }

    /// The login page.
    async fn page(&self, head: &Arc<Head>, shown: &PageContent<'_>) -> Response {
        let PageContent { status, said, user, next } = *shown;
        let action = "../".repeat(head.tail().matches('/').count()) + LOGIN;
        let ours = LoginPage { title: &self.rules.title, said, action: &action, user, next };
        let mut response = Response { status, ..ours.answer() };
        if status == StatusCode::UNAUTHORIZED {
            response.headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(seconds) = said.wait() {
            response.headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let PageMaker::Handler(file) = &self.rules.page
            && let Some(handler) = self.inner.get(1)
            && let Some(mut asked) = page_request(head, status, file.as_deref())
        {
            if file.is_none() {
                let wait = said.wait().map(|seconds| seconds.to_string());
                let told = [
                    ("action", Some(&*action)),
                    ("next", Some(next)),
                    ("user", Some(user)),
                    ("error", said.name()),
                    ("retry_after", wait.as_deref()),
                ];
                let pairs = told.into_iter().filter_map(|(name, value)| {
                    let value = value.filter(|value| !value.is_empty())?;
                    Some(format!("{name}={}", query::encode(value.as_bytes())))
                });
                let query = pairs.collect::<Vec<_>>().join("&");
                let path = head.path().to_owned();
                // The path is the one that was routed.
                let _fits = Arc::make_mut(&mut asked.head).set_target(&path, Some(&query));
            }
            self.rules.cookie.take_out(&mut Arc::make_mut(&mut asked.head).headers);
            response = put_page(FUNCTION, handler, asked, file.as_deref(), response).await;
        }
        response.with(header::CACHE_CONTROL, NO_STORE)
    }

    /// Has a browser keep a session, or none any more.
    fn set_cookie(&self, response: &mut Response, secure: bool, session: Option<&LoginSession>, now: u64) {
        let (text, seconds) = match session {
            Some(session) => (self.sessions.text(session), session.seconds_left(self.rules.lifetime, now)),
            None => (String::new(), 0),
        };
        let field = self.rules.cookie.set(&text, secure, Some(seconds));
        // There is room for one more.
        let _full = response
            .headers
            .try_append(header::SET_COOKIE, field.expect("the name was tried, and the text is of Base64"));
    }
}

impl Handler for Login {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        let (users, sessions, rules) =
            (Arc::clone(&self.users), Arc::clone(&self.sessions), Arc::clone(&self.rules));
        (inner.len() == self.inner.len())
            .then(|| Arc::new(Self::new(inner, users, sessions, rules)) as Arc<dyn Handler>)
    }

    fn answers_preflights(&self) -> bool {
        self.handler.answers_preflights()
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        self.handler.overdue(head, page)
    }

    fn status(&self) -> Status {
        Status { kind: "handler.login", ..self.users.status() }.maybe("not_saved", self.sessions.trouble())
    }
}

/// Whether somebody looks at the answer as a page of its own: a script of a page that asks for a piece of one does not.
fn is_for_a_person(head: &Head) -> bool {
    let first = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
    let navigates = first(SEC_FETCH_MODE).is_none_or(|mode| mode == b"navigate");
    let is_script = head.headers.contains_key(HX_REQUEST);
    navigates && !is_script && !head.websocket && names(&head.headers, header::ACCEPT, b"text/html")
}

/// Whether a field with a list has `word` in it, whatever its parameters.
fn names(headers: &HeaderMap, field: HeaderName, word: &[u8]) -> bool {
    let mut words =
        headers.get_all(field).into_iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    words.any(|it| {
        let name = it.split(|&byte| byte == b';' || byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(word)
    })
}

/// Whether nobody but the browser may keep an answer.
fn is_private(headers: &HeaderMap) -> bool {
    [&b"private"[..], b"no-store"].iter().any(|word| names(headers, header::CACHE_CONTROL, word))
}

/// 401 for a program.
fn unauthorized(headers: &HeaderMap) -> Response {
    const JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
    let is_json = [&b"application/json"[..], b"application/problem+json"];
    let response = if is_json.iter().any(|kind| names(headers, header::ACCEPT, kind)) {
        Response::new(
            JSON,
            "{\"title\":\"Unauthorized\",\"status\":401,\"detail\":\"You have to log in.\"}\n",
        )
    } else {
        Response::new(TEXT, "You have to log in.\n")
    };
    let response = Response { status: StatusCode::UNAUTHORIZED, ..response };
    response.with(header::WWW_AUTHENTICATE, CHALLENGE).with(header::CACHE_CONTROL, NO_STORE)
}

/// Has a browser go on with a GET of another page.
fn see_other(location: &str) -> Response {
    // It is of visible ASCII.
    let location = HeaderValue::from_str(location).unwrap_or(const { HeaderValue::from_static("./") });
    Response::redirect_page(StatusCode::SEE_OTHER, location).with(header::CACHE_CONTROL, NO_STORE)
}

#[cfg(test)]
mod tests;
