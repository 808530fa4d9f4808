//! The requests that one VM is answering.
//!
//! **Invariant:** [`ActiveRequests`] is never borrowed while the VM is called. Whatever allocates in the VM may collect
//! garbage, and garbage may be a coroutine whose client left while it read a body; dropping that borrows too. A panic
//! there ends the process, so a client could end it by leaving often enough. What is asked of a request is taken out
//! first.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use medusa_http::Head;
use mlua::{Buffer, Table};
use slab::Slab;

use super::body::Body;
use super::layout::NOBODY;
use crate::budget::Waited;
use crate::passage::Passage;

/// Bits of a handle that say where in the slab it is; the rest tells requests at the same place apart. Together they
/// fit the 53 bits that a Luau number holds exactly.
pub(super) const INDEX_BITS: u32 = 21;

#[derive(Debug)]
pub(super) struct ActiveRequests {
    pub(super) requests: Slab<ActiveRequest>,
    pub(super) count: u64,
    pub(super) buffers: Vec<Buffer>,
    /// The same, as the script's side knows them.
    pub(super) table: Table,
}

#[derive(Debug)]
pub(super) struct ActiveRequest {
    pub(super) handle: u64,
    /// Shared, so that it can be looked at without borrowing.
    pub(super) head: Arc<Head>,
    pub(super) body: Body,
    /// The time that the body was waited for, until it was last read.
    pub(super) waited: Duration,
    /// The way to the handler behind a wrapper's function.
    pub(super) passage: Passage,
}

/// Keeps a request reachable for the script; dropped when it is answered.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(super) open: Rc<RefCell<ActiveRequests>>,
    pub(super) handle: u64,
}

impl OpenRequest {
    /// The handle that the script's wrapper is called with.
    pub(crate) fn handle(&self) -> f64 {
        self.handle as f64
    }

    /// Its head.
    pub(crate) fn head(&self) -> Option<Arc<Head>> {
        with(&self.open, self.handle(), |entry| Ok(Arc::clone(&entry.head))).ok()
    }

    /// Whether `next` was called: what is behind has seen it.
    pub(crate) fn was_passed_on(&self) -> bool {
        with(&self.open, self.handle(), |entry| Ok(entry.passage.is_used())).unwrap_or_default()
    }

    /// Takes the answer of the handler behind, to be returned.
    pub(super) fn take_answer(&self) -> mlua::Result<(StatusCode, HeaderMap)> {
        with(&self.open, self.handle(), |entry| entry.passage.take_answer())
    }

    /// The time that the script has been waiting for the request's body, or for the handler behind.
    pub(crate) fn waited(&self) -> Waited {
        let waited = with(&self.open, self.handle(), |entry| {
            let now = entry.body.busy_since();
            let total = entry.waited + now.map_or(Duration::ZERO, |since| since.elapsed());
            Ok(Waited { total, now: now.is_some() })
        });
        waited.unwrap_or_default()
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // Never borrowed now (see the module's invariant); were it, keeping the request would be the lesser evil.
        let Ok(mut open) = self.open.try_borrow_mut() else { return };
        if let Some(buffer) = open.buffers.get(index(self.handle)) {
            buffer.write_bytes(0, &NOBODY);
        }
        let over = open.requests.try_remove(index(self.handle));
        drop(open);
        drop(over);
    }
}

pub(super) fn index(handle: u64) -> usize {
    (handle & ((1 << INDEX_BITS) - 1)) as usize
}

/// The head of a request.
pub(super) fn head(open: &RefCell<ActiveRequests>, handle: f64) -> mlua::Result<Arc<Head>> {
    with(open, handle, |entry| Ok(Arc::clone(&entry.head)))
}

/// Looks at a request. `f` must not call the VM.
pub(super) fn with<R>(
    open: &RefCell<ActiveRequests>,
    handle: f64,
    f: impl FnOnce(&mut ActiveRequest) -> mlua::Result<R>,
) -> mlua::Result<R> {
    let handle = handle as u64;
    let mut open = open.borrow_mut();
    match open.requests.get_mut(index(handle)).filter(|entry| entry.handle == handle) {
        Some(entry) => f(entry),
        None => Err(mlua::Error::runtime("this request has been answered already")),
    }
}
