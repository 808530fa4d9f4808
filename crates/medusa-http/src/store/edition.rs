//! The number of things that were published, or that came to be the server's own or no longer are, by which caches know that what
//! they have may not be there any more.
//!
//! It is one for the process. Directories can be one another's parts, and one can have several names; to look at a file that is
//! cached costs a few microseconds, and to publish one takes a disk's time.
//!
//! **Invariant:** what is published is there before the number goes up. So who reads the number, then looks, and finds the number
//! as it was, has seen all that was published by then.

use std::sync::atomic::{AtomicU64, Ordering};

use medusa_files::changes;

static PUBLISHED: AtomicU64 = AtomicU64::new(0);

/// All that was published up to some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edition(u64);

impl Edition {
    /// All that was published until now. To be asked for before the look at the disk that it is to go with.
    pub(crate) fn now() -> Self {
        // Neither goes down: if either goes up, so does the sum.
        Self(PUBLISHED.load(Ordering::Acquire).wrapping_add(changes()))
    }

    /// Whether nothing was published since.
    pub(crate) fn is_current(self) -> bool {
        self == Self::now()
    }

    /// Something was published: it is there.
    pub(crate) fn publish() {
        PUBLISHED.fetch_add(1, Ordering::Release);
    }
}
