//! The accept loop of one worker on one socket.
//!
//! Invariant: the loop ends only when its listener is closed. Connections beyond what descriptors there are for clients
//! ([`DescriptorShare`]) are closed at once, so that the last ones are never taken. Running out of file descriptors or memory
//! nevertheless is logged (at most once a second) and waited out; a connection that failed before it was accepted is
//! the peer's affair; a panic in a connection's task ends that connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::bind::{Registered, Socket};
use super::{ListenerStage, Shared};
use crate::conn::{Conn, Peer};
use crate::descriptors::{self, DescriptorShare};
use crate::limits::Permit;
use crate::panic;
use crate::registry;
use crate::stream::Stream;
use crate::worker_listener::WorkerListener;

/// Connections accepted in a row before those that are open get a turn.
const BURST: usize = 16;

/// Errors in a row after which even harmless ones are waited out, lest an error that stays make the loop spin.
const ERRORS_IN_A_ROW: usize = 16;

/// The time that accepting pauses when there are no file descriptors, no memory, or too many connections.
const PAUSE: Duration = Duration::from_millis(100);

/// The least time between two log lines of one loop.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Connections still accepted after closing. More than any queue holds, yet a bound: clients may arrive as fast as we
/// accept.
const MAX_QUEUED: usize = 8192;

/// A protocol, which serves connections.
pub trait Accept: Send + Sync + 'static {
    /// Serves one connection: called on the worker that accepted it, and run as one task there.
    ///
    /// The connection is closed when the future is done and `stream` dropped. A panic in it is caught and logged and ends
    /// this connection alone. The future must heed [`Conn::poll_signal`]: one that does not is dropped when the server
    /// shuts down, at the deadline.
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// What to do about it.
const OUT_OF_DESCRIPTORS: &str =
    "out of resources (for more file descriptors raise `ulimit -n`, or LimitNOFILE= in a systemd unit)";

/// The reason why accepting has paused.
enum PauseReason {
    /// As many connections are open as may be.
    Full,
    Failed(io::Error),
}

/// Accepts on one socket.
pub(super) struct AcceptLoop {
    socket: Registered,
    dispatcher: Dispatcher,
    errors_in_a_row: usize,
    logged: Option<Instant>,
}

impl AcceptLoop {
    /// Adds the socket to the event loop of this worker.
    pub(super) fn new(socket: Socket, shared: Arc<Shared>, accept: Arc<dyn Accept>) -> io::Result<Self> {
        let socket = socket.register()?;
        let listener = registry::add_listener(shared.id, shared.addr.clone());
        Ok(Self {
            socket,
            dispatcher: Dispatcher { shared, accept, listener },
            errors_in_a_row: 0,
            logged: None,
        })
    }

    /// Once it is started, accepts until the listener is closed or gone, then serves what is queued. Closes the socket.
    pub(super) async fn run(mut self, mut stage: watch::Receiver<ListenerStage>) {
        let begun = stage.wait_for(|stage| *stage != ListenerStage::Bound).await.map(|stage| *stage);
        if matches!(begun, Ok(ListenerStage::Started)) {
            tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage == ListenerStage::Closed) => {}
                never = self.accept_for_ever() => match never {},
            }
            self.accept_queued();
        } else {
            drop(self);
        }
        // Only now: the listener takes the end of the last receiver for the end of its sockets.
        drop(stage);
    }

    async fn accept_for_ever(&mut self) -> Infallible {
        loop {
            let reason = self.accept_many().await;
            if let Some(pause) = self.on_pause(&reason) {
                sleep(pause).await;
            }
        }
    }

    /// Accepts until something is in the way.
    async fn accept_many(&mut self) -> PauseReason {
        poll_fn(|cx| {
            for _ in 0..BURST {
                let Some(permit) = Permit::take() else { return Poll::Ready(PauseReason::Full) };
                match self.socket.poll_accept(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((stream, _))) if DescriptorShare::Refused.is_passed_by(&stream) => {
                        self.refuse(stream);
                    }
                    Poll::Ready(Ok((stream, peer))) => {
                        self.errors_in_a_row = 0;
                        self.dispatcher.serve(stream, peer, permit);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(PauseReason::Failed(error)),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Closes what there is no descriptor to spare for. Before it comes to that, connections were told so by what is
    /// spoken on them.
    fn refuse(&mut self, stream: Stream) {
        drop(stream);
        self.dispatcher.shared.errors.fetch_add(1, Ordering::Relaxed);
        self.log(format_args!("new connections are closed: {OUT_OF_DESCRIPTORS}"));
    }

    /// Counts and logs what is in the way of accepting. Returns how long to wait, if at all.
    fn on_pause(&mut self, reason: &PauseReason) -> Option<Duration> {
        match reason {
            PauseReason::Full => {
                let open = crate::limits::open();
                self.log(format_args!("{open} connections are open, as many as may be; new ones wait"));
                Some(PAUSE)
            }
            PauseReason::Failed(error) => {
                self.dispatcher.shared.errors.fetch_add(1, Ordering::Relaxed);
                self.errors_in_a_row += 1;
                if is_exhaustion(error) {
                    // Somebody may have lowered it.
                    descriptors::limit();
                    self.log(format_args!("new connections wait: {error}: {OUT_OF_DESCRIPTORS}"));
                    Some(PAUSE)
                } else if self.errors_in_a_row >= ERRORS_IN_A_ROW {
                    self.log(format_args!("accepting keeps failing: {error}; trying on"));
                    Some(PAUSE)
                } else {
                    tracing::debug!(listener = %self.dispatcher.shared.addr, "a connection failed before it was accepted: {error}");
                    None
                }
            }
        }
    }

    fn log(&mut self, message: std::fmt::Arguments<'_>) {
        let now = Instant::now();
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= LOG_EVERY) {
            self.logged = Some(now);
            tracing::error!(listener = %self.dispatcher.shared.addr, "{message}");
        }
    }

    /// Accepts what the kernel has queued, then closes the socket.
    fn accept_queued(self) {
        let Self { socket, dispatcher, .. } = self;
        let socket = match socket.unregister() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(listener = %dispatcher.shared.addr, "closed with connections still queued: {error}");
                return;
            }
        };
        for _ in 0..MAX_QUEUED {
            let Some(permit) = Permit::take() else { break };
            match socket.accept() {
                Ok((stream, peer)) => dispatcher.serve(stream, peer, permit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_exhaustion(&error) => break,
                Err(_failed_before_accepted) => {}
            }
        }
    }
}

/// Starts the tasks of accepted connections.
struct Dispatcher {
    shared: Arc<Shared>,
    accept: Arc<dyn Accept>,
    listener: Rc<WorkerListener>,
}

impl Dispatcher {
    /// Runs a connection as a task of its own.
    fn serve(&self, stream: Stream, peer: Peer, permit: Permit) {
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let entry = registry::open(&self.listener, peer, permit);
        let conn = Rc::clone(&entry);
        // Made here, so that the task holds nothing but this: what it was made of would have its room in it for ever.
        let served = panic::catch_call(|| self.accept.accept(stream, Rc::clone(&entry)));
        let ended = EndCounter(self.shared.clone());
        let task = spawn_local(async move {
            let served = match served {
                Ok(served) => panic::catch(served).await,
                Err(panicked) => Err(panicked),
            };
            if let Err(panicked) = served {
                let shared = &ended.0;
                shared.panicked.fetch_add(1, Ordering::Relaxed);
                tracing::error!(listener = %shared.addr, peer = %entry.peer(), "the task of a connection panicked: {panicked}");
            }
            // The protocol's part is gone by now; only then does the connection leave the registry.
            drop((entry, ended));
        });
        conn.set_task(task.abort_handle());
    }
}

/// Counts a connection as ended when dropped, however its task ended.
struct EndCounter(Arc<Shared>);

impl Drop for EndCounter {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the process or the system has run out of something that comes back: see accept(2).
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
