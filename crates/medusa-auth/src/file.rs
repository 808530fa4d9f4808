//! A file of users, read within bounds, and whether it is still the same.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The largest file, in bytes: tens of thousands of users.
pub(crate) const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The time after a change within which another might leave no trace.
const SETTLES: Duration = Duration::from_secs(2);

/// The reason why a file of users cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is too large.
    #[error("{} has more than {} MiB", .0.display(), MAX_FILE >> 20)]
    TooLarge(PathBuf),
    /// It cannot be written.
    #[error("cannot {what} {}", path.display())]
    Write {
        /// What cannot be done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The version that is there now.
    pub(crate) fn now(path: &Path) -> Result<Self, FileError> {
        let metadata = std::fs::metadata(path);
        let metadata = metadata.map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Ok(Self::of(&metadata))
    }
}

/// A file that was read.
pub(crate) struct ReadFile {
    pub(crate) bytes: Vec<u8>,
    /// The version that it is; none if it may have been changed meanwhile without a trace.
    pub(crate) stamp: Option<Stamp>,
    /// The permissions.
    pub(crate) mode: u32,
    /// Whose it is: user and group.
    pub(crate) owner: (u32, u32),
}

/// Whose an open file is: user and group.
pub(crate) fn owner(file: &File) -> io::Result<(u32, u32)> {
    file.metadata().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Reads a file, whole.
pub(crate) fn read(path: &Path) -> Result<ReadFile, FileError> {
    let error = |source| FileError::Read { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path).map_err(error)?;
    let before = file.metadata().map_err(error)?;
    if !before.is_file() {
        return Err(error(io::Error::other("it is no file")));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    let stamp = Stamp::of(&before);
    let after = Stamp::of(&file.metadata().map_err(error)?);
    let settled = before
        .modified()
        .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > SETTLES));
    let stamp = (stamp == after && settled).then_some(stamp);
    Ok(ReadFile { bytes, stamp, mode: before.mode() & 0o7777, owner: (before.uid(), before.gid()) })
}
