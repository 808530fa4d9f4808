//! Options of a sink's queue.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::MAX_BATCH_RECORDS;

/// Limits of what may wait for a sink, and what happens to what does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Records that may wait in memory. Default: 65,536, over half a second of the fastest server we have measured. Less
    /// than two full batches (512) is taken as that.
    pub records: usize,
    /// Memory that waiting records may take, in bytes. Default: 32 MiB, for records of 512 bytes.
    pub bytes: usize,
    /// What happens when a record does not fit. Default: it is lost, and counted.
    pub when_full: WhenFull,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self { records: 65_536, bytes: 32 * 1024 * 1024, when_full: WhenFull::DropNew }
    }
}

impl QueueOptions {
    /// The fewest records a queue has room for: with less, a worker's batch would fill it alone.
    pub const MIN_RECORDS: usize = 2 * MAX_BATCH_RECORDS;
}

/// Policy of a full queue. Whatever is lost is counted, and told in the stream once it works again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The worker waits for room, for this long at most, then loses the new records. At most
    /// [`MAX_BLOCK`](Self::MAX_BLOCK), as the worker's requests wait with it; once a wait has been in vain, nobody waits
    /// again before there has been room.
    Block(Duration),
    /// The new records are lost.
    DropNew,
    /// The oldest records that wait are lost.
    DropOld,
    /// The new records are put in files of the state directory, and replayed in their order when the target takes them:
    /// also after a restart. That begins when the queue is half full, so that its way to the disk has room, too, or when
    /// the target fails; then all that waits goes to disk. What does not fit there waits in memory, then is lost.
    Spill(SpillOptions),
}

impl WhenFull {
    /// The longest a worker may be told to wait.
    pub const MAX_BLOCK: Duration = Duration::from_millis(10);
}

impl fmt::Display for WhenFull {
    /// Shows it as scripts write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(time) => write!(f, "block <= {time:?}"),
            Self::DropNew => f.write_str("drop_new"),
            Self::DropOld => f.write_str("drop_old"),
            Self::Spill(_) => f.write_str("spill"),
        }
    }
}

/// Directory that a queue spills to, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillOptions {
    /// The directory of this sink's spill, made when it is needed. Another sink of the same target finds it by the same
    /// name.
    pub directory: PathBuf,
    /// Bytes of disk it may take; what does not fit is lost. Default: 256 MiB.
    pub bytes: u64,
}

impl SpillOptions {
    /// [`bytes`](Self::bytes) unless a script says otherwise.
    pub const DEFAULT_BYTES: u64 = 256 * 1024 * 1024;

    /// The least disk that is of use: it is written and freed in files of up to this size.
    pub const MIN_BYTES: u64 = 1024 * 1024;

    /// The spill of the sink whose target is called `target`, in a directory of its own below `root`.
    ///
    /// The directory's name can be read by people and is the same in every run: letters and digits of the target, then
    /// a hash of it, so that targets that look alike do not meet.
    pub fn for_target(root: &Path, target: &str, bytes: u64) -> Self {
        Self { directory: root.join(directory_name(target)), bytes }
    }
}

fn directory_name(target: &str) -> String {
    /// Longer names add nothing that the hash does not say.
    const MOST: usize = 48;
    let mut name = String::new();
    for c in target.chars() {
        match c {
            _ if name.len() == MOST => break,
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' if !name.is_empty() || c != '.' => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_end_matches('-');
    format!("{name}{}{:016x}", if name.is_empty() { "" } else { "-" }, fnv1a(target.as_bytes()))
}

/// FNV-1a: short, and the same wherever and whenever it is computed, which the standard library's hashes do not promise.
/// Targets are written by the server's owner, so nobody looks for collisions.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_named_after_their_target() {
        for (target, name) in [
            ("/var/log/medusa/access.log", "var-log-medusa-access.log-"),
            ("tcp://logs.example:514", "tcp-logs.example-514-"),
            ("../..", ""),
            ("", ""),
            ("ü", ""),
        ] {
            let found = directory_name(target);
            let hash = found.strip_prefix(name).expect(&found);
            assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{found}");
        }
        assert_ne!(directory_name("a/b"), directory_name("a-b"));
        assert!(directory_name(&"x".repeat(5000)).len() < 80);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "as published with the algorithm");
    }
}
