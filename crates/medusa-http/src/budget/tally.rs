//! The small pieces of one connection, or one session.

use super::account::Account;
use super::count::{Kind, LEAST};
use super::held::Held;

/// The small pieces of one connection, or one session, all together.
///
/// Counted in steps: it costs no count at all while it is less than [`LEAST`], and little when it grows and shrinks.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(super) bytes: u64,
    /// No less than that by [`LEAST`], and no more than twice that.
    held: Held,
}

impl Tally {
    pub(crate) fn new(account: &Account, kind: Kind) -> Self {
        Self { bytes: 0, held: account.hold(kind, 0) }
    }

    /// Adds `more`, if that does not pass `limit` (0: none).
    #[must_use]
    pub(crate) fn add(&mut self, more: u64, limit: u64) -> bool {
        self.grow(more, more, limit)
    }

    fn grow(&mut self, more: u64, piece: u64, limit: u64) -> bool {
        let bytes = self.bytes + more;
        let uncounted = bytes.saturating_sub(self.held.bytes);
        if uncounted >= LEAST && !self.held.grow_by(uncounted, piece, limit) {
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// Takes off what was added.
    pub(crate) fn take_off(&mut self, less: u64) {
        self.bytes = self.bytes.saturating_sub(less);
        if self.held.bytes > 2 * self.bytes {
            self.held.shrink(self.bytes);
        }
    }

    /// Has a piece be of `now` that was of `before`; false, and nothing has changed, if that is more and passes `limit`.
    #[must_use]
    pub(crate) fn change(&mut self, before: u64, now: u64, limit: u64) -> bool {
        match now.checked_sub(before) {
            Some(0) => true,
            Some(more) => self.grow(more, now, limit),
            None => {
                self.take_off(before - now);
                true
            }
        }
    }
}
