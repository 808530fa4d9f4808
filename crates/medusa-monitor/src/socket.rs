//! The sessions on the control socket.
//!
//! They run on the thread that calls [`ControlSocket::serve`], one task each, and never on a worker: what a session
//! does cannot hold up a request.
//!
//! **Invariant:** a session is bounded in everything its client decides: a request in its length, a reply in how long
//! the client may take to read it, and all sessions in their number. However many statements hang, the operator is heard.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;

use crate::audit::Auditor;
use crate::identity::{FrontEnd, Identity, Role};
use crate::json;
use crate::protocol::{Failure, Reply};
use crate::session::{Control, Monitor};
use crate::state::ControlSocket;

/// The time to wait when the system cannot give us a connection, which mostly means that descriptors have run out.
const PAUSE: Duration = Duration::from_secs(1);

/// The process at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) uid: u32,
    pid: Option<i32>,
}

impl Peer {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), pid: credentials.pid() })
    }

    /// Whether it may do what the user `owner` may.
    fn may_act_for(self, owner: u32) -> bool {
        self.uid == owner || self.uid == 0
    }

    /// Who it is, with the rights of the server's user.
    fn identity(self) -> Identity {
        let who = match self.pid {
            Some(pid) => format!("uid {} (pid {pid})", self.uid),
            None => format!("uid {}", self.uid),
        };
        Identity::new(who, format!("uid {}", self.uid), Role::Program, FrontEnd::Socket)
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
    pub async fn serve<C: Control>(self, monitor: Monitor<C>) -> io::Result<Infallible> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let owner = rustix::process::geteuid().as_raw();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => admit(stream, owner, &monitor),
                Err(error) => {
                    tracing::warn!(%error, "no control session can be accepted for now");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Starts a session, or says why not.
fn admit<C: Control>(mut stream: UnixStream, owner: u32, monitor: &Monitor<C>) {
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
        let Identity { who, front_end, .. } = peer.identity();
        Auditor::refuse_login(monitor.audit(), &who, front_end, &message);
        return refuse(&stream, &message);
    }
    let session = match monitor.open(peer.identity(), true) {
        Ok(session) => session,
        Err(full) => {
            tracing::warn!(uid = peer.uid, pid = peer.pid, "a control session was refused: {full}");
            return refuse(&stream, &full.to_string());
        }
    };
    spawn_local(async move {
        let watched = match again(&stream) {
            Ok(watched) => watched,
            Err(error) => return tracing::warn!(%error, "a control session was refused"),
        };
        let (reader, writer) = stream.split();
        if let Err(error) = json::serve(&session, reader, writer, async || gone(&watched).await).await {
            tracing::debug!(uid = peer.uid, pid = peer.pid, %error, "a control session ended early");
        }
    });
}

/// The same socket once more. What it is told of is told to it alone.
fn again(stream: &UnixStream) -> io::Result<UnixStream> {
    UnixStream::from_std(stream.as_fd().try_clone_to_owned()?.into())
}

/// Returns when the client has closed both directions: its process has ended, say. One that has closed the one it sends on
/// waits for its answers. Nobody else waits for `socket`.
async fn gone(socket: &UnixStream) {
    while let Ok(ready) = socket.ready(Interest::WRITABLE).await {
        if ready.is_write_closed() {
            return;
        }
        // Told of again when something changes.
        let _told =
            socket.try_io(Interest::WRITABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    }
}

/// Says why, as far as that needs no waiting: the line fits into the buffer of any new connection.
fn refuse(stream: &UnixStream, why: &str) {
    if let Ok(line) = Reply::Failed(Failure::new(why)).encode() {
        let _gone = stream.try_write(&line);
    }
}

#[cfg(test)]
mod tests;
