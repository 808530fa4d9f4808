//! The call of a handler: by whoever routes, and by those that stand before others.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use http::StatusCode;

use crate::handler::{Handler, HandlerError, HandlerFuture, short_name};
use crate::request::{Head, Purpose, Request};
use crate::response::Response;

/// Has a handler answer. Whoever stands before another calls it by this, so that [traces](crate::Trace) see the other, too, and a
/// preflight gets no further than to what answers it.
pub fn pass(handler: &Arc<dyn Handler>, request: Request) -> HandlerFuture<'_> {
    let Head { preflight, purpose, .. } = *request.head;
    if preflight && purpose == Purpose::Answer && !handler.answers_preflights() {
        return Box::pin(std::future::ready(Ok(Response::page(StatusCode::NOT_FOUND))));
    }
    if request.head.trace.is_none() {
        return handler.handle(request);
    }
    let head = Arc::clone(&request.head);
    Box::pin(async move { note(handler, &head, handler.handle(request)).await })
}

/// Has a handler answer, whatever comes of that: if it fails or panics, the answer is the server's page for that. So it is called by
/// whoever has a say in such a page, too.
pub async fn answer(handler: &Arc<dyn Handler>, request: Request) -> Response {
    match AssertUnwindSafe(async { pass(handler, request).await }).catch_unwind().await {
        Ok(answered) => answered.unwrap_or_else(Response::failed),
        Err(_panic) => Response::failed(HandlerError::panicked()),
    }
}

/// Has traces see a handler that is called in a way of its own, of which `answering` comes.
pub async fn note<T>(handler: &Arc<dyn Handler>, head: &Head, answering: impl Future<Output = T>) -> T {
    let Some(trace) = &head.trace else { return answering.await };
    let step = trace.enter(short_name(handler));
    let begun = Instant::now();
    let answered = answering.await;
    trace.answered(step, begun.elapsed());
    answered
}
