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
use std::time::Instant;

use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::drain;
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
    queue: Arc<Queue>,
    state: Arc<Mutex<RemoteState>>,
    /// Whether the writer runs.
    started: Mutex<bool>,
}

/// What a sink and its writer tell each other.
#[derive(Debug, Default)]
struct RemoteState {
    /// The address that the connection leads to.
    peer: Option<String>,
    secured: Option<Secured>,
    /// Whether the target is to be opened anew.
    is_reopened: bool,
    connections: u64,
    truncated: u64,
    refused: u64,
}

/// The words of the server's own log when it fails, and when it works again.
const TOLD: [&str; 2] = ["cannot send the log, will go on trying", "the log can be sent again"];

impl RemoteSink {
    /// A sink of what `options` frame to `target`: `log.socket`, `log.syslog` or `log.journald` in the status. Nothing is opened
    /// before [`prepare`](Sink::prepare).
    pub fn new(target: RemoteTarget, options: RemoteOptions) -> Self {
        let queue = Arc::new(Queue::new(&target, TOLD, &options.queue));
        Self { target, options, queue, state: Arc::default(), started: Mutex::default() }
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
            self.state.lock().secured = secured;
            self.queue.prepare()?;
            let writer = RemoteWriter::new(&self.target, &self.options, &self.queue, &self.state);
            let queue = Arc::clone(&self.queue);
            spawn("log", &self.target, move || {
                writer.run();
                queue.leave(None);
            })?;
            drain::enter(&self.queue);
            *started = true;
        }
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        self.queue.submit(batch);
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        let started = *self.started.lock();
        self.queue.flush(if started { deadline } else { Instant::now() }) // without a writer, waiting changes nothing
    }

    fn close(&self) {
        self.queue.close();
    }

    /// Reads the files of TLS anew, for the next connection, and if there is none, tries for one at once. By UDP, where
    /// connections do not break, the name is resolved anew.
    fn reopen(&self) -> Result<(), SinkError> {
        if *self.started.lock() {
            let secured = self.secure()?;
            let mut state = self.state.lock();
            state.secured = secured;
            state.is_reopened = true;
            drop(state);
            self.queue.nudge();
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
        let unacknowledged = self.queue.accounts().unacknowledged;
        let status = {
            let state = self.state.lock();
            Status::new(kind, self.target.to_string())
                .field("format", self.options.framing.format().name())
                .gauge("connected", state.peer.is_some())
                .maybe("peer", state.peer.clone())
                .counter("reconnects", state.connections.saturating_sub(1))
                .maybe_counter("truncated", some(state.truncated))
                .maybe_counter("refused", some(state.refused))
                .maybe_gauge("unacknowledged", self.target.is_relp().then_some(unacknowledged))
        };
        self.queue.describe(status)
    }
}

impl Drop for RemoteSink {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
