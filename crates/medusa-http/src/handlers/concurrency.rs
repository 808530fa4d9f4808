//! Limits how many requests are under way at once in the handler in it, over all workers.
//!
//! One more is refused at once: 503 with `Retry-After`. There is no queue: who waits holds a connection and memory
//! here, and what is asked for late is often not wanted any more. A stream, a file or a `WebSocket` counts until its
//! end; what is answered from memory only until there is an answer, for a client that takes it slowly keeps the handler
//! from nothing.
//!
//! **Invariant:** whatever becomes of a request, its place is free afterwards: it is held by a value that goes with the
//! request.

use std::any::Any;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::StatusCode;
use http::header;
use medusa_proto::status::Status;

use crate::body::Body;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::{Head, Request};
use crate::response::{BUSY_FOR, Response};

/// The time from one line of the log about refusals to the next, in seconds.
const TOLD_EVERY: u64 = 60;

/// A wrapper that answers 503 while as many requests are under way in the handler in it as there may be.
#[derive(Debug)]
pub struct Concurrency {
    inner: Arc<dyn Handler>,
    most: NonZeroU32,
    /// Made for the first request, unless it is taken over.
    gate: OnceLock<Arc<Gate>>,
}

/// What stays when the wrapper's place is taken.
#[derive(Debug)]
struct Gate {
    under_way: AtomicU32,
    refused: AtomicU64,
    begun: Instant,
    /// Seconds since then, from which on refusals are told again.
    quiet_until: AtomicU64,
}

/// The place of a request.
struct GatePlace(Arc<Gate>);

impl Drop for GatePlace {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Gate {
    fn new() -> Self {
        let (under_way, refused, quiet_until) = Default::default();
        Self { under_way, refused, begun: Instant::now(), quiet_until }
    }

    fn enter(self: &Arc<Self>, most: NonZeroU32) -> Option<GatePlace> {
        let one_more = |under_way: u32| (under_way < most.get()).then_some(under_way + 1);
        self.under_way.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(GatePlace(Arc::clone(self)))
    }

    /// Counts a refusal; how many there were, if it is time to tell.
    fn refuse(&self) -> Option<u64> {
        let refused = self.refused.fetch_add(1, Relaxed) + 1;
        let now = self.begun.elapsed().as_secs();
        let is_due = |until: u64| (until <= now).then_some(now + TOLD_EVERY);
        self.quiet_until.fetch_update(Relaxed, Relaxed, is_due).is_ok().then_some(refused)
    }
}

impl Concurrency {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, most: NonZeroU32) -> Self {
        Self { inner, most, gate: OnceLock::new() }
    }

    fn gate(&self) -> &Arc<Gate> {
        self.gate.get_or_init(|| Arc::new(Gate::new()))
    }

    async fn answer(&self, request: Request, place: GatePlace) -> Result<Response, HandlerError> {
        let response = pass(&self.inner, request).await?;
        let goes_on = response.upgrade.is_some() || matches!(response.body, Body::Stream(_) | Body::File(_));
        Ok(if goes_on { response.on_end(move |_end| drop(place)) } else { response })
    }

    fn refusal(&self, head: &Head) -> Response {
        if let Some(refused) = self.gate().refuse() {
            let most = self.most;
            tracing::warn!(request = %head.id, method = %head.method, path = %head.path(), "medusa.handler.concurrency: {most} requests are under way, which is the most, and more are answered 503: {refused} so far");
        }
        Response::page(StatusCode::SERVICE_UNAVAILABLE).with(header::RETRY_AFTER, BUSY_FOR)
    }
}

impl Handler for Concurrency {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        match self.gate().enter(self.most) {
            Some(place) => Box::pin(self.answer(request, place)),
            None => Box::pin(std::future::ready(Ok(self.refusal(&request.head)))),
        }
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self { inner, most: self.most, gate: OnceLock::from(Arc::clone(self.gate())) }))
    }

    fn take_over(&self, before: &dyn Handler) -> bool {
        let before: &dyn Any = before;
        // Also with another limit: what is under way is.
        let gate = before.downcast_ref::<Self>().and_then(|before| before.gate.get());
        gate.is_some_and(|gate| self.gate.set(Arc::clone(gate)).is_ok())
    }

    fn status(&self) -> Status {
        let count = |of: fn(&Gate) -> u64| self.gate.get().map_or(0, |gate| of(gate));
        Status::new("handler.concurrency", format!("most {}", self.most))
            .gauge("under_way", count(|gate| gate.under_way.load(Relaxed).into()))
            .counter("refused", count(|gate| gate.refused.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;
    use crate::end_hook::Delivery;
    use crate::handlers::stand_in::{answers, fine, get, request_from};

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn under_way(handler: &dyn Handler) -> String {
        format!("{:?}", handler.status().get("under_way"))
    }

    fn streams() -> Arc<dyn Handler> {
        answers(|| Response::text(Body::Stream(Box::pin(stream::iter([Ok(Bytes::from_static(b"one"))])))))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stream_counts_until_its_end_and_bytes_do_not() {
        let bytes = Concurrency::new(fine(), ONE);
        let kept = get(&bytes, "::1").await;
        assert_eq!((kept.status, get(&bytes, "::1").await.status.as_u16()), (StatusCode::OK, 200));
        let limited = Concurrency::new(streams(), ONE);
        let mut first = get(&limited, "::1").await;
        assert_eq!((first.status.as_u16(), under_way(&limited)), (200, "Some(Count(1))".to_owned()));
        let refused = get(&limited, "::1").await;
        assert_eq!((refused.status.as_u16(), &refused.headers[header::RETRY_AFTER]), (503, &BUSY_FOR));
        first.end_hook.call(Delivery::default());
        assert_eq!(get(&limited, "::1").await.status, 200, "and this one is dropped at once");
        assert_eq!(under_way(&limited), "Some(Count(0))");
        assert_eq!(limited.status().get("refused"), Some(&1_u64.into()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_leaves_frees_the_place() {
        let limited = Concurrency::new(fine(), ONE);
        let begun = limited.handle(request_from("::1", http::Method::GET, "/", &[]));
        assert_eq!(get(&limited, "::1").await.status, 503);
        drop(begun);
        assert_eq!(get(&limited, "::1").await.status, 200);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_under_way_counts_in_what_takes_its_place() {
        let before = Concurrency::new(streams(), ONE);
        let first = get(&before, "::1").await;
        let after = Concurrency::new(fine(), ONE);
        assert!(after.take_over(&before));
        let around = before.around(fine()).expect("it is a wrapper");
        assert_eq!(
            (get(&after, "::1").await.status, get(&*around, "::1").await.status.as_u16()),
            (StatusCode::SERVICE_UNAVAILABLE, 503)
        );
        drop(first);
        assert_eq!(
            (get(&after, "::1").await.status, get(&*around, "::1").await.status.as_u16()),
            (StatusCode::OK, 200)
        );
    }

    #[test]
    fn refusals_are_told_once_a_minute() {
        let gate = Gate::new();
        assert_eq!((gate.refuse(), gate.refuse(), gate.refuse()), (Some(1), None, None));
    }
}
