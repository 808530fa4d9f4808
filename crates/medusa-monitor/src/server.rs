//! The sessions on the control socket.
//!
//! They run on the thread that calls [`ControlSocket::serve`], one task each, and never on a worker: what a session
//! does cannot hold up a request.
//!
//! **Invariant:** a session is bounded in everything its client decides: a request in its length, a reply in how long
//! the client may take to read it, and all sessions in their number. However many statements hang, the operator is heard.

mod session;

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_proto::author::{Author, Via};
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_local;

use crate::protocol::{Done, Failure, Reply};
use crate::state::ControlSocket;
use session::Session;

/// The number of sessions that may be open at a time. People and their scripts need a handful; each may hold a
/// statement of 1 MiB.
pub const MAX_SESSIONS: usize = 16;

/// The number more that may come while all of those are taken, so that the operator is heard: for what ends by
/// itself, which is everything but a statement.
const RESERVE: usize = 4;

/// The time to wait when the system cannot give us a connection, which mostly means that descriptors have run out.
const PAUSE: Duration = Duration::from_secs(1);

/// The server's side of what sessions ask for, and on whose behalf: `eval by uid 0 (pid 4711)`.
///
/// Several sessions call at a time. Dropping a future cancels what it stands for.
pub trait Control: 'static {
    /// Runs one statement as one change. What it prints goes to `events` while it runs.
    fn eval(
        &self,
        source: String,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Runs the script anew.
    fn reload(
        &self,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Describes the server.
    fn status(&self) -> impl Future<Output = Status>;

    /// Opens log files anew.
    fn reopen(&self) -> Result<(), Failure>;

    /// Begins to shut down, and returns at once. Called after the client has been told.
    fn stop(&self, author: &Author);
}

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    uid: u32,
    pid: Option<i32>,
}

impl Peer {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid() })
    }

    /// Whether it may do what the user `owner` may.
    fn may_act_for(self, owner: u32) -> bool {
        self.uid == owner || self.uid == 0
    }

    /// `eval by uid 0 (pid 4711)`
    fn doing(self, what: &str) -> Author {
        let who = match self.pid {
            Some(pid) => format!("uid {} (pid {pid})", self.uid),
            None => format!("uid {}", self.uid),
        };
        Author::new(Via::Control, what).by(who)
    }
}

impl ControlSocket {
    /// Accepts sessions for as long as the returned future is polled. Dropping it closes the socket; sessions that are
    /// open go on until their client leaves or the thread's runtime ends.
    ///
    /// Needs a tokio runtime that can spawn local tasks.
    ///
    /// # Errors
    ///
    /// The system refused to watch the socket.
    pub async fn serve<C: Control>(self, control: Rc<C>) -> io::Result<Infallible> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let owner = rustix::process::geteuid().as_raw();
        let slots = SessionSlots::default();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => admit(stream, owner, &slots, &control),
                Err(error) => {
                    tracing::warn!(%error, "no control session can be accepted for now");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Places for sessions.
struct SessionSlots {
    all: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
}

/// The rights of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionSlot {
    /// Anything, one thing after the other.
    Any,
    /// Of the reserve: nothing that may go on, and soon.
    Short,
}

impl Default for SessionSlots {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_SESSIONS)), reserve: Arc::new(Semaphore::new(RESERVE)) }
    }
}

impl SessionSlots {
    fn take(&self) -> Option<(OwnedSemaphorePermit, SessionSlot)> {
        let one_of = |slots: &Arc<Semaphore>, slot| {
            Arc::clone(slots).try_acquire_owned().ok().map(|permit| (permit, slot))
        };
        one_of(&self.all, SessionSlot::Any).or_else(|| one_of(&self.reserve, SessionSlot::Short))
    }
}

/// The answer to whoever finds no place.
fn full() -> String {
    format!("{MAX_SESSIONS} sessions are open already: close one, or try again later")
}

/// Starts a session, or says why not.
fn admit<C: Control>(stream: UnixStream, owner: u32, slots: &SessionSlots, control: &Rc<C>) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!(%error, "a control session was refused: its user cannot be told"),
    };
    if !peer.may_act_for(owner) {
        tracing::warn!(
            uid = peer.uid,
            pid = peer.pid,
            "a control session was refused: not its user's server"
        );
        let message = format!("this server belongs to uid {owner} and you are uid {}: use `sudo`", peer.uid);
        return refuse(&stream, &message);
    }
    let Some((slot, kind)) = slots.take() else {
        tracing::warn!(
            uid = peer.uid,
            pid = peer.pid,
            "a control session was refused: {MAX_SESSIONS} are open"
        );
        return refuse(&stream, &full());
    };
    let session = Session::new(stream, peer, kind, Rc::clone(control));
    spawn_local(async move {
        let _seat = slot;
        if let Err(error) = session.run().await {
            tracing::debug!(uid = peer.uid, pid = peer.pid, %error, "a control session ended early");
        }
    });
}

/// Says why, as far as that needs no waiting: the line fits into the buffer of any new connection.
fn refuse(stream: &UnixStream, why: &str) {
    if let Ok(line) = Reply::Failed(Failure::new(why)).encode() {
        let _gone = stream.try_write(&line);
    }
}

#[cfg(test)]
mod tests;
