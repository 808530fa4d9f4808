//! Keeping a panic in one task to that task.
//!
//! Invariant: a panic inside a guarded future becomes a value. The runtime would contain it too, but silently; here
//! its message is kept for the log and the caller.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The message of a panic.
#[derive(Debug)]
pub(crate) struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Calls `function`, whose panic ends here.
///
/// `AssertUnwindSafe` holds because whatever it was given is gone after a panic.
pub(crate) fn catch_call<T>(function: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|payload| Panicked(message(&*payload)))
}

/// Runs `future` to its end or to its first panic, whichever comes first.
///
/// `AssertUnwindSafe` holds because the future is never polled again after a panic, only dropped.
pub(crate) async fn catch<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(Panicked(message(&*payload)))),
    })
    .await
}

/// The text of a panic: a `panic!` with a literal carries a `&str`, one with arguments a `String`.
fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_becomes_its_message() {
        assert_eq!(catch(async { 7 }).await.ok(), Some(7));

        let literal = catch(async { panic!("plain") }).await;
        assert_eq!(literal.err().map(|p| p.to_string()).as_deref(), Some("plain"));

        let formatted = catch(async { panic!("with {}", 1) }).await;
        assert_eq!(formatted.err().map(|p| p.to_string()).as_deref(), Some("with 1"));
    }
}
