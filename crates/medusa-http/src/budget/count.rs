//! The counts of the process.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use medusa_proto::status::{Status, Value};

/// Pieces shorter than this are not counted by themselves, nor a tally that is shorter, in bytes.
pub(crate) const LEAST: u64 = 8 * 1024;

/// The purpose that bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests: what each takes that is under way, heads, windows of bodies that are not read yet, bodies in memory,
    /// messages.
    Requests,
    /// Answers: what clients have not taken yet.
    Answers,
}

/// The process's count of each kind.
pub(super) static HELD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// The numbers of times that something was refused.
pub(super) static REFUSED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// The bytes that the process holds for clients, and how often something was refused.
pub fn memory() -> Status {
    let of = |counts: &[AtomicU64; 2], kind| counts[kind as usize].load(Relaxed);
    Status::new("http.memory", "")
        .gauge("requests", Value::Bytes(of(&HELD, Kind::Requests)))
        .gauge("answers", Value::Bytes(of(&HELD, Kind::Answers)))
        .counter("requests_refused", of(&REFUSED, Kind::Requests))
        .counter("answers_refused", of(&REFUSED, Kind::Answers))
}
