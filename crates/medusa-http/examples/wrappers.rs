//! What each wrapper costs a request, in nanoseconds: `cargo run --release -p medusa-http --example wrappers`.
//!
//! Each stands before a handler that answers from memory, and is asked for the same request over and over on one thread; what the
//! handler takes alone is taken off. The least of several rounds counts, so that other work on the machine does not. For `auth`, the
//! password was right before; of `login`, what it takes for hashing is taken off; for `compress`, the answer is too short to be
//! compressed.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use medusa_auth::Users;
use medusa_auth::sessions::{Lifetime, LoginSessions, now};
use medusa_auth::signing::SigningKeys;
use medusa_http::handlers::allow::{AddressFilter, Listed};
use medusa_http::handlers::auth::{Auth, AuthOptions, Challenge};
use medusa_http::handlers::compress::Compress;
use medusa_http::handlers::concurrency::Concurrency;
use medusa_http::handlers::cors::{Cors, CorsOptions, CorsRules};
use medusa_http::handlers::csrf::Csrf;
use medusa_http::handlers::errors::{ErrorPage, ErrorPages, ErrorStatus, Errors};
use medusa_http::handlers::first::First;
use medusa_http::handlers::headers::{Changes, Headers};
use medusa_http::handlers::limit::{LimitKey, LimitOptions, RateLimit};
use medusa_http::handlers::log::Log;
use medusa_http::handlers::login::{Login, LoginOptions, LoginRules, PageMaker};
use medusa_http::handlers::rewrite::{Rewrite, RewriteOptions};
use medusa_http::handlers::timeout::Timeout;
use medusa_http::{Handler, HandlerFuture, Head, Request, RequestBody, Response};
use medusa_proto::access::Peer;
use medusa_proto::networks::Networks;
use medusa_proto::status::Status;

const ROUNDS: u32 = 15;
const REQUESTS: u32 = 200_000;

/// A user, and the credentials of that one.
const USER: (&str, &str) = ("alice", "$5$medusabench$R2b/PVSc9xhgutjJbBjIrxQd91GKv/rIwDl4CkBgOU1");
const CREDENTIALS: HeaderValue = HeaderValue::from_static("Basic YWxpY2U6c2VjcmV0");

/// Answers at once.
#[derive(Debug)]
struct Fine;

impl Handler for Fine {
    fn handle(&self, _request: Request) -> HandlerFuture<'_> {
        Box::pin(std::future::ready(Ok(Response::text("fine"))))
    }

    fn status(&self) -> Status {
        Status::new("fine", "")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fine = || Arc::new(Fine) as Arc<dyn Handler>;
    let mut changes = Changes::default();
    changes.set(b"cache-control", b"no-store")?;
    changes.remove(b"x-powered-by")?;
    let often = LimitOptions { rate: 1e9, burst: 1_000_000, key: LimitKey::Address };
    let pages = ErrorPages {
        pages: vec![ErrorPage { status: ErrorStatus::Class(5), handler: 0, file: None }],
        intercept: false,
    };
    let prefix = RewriteOptions { strip_prefix: "/app".to_owned(), add_prefix: "/v1".to_owned() };
    let many = (0..=u8::MAX).step_by(2).map(|third| format!("10.1.{third}.0/24"));
    let [allowed, denied] =
        [Networks::parse(many.clone().chain(["192.0.2.7".to_owned()]))?, Networks::parse(many)?]
            .map(Arc::new);
    let users = Users::of_table([USER])?;
    let challenge = Challenge::new(&AuthOptions::default(), &users)?;
    let wrappers: Vec<(&str, Arc<dyn Handler>)> = vec![
        ("allow", Arc::new(AddressFilter::new(fine(), Listed::Allowed, allowed))),
        ("deny", Arc::new(AddressFilter::new(fine(), Listed::Denied, denied))),
        ("auth", Arc::new(Auth::new(vec![fine()], users, challenge))),
        ("compress", Arc::new(Compress::new(fine()))),
        ("limit", Arc::new(RateLimit::new(vec![fine()], often))),
        ("concurrency", Arc::new(Concurrency::new(fine(), NonZeroU32::MAX))),
        ("timeout", Arc::new(Timeout::new(fine(), Duration::from_secs(30)))),
        ("headers", Arc::new(Headers::new(fine(), changes))),
        ("cors", Arc::new(Cors::new(fine(), CorsRules::new(CorsOptions::default())?.into()))),
        ("csrf", Arc::new(Csrf::new(fine(), Arc::default()))),
        ("rewrite", Arc::new(Rewrite::new(fine(), prefix))),
        ("first", Arc::new(First::new(vec![fine(), fine()]))),
        ("errors", Arc::new(Errors::new(vec![fine(), fine()], pages.into()))),
        ("log", Arc::new(Log::new(fine(), None))),
    ];
    let plain = HeaderValue::from_static("session=0123456789abcdef");
    let alone = least(&fine(), &plain).await;
    println!("{:<12} {alone:>6.0} ns alone", "handler");
    for (name, wrapper) in wrappers {
        let cost = (least(&wrapper, &plain).await - alone).max(0.0);
        println!("{name:<12} {cost:>6.0} ns each request");
    }
    let keys = SigningKeys::random()?;
    let (login, cookie) = logged_in(fine(), &keys).await?;
    let hashing = least_hashing(&keys);
    let cost = (least(&login, &cookie).await - alone - hashing).max(0.0);
    println!("{:<12} {hashing:>6.0} ns to verify a signature, which is taken off", "login");
    println!("{:<12} {cost:>6.0} ns each request", "login");
    Ok(())
}

/// What is stored of the password of whoever logs in.
const STORED: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$4sJTUNsFN7vG2RP0QJe4dPxlWb4BdpGbYMeK5k2xyGM";

/// A login, and the cookies of somebody who has logged in.
async fn logged_in(
    inner: Arc<dyn Handler>,
    keys: &SigningKeys,
) -> Result<(Arc<dyn Handler>, HeaderValue), Box<dyn std::error::Error>> {
    let users = Users::of_table([("ada", STORED)])?;
    let sessions = LoginSessions::new(keys, None, None)?;
    let session = sessions.begin(&users, "ada", now()).await.ok_or("she is a user")?;
    let cookie = format!("session=0123456789abcdef; login={}", sessions.text(&session));
    let rules = LoginRules::new(LoginOptions {
        title: "Log in".to_owned(),
        cookie: "login".to_owned(),
        lifetime: Lifetime { idle: Duration::from_hours(24), whole: Duration::from_hours(24) },
        pass_cookie: false,
        page: PageMaker::Ours,
    })?;
    Ok((Arc::new(Login::new(vec![inner], users, sessions, rules.into())), cookie.parse()?))
}

/// The least time that a signature like that of a session takes, in nanoseconds.
fn least_hashing(keys: &SigningKeys) -> f64 {
    let signer = keys.signer("a bench");
    let parts = [&[7; 16][..], b"ada", STORED.as_bytes()];
    let signature = signer.sign(&parts);
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            assert_eq!(signer.verify(std::hint::black_box(&parts), &signature), Some(0));
        }
        least = least.min(begun.elapsed().as_nanos() as f64 / f64::from(REQUESTS));
    }
    least
}

/// The least time of a request, in nanoseconds.
async fn least(handler: &Arc<dyn Handler>, cookies: &HeaderValue) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..REQUESTS {
            let body = RequestBody::from_bytes(Bytes::new());
            let answered = handler.handle(Request { head: head(cookies), body }).await;
            assert!(std::hint::black_box(answered).is_ok_and(|answer| answer.status.is_success()));
        }
        least = least.min(begun.elapsed().as_nanos() as f64 / f64::from(REQUESTS));
    }
    least
}

/// That of a browser's request.
fn head(cookies: &HeaderValue) -> Arc<Head> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "www.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("sec-fetch-site", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(http::header::COOKIE, cookies.clone());
    let mut head = Head::new(Method::GET, http::Uri::from_static("/app/page?x=1"));
    head.headers = headers;
    head.headers.insert(AUTHORIZATION, CREDENTIALS);
    head.client = Peer::Ip(std::net::Ipv4Addr::new(192, 0, 2, 7).into());
    head.secure = true;
    head.into()
}
