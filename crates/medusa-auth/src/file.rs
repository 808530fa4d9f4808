//! A file of users, read within bounds, and whether it is still the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use medusa_files::FileStamp;
use medusa_files::regular::{self, Contents};

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

/// The version that is there now.
pub(crate) fn stamp(path: &Path) -> Result<FileStamp, FileError> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok(FileStamp::from(&metadata))
}

/// A file that was read.
pub(crate) struct ReadFile {
    pub(crate) bytes: Vec<u8>,
    /// The version that it is; none if it may have been changed meanwhile without a trace.
    pub(crate) stamp: Option<FileStamp>,
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
    let error = |source: io::Error| match source.kind() {
        io::ErrorKind::FileTooLarge => FileError::TooLarge(path.to_owned()),
        _ => FileError::Read { path: path.to_owned(), source },
    };
    let Contents { bytes, metadata: before, file } = regular::read(path, MAX_FILE).map_err(error)?;
    let stamp = FileStamp::from(&before);
    let after = FileStamp::from(&file.metadata().map_err(error)?);
    let settled = before
        .modified()
        .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > SETTLES));
    let stamp = (stamp == after && settled).then_some(stamp);
    Ok(ReadFile { bytes, stamp, mode: before.mode() & 0o7777, owner: (before.uid(), before.gid()) })
}
