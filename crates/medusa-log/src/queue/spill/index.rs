//! Index of what is on disk, as the queue knows it without looking.
//!
//! **Invariant: the records of the index are those that will be replayed or counted as lost.** What a segment turns out
//! not to hold, though the index says so, is lost; that is how no damage goes unnoticed.

use std::collections::BTreeMap;

use super::segment::{Found, MARK, Origin};

/// The number of the first segment: there is as much room for older ones as for newer.
pub(crate) const MIDDLE: u64 = 1 << 63;

/// Work on a file, to be done once no lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum FileOperation {
    /// All of the segment has been replayed.
    Remove(u64),
    /// It has been replayed up to here.
    Mark(Origin),
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    segments: BTreeMap<u64, Segment>,
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// Records that wait on disk.
    pub(crate) records: u64,
}

#[derive(Debug)]
struct Segment {
    length: u64,
    /// Offset of what will be read next.
    at: u64,
    /// Frames behind that, and their records.
    frames: u64,
    records: u64,
    /// Batches that have been read and not been settled.
    outstanding: u64,
    /// Whether it has been read to its end, and nothing will be added.
    read: bool,
}

impl Segment {
    /// All that has been read is settled: so it is noted, if it is so.
    fn settled(&self, segment: u64) -> Option<FileOperation> {
        (self.outstanding == 0).then_some(FileOperation::Mark(Origin { segment, end: self.at }))
    }
}

/// A segment to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) number: u64,
    pub(crate) at: u64,
    pub(crate) length: u64,
    /// Whether there is none behind it.
    pub(crate) newest: bool,
}

impl Index {
    /// Tells whether nothing waits to be read.
    pub(crate) fn is_read(&self) -> bool {
        self.segments.values().all(|segment| segment.read)
    }

    /// Tells whether more may be appended to segment `number`.
    pub(crate) fn is_newest_and_open(&self, number: u64) -> bool {
        self.segments.last_key_value().is_some_and(|(&newest, segment)| newest == number && !segment.read)
    }

    /// The number of the oldest segment, or where the first would be.
    pub(crate) fn oldest(&self) -> u64 {
        self.segments.keys().next().copied().unwrap_or(MIDDLE)
    }

    /// A number above all.
    pub(crate) fn next_number(&self) -> u64 {
        self.segments.keys().next_back().map_or(MIDDLE, |newest| newest.saturating_add(1))
    }

    /// The segment to be read next.
    pub(crate) fn next(&self) -> Option<Next> {
        let (&number, segment) = self.segments.iter().find(|(_, segment)| !segment.read)?;
        let newest = self.segments.keys().next_back() == Some(&number);
        Some(Next { number, at: segment.at, length: segment.length, newest })
    }

    /// A segment of an earlier run has been found.
    pub(crate) fn found(&mut self, number: u64, found: &Found) {
        let Found { first, length, frames, records } = *found;
        let segment = Segment { length, at: first, frames, records, outstanding: 0, read: false };
        self.bytes += length;
        self.records = self.records.saturating_add(records);
        self.segments.insert(number, segment);
    }

    /// Segment `number`, new or not, has grown to `length`.
    pub(crate) fn appended(&mut self, number: u64, length: u64, frames: u64, records: u64) {
        let new = Segment { length: 0, at: MARK, frames: 0, records: 0, outstanding: 0, read: false };
        let segment = self.segments.entry(number).or_insert(new);
        self.bytes += length - segment.length;
        self.records += records;
        segment.length = length;
        segment.frames += frames;
        segment.records += records;
    }

    /// A batch of `records` has been read, and will be released.
    pub(crate) fn hold(&mut self, origin: Origin, records: u64) {
        self.advance(origin, records);
        if let Some(segment) = self.segments.get_mut(&origin.segment) {
            segment.outstanding += 1;
        }
    }

    /// A frame of `records` has been read that will not come again.
    pub(crate) fn pass(&mut self, origin: Origin, records: u64) -> Option<FileOperation> {
        self.advance(origin, records);
        self.segments.get(&origin.segment)?.settled(origin.segment)
    }

    fn advance(&mut self, origin: Origin, records: u64) {
        let Origin { segment, end } = origin;
        let Some(segment) = self.segments.get_mut(&segment) else { return };
        segment.at = end;
        segment.frames = segment.frames.saturating_sub(1);
        let records = records.min(segment.records);
        segment.records -= records;
        self.records -= records;
    }

    /// The rest of a segment cannot be read. Returns the frames and records that are lost with it.
    pub(crate) fn give_up(&mut self, number: u64) -> (u64, u64) {
        let Some(segment) = self.segments.get_mut(&number) else { return (0, 0) };
        segment.at = segment.length;
        let lost = (std::mem::take(&mut segment.frames), std::mem::take(&mut segment.records));
        self.records -= lost.1;
        lost
    }

    /// Nothing will be added to segment `number`, which has been read to its end.
    pub(crate) fn finish(&mut self, number: u64) -> Option<FileOperation> {
        let segment = self.segments.get_mut(&number)?;
        segment.read = true;
        (segment.outstanding == 0).then(|| self.remove(number))
    }

    /// A batch that was read is settled, or stored elsewhere.
    pub(crate) fn release(&mut self, origin: Origin) -> Option<FileOperation> {
        let segment = self.segments.get_mut(&origin.segment)?;
        segment.outstanding = segment.outstanding.saturating_sub(1);
        if segment.read && segment.outstanding == 0 {
            return Some(self.remove(origin.segment));
        }
        segment.settled(origin.segment).or(Some(FileOperation::Mark(origin)))
    }

    /// A batch that was read from here is left for the next start, which will find it where it was.
    pub(crate) fn keep(&mut self, origin: Origin, records: u64) {
        if let Some(segment) = self.segments.get_mut(&origin.segment) {
            segment.frames += 1;
            segment.records += records;
            self.records += records;
        }
    }

    fn remove(&mut self, number: u64) -> FileOperation {
        if let Some(segment) = self.segments.remove(&number) {
            self.bytes -= segment.length;
        }
        FileOperation::Remove(number)
    }
}
