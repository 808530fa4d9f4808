//! The call of a handler: by whoever routes, and by those that stand before others.

use std::sync::Arc;
use std::time::Instant;

use crate::handler::{Handler, HandlerFuture, short_name};
use crate::request::Request;

/// Has a handler answer. Whoever stands before another calls it by this, so that [traces](crate::Trace) see the other, too.
pub fn pass(handler: &Arc<dyn Handler>, request: Request) -> HandlerFuture<'_> {
    let Some(trace) = request.head.trace.clone() else { return handler.handle(request) };
    Box::pin(async move {
        let step = trace.enter(short_name(handler));
        let begun = Instant::now();
        let answered = handler.handle(request).await;
        trace.answered(step, begun.elapsed());
        answered
    })
}
