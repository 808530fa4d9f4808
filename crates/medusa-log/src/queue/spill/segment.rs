//! Segments: the files of a spill.
//!
//! A segment begins with a mark of 20 bytes: `MDSPILL1`, the offset of the first frame that is still to be replayed, and
//! the CRC-32 of both. Frames follow, up to the end of the file. A process that is killed while it appends leaves a frame
//! that breaks off; one that is killed while it replays leaves the mark where the last settled batch ended.
//!
//! **Invariant: whatever is in the file, reading it ends, and takes no more memory than one frame may have.** Someone who
//! can write to the spill directory can forge records, no more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use medusa_proto::access::Loss;
use rustix::fs::OFlags;

use super::frame::{HEAD, Head};
use crate::queue::Records;

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

/// Remembers in the file that what comes before the end of `origin` need not be replayed.
pub(crate) fn mark(directory: &Path, origin: Origin) {
    let path = path(directory, origin.segment);
    let file = options().write(true).open(&path);
    told(&path, file.and_then(|file| file.write_all_at(&mark_bytes(origin.end), 0)));
}

/// Removes segment `number`, all of which has been replayed.
pub(crate) fn remove(directory: &Path, number: u64) {
    let path = path(directory, number);
    told(&path, fs::remove_file(&path));
}

fn told(file: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(?file, %error, "records that have been replayed stay on disk");
    }
}

/// Appends whole frames, or nothing, to segment `number`, which has `length` bytes, and is made if that is none. Returns how
/// many it has then.
///
/// A file that is there already is one that could not be removed, or that nothing was appended to.
pub(super) fn append(directory: &Path, number: u64, length: u64, frames: &[u8]) -> io::Result<u64> {
    let is_new = length == 0;
    let file = options().write(true).create(is_new).truncate(is_new).open(path(directory, number))?;
    if is_new {
        file.write_all_at(&mark_bytes(MARK), 0)?;
    }
    let at = length.max(MARK);
    if let Err(error) = file.write_all_at(frames, at) {
        let _: io::Result<()> = file.set_len(at);
        return Err(error);
    }
    Ok(at + frames.len() as u64)
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
    /// The number of its first item among all that were ever queued; zero for those of an earlier run.
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
    pub(crate) records: Records,
    pub(crate) is_damaged: bool,
    pub(crate) origin: Origin,
}

/// Reads the next frame of segment `number`. If that cannot be read, nothing behind it can: how many records are lost then,
/// the queue knows.
pub(crate) fn read(directory: &Path, number: u64, segment: &Segment) -> StoredFrame {
    let path = path(directory, number);
    let frame = options().read(true).open(&path).map(|file| read_frame(&file, segment));
    let (records, is_damaged, end) = frame
        .inspect_err(|error| tracing::warn!(file = ?path, %error, "cannot read spilled records"))
        .ok()
        .flatten()
        .unwrap_or_else(|| {
            let meta = fs::metadata(&path);
            let to = meta.as_ref().ok().and_then(|meta| meta.modified().ok()).unwrap_or_else(SystemTime::now);
            let from = meta.and_then(|meta| meta.created()).map_or(to, |created| created.min(to));
            (Err(Loss { records: u64::MAX, from: from.into(), to: to.into() }), true, segment.length)
        });
    StoredFrame { records, is_damaged, origin: Origin { segment: number, end } }
}

/// The frame that is next, whether it is damaged, and where it ends.
fn read_frame(file: &File, segment: &Segment) -> Option<(Records, bool, u64)> {
    let Segment { at, length, .. } = *segment;
    let head = read_head(file, at, length)?;
    let end = at + head.frame();
    if !head.is_batch {
        return (end <= length).then_some((Err(head.span), false, end));
    }
    let mut payload = vec![0; head.length];
    let is_whole = end <= length && file.read_exact_at(&mut payload, at + HEAD as u64).is_ok();
    match head.decode(&payload).filter(|_| is_whole) {
        Some(batch) => Some((Ok(batch.seal()), false, end)),
        None => Some((Err(head.span), true, end.min(length))),
    }
}
