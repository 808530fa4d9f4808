//! The stamp of a file: what tells one state of it from another without a look at its content.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

/// A file on this machine, whatever is in it and whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

/// A mark that tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds since 1970, nanoseconds.
    modified: (i64, i64),
    /// As `modified`, but nobody can set it back: it also moves when only the content changes and the rest is forged.
    changed: (i64, i64),
}

impl From<&Stat> for FileStamp {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.try_into().unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl FileStamp {
    /// A stamp that no file needs to have, for tests.
    pub fn of_times(modified: (i64, i64), changed: (i64, i64), size: u64) -> Self {
        Self { device: 1, inode: 10, size, modified, changed }
    }

    /// The file.
    pub fn identity(&self) -> FileIdentity {
        FileIdentity { device: self.device, inode: self.inode }
    }

    /// Its size, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its times and size: all but what is of this machine alone.
    pub fn shown(&self) -> String {
        let nanos = |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        format!("{:x}-{:x}-{:x}", nanos(self.modified), self.size, nanos(self.changed))
    }

    /// Whether the file was modified before the one of the `other` stamp.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.modified < other.modified
    }

    /// The time when the file was last modified; `None` for a time before 1970 or after `now`, which no client must
    /// be told ([RFC 9110 §8.8.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1)).
    pub fn modified(&self, now: SystemTime) -> Option<SystemTime> {
        let since = Duration::new(self.modified.0.try_into().ok()?, self.modified.1.try_into().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since).filter(|modified| *modified <= now)
    }

    /// Whether a later change is sure to give another stamp. Kernels note times in ticks of up to 10 ms, so a file that
    /// changed just now may change again and show the same time.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        const TICK: Duration = Duration::from_millis(20);
        let (Ok(seconds), Ok(nanos)) = (self.changed.0.try_into(), self.changed.1.try_into()) else {
            return true;
        };
        let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        changed.is_some_and(|changed| now.duration_since(changed).is_ok_and(|age| age > TICK))
    }
}
