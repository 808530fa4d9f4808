//! Listeners: an address, one socket per worker, and the loops that accept on them.
//!
//! Each worker has its own TCP socket on the address (`SO_REUSEPORT`), so the kernel spreads connections over the workers
//! and no two threads ever accept on one queue. A unix socket is one queue that the workers share.
//!
//! Invariant: a listener that was started accepts until it is closed, whatever happens meanwhile; and a client that the
//! kernel had queued when it was closed is served. One that was never started has answered nobody.

mod accept;
mod bind;
mod error;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::address::ListenAddr;
use crate::shutdown::{self, Drained};
use crate::worker::Workers;
use crate::worker_listener::ListenerId;

pub use accept::Accept;
pub use bind::Options;
pub use error::{BindError, StartError};

use bind::{BoundAddress, Socket};
use unix::SocketFile;

/// A listener's totals since it was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that ended.
    pub ended: u64,
    /// Connections that ended by a panic.
    pub panicked: u64,
    /// Times that accepting failed. Each was logged or was the peer's doing.
    pub errors: u64,
}

impl ListenerStats {
    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.ended)
    }
}

/// State that a listener shares with its accept loops. They do not keep the listener alive: dropping it ends them.
#[derive(Debug)]
struct Shared {
    id: ListenerId,
    addr: ListenAddr,
    accepted: AtomicU64,
    ended: AtomicU64,
    panicked: AtomicU64,
    errors: AtomicU64,
}

/// Stage in the life of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenerStage {
    /// The kernel queues connections.
    Bound,
    /// They are accepted.
    Started,
    Closed,
}

/// A bound address, from which connections come once it is [prepared](Self::prepare) and [started](Self::start).
///
/// Dropping the last handle closes it, like [`close`](Self::close).
pub struct Listener {
    shared: Arc<Shared>,
    /// The sockets until they are with the workers.
    sockets: Mutex<Vec<Socket>>,
    /// What the accept loops go by. Each holds a receiver until its socket is closed.
    stage: watch::Sender<ListenerStage>,
    /// True has each worker tell its connections to finish.
    draining: watch::Sender<bool>,
    workers: OnceLock<Workers>,
    /// The file of a unix socket, until it is removed.
    file: Mutex<Option<SocketFile>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("id", &self.shared.id)
            .field("addr", &self.shared.addr)
            .field("stage", &*self.stage.borrow())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds `addr` with [`Options::default`], with sockets for `workers` workers. From now on the kernel queues
    /// connections; they are accepted after [`prepare`](Self::prepare) and [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// See [`BindError`]. An address that someone else listens on is an error even if both sides allow sharing it.
    pub fn bind(addr: &ListenAddr, workers: usize) -> Result<Arc<Self>, BindError> {
        Self::bind_with(addr, workers, &Options::default())
    }

    /// Binds `addr`. See [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind_with(addr: &ListenAddr, workers: usize, options: &Options) -> Result<Arc<Self>, BindError> {
        let BoundAddress { addr, sockets, file } = bind::bind(addr, workers.max(1), options)?;
        let shared = Shared {
            id: ListenerId::next(),
            addr,
            accepted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
            sockets: Mutex::new(sockets),
            stage: watch::Sender::new(ListenerStage::Bound),
            draining: watch::Sender::new(false),
            workers: OnceLock::new(),
            file: Mutex::new(file),
        }))
    }

    /// Hands the sockets to the workers, where everything that can fail does. Every connection will go to `accept`, from
    /// [`start`](Self::start) on.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. The listener is then closed.
    pub async fn prepare(&self, workers: &Workers, accept: Arc<dyn Accept>) -> Result<(), StartError> {
        let addr = || self.shared.addr.clone();
        if self.workers.set(workers.clone()).is_err() {
            return Err(StartError::Started { addr: addr() });
        }
        let sockets = std::mem::take(&mut *self.sockets.lock());
        for (number, socket) in sockets.into_iter().enumerate() {
            let (shared, accept) = (self.shared.clone(), accept.clone());
            let (stage, draining) = (self.stage.subscribe(), self.draining.subscribe());
            let started = workers.run(number % workers.len(), move || async move {
                let id = shared.id;
                let accepting = accept::AcceptLoop::new(socket, shared, accept)?;
                spawn_local(accepting.run(stage));
                spawn_local(drain_on_request(id, draining));
                io::Result::Ok(())
            });
            let failed = match started.await {
                Ok(Ok(())) => continue,
                Ok(Err(source)) => StartError::Register { addr: addr(), source },
                Err(source) => StartError::Worker { addr: addr(), source },
            };
            self.close();
            return Err(failed);
        }
        Ok(())
    }

    /// Starts accepting, which cannot fail. Does nothing if it was closed, or not [prepared](Self::prepare).
    pub fn start(&self) {
        self.stage.send_if_modified(|stage| {
            let is_bound = *stage == ListenerStage::Bound;
            if is_bound {
                *stage = ListenerStage::Started;
            }
            is_bound
        });
    }

    /// Its number.
    pub fn id(&self) -> ListenerId {
        self.shared.id
    }

    /// The address it really listens on: a port 0 is replaced by the one the system chose.
    pub fn local_addr(&self) -> &ListenAddr {
        &self.shared.addr
    }

    /// Its totals.
    pub fn stats(&self) -> ListenerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // `ended` first: a connection that ends in between must not seem to have ended before it was accepted.
        let ended = read(&self.shared.ended);
        ListenerStats {
            accepted: read(&self.shared.accepted),
            ended,
            panicked: read(&self.shared.panicked),
            errors: read(&self.shared.errors),
        }
    }

    /// Stops accepting. Connections that the kernel has queued are still accepted and served if it was started, then the
    /// sockets are closed; open connections go on. Returns at once; [`closed`](Self::closed) waits.
    ///
    /// A unix socket's file is removed now, so that its path can be bound again.
    pub fn close(&self) {
        self.stage.send_replace(ListenerStage::Closed);
        self.sockets.lock().clear();
        drop(self.file.lock().take());
    }

    /// Waits until the sockets are closed, after [`close`](Self::close). The address is then free.
    pub async fn closed(&self) {
        self.stage.closed().await;
    }

    /// Tells every connection that came in here to finish, and those still to come. See [`Signal::Drain`]. Returns at
    /// once; [`finish`](Self::finish) waits.
    ///
    /// [`Signal::Drain`]: crate::Signal::Drain
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Closes, tells every connection that came in here to finish, and waits until they have, for at most `deadline`;
    /// those that are left are aborted.
    pub async fn finish(&self, deadline: Duration) -> Drained {
        self.close();
        self.closed().await;
        let (id, Some(workers)) = (self.id(), self.workers.get()) else { return Drained::default() };
        let parts = workers.run_on_each(move |_| shutdown::finish(Some(id), deadline)).await;
        parts.into_iter().flatten().sum()
    }
}

/// Tells this worker's connections of a listener to finish as soon as `draining` says so. That works for as long as the
/// listener exists, long after it was closed; without it there is nobody to say so.
async fn drain_on_request(listener: ListenerId, mut draining: watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_ok() {
        shutdown::drain_listener(listener);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}
