//! Limits how often each client may ask: so many requests a second in the long run, and so many at once.
//!
//! Who asks more often is answered 429 with `Retry-After` ([RFC 6585
//! §4](https://www.rfc-editor.org/rfc/rfc6585#section-4)), and that does not count. Clients are told apart by their
//! addresses as everywhere (an IPv6 client by its /64), or by the users that a wrapper around this one has found.
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

use http::StatusCode;
use http::header::{self, HeaderValue};
use medusa_proto::status::Status;

use self::notices::Notices;
use self::table::{AllowedRate, Table, Taken, Who};
use crate::client::address;
use crate::handler::{Handler, HandlerFuture};
use crate::pass::pass;
use crate::request::{Head, Request};
use crate::response::Response;

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address: IPv4, or IPv6 /64.
    Address,
    /// The user; the address where there is none.
    User,
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

/// A wrapper that answers 429 to who asks too often.
#[derive(Debug)]
pub struct RateLimit {
    inner: Arc<dyn Handler>,
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
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, options: LimitOptions) -> Self {
        let allowed = AllowedRate::new(options.rate, options.burst);
        Self { inner, options, allowed, counts: OnceLock::new() }
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

    /// Counts a request; the answer to one too many.
    fn refuse(&self, head: &Head) -> Option<Response> {
        let counts = self.counts();
        let (who, now) = (self.who(head), counts.now());
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
        match self.refuse(&request.head) {
            None => pass(&self.inner, request),
            Some(refusal) => Box::pin(std::future::ready(Ok(refusal))),
        }
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        let counts = OnceLock::from(Arc::clone(self.counts()));
        Some(Arc::new(Self { inner, options: self.options, allowed: self.allowed, counts }))
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
    use crate::handlers::stand_in::{fine, get, request_from};

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
        let limit = RateLimit::new(fine(), FEW);
        assert_eq!(statuses(&limit, "192.0.2.1", 5).await, [200, 200, 200, 429, 429]);
        assert_eq!(statuses(&limit, "unix", 4).await, [200, 200, 200, 429]);
        let refused = get(&limit, "192.0.2.1").await;
        assert_eq!(refused.headers[header::RETRY_AFTER], "100");
        let quick = RateLimit::new(fine(), LimitOptions { rate: 1000.0, burst: 1, ..FEW });
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
        let limit = RateLimit::new(fine(), LimitOptions { key: LimitKey::User, ..FEW });
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
        let before = RateLimit::new(fine(), FEW);
        assert_eq!(statuses(&before, "192.0.2.1", 4).await, [200, 200, 200, 429]);
        let around = before.around(fine()).expect("it is a wrapper");
        assert_eq!(statuses(&*around, "192.0.2.1", 1).await, [429]);
        let same = RateLimit::new(fine(), FEW);
        assert!(same.take_over(&before));
        assert_eq!(statuses(&same, "192.0.2.1", 1).await, [429]);
        let other = RateLimit::new(fine(), LimitOptions { burst: 4, ..FEW });
        assert!(!other.take_over(&before) && !other.take_over(&*fine()));
        assert_eq!(statuses(&other, "192.0.2.1", 1).await, [200]);
    }
}
