//! A wrapper: tells clients how long a handler took, and the operator how many requests there were.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use medusa::handler::{Handler, HandlerError, HandlerFuture, Request, Response, Status, pass};

/// Stands before a handler.
#[derive(Debug)]
pub(crate) struct Timed {
    inner: Arc<dyn Handler>,
    /// Shared with the one that takes its place.
    answered: OnceLock<Arc<AtomicU64>>,
}

impl Timed {
    /// Stands before `inner`.
    pub(crate) fn new(inner: Arc<dyn Handler>) -> Self {
        Self { inner, answered: OnceLock::new() }
    }

    fn answered(&self) -> &Arc<AtomicU64> {
        self.answered.get_or_init(Arc::default)
    }

    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let begun = Instant::now();
        let mut response = pass(&self.inner, request).await?;
        let took = format!("handler;dur={:.3}", begun.elapsed().as_secs_f64() * 1000.0);
        if let Ok(took) = HeaderValue::try_from(took) {
            response.headers.insert(HeaderName::from_static("server-timing"), took);
        }
        self.answered().fetch_add(1, Ordering::Relaxed);
        Ok(response)
    }
}

impl Handler for Timed {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    // What it stands before: the site prepares, describes and retires that.
    fn inner(&self) -> &[Arc<dyn Handler>] {
        std::slice::from_ref(&self.inner)
    }

    // The same before another handler, as when a file is loaded anew.
    fn around(&self, inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        Some(Arc::new(Self { inner, answered: OnceLock::from(Arc::clone(self.answered())) }))
    }

    // Goes on with what was counted before a reload.
    fn take_over(&self, before: &dyn Handler) -> bool {
        let before: &dyn Any = before;
        let answered = before.downcast_ref::<Self>().and_then(|before| before.answered.get());
        answered.is_some_and(|answered| self.answered.set(Arc::clone(answered)).is_ok())
    }

    fn status(&self) -> Status {
        let answered = self.answered.get().map_or(0, |answered| answered.load(Ordering::Relaxed));
        Status::new("timed", "").counter("answered", answered)
    }
}
