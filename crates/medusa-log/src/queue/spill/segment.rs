//! Segments: the files of a spill.
//!
//! A segment begins with a mark of 20 bytes: `MDSPILL1`, the offset of the first frame that is still to be replayed, and
//! the CRC-32 of both. Frames follow, up to the end of the file. A process that is killed while it appends leaves a frame
//! that breaks off; one that is killed while it replays leaves the mark where the last settled batch ended.
//!
//! **Invariant: whatever is in the file, reading it ends, and takes no more memory than one frame may have.** Someone who
//! can write to the spill directory can forge records, no more.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_proto::access::{Loss, Timestamp};
use rustix::fs::OFlags;

use super::frame::{FrameKind, HEAD, Head};
use crate::Batch;

/// Bytes of the mark, and the offset of the first frame.
pub(super) const MARK: u64 = 20;

/// Once it has as many bytes, a segment is followed by another. What it takes on disk is free again when all of it has
/// been replayed.
pub(crate) const SEGMENT_BYTES: u64 = 1024 * 1024;

/// The number of the first segment: there is as much room for older ones as for newer.
pub(crate) const MIDDLE: u64 = 1 << 63;

const MAGIC: &[u8; 8] = b"MDSPILL1";

/// Spilled records name who visited what: for nobody but the server.
pub(super) const FILE_MODE: u32 = 0o600;

/// The file of segment `number`: names sort like numbers.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}.spill"))
}

/// The number of the segment called `name`, if it is one.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".spill").filter(|digits| digits.len() == 16)?;
    digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(())?;
    u64::from_str_radix(digits, 16).ok()
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    options
}

fn mark_bytes(first: u64) -> [u8; MARK as usize] {
    let mut mark = [0; MARK as usize];
    mark[..8].copy_from_slice(MAGIC);
    mark[8..16].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&mark[..16]);
    mark[16..].copy_from_slice(&checksum.to_le_bytes());
    mark
}

/// Remembers in the file that what is before `first` need not be replayed.
pub(super) fn set_mark(path: &Path, first: u64) -> io::Result<()> {
    options().write(true).open(path)?.write_all_at(&mark_bytes(first), 0)
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    pub(super) number: u64,
    pub(super) length: u64,
}

impl Appender {
    /// A new segment. A file that is there already is one that could not be removed, or that nothing was appended to.
    pub(super) fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let file = options().write(true).create(true).truncate(true).open(path(directory, number))?;
        file.write_all_at(&mark_bytes(MARK), 0)?;
        Ok(Self { file, number, length: MARK })
    }

    /// Appends whole frames, or nothing.
    pub(super) fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(frames, self.length) {
            let _: io::Result<()> = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += frames.len() as u64;
        Ok(())
    }
}

/// What is known of a segment without looking.
///
/// **Invariant: its records are those that will be replayed or counted as lost.** What it turns out not to hold, though
/// this says so, is lost; that is how no damage goes unnoticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Offset of what will be read next.
    pub(crate) at: u64,
    /// Bytes of the file.
    pub(crate) length: u64,
    /// Records from there on. An end that cannot be read counts as one.
    pub(crate) records: u64,
    /// How many items had been queued when the first of its came.
    pub(crate) serial: u64,
}

impl Segment {
    /// A segment that is still to be written.
    pub(crate) const NEW: Self = Self { at: MARK, length: 0, records: 0, serial: 0 };
}

/// Looks through the heads of a segment.
pub(super) fn survey(path: &Path) -> io::Result<Segment> {
    let file = options().read(true).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(ErrorKind::InvalidData.into());
    }
    let length = meta.len();
    let mut at = read_mark(&file).unwrap_or(MARK).max(MARK).min(length);
    let mut found = Segment { at, length, ..Segment::NEW };
    while at < length {
        let head = read_head(&file, at, length);
        found.records = found.records.saturating_add(head.map_or(1, |head| head.records()));
        let Some(head) = head else { break };
        at += head.frame();
    }
    Ok(found)
}

fn read_mark(file: &File) -> Option<u64> {
    let mut mark = [0; MARK as usize];
    file.read_exact_at(&mut mark, 0).ok()?;
    let first = u64::from_le_bytes(*mark.get(8..)?.first_chunk()?);
    (mark == mark_bytes(first)).then_some(first)
}

/// The head at `at`. `None` if it is damaged, or not all of it is there.
fn read_head(file: &File, at: u64, end: u64) -> Option<Head> {
    let mut head = [0; HEAD];
    if end.checked_sub(at)? < HEAD as u64 {
        return None;
    }
    file.read_exact_at(&mut head, at).ok()?;
    Head::read(&head)
}

/// A segment that is being replayed.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    pub(super) number: u64,
    /// The latest time that has been read: of what cannot be read, no more is known than that it came later.
    last: Timestamp,
    modified: Timestamp,
    payload: Vec<u8>,
}

/// Place that a frame was read from: the segment, and the offset behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) segment: u64,
    pub(crate) end: u64,
}

/// Frame at some offset of a segment.
#[derive(Debug)]
pub(crate) struct StoredFrame {
    /// A batch; or a loss: one that was told here, or a batch that `is_damaged`.
    pub(crate) records: Result<Arc<Batch>, Loss>,
    pub(crate) is_damaged: bool,
    pub(crate) origin: Origin,
}

impl StoredFrame {
    /// Nothing up to `origin` can be read, which is all there is; how many records that are, the queue knows.
    pub(super) fn rest(from: Timestamp, to: Timestamp, origin: Origin) -> Self {
        Self { records: Err(Loss { records: u64::MAX, from, to }), is_damaged: true, origin }
    }
}

impl Reader {
    pub(super) fn open(directory: &Path, number: u64) -> io::Result<Self> {
        let file = options().read(true).open(path(directory, number))?;
        let modified = file.metadata()?.modified().map(Timestamp::from).unwrap_or_default();
        Ok(Self { file, number, last: modified, modified, payload: Vec::new() })
    }

    /// Reads the frame at `at`, of a segment that goes up to `end`.
    pub(super) fn read(&mut self, at: u64, end: u64) -> StoredFrame {
        let segment = self.number;
        let (last, modified) = (self.last, self.modified);
        let rest = || StoredFrame::rest(last.min(modified), modified.max(last), Origin { segment, end });
        let Some(head) = read_head(&self.file, at, end) else { return rest() };
        self.last = head.span.to;
        let after = at + head.frame();
        let (records, is_damaged) = match head.kind {
            FrameKind::Loss if after > end => return rest(),
            FrameKind::Loss => (Err(head.span), false),
            FrameKind::Batch => match self.batch(&head, at, end) {
                Some(batch) => (Ok(batch.seal()), false),
                None => (Err(head.span), true),
            },
        };
        StoredFrame { records, is_damaged, origin: Origin { segment, end: after.min(end) } }
    }

    fn batch(&mut self, head: &Head, at: u64, end: u64) -> Option<Batch> {
        if at + head.frame() > end {
            return None;
        }
        self.payload.resize(head.length, 0);
        self.file.read_exact_at(&mut self.payload, at + HEAD as u64).ok()?;
        head.decode(&self.payload)
    }
}
