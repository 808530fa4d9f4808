//! Work on stores, which blocks, on the blocking pool.

use tokio::sync::Semaphore;

use crate::handler::HandlerError;

/// The threads that are at work at a time, of all handlers: disks are no faster with more of them, and the pool of each worker has room
/// for others beside them.
static WORKERS: Semaphore = Semaphore::const_new(16);

/// Does work that changes or reads what is in a store. It is done to its end, though nobody may wait for it any more.
///
/// # Errors
///
/// It panicked.
pub async fn on_pool<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HandlerError> {
    // Never closed.
    let permit = WORKERS.acquire().await;
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.map_err(HandlerError::internal)
}
