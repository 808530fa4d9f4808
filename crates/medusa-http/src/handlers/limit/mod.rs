//! Limits how often each client may ask: so many requests a second in the long run, and so many at once.
//!
//! Who asks more often is answered 429 with `Retry-After` ([RFC 6585
//! §4](https://www.rfc-editor.org/rfc/rfc6585#section-4)), and that does not count. Clients are told apart by their
//! addresses as everywhere (an IPv6 client by its /64), by the users that a wrapper around this one has found, or by keys: what a
//! handler beside the one in it answers to the request's head.
//! [`table`] has what each has asked for, [`notices`] what is told of it.
//!
//! **Invariant:** all workers count together, and what is counted goes on in whatever takes a limit's place on its
//! mount with the same options.

mod notices;
mod table;

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use medusa_proto::status::Status;

use self::notices::Notices;
use self::table::{AllowedRate, Table, Taken, Who};
use crate::body::Body;
use crate::client::address;
use crate::handler::{Handler, HandlerError, HandlerFuture, OverdueFuture};
use crate::pass::pass;
use crate::request::{Head, Purpose, Request, RequestBody};
use crate::response::Response;

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address: IPv4, or IPv6 /64.
    Address,
    /// The user; the address where there is none.
    User,
    /// What a handler says; the address where it says nothing.
    Given,
}

/// How often each may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitOptions {
    /// Requests a second, in the long run: more than 0, and finite.
    pub rate: f64,
    /// Requests at once, at least 1.
    pub burst: u32,
    /// What is counted together.
    pub key: LimitKey,
}

/// The reason of a 500.
#[derive(Debug, thiserror::Error)]
#[error("what gives the key of medusa.handler.limit answers {}; it must be a text, or nothing", .0.as_u16())]
struct NoKey(StatusCode);

/// A wrapper that answers 429 to who asks too often.
#[derive(Debug)]
pub struct RateLimit {
    handler: Arc<dyn Handler>,
    /// That again, and behind it what gives the keys, if something does.
    inner: Vec<Arc<dyn Handler>>,
    options: LimitOptions,
    allowed: AllowedRate,
    /// Made for the first request, unless it is taken over.
    counts: OnceLock<Arc<LimitCounts>>,
}

/// What stays when the limit's place is taken.
#[derive(Debug)]
struct LimitCounts {
    begun: Instant,
    table: Table,
    notices: Notices,
    refused: AtomicU64,
    forgotten: AtomicU64,
}

impl LimitCounts {
    fn new() -> Self {
        let (refused, forgotten) = Default::default();
        Self { begun: Instant::now(), table: Table::new(), notices: Notices::new(), refused, forgotten }
    }

    /// In nanoseconds.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn tell(&self, is_last: bool) {
        for line in self.notices.tell(self.now(), is_last) {
            tracing::info!("medusa.handler.limit: {line}");
        }
    }
}

impl RateLimit {
    /// Stands before the first of `inner`. A second one gives the keys, for [`LimitKey::Given`].
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn new(inner: Vec<Arc<dyn Handler>>, options: LimitOptions) -> Self {
        Self::counting(inner, options, OnceLock::new())
    }

    fn counting(
        inner: Vec<Arc<dyn Handler>>,
        options: LimitOptions,
        counts: OnceLock<Arc<LimitCounts>>,
    ) -> Self {
        let handler = Arc::clone(inner.first().expect("a wrapper stands before a handler"));
        let allowed = AllowedRate::new(options.rate, options.burst);
        Self { handler, inner, options, allowed, counts }
    }

    fn counts(&self) -> &Arc<LimitCounts> {
        self.counts.get_or_init(|| Arc::new(LimitCounts::new()))
    }

    fn who<'h>(&self, head: &'h Head) -> Who<'h> {
        match head.user.get() {
            Some(user) if self.options.key == LimitKey::User => Who::User(user),
            _ => Who::at(address(head.client)),
        }
    }

    /// Answers by the key that `giver` gives. It fails where that does.
    async fn answer(&self, giver: &Arc<dyn Handler>, request: Request) -> Result<Response, HandlerError> {
        let asked = Head { purpose: Purpose::Key, ..Head::clone(&request.head) };
        let asked = Request { head: asked.into(), body: RequestBody::from_bytes(Bytes::new()) };
        let given = pass(giver, asked).await?;
        let refusal = match &given.body {
            Body::Empty if given.status == StatusCode::OK => {
                self.refuse(&request.head, self.who(&request.head))
            }
            Body::Bytes(key) if given.status == StatusCode::OK => self.refuse(&request.head, Who::Key(key)),
            _ => return Err(HandlerError::internal(NoKey(given.status))),
        };
        match refusal {
            None => pass(&self.handler, request).await,
            Some(refusal) => Ok(refusal),
        }
    }

    /// Counts a request; the answer to one too many.
    fn refuse(&self, head: &Head, who: Who<'_>) -> Option<Response> {
        let counts = self.counts();
        let now = counts.now();
        if counts.notices.is_due(now) {
            counts.tell(false);
        }
        match counts.table.take(who, now, self.allowed) {
            Taken::Yes => None,
            Taken::ForAnother => {
                counts.forgotten.fetch_add(1, Relaxed);
                counts.notices.forgotten();
                None
            }
            Taken::No { wait } => {
                counts.refused.fetch_add(1, Relaxed);
                if counts.notices.refused(counts.table.client(who), || who.to_string(), now) {
                    let LimitOptions { rate, burst, .. } = self.options;
                    tracing::info!(request = %head.id, method = %head.method, path = %head.path(), "medusa.handler.limit: {who} asks more often than {rate} times a second (`burst` {burst}), and is answered 429");
                }
                // Not 0, which asks for the next one at once.
                let seconds = wait.div_ceil(1_000_000_000).max(1);
                let page = Response::page(StatusCode::TOO_MANY_REQUESTS);
                Some(page.with(header::RETRY_AFTER, HeaderValue::from(seconds)))
            }
        }
    }
}

impl Handler for RateLimit {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        // What gives the keys was not to see a preflight.
        if let [_, giver] = &*self.inner
            && !request.head.preflight
        {
            return Box::pin(self.answer(giver, request));
        }
        match self.refuse(&request.head, self.who(&request.head)) {
            None => pass(&self.handler, request),
            Some(refusal) => Box::pin(std::future::ready(Ok(refusal))),
        }
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.inner
    }

    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        let counts = OnceLock::from(Arc::clone(self.counts()));
        (inner.len() == self.inner.len())
            .then(|| Arc::new(Self::counting(inner, self.options, counts)) as Arc<dyn Handler>)
    }

    fn answers_preflights(&self) -> bool {
        self.handler.answers_preflights()
    }

    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        self.handler.overdue(head, page)
    }

    fn take_over(&self, before: &dyn Handler) -> bool {
        let before: &dyn Any = before;
        let before = before.downcast_ref::<Self>().filter(|before| before.options == self.options);
        let Some(counts) = before.and_then(|before| before.counts.get()) else { return false };
        self.counts.set(Arc::clone(counts)).is_ok()
    }

    fn retire(&self) {
        if let Some(counts) = self.counts.get() {
            counts.tell(true);
        }
    }

    fn status(&self) -> Status {
        let LimitOptions { rate, burst, key } = self.options;
        let key = match key {
            LimitKey::Address => "address",
            LimitKey::User => "user",
            LimitKey::Given => "function",
        };
        let count = |of: fn(&LimitCounts) -> &AtomicU64| {
            self.counts.get().map_or(0, |counts| of(counts).load(Relaxed))
        };
        Status::new("handler.limit", format!("{rate}/s"))
            .field("burst", burst)
            .field("key", key)
            .counter("refused", count(|counts| &counts.refused))
            .counter("forgotten", count(|counts| &counts.forgotten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::stand_in::{answers, fine, get, request_from};

    const FEW: LimitOptions = LimitOptions { rate: 0.01, burst: 3, key: LimitKey::Address };

    async fn statuses(handler: &dyn Handler, client: &str, requests: usize) -> Vec<u16> {
        let mut all = Vec::new();
        for _ in 0..requests {
            all.push(get(handler, client).await.status.as_u16());
        }
        all
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_too_many_is_told_when_to_come_again() {
        let limit = RateLimit::new(vec![fine()], FEW);
        assert_eq!(statuses(&limit, "192.0.2.1", 5).await, [200, 200, 200, 429, 429]);
        assert_eq!(statuses(&limit, "unix", 4).await, [200, 200, 200, 429]);
        let refused = get(&limit, "192.0.2.1").await;
        assert_eq!(refused.headers[header::RETRY_AFTER], "100");
        let quick = RateLimit::new(vec![fine()], LimitOptions { rate: 1000.0, burst: 1, ..FEW });
        let refused = loop {
            let answer = get(&quick, "192.0.2.1").await;
            if answer.status == 429 {
                break answer;
            }
        };
        assert_eq!(refused.headers[header::RETRY_AFTER], "1", "never 0");
        let status = Status::new("handler.limit", "0.01/s").field("burst", 3_u32).field("key", "address");
        assert_eq!(limit.status(), status.counter("refused", 4_u64).counter("forgotten", 0_u64));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn users_are_counted_whatever_their_addresses() {
        let limit = RateLimit::new(vec![fine()], LimitOptions { key: LimitKey::User, ..FEW });
        let mut answers = Vec::new();
        for (client, user) in [
            ("192.0.2.1", "ada"),
            ("192.0.2.2", "ada"),
            ("192.0.2.3", "ada"),
            ("192.0.2.4", "ada"),
            ("192.0.2.4", "bob"),
            ("192.0.2.4", ""),
        ] {
            let request = request_from(client, http::Method::GET, "/", &[]);
            if !user.is_empty() {
                request.head.user.set(user.into()).expect("nobody yet");
            }
            answers.push(limit.handle(request).await.expect("an answer").status.as_u16());
        }
        assert_eq!(answers, [200, 200, 200, 429, 200, 200]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn counts_go_on_in_what_takes_its_place() {
        let before = RateLimit::new(vec![fine()], FEW);
        assert_eq!(statuses(&before, "192.0.2.1", 4).await, [200, 200, 200, 429]);
        let around = before.around_all(vec![fine()]).expect("it is a wrapper");
        assert_eq!(statuses(&*around, "192.0.2.1", 1).await, [429]);
        let same = RateLimit::new(vec![fine()], FEW);
        assert!(same.take_over(&before));
        assert_eq!(statuses(&same, "192.0.2.1", 1).await, [429]);
        let other = RateLimit::new(vec![fine()], LimitOptions { burst: 4, ..FEW });
        assert!(!other.take_over(&before) && !other.take_over(&*fine()));
        assert_eq!(statuses(&other, "192.0.2.1", 1).await, [200]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn keys_are_counted_whatever_the_address_and_nothing_is_the_address() {
        let options = LimitOptions { key: LimitKey::Given, ..FEW };
        let by = |make: fn() -> Response| RateLimit::new(vec![fine(), answers(make)], options);
        let limit = by(|| Response::text("one"));
        assert_eq!(statuses(&limit, "192.0.2.1", 2).await, [200, 200]);
        assert_eq!(statuses(&limit, "192.0.2.2", 2).await, [200, 429]);
        let other = by(|| Response::text("two"));
        assert!(other.take_over(&limit));
        assert_eq!(statuses(&other, "192.0.2.1", 4).await, [200, 200, 200, 429]);
        let nothing = by(Response::default);
        assert_eq!(statuses(&nothing, "192.0.2.1", 4).await, [200, 200, 200, 429]);
        assert_eq!(statuses(&nothing, "192.0.2.2", 1).await, [200]);
        let fails = by(|| Response::page(StatusCode::NOT_FOUND));
        let request = request_from("::1", http::Method::GET, "/", &[]);
        let error = fails.handle(request).await.expect_err("no key");
        assert_eq!(error.status(), 500);
        assert!(error.to_string().contains("answers 404; it must be a text, or nothing"), "{error}");
    }
}
