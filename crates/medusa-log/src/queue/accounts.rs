//! Accounts of a sink's past and present.

use crate::local;

/// **Invariant: submitted + adopted = written + lost + pending + spilled**, at any time, in records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    /// Records in memory, queued or in the writer's hand, and the memory they take.
    pub(crate) pending: u64,
    pub(crate) pending_bytes: usize,
    pub(crate) written: u64,
    pub(crate) lost: u64,
    /// Records that wait on disk, and the bytes of the files they are in: those of records read, but not written yet,
    /// included.
    pub(crate) spilled: u64,
    pub(crate) spilled_bytes: u64,
    /// Records of earlier runs, or of other sinks of the same target, found on disk.
    pub(crate) adopted: u64,
    /// Records written again because they may not have arrived.
    pub(crate) resent: u64,
    /// Bytes handed to the target.
    pub(crate) bytes: u64,
    /// Whether the last attempt to write failed.
    pub(crate) failing: bool,
    pub(crate) last_error: Option<String>,
    /// When that was, and since when all is well again, as they are shown.
    pub(crate) last_error_at: Option<String>,
    pub(crate) recovered_at: Option<String>,
}

impl Accounts {
    /// An error, which goes on until [`recovered`](Self::recovered).
    pub(crate) fn erred(&mut self, error: String) {
        self.last_error = Some(error);
        self.last_error_at = Some(local::now_shown());
        self.recovered_at = None;
    }

    pub(crate) fn recovered(&mut self) {
        self.recovered_at = Some(local::now_shown());
    }
}
