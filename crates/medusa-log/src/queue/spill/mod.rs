//! Records that wait on disk while their target cannot take them.
//!
//! What has been written to a file survives the end of the process, however it ends, but not that of the machine: nothing
//! is forced to the disk, as a log that lags by a power cut is worth less than a disk kept busy.
//!
//! **Invariant: a record on disk is replayed or counted as lost.** After a crash, what the writer held when it came is
//! replayed once more: how far a segment has been replayed is noted in it as its batches are settled.

mod directory;
mod frame;
mod payload;
mod segment;
mod spiller;
#[cfg(test)]
mod tests;

pub(super) use frame::HEAD;
pub(super) use segment::{MIDDLE, Origin, SEGMENT_BYTES, Segment, StoredFrame, mark, read, remove};
pub(super) use spiller::Thread;
