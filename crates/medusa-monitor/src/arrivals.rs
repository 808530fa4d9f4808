//! Connections that come to servers of the Site, to log in: on their way from the worker that accepted them, and until somebody
//! has logged in.
//!
//! - [`Intake`]: the queue by which workers hand them over;
//! - [`admission`]: which may be there that nobody has logged in on yet;
//! - [`guesses`]: how many wrong passwords may be sent, and what each costs.
//!
//! **Invariant:** what a client may have us hold before it has logged in is bounded for all and for each address, whatever
//! protocol it speaks: there is one [`Admission`](admission::Admission) for all of them.

pub(crate) mod admission;
pub(crate) mod guesses;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use medusa_net::clients::ClientPrefix;
use medusa_proto::status::Status;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::identity::Whence;

/// Connections that may wait to be taken over. They are as soon as the thread has its turn; until then a burst of hostile ones is not to
/// be in the way of one that means to log in.
const WAITING: usize = 1024;

/// The one at the other end of a connection, as far as it can be told before a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A host, by TCP.
    Host {
        /// Its address, or network.
        client: ClientPrefix,
        /// Whether it is this machine.
        is_here: bool,
    },
    /// A user of this machine, by a unix socket.
    User(u32),
}

impl Caller {
    /// Whether it is on this machine.
    pub(crate) const fn is_here(self) -> bool {
        matches!(self, Self::User(_) | Self::Host { is_here: true, .. })
    }
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self::Host { client: ClientPrefix::host(address), is_here: address.to_canonical().is_loopback() }
    }
}

impl From<Whence> for Caller {
    fn from(whence: Whence) -> Self {
        match whence {
            Whence::Address(address) => address.into(),
            Whence::User(uid) => Self::User(uid),
        }
    }
}

/// The counts of what a server has done.
#[derive(Debug, Default)]
pub struct LoginCounters {
    accepted: AtomicU64,
    logins: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    open: AtomicU64,
}

impl LoginCounters {
    /// A connection was accepted.
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// Somebody has logged in.
    pub(crate) fn logged_in(&self) {
        self.logins.fetch_add(1, Relaxed);
    }

    /// Somebody could not.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// There was no room for a connection.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Counts a connection as open until the result is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> OpenNote {
        self.open.fetch_add(1, Relaxed);
        OpenNote(Arc::clone(self))
    }

    /// All of them, below `status`.
    pub fn describe(&self, status: Status) -> Status {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        status
            .gauge("open", read(&self.open))
            .counter("accepted", read(&self.accepted))
            .counter("logins", read(&self.logins))
            .counter("failed_logins", read(&self.failed))
            .counter("refused", read(&self.refused))
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct OpenNote(Arc<LoginCounters>);

impl Drop for OpenNote {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// The queue by which workers hand connections over.
#[derive(Debug)]
pub(crate) struct Intake<A> {
    sender: mpsc::Sender<A>,
    receiver: Mutex<Option<mpsc::Receiver<A>>>,
}

impl<A> Default for Intake<A> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)) }
    }
}

impl<A> Intake<A> {
    /// Hands over a connection that a server with these counters accepted. Where nobody takes them, or too many wait, it is
    /// closed.
    pub(crate) fn offer(&self, arrival: A, counters: &LoginCounters) {
        if self.sender.try_send(arrival).is_err() {
            counters.refused();
        }
    }

    /// The other end; none if it was taken.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<A>> {
        self.receiver.lock().take()
    }
}
