//! What a user may choose about a sink's queue.

use std::path::PathBuf;
use std::time::Duration;

use crate::MAX_BATCH_RECORDS;

/// How much may wait for a sink, and what happens to what does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Records that may wait in memory. Default: 65,536, over half a second of the fastest server we have measured. Less
    /// than two full batches (512) is taken as that.
    pub records: usize,
    /// Memory that waiting records may take, in bytes. Default: 32 MiB, for records of 512 bytes.
    pub bytes: usize,
    /// What happens when a record does not fit. Default: it is lost, and counted.
    pub when_full: WhenFull,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { records: 65_536, bytes: 32 * 1024 * 1024, when_full: WhenFull::DropNew }
    }
}

impl QueueOptions {
    /// The fewest records a queue has room for: with less, a worker's batch would fill it alone.
    pub const MIN_RECORDS: usize = 2 * MAX_BATCH_RECORDS;
}

/// What a full queue does. Whatever is lost is counted, and told in the stream once it works again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The worker waits for room, for this long at most, then loses the new records. At most
    /// [`MAX_BLOCK`](Self::MAX_BLOCK), as the worker's requests wait with it; once a wait has been in vain, nobody waits
    /// again before there has been room.
    Block(Duration),
    /// The new records are lost.
    DropNew,
    /// The oldest records that wait are lost.
    DropOld,
    /// The new records are put in files of the state directory, and replayed in their order when the target takes them:
    /// also after a restart.
    Spill(SpillOptions),
}

impl WhenFull {
    /// The longest a worker may be told to wait.
    pub const MAX_BLOCK: Duration = Duration::from_millis(10);
}

/// Where a queue spills to, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillOptions {
    /// The directory of this sink's spill, made when it is needed. Another sink of the same target finds it by the same
    /// name.
    pub directory: PathBuf,
    /// Bytes of disk it may take; what does not fit is lost. Default: 256 MiB.
    pub bytes: u64,
}

impl SpillOptions {
    /// [`bytes`](Self::bytes) unless a script says otherwise.
    pub const DEFAULT_BYTES: u64 = 256 * 1024 * 1024;
}
