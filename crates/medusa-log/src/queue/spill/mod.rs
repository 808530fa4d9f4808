//! Records that wait on disk while their target cannot take them.
//!
//! - `payload`, `frame`, `segment`: from the bits up, what the files look like;
//! - `directory`: who owns which files, and what earlier runs have left;
//! - `index`: what the queue knows of the files;
//! - `spiller`: the thread that puts records there. The writer's thread reads them back.
//!
//! What has been written to a file survives the end of the process, however it ends, but not that of the machine: nothing
//! is forced to the disk, as a log that lags by a power cut is worth less than a disk kept busy.
//!
//! **Invariant: a record on disk is replayed or counted as lost.** After a crash, what the writer held when it came is
//! replayed once more: how far a segment has been replayed is noted in it as its batches are settled.

mod directory;
mod frame;
mod index;
mod payload;
mod segment;
mod spiller;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use medusa_proto::access::{Loss, Timestamp};
use parking_lot::Mutex;

pub(super) use index::{FileOperation, Index, Next};
use segment::Reader;
pub(super) use segment::{Found, Origin, StoredFrame};
pub(super) use spiller::Thread;

/// The side of the spill that reads. Used by the writer's thread; the spiller only closes what it removes.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    reader: Mutex<Option<Reader>>,
}

impl Spill {
    fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), reader: Mutex::default() }
    }

    /// Reads what is next.
    pub(super) fn read(&self, next: &Next) -> StoredFrame {
        let mut reader = self.reader.lock();
        if reader.as_ref().is_none_or(|reader| reader.number != next.number) {
            *reader = None; // close one before another is opened
            match Reader::open(&self.directory, next.number) {
                Ok(opened) => *reader = Some(opened),
                Err(error) => tracing::warn!(
                    file = ?segment::path(&self.directory, next.number),
                    %error,
                    "cannot read spilled records"
                ),
            }
        }
        let Some(reader) = reader.as_mut() else {
            let now = Timestamp::from(std::time::SystemTime::now());
            return StoredFrame::Rest(Loss { records: 0, from: now, to: now });
        };
        reader.read(next.at, next.length)
    }

    /// Does what is to be done to a file. If that fails, its records may be replayed twice, which is said.
    pub(super) fn perform(&self, operation: FileOperation) {
        let (path, result) = match operation {
            FileOperation::Remove(number) => {
                let mut reader = self.reader.lock();
                reader.take_if(|reader| reader.number == number);
                let path = segment::path(&self.directory, number);
                let result = std::fs::remove_file(&path);
                (path, result)
            }
            FileOperation::Mark(origin) => {
                let path = segment::path(&self.directory, origin.segment);
                let result = segment::set_mark(&path, origin.end);
                (path, result)
            }
        };
        if let Err(error) = result {
            tracing::debug!(file = ?path, %error, "records that have been replayed stay on disk");
        }
    }
}
