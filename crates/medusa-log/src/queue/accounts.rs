//! What a sink has to say of its past and its present.

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
}
