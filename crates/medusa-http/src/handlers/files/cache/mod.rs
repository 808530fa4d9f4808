//! Small files in memory, so that a request for one costs no system call.
//!
//! Each worker has a part of its own, so that workers never wait for, or share cache lines with, each other. An entry
//! counts for [`FRESH`](crate::store::FRESH) without a look at the disk, as long as nothing is published; then one request
//! looks (off the worker), while the others go on with what is there.
//!
//! A file is kept under its path; what was made of it, or lies beside it in another coding, under its path and that
//! coding, together with the stamp of what it was made of. It is never looked at for itself: it counts as long as the
//! plain file, which is looked at, says that this stamp is the one.
//!
//! That nothing is at a path is kept, too, and counts as long; whoever asks then looks at the disk again.
//!
//! **Invariant:** a part never holds more than its share of bytes, what an entry costs beside its content included.

mod slot;

use std::sync::Arc;
use std::thread::available_parallelism;

use medusa_proto::coding::Coding;
use smallvec::SmallVec;

use crate::store::FileStamp;

use slot::OVERHEAD;
pub(super) use slot::{Form, Lookup, Revalidation, Slot};

/// The largest file that is kept, in bytes. Larger ones are read as they are sent: next to sending them, opening them
/// costs little.
pub(crate) const LARGEST: u64 = 64 * 1024;
/// The most files that one worker has compressed at a time. Requests for more of them get them as they are: that is
/// done sooner than waiting.
const COMPRESSIONS: usize = 4;

/// The key of a coded form: its path and the coding, parted by what no path holds.
pub(super) type FormKey = SmallVec<[u8; 120]>;

/// The key of the file at `path` in `coding`.
pub(super) fn key(path: &[u8], coding: Coding) -> FormKey {
    let mut key = FormKey::from_slice(path);
    key.extend_from_slice(&[0, coding as u8]);
    key
}

/// The cache of one handler.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Box<[Slot]>,
}

impl Cache {
    /// A cache of at most `bytes` in all.
    pub(super) fn new(bytes: usize) -> Self {
        let workers = available_parallelism().map_or(1, usize::from);
        Self { slots: (0..workers).map(|_| Slot::new(bytes / workers)).collect() }
    }

    /// The part of the worker this thread is. Should there be more workers than parts, some share one.
    pub(super) fn slot(&self) -> &Slot {
        &self.slots[medusa_net::worker::index() % self.slots.len()]
    }

    /// The right to compress what is kept under `key`, and the duty to put it there; `None` if someone else is at it, or
    /// enough is being compressed.
    ///
    /// `made_of` is the stamp of the file that is compressed.
    pub(super) fn begin(self: &Arc<Self>, key: FormKey, made_of: FileStamp) -> Option<Box<CompressionJob>> {
        let slot = medusa_net::worker::index() % self.slots.len();
        let mut state = self.slots[slot].state.lock();
        if state.compressing.len() >= COMPRESSIONS || state.compressing.contains(&key) {
            return None;
        }
        state.compressing.push(key.clone());
        Some(Box::new(CompressionJob { cache: Arc::clone(self), slot, key, made_of }))
    }

    /// The largest form of a file that can be kept, in bytes.
    pub(super) fn capacity(&self) -> u64 {
        self.slots.iter().map(|slot| slot.limit.saturating_sub(OVERHEAD)).min().unwrap_or(0) as u64
    }

    pub(super) fn usage(&self) -> Usage {
        self.slots.iter().map(Slot::usage).fold(Usage::default(), |sum, one| Usage {
            files: sum.files + one.files,
            bytes: sum.bytes + one.bytes,
            hits: sum.hits + one.hits,
            loads: sum.loads + one.loads,
        })
    }
}

/// The size of a cache, and its work so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Files held.
    pub(super) files: u64,
    /// Bytes held, all included.
    pub(super) bytes: u64,
    /// Requests answered from memory.
    pub(super) hits: u64,
    /// Requests that went to the disk.
    pub(super) loads: u64,
}

/// The right to compress one form of a file, and the duty to keep it: in the part of the worker that asked for it, from
/// whatever thread, and also if the client has left meanwhile.
#[derive(Debug)]
pub(super) struct CompressionJob {
    cache: Arc<Cache>,
    slot: usize,
    key: FormKey,
    made_of: FileStamp,
}

impl CompressionJob {
    /// Keeps what came out. See [`Slot::put_coded`].
    pub(super) fn done(&self, form: Form) {
        self.slot().put_coded(&self.key, self.made_of, form);
    }

    fn slot(&self) -> &Slot {
        &self.cache.slots[self.slot]
    }
}

impl Drop for CompressionJob {
    fn drop(&mut self) {
        self.slot().state.lock().compressing.retain(|key| *key != self.key);
    }
}
