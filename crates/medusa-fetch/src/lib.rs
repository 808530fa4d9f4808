//! The HTTP client of scripts: what `medusa.fetch` runs on.
//!
//! One [`Fetcher`] serves a whole process, from a thread of its own with a runtime of its own:
//!
//! - the pool of idle connections is one, whichever worker's handler asks;
//! - a connection's task lives on the runtime that opened the connection, and this one ends after all who use it: were
//!   it a script's, the connections that others have come to share would die with that script;
//! - TLS handshakes and decompression do not take turns from requests, and a name server that does not answer, for
//!   which the system's resolver holds a thread for many seconds, starves nobody's file reads.
//!
//! The price is two hops between threads for each fetch, and two more for each piece of a body that is streamed.
//!
//! The parts, in the order in which a fetch meets them: [`request`] is what is asked for, checked; `exchange` runs it
//! under its deadline; `clients` holds the connections, which `connect` opens and `tls` secures, and `blocking` runs
//! what making them takes; `interim` bounds what comes before the answer; `redirect` decides where it goes next;
//! `decode` decompresses; [`response`] is what comes of it, and [`error`] what goes wrong.
//!
//! What else needs names, authorities and a thread beside the workers has them from here ([`Fetcher::lookup`],
//! [`Fetcher::tls`], [`Fetcher::spawn`]): `medusa-proxy`.
//!
//! **Invariants:** no fetch is polled outside the client's thread.
//! Everything is bounded: fetches at once and waiting, bytes of all bodies together, time, redirects, connections.
//! What a peer says never decides where a script's secrets go: a redirect to another origin leaves them behind.
//! Errors and `Debug` name no more of a URL than scheme, host and path, and no value of a field.

mod blocking;
mod bounds;
mod clients;
mod connect;
mod decode;
pub mod error;
mod exchange;
mod interim;
mod redirect;
pub mod request;
mod resolve;
pub mod response;
mod tls;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use medusa_net::descriptors::DescriptorShare;
use medusa_proto::status::{Status, Value};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clients::Clients;
use crate::exchange::{Exchange, reserve};

pub use error::{Fault, FetchError, Http2Fault};
pub use request::{Limits, Request, RequestError};
pub use resolve::{Addresses, Resolve};
pub use response::{Body, Response};

/// The number of fetches that run at once, from their first look for a connection to the last byte of their body.
/// Each holds a socket, and up to half a megabyte of what has arrived and not been read; more than a server's scripts
/// have in flight in good times.
pub const RUNNING: usize = 256;

/// The number of fetches that may wait for others to end. More than this is no burst any more, but an origin that has
/// become slow: a caller had better be told at once then.
pub const WAITING: usize = 1024;

/// The longest a fetch may take. A script's own budget ends most of them sooner; this bounds what a forgotten stream
/// holds.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(5);

/// The number of bytes that all request bodies, and all response bodies that are not streamed, may hold together.
pub const MEMORY: usize = 256 * 1024 * 1024;

/// Threads that look up names. One that asks a dead name server is held until the system gives up, cancelled or not;
/// lookups beyond these queue, and count against `connect_timeout`.
const LOOKUP_THREADS: usize = 32;

/// The HTTP client of a process. Clones are the same client.
///
/// ```
/// use medusa_fetch::{Fetcher, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fetcher = Fetcher::start(None)?;
/// let request = Request::new("GET", "http://127.0.0.1:1/")?;
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let error = runtime.block_on(fetcher.fetch(request)).unwrap_err();
/// assert_eq!(error.to_string(), "fetch http://127.0.0.1:1/");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// State that all fetches share.
pub(crate) struct Shared {
    pub(crate) clients: Clients,
    /// Counts those that run and those that wait.
    admitted: Arc<Semaphore>,
    /// Counts those that run.
    pub(crate) running: Arc<Semaphore>,
    /// Counts bytes of bodies.
    pub(crate) memory: Arc<Semaphore>,
    warned_insecure: AtomicBool,
    begun: AtomicU64,
    failed: AtomicU64,
}

/// The thread, which ends with this.
struct Thread {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Fetcher {
    /// Starts the client's thread. Names are looked up by `resolver`, or else by the system.
    ///
    /// # Errors
    ///
    /// The system refused the thread or its event loop.
    pub fn start(resolver: Option<Arc<dyn Resolve>>) -> io::Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUP_THREADS).build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("medusa-fetch".into()).spawn(move || {
            // Ends when the sender is dropped; nothing is ever sent.
            let _dropped = runtime.block_on(ended);
            // A lookup under way cannot be stopped, and is not waited for.
            runtime.shutdown_background();
        })?;
        let shared = Shared {
            clients: Clients::new(resolver),
            admitted: Arc::new(Semaphore::new(RUNNING + WAITING)),
            running: Arc::new(Semaphore::new(RUNNING)),
            memory: Arc::new(Semaphore::new(MEMORY)),
            warned_insecure: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), thread: Arc::new(Thread { runtime: handle, _end: end }) })
    }

    /// Fetches: waits for its turn, connects, follows redirects, reads the body unless it is to be streamed.
    ///
    /// Can be awaited anywhere. Dropping the future, or the [`Body`] of a stream, ends the exchange and closes its
    /// connection.
    ///
    /// # Errors
    ///
    /// There was no response, or none that can be had whole. A status of 400 or 500 is a response.
    pub async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        self.shared.begun.fetch_add(1, Relaxed);
        let result = self.run(request).await;
        if result.is_err() {
            self.shared.failed.fetch_add(1, Relaxed);
        }
        result
    }

    async fn run(&self, request: Request) -> Result<Response, FetchError> {
        let place = request.place();
        let failed = |fault| FetchError::new(place.clone(), fault);
        let admitted = Arc::clone(&self.shared.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_full| failed(Fault::Busy))?;
        // Its own connection, and others that are kept for later.
        if !DescriptorShare::Files.has_room() {
            return Err(failed(Fault::Descriptors));
        }
        let sent = reserve(&self.shared.memory, request.hop.body.len()).map_err(failed)?;
        if request.insecure && !self.shared.warned_insecure.swap(true, Relaxed) {
            tracing::warn!(
                "a script fetches {place} with `insecure = true`: whoever is on the way can read and change \
                 everything; this is said once"
            );
        }
        let deadline = Instant::now() + request.limits.timeout;
        let exchange = Exchange { request, shared: Arc::clone(&self.shared), admitted, sent, deadline };
        let (answer, answered) = oneshot::channel();
        let task = Task(self.thread.runtime.spawn(exchange.run(answer)));
        match answered.await {
            Ok(Ok(reply)) => Ok(reply.keep(task)),
            Ok(Err(error)) => Err(error),
            Err(_dropped) => Err(failed(Fault::Gone)),
        }
    }

    /// The addresses of a host, in the order in which they are to be tried; looked up on the client's thread, so that a name
    /// server that does not answer holds none of the caller's.
    ///
    /// # Errors
    ///
    /// There are none, or nobody could be asked.
    pub async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let (found, looked_up) = oneshot::channel();
        let (names, name) = (self.shared.clients.names(), name.to_owned());
        let _ends_with_this = self.spawn(async move { drop(found.send(names.addresses(name).await)) });
        let addresses = looked_up.await.map_err(io::Error::other)??;
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    /// Settings of TLS for whoever opens connections by HTTP/1.1 itself: trusts the system's authorities, and those in the PEM
    /// file `ca`; with `insecure` anyone.
    ///
    /// # Errors
    ///
    /// The authorities cannot be read.
    pub async fn tls(&self, ca: Option<&Path>, insecure: bool) -> Result<ClientConfig, Fault> {
        self.shared.clients.tls(ca, insecure, &[tls::HTTP_1]).await
    }

    /// Runs something else on the client's thread, until it or the returned task ends. It must not block.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.thread.runtime.spawn(work))
    }

    /// Describes what is going on.
    pub fn status(&self) -> Status {
        let taken = |limit: usize, semaphore: &Semaphore| limit.saturating_sub(semaphore.available_permits());
        let running = taken(RUNNING, &self.shared.running);
        let admitted = taken(RUNNING + WAITING, &self.shared.admitted);
        Status::new("fetch", "")
            .gauge("running", running)
            .gauge("waiting", admitted.saturating_sub(running))
            .counter("begun", self.shared.begun.load(Relaxed))
            .counter("failed", self.shared.failed.load(Relaxed))
            .gauge("memory", Value::Bytes(taken(MEMORY, &self.shared.memory) as u64))
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Work under way on the client's thread; dropping this ends it.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
