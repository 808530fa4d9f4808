//! Frames: what a segment is made of.
//!
//! | Bytes | Of a frame's head, integers little-endian |
//! |---|---|
//! | 0..4 | length of the payload |
//! | 4 | what it is: 1 a batch, 2 a loss (without payload) |
//! | 5..8 | zero |
//! | 8..12 | CRC-32 of the payload |
//! | 12..20 | number of records |
//! | 20..28 | time of the earliest of them, microseconds since 1970 |
//! | 28..36 | time of the latest |
//! | 36..40 | CRC-32 of the head up to here |
//!
//! The head has a checksum of its own, so that damage to a payload costs that frame only, and the number of records lost
//! with it is known.

use medusa_proto::access::{Loss, Timestamp};

use super::payload;
use crate::Batch;

/// Bytes of a head.
pub(crate) const HEAD: usize = 40;

/// A payload that has as much takes no further record.
const FULL: usize = 256 * 1024;

/// No payload is longer: [`FULL`], and a record of nine fields that has just found room. A head that says otherwise is
/// damaged, whatever its checksum.
pub(super) const MAX_PAYLOAD: usize = 512 * 1024;

const BATCH: u8 = 1;
const LOSS: u8 = 2;

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether it is a batch, or a loss.
    pub(super) is_batch: bool,
    /// Bytes of payload.
    pub(super) length: usize,
    checksum: u32,
    /// How many records it is about, and of which time.
    pub(super) span: Loss,
}

/// Appends `batch`: one frame, or more if it is uncommonly large.
pub(super) fn encode_batch(batch: &Batch, out: &mut Vec<u8>) {
    let mut entries = batch.iter().peekable();
    while let Some(first) = entries.peek() {
        let mut span = Loss { records: 0, from: first.time(), to: first.time() };
        let start = out.len();
        out.resize(start + HEAD, 0);
        out.push(payload::VERSION);
        while out.len() - start < FULL
            && let Some(entry) = entries.next()
        {
            payload::encode(&entry, out);
            span = span.merge(Loss { records: 1, from: entry.time(), to: entry.time() });
        }
        finish(out, start, BATCH, &span);
    }
}

/// Appends `loss`, as one frame.
pub(super) fn encode_loss(loss: &Loss, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEAD, 0);
    finish(out, start, LOSS, loss);
}

/// Writes the head of the frame that begins at `start` and ends where `out` does.
fn finish(out: &mut [u8], start: usize, kind: u8, span: &Loss) {
    let (head, payload) = out[start..].split_at_mut(HEAD);
    head[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[4] = kind;
    head[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    head[12..20].copy_from_slice(&span.records.to_le_bytes());
    head[20..28].copy_from_slice(&span.from.micros().to_le_bytes());
    head[28..36].copy_from_slice(&span.to.micros().to_le_bytes());
    let checksum = crc32fast::hash(&head[..36]);
    head[36..].copy_from_slice(&checksum.to_le_bytes());
}

impl Head {
    /// Reads a head; `None` if it is damaged.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let u32_at = |at: usize| bytes[at..].first_chunk().copied().map(u32::from_le_bytes);
        let u64_at = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_le_bytes);
        let time_at = |at: usize| u64_at(at).map(|micros| Timestamp::from_micros(micros as i64));
        if !matches!(bytes[4], BATCH | LOSS) || u32_at(36)? != crc32fast::hash(&bytes[..36]) {
            return None;
        }
        let (is_batch, length) = (bytes[4] == BATCH, u32_at(0)? as usize);
        let span = Loss { records: u64_at(12)?, from: time_at(20)?, to: time_at(28)? };
        // No record is shorter than a byte.
        let is_sound = length <= MAX_PAYLOAD && (!is_batch || span.records <= length as u64);
        is_sound.then_some(Self { is_batch, length, checksum: u32_at(8)?, span })
    }

    /// Bytes of the whole frame.
    pub(super) fn frame(&self) -> u64 {
        (HEAD + self.length) as u64
    }

    /// Records that are lost if the payload is: none of those of a loss, which are already.
    pub(super) fn records(&self) -> u64 {
        if self.is_batch { self.span.records } else { 0 }
    }

    /// The batch of `payload`; `None` if it is damaged.
    pub(super) fn decode(&self, payload: &[u8]) -> Option<Batch> {
        let is_whole = crc32fast::hash(payload) == self.checksum;
        let batch = is_whole.then(|| payload::decode(payload)).flatten();
        batch.filter(|batch| batch.len() as u64 == self.span.records)
    }
}
