//! The time that a handler has to answer: all of it together, or what a wrapper gives to the one in it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

/// Polls `work` until it is done, or `limit` is over in which `progress`, such as the bytes that were read of a request's body,
/// has stayed the same. Work that never waits needs no clock.
pub async fn within<T>(
    work: impl Future<Output = T>,
    limit: Duration,
    progress: Option<&AtomicU64>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    if let Some(done) = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
    {
        return Some(done);
    }
    if limit == Duration::MAX {
        return Some(work.await);
    }
    loop {
        let read = || progress.map_or(0, |progress| progress.load(Relaxed));
        let before = read();
        match tokio::time::timeout(limit, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_elapsed) if read() == before => return None,
            Err(_elapsed) => {}
        }
    }
}
