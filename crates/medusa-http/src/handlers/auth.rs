//! Lets those through to another handler who are known: HTTP authentication, by passwords (Basic,
//! [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617), Digest, [RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)) and tokens
//! (Bearer, [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), or the certificate that a client came with.
//!
//! It is asked at every request, also one that asks for a `WebSocket`. The handler behind it sees who it is
//! ([`Head::user`]) and, unless told otherwise, not the password: a proxy or a script would pass it on. Where somebody else knows the
//! users ([`Users::asked`]), that is a handler beside the one it stands before: asked for [`Purpose::Login`], with the field
//! `Authorization`, it answers 200 with the user's name, or without a body.
//!
//! - [`challenge`]: what is asked of a client that is not known;
//! - [`target`]: whether an answer of Digest is to the request that it came with;
//! - [`certificate`]: what of a certificate is a name.
//!
//! **Invariant:** a request that is let through has its user set; one that is not never reaches the handler.

mod certificate;
mod challenge;
mod target;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use medusa_auth::basic::{self, Credentials, NotBasic};
use medusa_auth::digest::{self, DigestCredentials, MalformedDigest};
use medusa_auth::{Scope, Secret, Users, Verdict};
use medusa_net::clients::ClientPrefix;
use medusa_proto::access::Peer;
use medusa_proto::status::Status;

pub use self::challenge::{AuthError, AuthOptions, AuthScheme, Challenge};
use crate::admission::holder;
use crate::body::Body;
use crate::handler::{Handler, HandlerError, HandlerFuture, OverdueFuture};
use crate::pass::pass;
use crate::request::{Head, Purpose, Request, RequestBody};
use crate::response::Response;

/// A wrapper that lets users through to the handler in it.
#[derive(Debug)]
pub struct Auth {
    handler: Arc<dyn Handler>,
    /// That again, and behind it whoever knows the users, if they are not known here.
    inner: Vec<Arc<dyn Handler>>,
    users: Arc<Users>,
    challenge: Challenge,
    /// Whether it was told that passwords come as anybody on the way can read them.
    told: AtomicBool,
}

/// The reason of a 500.
#[derive(Debug, thiserror::Error)]
#[error("what knows the users of medusa.handler.auth answers {}; it must be a name, or nothing", .0.as_u16())]
struct NoName(StatusCode);

impl Auth {
    /// Stands before the first of `inner`. A second one knows the users, if they are [asked](Users::asked) about.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn new(inner: Vec<Arc<dyn Handler>>, users: Arc<Users>, challenge: Challenge) -> Self {
        let handler = Arc::clone(inner.first().expect("a wrapper stands before a handler"));
        Self { handler, inner, users, challenge, told: AtomicBool::new(false) }
    }

    async fn answer(&self, mut request: Request) -> Result<Response, HandlerError> {
        let verdict = match self.users.certificate_name() {
            Some(name) => {
                match self.users.verify_certificate(certificate::name(&request.head, name).as_deref()) {
                    // There is no field by which a certificate is asked for, so it is no 401.
                    Verdict::Wrong => return Ok(Response::page(StatusCode::FORBIDDEN)),
                    verdict => verdict,
                }
            }
            None => match self.verify(&request.head).await? {
                Ok(verdict) => verdict,
                Err(refusal) => return Ok(*refusal),
            },
        };
        match verdict {
            Verdict::Right(user) => known_as(&request.head, user, "medusa.handler.auth")?,
            Verdict::Wrong => return self.ask(false),
            Verdict::Stale => return self.ask(true),
            Verdict::TooMany(wait) => return Ok(later(StatusCode::TOO_MANY_REQUESTS, wait)),
            Verdict::Busy(wait) => return Ok(later(StatusCode::SERVICE_UNAVAILABLE, wait)),
        }
        if !self.challenge.passes_authorization() {
            let mut head = Head::clone(&request.head);
            head.headers.remove(header::AUTHORIZATION);
            request.head = Arc::new(head);
        }
        pass(&self.handler, request).await
    }

    /// Checks the credentials of a request; the answer to one that has none that are asked for, or wrong ones, if that is all there is to it.
    async fn verify(&self, head: &Head) -> Result<Result<Verdict, Box<Response>>, HandlerError> {
        let given = match given(&head.headers) {
            Ok(given) => given.filter(|given| self.challenge.asks_for(given, &self.users)),
            // What is not asked for is not looked at, so it is not malformed either.
            Err(why) if why.scheme().is_some_and(|scheme| !self.challenge.offers(scheme)) => None,
            Err(why) => return Err(HandlerError::client(StatusCode::BAD_REQUEST, why)),
        };
        let Some(given) = given else { return self.ask(false).map(|page| Err(page.into())) };
        let client = scope(head.client);
        Ok(Ok(match given {
            Given::Password(Credentials { user, password }) => {
                tell_if_readable(head, &self.told);
                if self.users.asked_secrets().is_some() {
                    self.users.verify_asking(client, &user, &password, self.ask_about(head)).await?
                } else {
                    self.users.verify(client, &user, password).await
                }
            }
            Given::Token(token) => {
                tell_if_readable(head, &self.told);
                let verdict = if self.users.asked_secrets().is_some() {
                    let token: Secret = token.to_vec().into();
                    self.users.verify_asking(client, "", &token, self.ask_about(head)).await?
                } else {
                    self.users.verify_token(token).await
                };
                if verdict == Verdict::Wrong {
                    return Ok(Err(self.challenge.wrong_token().into()));
                }
                verdict
            }
            Given::Digest(given) => {
                if !self.challenge.is_ours(&given) {
                    return self.ask(false).map(|page| Err(page.into()));
                }
                if !target::is_that_of(head, &given.uri) {
                    let why = "the `uri` of the credentials is not the target of the request";
                    return Err(HandlerError::client(StatusCode::BAD_REQUEST, why));
                }
                let lasts = self.challenge.nonce_lifetime();
                self.users.verify_digest(client, &given, head.method.as_str(), lasts).await
            }
        }))
    }

    /// Asks whoever knows the users whose the credentials are.
    async fn ask_about(&self, head: &Head) -> Result<Option<String>, HandlerError> {
        let [_, knows] = &*self.inner else { return Ok(None) };
        let asked = Head { purpose: Purpose::Login, ..Head::clone(head) };
        let asked = Request { head: asked.into(), body: RequestBody::from_bytes(Bytes::new()) };
        let told = pass(knows, asked).await?;
        match &told.body {
            Body::Empty if told.status == StatusCode::OK => Ok(None),
            Body::Bytes(name) if told.status == StatusCode::OK => Ok(match str::from_utf8(name) {
                Ok("") | Err(_) => None,
                Ok(name) => Some(name.to_owned()),
            }),
            _ => Err(HandlerError::internal(NoName(told.status))),
        }
    }

    /// 401: who is it?
    fn ask(&self, is_stale: bool) -> Result<Response, HandlerError> {
        self.challenge.page(&self.users, is_stale)
    }
}

/// Has a request be that user's, whom `function` has found to ask.
pub(super) fn known_as(head: &Head, user: Arc<str>, function: &str) -> Result<(), HandlerError> {
    // Another such wrapper around this one has found out the same.
    match head.user.set(user) {
        Err(user) if head.user.get() != Some(&user) => Err(HandlerError::internal(format!(
            "{function}: what stands before it has said already that somebody else asks; let it say who asks only where nothing \
             behind it checks that"
        ))),
        _ => Ok(()),
    }
}

/// Says once if a password comes as anybody on the way can read it.
pub(super) fn tell_if_readable(head: &Head, told: &AtomicBool) {
    let elsewhere = matches!(head.client, Peer::Ip(client) if !client.is_loopback());
    if elsewhere && !head.secure && !told.swap(true, Relaxed) {
        tracing::warn!(
            path = %head.path(),
            "passwords come unencrypted, for anybody on the way to read: give the server `tls`, or name the proxy that \
             has it in `trusted_proxies`"
        );
    }
}

impl Handler for Auth {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        let is_same = inner.len() == self.inner.len();
        is_same.then(|| {
            Arc::new(Self::new(inner, Arc::clone(&self.users), self.challenge.clone())) as Arc<dyn Handler>
        })
    }

    fn answers_preflights(&self) -> bool {
        self.handler.answers_preflights()
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        self.handler.overdue(head, page)
    }

    fn status(&self) -> Status {
        Status { kind: "handler.auth", ..self.users.status() }
    }
}

/// What a client gives to show who it is.
#[derive(Debug)]
enum Given<'a> {
    Password(Credentials),
    Token(&'a [u8]),
    Digest(Box<DigestCredentials>),
}

/// The reason of a 400: credentials that are not understood.
#[derive(Debug, thiserror::Error)]
enum NotGiven {
    #[error(transparent)]
    Basic(#[from] NotBasic),
    #[error(transparent)]
    Digest(#[from] MalformedDigest),
    #[error("there are two fields with credentials")]
    Two,
}

impl NotGiven {
    /// The scheme that they are of.
    fn scheme(&self) -> Option<AuthScheme> {
        match self {
            Self::Basic(_) => Some(AuthScheme::Basic),
            Self::Digest(_) => Some(AuthScheme::Digest),
            Self::Two => None,
        }
    }
}

/// The credentials in the one field that has them; none if there is no such field, or they are of another scheme.
fn given(headers: &HeaderMap) -> Result<Option<Given<'_>>, NotGiven> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next().map(HeaderValue::as_bytes) else { return Ok(None) };
    if fields.next().is_some() {
        return Err(NotGiven::Two);
    }
    if let Some(token) = basic::bearer(field) {
        return Ok(Some(Given::Token(token)));
    }
    if let Some(credentials) = digest::parse(field) {
        return Ok(Some(Given::Digest(credentials?.into())));
    }
    match basic::parse(field) {
        Ok(credentials) => Ok(Some(Given::Password(credentials))),
        Err(NotBasic::OtherScheme) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a client's failures are counted by; of this machine's own addresses, which speak for others, nothing is counted.
pub(super) fn scope(client: Peer) -> Scope {
    let (Some(host), Peer::Ip(address)) = (holder(client), client) else { return Scope::default() };
    let octets = |prefix| match prefix {
        ClientPrefix::Host(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        ClientPrefix::Host(IpAddr::V6(address)) | ClientPrefix::Network(address) => address.octets(),
    };
    let network = ClientPrefix::network(address).unwrap_or(host);
    Scope { host: octets(host), network: octets(network) }
}

/// A status that says when to come again.
fn later(status: StatusCode, wait: Duration) -> Response {
    Response::page(status).with(header::RETRY_AFTER, whole_seconds(wait).into())
}

/// A wait as a client is told it.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_field_with_credentials() {
        let of = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.try_append(header::AUTHORIZATION, HeaderValue::from_static(field)).expect("room");
            }
            given(&headers).map(|given| {
                given.map(|given| match given {
                    Given::Password(credentials) => credentials.user,
                    Given::Token(token) => String::from_utf8_lossy(token).into_owned(),
                    Given::Digest(credentials) => credentials.realm,
                })
            })
        };
        let is = |fields: &[&'static str]| of(fields).expect("credentials, or none");
        assert_eq!(is(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]).as_deref(), Some("Aladdin"));
        assert_eq!(is(&["bearer abc"]).as_deref(), Some("abc"));
        assert_eq!((is(&[]), is(&["Negotiate abc"]), is(&[""])), (None, None, None));
        assert!(matches!(of(&["Basic YTpi", "Basic YTpi"]), Err(NotGiven::Two)));
        assert!(matches!(of(&["Basic %"]), Err(NotGiven::Basic(NotBasic::Malformed(_)))));
        assert!(matches!(of(&["Digest %"]), Err(NotGiven::Digest(_))));
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let of = |text: &str| scope(Peer::Ip(text.parse().expect("an address")));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:3::9"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:1:2::1").network, of("2001:db8:1:3::1").network);
        assert_ne!(of("2001:db8:1:2::1").network, of("2001:db8:2:2::1").network);
        assert_eq!(of("192.0.2.1").network, of("192.0.2.1").host);
        assert_eq!((scope(Peer::Unix), of("127.0.0.1")), (Scope::default(), Scope::default()));
        assert_eq!(of("192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let told = |wait| later(StatusCode::TOO_MANY_REQUESTS, wait).headers[header::RETRY_AFTER].clone();
        assert_eq!(told(Duration::ZERO), "1");
        assert_eq!(told(Duration::from_millis(5001)), "6");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn whoever_knows_the_users_is_asked_and_nobody_is_let_in_by_a_fault() {
        use medusa_auth::Secrets;

        use crate::handlers::stand_in::{answers, fine, request_from};

        let users = || Users::asked(Secrets::Passwords, Duration::ZERO, None);
        let challenge = Challenge::new(&AuthOptions::default(), &users()).expect("a challenge");
        let asked = async |knows: fn() -> Response, field: &str| {
            let auth = Auth::new(vec![fine(), answers(knows)], users(), challenge.clone());
            let request = request_from("::1", http::Method::GET, "/", &[("authorization", field)]);
            let head = Arc::clone(&request.head);
            let status = match auth.handle(request).await {
                Ok(response) => response.status.as_u16(),
                Err(error) => error.status().as_u16(),
            };
            (status, head.user.get().map(ToString::to_string))
        };
        let basic = "Basic YTpi";
        assert_eq!(asked(|| Response::text("Ada"), basic).await, (200, Some("Ada".to_owned())));
        assert_eq!(asked(|| Response::text("Ada"), "Bearer abc").await, (401, None), "it is not asked for");
        assert_eq!(asked(Response::default, basic).await, (401, None));
        assert_eq!(asked(|| Response::text(""), basic).await, (401, None));
        assert_eq!(asked(|| Response::text("a\nb"), basic).await, (401, None));
        assert_eq!(asked(|| Response::page(StatusCode::NOT_FOUND), basic).await, (500, None));
        assert_eq!(asked(|| Response::status(StatusCode::NO_CONTENT), basic).await, (500, None));
    }
}
