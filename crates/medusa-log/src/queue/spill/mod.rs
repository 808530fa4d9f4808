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

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use medusa_proto::access::{Loss, Timestamp};
use parking_lot::Mutex;

pub(super) use frame::HEAD;
use segment::Reader;
pub(super) use segment::{MIDDLE, Origin, SEGMENT_BYTES, Segment, StoredFrame};
pub(super) use spiller::Thread;

/// The side of the spill that reads, used by the writer's thread.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    reader: Mutex<Option<Reader>>,
}

impl Spill {
    fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), reader: Mutex::default() }
    }

    /// Reads what is next in `segment`.
    pub(super) fn read(&self, number: u64, segment: &Segment) -> StoredFrame {
        let mut reader = self.reader.lock();
        if reader.as_ref().is_none_or(|reader| reader.number != number) {
            *reader = None; // close one before another is opened
            match Reader::open(&self.directory, number) {
                Ok(opened) => *reader = Some(opened),
                Err(error) => {
                    let file = segment::path(&self.directory, number);
                    tracing::warn!(?file, %error, "cannot read spilled records");
                    let now = Timestamp::from(SystemTime::now());
                    return StoredFrame::rest(now, now, Origin { segment: number, end: segment.length });
                }
            }
        }
        reader.as_mut().expect("opened above").read(segment.at, segment.length)
    }

    /// Remembers in the file that what comes before the end of `origin` need not be replayed.
    pub(super) fn mark(&self, origin: Origin) {
        let path = segment::path(&self.directory, origin.segment);
        told(&path, segment::set_mark(&path, origin.end));
    }

    /// Removes segment `number`, all of which has been replayed.
    pub(super) fn remove(&self, number: u64) {
        self.reader.lock().take_if(|reader| reader.number == number);
        let path = segment::path(&self.directory, number);
        told(&path, std::fs::remove_file(&path));
    }
}

fn told(file: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(?file, %error, "records that have been replayed stay on disk");
    }
}
