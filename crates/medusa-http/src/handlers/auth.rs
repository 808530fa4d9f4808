//! Lets those through to another handler who are known: HTTP authentication, by passwords (Basic,
//! [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)) and tokens (Bearer,
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
//!
//! It is asked at every request, also one that asks for a `WebSocket`. The handler behind it sees who it is
//! ([`Head::user`]) and, unless told otherwise, not the password: a proxy or a script would pass it on.
//!
//! **Invariant:** a request that is let through has its user set; one that is not never reaches the handler.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use medusa_auth::basic::{self, Credentials, NotBasic};
use medusa_auth::{Scope, Users, Verdict};
use medusa_net::clients::ClientPrefix;
use medusa_proto::access::Peer;
use medusa_proto::status::Status;

use crate::admission::holder;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::{Head, Request};
use crate::response::Response;

/// The longest realm, in bytes.
const MAX_REALM: usize = 200;

/// What a wrapper is given beside the users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthOptions {
    /// What is protected, as browsers tell people who are asked for a password.
    pub realm: String,
    /// Whether the handler sees the field `Authorization`.
    pub pass_authorization: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { realm: "Members only".to_owned(), pass_authorization: false }
    }
}

/// The reason why there can be no such wrapper.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// The realm cannot be sent.
    #[error("the realm {0:?} cannot be sent; give one line of 1 to {MAX_REALM} bytes")]
    Realm(String),
}

/// What a client that is not known is told to do.
#[derive(Debug, Clone)]
pub struct Challenge {
    basic: HeaderValue,
    /// For users some of whom have tokens.
    bearer: HeaderValue,
    /// For who came with a token that nobody has.
    wrong_token: HeaderValue,
    pass_authorization: bool,
}

impl Challenge {
    /// What these options say.
    ///
    /// # Errors
    ///
    /// See [`AuthError`].
    pub fn new(options: &AuthOptions) -> Result<Self, AuthError> {
        let realm = &options.realm;
        let refused = || AuthError::Realm(realm.clone());
        if !(1..=MAX_REALM).contains(&realm.len()) || realm.chars().any(char::is_control) {
            return Err(refused());
        }
        let realm = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let value = |text: String| HeaderValue::from_bytes(text.as_bytes()).map_err(|_invalid| refused());
        Ok(Self {
            basic: value(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))?,
            bearer: value(format!("Bearer realm=\"{realm}\""))?,
            wrong_token: value(format!("Bearer realm=\"{realm}\", error=\"invalid_token\""))?,
            pass_authorization: options.pass_authorization,
        })
    }
}

/// A wrapper that lets users through to the handler in it.
#[derive(Debug)]
pub struct Auth {
    inner: Arc<dyn Handler>,
    users: Arc<Users>,
    challenge: Challenge,
    /// Whether it was told that passwords come as anybody on the way can read them.
    told: AtomicBool,
}

impl Auth {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, users: Arc<Users>, challenge: Challenge) -> Self {
        Self { inner, users, challenge, told: AtomicBool::new(false) }
    }

    async fn answer(&self, mut request: Request) -> Result<Response, HandlerError> {
        let credentials = match credentials(&request.head.headers) {
            Ok(credentials) => credentials,
            Err(NotBasic::OtherScheme) => return Ok(self.ask()),
            Err(error @ NotBasic::Malformed(_)) => {
                return Err(HandlerError::client(StatusCode::BAD_REQUEST, error));
            }
        };
        self.tell_if_readable(&request.head);
        let (verdict, is_token) = match credentials {
            Given::Password(Credentials { user, password }) => {
                (self.users.verify(scope(request.head.client), &user, password).await, false)
            }
            Given::Token(token) => (self.users.verify_token(token).await, true),
        };
        match verdict {
            Verdict::Right(user) => {
                // Another such wrapper around this one has found out the same.
                if let Err(user) = request.head.user.set(user)
                    && request.head.user.get() != Some(&user)
                {
                    return Err(HandlerError::internal(
                        "medusa.handler.auth: what stands before it has said already that somebody else asks; let it say who asks \
                         only where nothing behind it checks that",
                    ));
                }
            }
            Verdict::Wrong if is_token => {
                return Ok(unauthorized([&self.challenge.wrong_token]));
            }
            Verdict::Wrong => return Ok(self.ask()),
            Verdict::TooMany(wait) => return Ok(later(StatusCode::TOO_MANY_REQUESTS, wait)),
            Verdict::Busy(wait) => return Ok(later(StatusCode::SERVICE_UNAVAILABLE, wait)),
        }
        if !self.challenge.pass_authorization {
            let mut head = Head::clone(&request.head);
            head.headers.remove(header::AUTHORIZATION);
            request.head = Arc::new(head);
        }
        pass(&self.inner, request).await
    }

    /// 401: who is it?
    fn ask(&self) -> Response {
        let bearer = self.users.have_tokens().then_some(&self.challenge.bearer);
        // The first is what a browser takes.
        unauthorized([&self.challenge.basic].into_iter().chain(bearer))
    }

    fn tell_if_readable(&self, head: &Head) {
        let elsewhere = matches!(head.client, Peer::Ip(client) if !client.is_loopback());
        if elsewhere && !head.secure && !self.told.swap(true, Relaxed) {
            tracing::warn!(
                path = %head.path(),
                "passwords come unencrypted, for anybody on the way to read: give the server `tls`, or name the proxy that \
                 has it in `trusted_proxies`"
            );
        }
    }
}

impl Handler for Auth {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, Arc::clone(&self.users), self.challenge.clone())))
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
}

/// The credentials in the one field that has them.
fn credentials(headers: &HeaderMap) -> Result<Given<'_>, NotBasic> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let first = fields.next().ok_or(NotBasic::OtherScheme)?;
    if fields.next().is_some() {
        return Err(NotBasic::Malformed("there are two of them"));
    }
    match basic::bearer(first.as_bytes()) {
        Some(token) => Ok(Given::Token(token)),
        None => basic::parse(first.as_bytes()).map(Given::Password),
    }
}

fn unauthorized<'a>(challenges: impl IntoIterator<Item = &'a HeaderValue>) -> Response {
    let mut response = Response::page(StatusCode::UNAUTHORIZED);
    for challenge in challenges {
        // There is room: a page has a field or two.
        let _full = response.headers.try_append(header::WWW_AUTHENTICATE, challenge.clone());
    }
    response
}

/// What a client's failures are counted by; of this machine's own addresses, which speak for others, nothing is counted.
fn scope(client: Peer) -> Scope {
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
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Response::page(status).with(header::RETRY_AFTER, seconds.max(1).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_one_line_of_text() {
        let value = |realm: &str| {
            let options = AuthOptions { realm: realm.to_owned(), ..AuthOptions::default() };
            Challenge::new(&options).map(|challenge| challenge.basic.as_bytes().to_vec())
        };
        assert_eq!(value("Zoë").as_deref(), Ok("Basic realm=\"Zoë\", charset=\"UTF-8\"".as_bytes()));
        assert_eq!(value("a \"b\\").as_deref(), Ok(&b"Basic realm=\"a \\\"b\\\\\", charset=\"UTF-8\""[..]));
        for realm in ["", "a\nb", "a\tb", &"x".repeat(MAX_REALM + 1)] {
            assert_eq!(value(realm), Err(AuthError::Realm(realm.to_owned())));
        }
    }

    #[test]
    fn there_is_one_field_with_credentials() {
        let of = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.try_append(header::AUTHORIZATION, HeaderValue::from_static(field)).expect("room");
            }
            credentials(&headers).map(|given| match given {
                Given::Password(credentials) => credentials.user,
                Given::Token(token) => String::from_utf8_lossy(token).into_owned(),
            })
        };
        assert_eq!(of(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]).as_deref(), Ok("Aladdin"));
        assert_eq!(of(&["bearer abc"]).as_deref(), Ok("abc"));
        assert_eq!(of(&[]), Err(NotBasic::OtherScheme));
        assert!(matches!(of(&["Basic YTpi", "Basic YTpi"]), Err(NotBasic::Malformed(_))));
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
}
