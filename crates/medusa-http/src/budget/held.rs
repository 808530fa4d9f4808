//! Bytes that are counted, from their making to their dropping.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::account::Account;
use super::count::{HELD, Kind, REFUSED};

/// Bytes that are counted.
struct CountedBytes {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of memory that are counted for a client, until this is dropped.
#[derive(Debug)]
pub struct Held {
    pub(super) account: Account,
    pub(super) kind: Kind,
    pub(super) bytes: u64,
}

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes it counts, for as long as there is one of them.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(CountedBytes { bytes, _held: self })
    }

    /// Counts `more` of the same piece, if that does not pass `limit` (0: none).
    #[must_use]
    pub(crate) fn grow(&mut self, more: u64, limit: u64) -> bool {
        self.grow_by(more, self.bytes + more, limit)
    }

    /// The same, where only so many bytes of it are one piece.
    pub(super) fn grow_by(&mut self, more: u64, piece: u64, limit: u64) -> bool {
        let before = self.bytes;
        let held = self.add(more);
        let exceeded = self.account.is_passed(self.kind, held, piece, limit);
        if exceeded {
            self.shrink(before);
            REFUSED[self.kind as usize].fetch_add(1, Relaxed);
        }
        !exceeded
    }

    /// Counts no more than `bytes` from now on.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        HELD[self.kind as usize].fetch_sub(less, Relaxed);
        for share in self.account.shares() {
            share.held(self.kind).fetch_sub(less, Relaxed);
        }
    }

    /// Returns what the process holds then.
    pub(super) fn add(&mut self, more: u64) -> u64 {
        self.bytes += more;
        for share in self.account.shares() {
            share.held(self.kind).fetch_add(more, Relaxed);
        }
        HELD[self.kind as usize].fetch_add(more, Relaxed) + more
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}
