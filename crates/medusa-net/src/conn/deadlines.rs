//! Time limits of a connection.

use std::time::Duration;

#[cfg(doc)]
use super::{Conn, Phase};

/// Time limits of a connection, in whole seconds. A deadline is acted on within two seconds after it
/// passed, never before. [`Duration::MAX`] means no limit. [`Phase::Busy`] has none here: it is the handler's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From connecting to the first byte of the first request. Default 30 s: browsers connect ahead of need.
    pub first_byte: Duration,
    /// Between a response and the next request. Default 75 s: browsers keep connections about that long.
    pub idle: Duration,
    /// From the first byte of a request to the end of its head. Default 30 s: a slow phone takes a few, a client that
    /// trickles to hold a connection is cut off.
    pub head: Duration,
    /// Between two reads of a head. Default 10 s: TCP sends a lost packet again within a few.
    pub head_read: Duration,
    /// While there is something to write and the peer takes none of it, or less than [`LEAST_TAKEN`]. Default 60 s.
    pub write: Duration,
    /// In [`Phase::Closing`]. Default 5 s.
    pub closing: Duration,
    /// The connection's whole life, after which it is told to finish as by [`Conn::drain`]. Default: no limit.
    pub life: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            head: Duration::from_secs(30),
            head_read: Duration::from_secs(10),
            write: Duration::from_mins(1),
            closing: Duration::from_secs(5),
            life: Duration::MAX,
        }
    }
}

/// The size that a peer must take within [`Deadlines::write`], in bytes, if there is so much for it: with its default
/// some 270 bytes a second, which a client that trickles to hold a connection falls short of and a modem does not.
pub const LEAST_TAKEN: usize = 16 * 1024;

/// [`Deadlines`] as a connection keeps them: the largest number means no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineSeconds {
    pub(super) first_byte: u32,
    pub(super) idle: u32,
    pub(super) head: u32,
    pub(super) head_read: u32,
    pub(super) write: u32,
    pub(super) closing: u32,
    pub(super) life: u32,
}

pub(super) fn seconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_secs()).unwrap_or(u32::MAX)
}

impl From<Deadlines> for DeadlineSeconds {
    fn from(deadlines: Deadlines) -> Self {
        let Deadlines { first_byte, idle, head, head_read, write, closing, life } = deadlines;
        Self {
            first_byte: seconds(first_byte),
            idle: seconds(idle),
            head: seconds(head),
            head_read: seconds(head_read),
            write: seconds(write),
            closing: seconds(closing),
            life: seconds(life),
        }
    }
}

/// Whether more than `limit` lies between two coarse times. `since` may be a second older than the event it stands for,
/// hence `>`.
pub(super) fn passed(since: u32, limit: u32, now: u32) -> bool {
    now.saturating_sub(since) > limit
}
