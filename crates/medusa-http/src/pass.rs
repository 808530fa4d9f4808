//! The call of a handler: by whoever routes, and by those that stand before others.

use std::sync::Arc;
use std::time::Instant;

use crate::handler::{Handler, HandlerFuture, short_name};
use crate::request::{Head, Request};

/// Has a handler answer. Whoever stands before another calls it by this, so that [traces](crate::Trace) see the other, too.
pub fn pass(handler: &Arc<dyn Handler>, request: Request) -> HandlerFuture<'_> {
    if request.head.trace.is_none() {
        return handler.handle(request);
    }
    let head = Arc::clone(&request.head);
    Box::pin(async move { note(handler, &head, handler.handle(request)).await })
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
