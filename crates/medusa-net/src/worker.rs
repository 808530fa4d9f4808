//! Worker threads: one OS thread per core, each with its own single-threaded runtime.
//!
//! Invariant: what starts on a worker ends on it. Other threads reach a worker only through its queue of jobs, which is
//! bounded: when a worker falls behind, callers that ask it for something wait, and nothing piles up.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;

use crate::cork::turn;
use crate::panic::{self, Panicked};

/// Runs on the worker's thread, inside its runtime.
type Job = Box<dyn FnOnce() + Send>;

/// Jobs a worker may have waiting. They are rare (a new listener, a new site), so a full queue means a busy worker.
const QUEUED_JOBS: usize = 1024;

/// Threads a worker may start for blocking work, such as reading a file that is not cached. Tokio's own limit of 512
/// would be per worker, too many on a machine with many cores.
const BLOCKING_THREADS: usize = 64;

/// The time that a stopping worker waits for blocking work that is still under way.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

thread_local! {
    static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Requests that have begun, of each worker; should there be more workers than counts, some share one.
static REQUESTS: [PaddedCount; 64] = [const { PaddedCount(AtomicU64::new(0)) }; 64];

/// On a cache line of its own.
#[repr(align(128))]
struct PaddedCount(AtomicU64);

/// The number of requests that have begun on this worker, ever; on any other thread, on all workers. For work that
/// gives way to them: it can tell whether it had company since it last looked.
#[must_use]
pub fn requests() -> u64 {
    match current() {
        Some(worker) => REQUESTS[worker % REQUESTS.len()].0.load(Relaxed),
        None => REQUESTS.iter().map(|count| count.0.load(Relaxed)).fold(0, u64::wrapping_add),
    }
}

pub(crate) fn count_request() {
    let count = &REQUESTS[index() % REQUESTS.len()].0;
    // No one else writes it but a worker that shares it, and nobody needs to know exactly.
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

/// The number of the worker this thread is, from 0; `None` on any other thread.
#[must_use]
pub fn current() -> Option<usize> {
    INDEX.get()
}

/// The number of the worker this thread is, from 0; also 0 on any other thread.
///
/// For picking this worker's part of something that has one part per worker.
#[must_use]
pub fn index() -> usize {
    current().unwrap_or(0)
}

/// The reason why a job gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WorkerGone {
    /// The worker was stopped before the job was done.
    #[error("worker {worker} has stopped")]
    Stopped {
        /// The worker's number.
        worker: usize,
    },
    /// The job panicked. The panic is in the log; the worker lives on.
    #[error("a job on worker {worker} panicked; its message is in the log")]
    Panicked {
        /// The worker's number.
        worker: usize,
    },
    /// There are fewer workers than that.
    #[error("there is no worker {worker}: this server has {count}, numbered from 0")]
    NoSuchWorker {
        /// The number asked for.
        worker: usize,
        /// The number of workers.
        count: usize,
    },
}

/// The worker threads of a server. Clones are handles to the same threads.
///
/// When the last handle is dropped the threads end by themselves; [`stop`](Self::stop) also waits for them.
#[derive(Clone)]
pub struct Workers {
    inner: Arc<Inner>,
}

struct Inner {
    queues: Vec<mpsc::Sender<Job>>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Workers {
    /// Starts `count` workers, as threads named `medusa-worker-0` and so on.
    ///
    /// # Errors
    ///
    /// The system refused a thread, or the file descriptors of its event loop. Those already started end again.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut queues = Vec::with_capacity(count.get());
        let mut threads = Vec::with_capacity(count.get());
        for worker in 0..count.get() {
            let (queue, jobs) = mpsc::channel(QUEUED_JOBS);
            threads.push(start_thread(worker, jobs, stopped.clone())?);
            queues.push(queue);
        }
        Ok(Self { inner: Arc::new(Inner { queues, stop, threads: Mutex::new(threads) }) })
    }

    /// The number of workers; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one worker")]
    pub fn len(&self) -> usize {
        self.inner.queues.len()
    }

    /// Runs a job on one worker and returns what its future returns.
    ///
    /// `job` is called on the worker's thread; its future need not be `Send` and runs as a task of its own. Dropping
    /// the returned future does not stop a job that was already handed over.
    ///
    /// # Errors
    ///
    /// See [`WorkerGone`].
    pub async fn run<F, Fut, R>(&self, worker: usize, job: F) -> Result<R, WorkerGone>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        self.submit(worker, job).await?.wait().await
    }

    /// Runs a job on every worker at the same time; `job` is given the worker's number.
    ///
    /// The results are in the order of the workers.
    pub async fn run_on_each<F, Fut, R>(&self, job: F) -> Vec<Result<R, WorkerGone>>
    where
        F: Fn(usize) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        let mut submitted = Vec::with_capacity(self.len());
        for worker in 0..self.len() {
            let job = job.clone();
            submitted.push(self.submit(worker, move || job(worker)).await);
        }
        let mut results = Vec::with_capacity(submitted.len());
        for result in submitted {
            results.push(match result {
                Ok(result) => result.wait().await,
                Err(gone) => Err(gone),
            });
        }
        results
    }

    /// Hands a job to every worker and does not wait, for use where nothing can be awaited (a `Drop`). A worker whose
    /// queue is full is left out: for jobs that only tidy up.
    pub fn post_each<F>(&self, job: F)
    where
        F: Fn() + Clone + Send + 'static,
    {
        for queue in &self.inner.queues {
            let job = job.clone();
            let tidy: Job = Box::new(move || {
                spawn_local(async move { job() });
            });
            // A worker that is gone, or has a thousand jobs waiting, has no use for this one.
            drop(queue.try_send(tidy));
        }
    }

    /// Ends every worker and waits for its thread. Tasks that still run are dropped at their next `await`.
    ///
    /// Blocks the calling thread. On a worker, that worker itself is told to end but not waited for.
    pub fn stop(&self) {
        self.inner.stop.send_replace(true);
        let threads = std::mem::take(&mut *self.inner.threads.lock());
        for thread in threads {
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a worker thread ended with a panic");
            }
        }
    }

    /// Hands a job to a worker, waiting while its queue is full.
    async fn submit<F, Fut, R>(&self, worker: usize, job: F) -> Result<JobResult<R>, WorkerGone>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        let count = self.len();
        let queue = self.inner.queues.get(worker).ok_or(WorkerGone::NoSuchWorker { worker, count })?;
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            spawn_local(async move {
                let result = panic::catch(async { job().await }).await;
                if let Err(panicked) = &result {
                    tracing::error!(worker, "a job panicked: {panicked}");
                }
                // An error means that nobody waits for the result any more.
                let _ = sender.send(result);
            });
        });
        match queue.send(job).await {
            Ok(()) => Ok(JobResult { worker, receiver }),
            Err(_closed) => Err(WorkerGone::Stopped { worker }),
        }
    }
}

/// A job's result on its way back.
struct JobResult<R> {
    worker: usize,
    receiver: oneshot::Receiver<Result<R, Panicked>>,
}

impl<R> JobResult<R> {
    async fn wait(self) -> Result<R, WorkerGone> {
        let Self { worker, receiver } = self;
        match receiver.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_logged)) => Err(WorkerGone::Panicked { worker }),
            Err(_dropped) => Err(WorkerGone::Stopped { worker }),
        }
    }
}

/// Starts one worker's thread and waits until its runtime exists: a runtime cannot be built on another thread.
fn start_thread(
    worker: usize,
    jobs: mpsc::Receiver<Job>,
    stopped: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("medusa-worker-{worker}")).spawn(move || {
        let runtime = match build_runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(error))),
        };
        INDEX.set(Some(worker));
        if ready.send(Ok(())).is_ok() {
            runtime.block_on(work(jobs, stopped));
        }
        runtime.shutdown_timeout(BLOCKING_GRACE);
    })?;
    match is_ready.recv() {
        Ok(built) => built.map(|()| thread),
        Err(_gone) => Err(io::Error::other(format!("worker {worker} ended before it was ready"))),
    }
}

fn build_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build_local(LocalOptions::default())
}

/// Takes jobs until the worker is stopped or the last handle to it is gone.
async fn work(mut jobs: mpsc::Receiver<Job>, mut stopped: watch::Receiver<bool>) {
    spawn_local(turn::write_at_ends());
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            job = jobs.recv() => match job {
                Some(job) => job(),
                None => break,
            },
        }
    }
}
