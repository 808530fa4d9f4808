//! Gives the handler in it less time to answer than `limits.handler` does.
//!
//! What counts is the time until there is a response, and as with `limits.handler` it counts anew whenever the client
//! has sent some of a body that is read: a slow upload is not the handler's fault, and has limits of its own. What a
//! response streams afterwards, or a `WebSocket`, takes as long as it takes.
//!
//! The answer is 503, as when `limits.handler` is over, and not 504, which tells of another server behind this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::pass::pass;
use crate::request::Request;
use crate::response::Response;
use crate::time_limit::within;

/// A wrapper that answers 503 when the handler in it has not answered in time. What that is at is dropped.
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn Handler>,
    limit: Duration,
    timeouts: AtomicU64,
}

/// The reason of the 503.
#[derive(Debug, thiserror::Error)]
#[error("the handler took longer than {} s (`medusa.handler.timeout`)", .0.as_secs_f64())]
struct TookTooLong(Duration);

impl Timeout {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Handler>, limit: Duration) -> Self {
        Self { inner, limit, timeouts: AtomicU64::new(0) }
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let progress = request.body.progress();
        let answered = within(pass(&self.inner, request), self.limit, progress.as_deref()).await;
        answered.unwrap_or_else(|| {
            self.timeouts.fetch_add(1, Relaxed);
            Err(HandlerError::unavailable(TookTooLong(self.limit)))
        })
    }
}

impl Handler for Timeout {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self::new(inner, self.limit)))
    }

    fn status(&self) -> Status {
        Status::new("handler.timeout", format!("{} s", self.limit.as_secs_f64()))
            .counter("timeouts", self.timeouts.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::handlers::stand_in::{get, request_from};

    /// Answers after a time.
    #[derive(Debug)]
    struct Slow(Duration);

    impl Handler for Slow {
        fn handle(&self, _request: Request) -> HandlerFuture<'_> {
            Box::pin(async {
                sleep(self.0).await;
                Ok(Response::text("late"))
            })
        }

        fn status(&self) -> Status {
            Status::new("test", "slow")
        }
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_handler_that_is_late_is_dropped() {
        let begun = Instant::now();
        let timeout = |takes| Timeout::new(Arc::new(Slow(takes)), Duration::from_millis(1500));
        assert_eq!(get(&timeout(Duration::from_secs(1)), "::1").await.status, 200);
        let late = timeout(Duration::from_hours(1));
        let error =
            late.handle(request_from("::1", http::Method::GET, "/", &[])).await.expect_err("no answer");
        let took = begun.elapsed().as_millis();
        assert!((2500..2510).contains(&took), "{took} ms");
        assert_eq!(error.status(), 503);
        assert_eq!(error.to_string(), "the handler took longer than 1.5 s (`medusa.handler.timeout`)");
        assert_eq!(late.status(), Status::new("handler.timeout", "1.5 s").counter("timeouts", 1_u64));
    }
}
