//! Work that blocks, and must not wait behind lookups.
//!
//! A runtime has one pool of threads that may block, and the system has names looked up there; a dead name server holds
//! all of it. What is done here takes milliseconds, and is seldom done, so each piece has a thread that ends with it.
//!
//! Invariant: there are at most [`THREADS`] of them; also those whose fetch has been given up count until they end.

use std::io;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

/// The number that run at once. Two would do; a file of certificates may lie on a disk that does not answer.
const THREADS: usize = 4;

/// Runs work on threads of its own.
#[derive(Debug)]
pub(crate) struct BlockingThreads(Arc<Semaphore>);

impl Default for BlockingThreads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(THREADS)))
    }
}

impl BlockingThreads {
    /// Runs `work` as soon as there is a thread for it.
    ///
    /// # Errors
    ///
    /// The system refused the thread, or the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let (done, result) = oneshot::channel();
        std::thread::Builder::new().name("medusa-fetch-setup".into()).spawn(move || {
            let _permit = permit;
            // Nobody may wait for it any more.
            let _unwanted = done.send(work());
        })?;
        result.await.map_err(io::Error::other)
    }
}
