//! The listeners of the process by number, and each of them as one worker knows it: [`listener`](crate::listener) opens and
//! closes them.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::ListenAddr;

/// The number of a listener, unlike that of any other in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(u64);

impl ListenerId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A listener as one worker knows it. There is one for each worker and listener.
#[derive(Debug)]
pub(crate) struct WorkerListener {
    pub(crate) id: ListenerId,
    pub(crate) addr: ListenAddr,
    /// Connections open on this worker.
    pub(crate) live: Cell<usize>,
    /// Connections of this worker that have ended.
    pub(crate) ended: Cell<u64>,
    /// New connections are told to finish as soon as they are open.
    pub(crate) draining: Cell<bool>,
}

impl WorkerListener {
    pub(crate) fn new(id: ListenerId, addr: ListenAddr) -> Rc<Self> {
        let (live, ended, draining) = (Cell::new(0), Cell::new(0), Cell::new(false));
        Rc::new(Self { id, addr, live, ended, draining })
    }
}
