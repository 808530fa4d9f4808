//! Ending connections, politely first: those of a listener, or of the whole process.
//!
//! Invariant: after [`drain`] no connection that was open is left, whatever its handler does: what has not finished at
//! the deadline is aborted. (A handler that blocks its thread cannot be, and delays its worker's part.)

use std::iter::Sum;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use crate::conn::Conn;
use crate::registry;
use crate::worker::Workers;
use crate::worker_listener::{ListenerId, WorkerListener};

/// Counts of connections that were told to finish, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that finished in time.
    pub finished: usize,
    /// Connections that did not, and were cut off.
    pub aborted: usize,
}

impl Sum for Drained {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            finished: sum.finished + part.finished,
            aborted: sum.aborted + part.aborted,
        })
    }
}

/// Tells every connection on every worker to finish and waits for that, for at most `deadline`; the rest is aborted.
///
/// Close the listeners first, or new connections keep coming; each is told to finish as soon as it is open. Idle
/// connections finish at once, busy ones after their response.
pub async fn drain(workers: &Workers, deadline: Duration) -> Drained {
    let parts = workers.run_on_each(move |_| finish(None, deadline)).await;
    // A worker that is gone has no connections.
    parts.into_iter().flatten().sum()
}

/// Tells every connection of this worker that came in by `listener` to finish, and from now on every new one.
pub(crate) fn drain_listener(listener: ListenerId) {
    if let Some(listener) = registry::find_listener(listener) {
        Scope::Listener(listener).drain();
    }
}

/// Tells some of this worker's connections to finish, waits until they have or `deadline` is over, and aborts those
/// that are left.
pub(crate) async fn finish(listener: Option<ListenerId>, deadline: Duration) -> Drained {
    let scope = match listener.map(registry::find_listener) {
        None => Scope::Worker,
        Some(Some(listener)) => Scope::Listener(listener),
        Some(None) => return Drained::default(),
    };
    scope.drain();
    let (live, ended) = (scope.live(), scope.ended());
    tracing::debug!(connections = live, "finishing");
    let aborted = match timeout(deadline, scope.empty()).await {
        Ok(()) => 0,
        Err(_elapsed) => abort(&scope).await,
    };
    let ended = usize::try_from(scope.ended() - ended).unwrap_or(usize::MAX);
    Drained { finished: ended.saturating_sub(aborted), aborted }
}

/// Drops the tasks of all connections in `scope`, those included that open meanwhile, and waits until that has happened.
async fn abort(scope: &Scope) -> usize {
    let mut aborted = 0;
    while scope.live() > 0 {
        aborted += scope.conns().filter(|conn| conn.abort()).count();
        registry::connection_ended().notified().await;
    }
    aborted
}

/// Some of a worker's connections.
enum Scope {
    Worker,
    Listener(Rc<WorkerListener>),
}

impl Scope {
    fn live(&self) -> usize {
        match self {
            Self::Worker => registry::len(),
            Self::Listener(listener) => listener.live.get(),
        }
    }

    fn ended(&self) -> u64 {
        match self {
            Self::Worker => registry::ended(),
            Self::Listener(listener) => listener.ended.get(),
        }
    }

    /// Tells every connection to finish, and from now on every new one.
    fn drain(&self) {
        match self {
            Self::Worker => registry::drain_new(),
            Self::Listener(listener) => listener.draining.set(true),
        }
        self.conns().for_each(|conn| conn.drain());
    }

    fn conns(&self) -> impl Iterator<Item = Rc<Conn>> {
        registry::conns().into_iter().filter(|conn| self.holds(conn))
    }

    fn holds(&self, conn: &Conn) -> bool {
        match self {
            Self::Worker => true,
            Self::Listener(listener) => Rc::ptr_eq(listener, &conn.listener),
        }
    }

    /// Waits until no connection is left.
    async fn empty(&self) {
        while self.live() > 0 {
            registry::connection_ended().notified().await;
        }
    }
}
