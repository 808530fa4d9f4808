//! Records over a socket: TCP, TLS, RELP, UDP, unix.
//!
//! - `target`: where to, `resolve` and `connect`: how to get there, `backoff`: when to try again;
//! - `wire`, `stream`, `datagram`, `tls`, `relp`: what a connection is;
//! - `lines`: what goes over it;
//! - `window`, `outq`: what may not have arrived, and is sent again when a connection breaks;
//! - `writer`: the thread that does all this.
//!
//! **Invariant: a target can hold up its own thread, and nothing else.** All that is written waits in a bounded queue; a
//! target that is gone, or takes connections and never reads, fills that, and then the user's choice says what happens.
//!
//! What peers of the server send reaches the wire only through the encoders of `medusa-proto`, which let none of it end a
//! line or a message.

mod backoff;
mod connect;
mod datagram;
mod lines;
mod outq;
mod relp;
mod resolve;
mod stream;
mod target;
mod tls;
mod window;
mod wire;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::status::Status;
use parking_lot::{Condvar, Mutex};

use crate::drain::{self, Drain};
use crate::queue::{Queue, QueueOptions};
use crate::sink::spawn;
use crate::{Batch, Flushed, Sink, SinkError};
pub use lines::{LineEnd, RecordFraming};
use resolve::{PATIENCE, Resolver};
pub use target::{Host, RemoteTarget, Scheme, UnixKind};
use tls::Secured;
pub use tls::TlsOptions;
use writer::RemoteWriter;

/// Options of a [`RemoteSink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    /// How a record is written.
    pub framing: RecordFraming,
    /// How a receiver at a `tls://` or `relp+tls://` target is recognised. Of no meaning to others.
    pub tls: TlsOptions,
    /// The most bytes of a datagram; what is longer is cut. Default: for UDP what the network carries in one piece, but not
    /// more than 2048; for a unix socket what the kernel takes.
    pub max_size: Option<usize>,
    /// How much may wait to be sent.
    pub queue: QueueOptions,
}

impl RemoteOptions {
    /// The least [`max_size`](Self::max_size): what RFC 5426 makes every receiver take.
    pub const LEAST_SIZE: usize = datagram::LEAST;
    /// The greatest [`max_size`](Self::max_size): UDP has no larger datagrams.
    pub const GREATEST_SIZE: usize = datagram::MOST;
}

/// Sends records to a socket by a thread of its own.
///
/// A stream that breaks is connected again, and what may not have arrived is sent again: nothing is lost without being
/// counted, but up to 8 MiB may come twice, and up to 32 MiB of memory hold what that would be, besides what waits in the
/// queue. By RELP the receiver says what it has, and nothing else is sent again. By UDP, nobody knows what arrives.
///
/// Dropping it does not wait: the thread sends what is queued, for 5 seconds at most if the target does not take it, and
/// ends. Who cannot let that happen in the background (a process about to exit) calls [`drain_all`](drain::drain_all).
#[derive(Debug)]
pub struct RemoteSink {
    target: RemoteTarget,
    options: RemoteOptions,
    shared: Arc<RemoteShared>,
    /// Whether the writer runs.
    started: Mutex<bool>,
}

/// Part of a sink that lasts as long as its writer works, and by which they tell each other.
#[derive(Debug)]
struct RemoteShared {
    queue: Arc<Queue>,
    is_local: bool,
    state: Mutex<RemoteState>,
    /// Signalled when `unacknowledged` has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct RemoteState {
    /// The address that the connection leads to.
    peer: Option<String>,
    /// Records written that the other end has not acknowledged.
    unacknowledged: u64,
    secured: Option<Secured>,
    /// Whether the target is to be opened anew.
    is_reopened: bool,
    /// Whether the process is about to end: what is on its way is waited for no longer.
    is_over: bool,
    connections: u64,
    truncated: u64,
    refused: u64,
}

/// Time that the writer may take to give back what has not arrived: it looks up from a target that takes nothing four times a
/// second.
const HAND_BACK: Duration = Duration::from_secs(2);

impl RemoteShared {
    fn set_unacknowledged(&self, records: u64) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.unacknowledged, records) != records {
            self.changed.notify_all();
        }
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        loop {
            let flushed = self.queue.flush(deadline);
            if self.is_local {
                return flushed; // what is in a unix socket is with its reader, whatever becomes of us
            }
            if !flushed.is_complete() {
                return Flushed { left: flushed.left + self.state.lock().unacknowledged, ..flushed };
            }
            let left = self.wait_acknowledged(deadline);
            // A connection that broke meanwhile has put back what had not arrived.
            if left > 0 || self.queue.accounts().pending == 0 {
                return Flushed { left, ..flushed };
            }
        }
    }

    /// Waits until the other end has acknowledged all that was written, or until `deadline`: a process that exits loses
    /// nothing then. Returns the records it has not.
    fn wait_acknowledged(&self, deadline: Instant) -> u64 {
        /// Time between two looks at what is acknowledged: the kernel tells nobody.
        const LOOK: Duration = Duration::from_millis(20);
        let mut state = self.state.lock();
        while state.unacknowledged > 0 && Instant::now() < deadline {
            self.queue.nudge();
            self.changed.wait_until(&mut state, deadline.min(Instant::now() + LOOK));
        }
        state.unacknowledged
    }
}

impl Drain for RemoteShared {
    fn drain(&self, deadline: Instant) -> Flushed {
        // The end of a writer includes that all has arrived.
        let flushed = if self.queue.is_closed() { self.queue.drain(deadline) } else { self.flush(deadline) };
        let is_all = self.is_local || self.state.lock().unacknowledged == 0;
        if (flushed.is_complete() && is_all) || !self.queue.spills() {
            return flushed;
        }
        // What is on its way is in the writer's hands: it has to give it back, for the disk.
        self.state.lock().is_over = true;
        self.queue.close();
        self.queue.drain(deadline.max(Instant::now()) + HAND_BACK)
    }
}

impl RemoteSink {
    /// A sink of what `options` frame to `target`: `log.socket`, `log.syslog` or `log.journald` in the status. Nothing is opened
    /// before [`prepare`](Sink::prepare).
    pub fn new(target: RemoteTarget, options: RemoteOptions) -> Self {
        let queue = Arc::new(Queue::new(options.queue.clone()));
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(RemoteShared { queue, is_local: target.is_local(), state, changed });
        Self { target, options, shared, started: Mutex::default() }
    }

    /// Reads the files of TLS, if that is spoken.
    fn secure(&self) -> Result<Option<Secured>, SinkError> {
        let Some(host) = self.target.host().filter(|_| self.target.is_tls()) else { return Ok(None) };
        let secured = Secured::load(&self.options.tls, &host.name);
        secured.map(Some).map_err(|source| SinkError::new(&self.target, "be sent by TLS").because(source))
    }

    /// Tells whether the target's name has an address; that something answers there is not asked for.
    fn resolve(&self) -> Result<(), SinkError> {
        let Some(host) = self.target.host() else { return Ok(()) };
        Resolver::new(host).resolve(PATIENCE).map(drop).map_err(|source| {
            let doing = format!(
                "resolve the host {:?}: name one that has an address, or give the address",
                host.name
            );
            SinkError::new(&self.target, doing).because(source)
        })
    }
}

impl Sink for RemoteSink {
    fn check(&self) -> Result<(), SinkError> {
        self.secure()?;
        self.resolve()
    }

    /// A target that does not answer is no error: it may do so later, and meanwhile its records wait.
    fn prepare(&self) -> Result<(), SinkError> {
        let mut started = self.started.lock();
        if !*started {
            let secured = self.secure()?;
            self.resolve()?;
            self.shared.state.lock().secured = secured;
            self.shared.queue.prepare()?;
            let writer = RemoteWriter::new(&self.target, &self.options, Arc::clone(&self.shared));
            let shared = Arc::clone(&self.shared);
            spawn("log", &self.target, move || {
                writer.run();
                shared.queue.leave();
            })?;
            drain::enter(&self.shared);
            *started = true;
        }
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        self.shared.queue.submit(batch);
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        if !*self.started.lock() {
            return self.shared.queue.flush(Instant::now()); // without a writer, waiting changes nothing
        }
        self.shared.flush(deadline)
    }

    fn close(&self) {
        self.shared.queue.close();
    }

    /// Reads the files of TLS anew, for the next connection, and if there is none, tries for one at once. By UDP, where
    /// connections do not break, the name is resolved anew.
    fn reopen(&self) -> Result<(), SinkError> {
        if *self.started.lock() {
            let secured = self.secure()?;
            let mut state = self.shared.state.lock();
            state.secured = secured;
            state.is_reopened = true;
            drop(state);
            self.shared.queue.nudge();
        }
        Ok(())
    }

    fn status(&self) -> Status {
        let some = |count: u64| (count > 0).then_some(count);
        let kind = match self.options.framing {
            RecordFraming::Lines(..) => "log.socket",
            RecordFraming::Syslog(..) => "log.syslog",
            RecordFraming::Journal(_) => "log.journald",
        };
        let status = {
            let state = self.shared.state.lock();
            Status::new(kind, self.target.to_string())
                .field("format", self.options.framing.format().name())
                .gauge("connected", state.peer.is_some())
                .maybe("peer", state.peer.clone())
                .counter("reconnects", state.connections.saturating_sub(1))
                .maybe_counter("truncated", some(state.truncated))
                .maybe_counter("refused", some(state.refused))
                .maybe_gauge("unacknowledged", self.target.is_relp().then_some(state.unacknowledged))
        };
        self.shared.queue.describe(status)
    }
}

impl Drop for RemoteSink {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

#[cfg(test)]
mod tests;
