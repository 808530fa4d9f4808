//! The bodies of one connection that are not at their end: how many there are, what is reserved for them, and what is
//! known of the one that is read.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::task::Context;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::budget::{Account, Held, Kind};
use crate::window::CONNECTION_WINDOW;

/// The connection that a body comes on.
pub(crate) struct Carrier<'c> {
    pub(crate) account: &'c Account,
    pub(crate) unread: &'c Arc<UnreadBodies>,
    /// The request's number on it, where requests follow one another; none where there are many at a time.
    pub(crate) request: Option<u64>,
}

/// The bodies of a connection that are not at their end. As long as there is one, what comes is content: whoever took it
/// for a request would answer what a client has hidden in its content.
#[derive(Debug, Default)]
pub(crate) struct UnreadBodies {
    bodies: AtomicUsize,
    ended: AtomicBool,
    /// A body was not asked for: its client has to be told that the connection ends.
    refused: AtomicBool,
    connection: AtomicWaker,
    /// The request that has come last, and how long its body is at least by the sizes of its chunks.
    announced: Mutex<(u64, u64)>,
    /// The task that waits for more of that body.
    reader: AtomicWaker,
    reserve: Mutex<WindowReserve>,
    /// Bytes that were read, where there are many requests at a time; handlers may read on other threads.
    read: AtomicU64,
}

impl UnreadBodies {
    /// Whether what comes next is a request.
    pub(crate) fn is_none(&self) -> bool {
        self.bodies.load(Acquire) == 0
    }

    /// Whether a body was not asked for.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Acquire)
    }

    /// The chunked body of that request, by its number on the connection, is at least this long.
    pub(crate) fn announce(&self, request: u64, bytes: u64) {
        *self.announced.lock() = (request, bytes);
        self.reader.wake();
    }

    /// So many bytes of a body were read.
    pub(super) fn count_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Relaxed);
    }

    /// The bytes of bodies that were read, where there are many requests at a time.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Whether a body has come to its end since this was asked last. The task is woken when one does: hyper waits for
    /// bytes, and does not notice a body that is dropped.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> bool {
        self.connection.register(cx.waker());
        self.ended.swap(false, AcqRel)
    }
}

/// Stands for one of them. Dropped after the body itself.
pub(super) struct UnreadGuard {
    unread: Arc<UnreadBodies>,
    /// The number of its request on the connection.
    request: u64,
}

impl UnreadGuard {
    pub(super) fn new(unread: &Arc<UnreadBodies>, request: u64) -> Self {
        unread.bodies.fetch_add(1, AcqRel);
        Self { unread: Arc::clone(unread), request }
    }

    /// The body was not asked for: its client has to be told that the connection ends.
    pub(super) fn refuse(&self) {
        self.unread.refused.store(true, Release);
    }

    /// The least length of the body by the sizes of its chunks. The task is woken when one begins: hyper tells of a chunk
    /// only what has come of it.
    pub(super) fn poll_announced(&self, cx: &Context<'_>) -> u64 {
        self.unread.reader.register(cx.waker());
        let (request, bytes) = *self.unread.announced.lock();
        if request == self.request { bytes } else { 0 }
    }
}

impl Drop for UnreadGuard {
    fn drop(&mut self) {
        self.unread.bodies.fetch_sub(1, AcqRel);
        self.unread.ended.store(true, Release);
        self.unread.connection.wake();
    }
}

/// Memory reserved for the bodies of a connection: for all together no more than the window that they share.
#[derive(Debug, Default)]
struct WindowReserve {
    /// What each of them may need, together.
    wanted: u64,
    held: Option<Held>,
}

impl WindowReserve {
    fn needed(wanted: u64) -> u64 {
        wanted.min(CONNECTION_WINDOW.into())
    }
}

/// The part of it that one body wants.
pub(super) struct Reservation {
    unread: Arc<UnreadBodies>,
    bytes: u64,
}

impl Reservation {
    /// None: there is no memory for it.
    pub(super) fn reserve(bytes: u64, limit: u64, on: &Carrier<'_>) -> Option<Self> {
        let mut reserve = on.unread.reserve.lock();
        let wanted = reserve.wanted + bytes;
        let held = reserve.held.get_or_insert_with(|| on.account.hold(Kind::Requests, 0));
        let more = WindowReserve::needed(wanted).saturating_sub(held.bytes());
        if more > 0 && !held.grow(more, limit) {
            return None;
        }
        reserve.wanted = wanted;
        Some(Self { unread: Arc::clone(on.unread), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserve = self.unread.reserve.lock();
        reserve.wanted -= self.bytes;
        let needed = WindowReserve::needed(reserve.wanted);
        if let Some(held) = &mut reserve.held {
            held.shrink(needed);
        }
    }
}
