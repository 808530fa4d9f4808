//! The directory of a spill, and those of its siblings.
//!
//! Two sinks of the same target live side by side while a reload replaces one by the other, or when two servers share
//! their state by mistake. The first has the directory itself, the next `<directory>-2`, and so on: a lock tells which
//! are taken. The kernel lets go of a lock when its process dies, so nothing is ever left locked.
//!
//! **Invariant: a segment has one owner.** It is read, written, renamed and removed only under the lock of the directory
//! it is in.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::iter;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::segment::{self, FILE_MODE, Segment};

/// Sinks of one target that may spill at once. More is a mistake, which should not fill the disk.
const MOST: u32 = 16;

const DIRECTORY_MODE: u32 = 0o700;

/// A directory that is ours alone.
#[derive(Debug)]
pub(super) struct Directory {
    base: PathBuf,
    pub(super) path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes the first of the siblings of `base` that is free, and makes it if need be.
    pub(super) fn open(base: &Path) -> io::Result<Self> {
        for path in siblings(base) {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
            if let Some(lock) = lock(&path, true)? {
                return Ok(Self { base: base.to_owned(), path, _lock: lock });
            }
        }
        let problem = format!("all of its {MOST} names are in use by other logs of the same target");
        Err(io::Error::new(ErrorKind::ResourceBusy, problem))
    }

    /// Moves the segments of siblings that nobody owns any more here, to the numbers right below `oldest`. Also tells whether
    /// a sibling is still in use, and may leave something later.
    pub(super) fn adopt(&self, mut oldest: u64) -> (Vec<(u64, Segment)>, bool) {
        let (mut segments, mut others) = (Vec::new(), false);
        for path in siblings(&self.base).filter(|path| *path != self.path) {
            match lock(&path, false) {
                Ok(Some(_held)) => {
                    if let Err(error) = self.take_from(&path, &mut oldest, &mut segments) {
                        tracing::warn!(directory = ?path, %error, "cannot take over what a log has left here");
                    }
                }
                Ok(None) => others = true,
                Err(_) => {} // there is none, or it is not for us
            }
        }
        (segments, others)
    }

    fn take_from(&self, path: &Path, oldest: &mut u64, taken: &mut Vec<(u64, Segment)>) -> io::Result<()> {
        for (number, found) in survey(path)?.into_iter().rev() {
            let renamed = oldest.saturating_sub(1);
            let to = segment::path(&self.path, renamed);
            if renamed == 0 || to.exists() {
                break; // out of numbers: nobody gets here by spilling
            }
            std::fs::rename(segment::path(path, number), to)?;
            *oldest = renamed;
            taken.push((renamed, found));
        }
        Ok(())
    }
}

/// The segments in the directory `path`, the oldest first. What has nothing to replay is removed.
pub(super) fn survey(path: &Path) -> io::Result<Vec<(u64, Segment)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(segment::number) else { continue };
        let path = segment::path(path, number);
        match segment::survey(&path) {
            Ok(found) if found.at == found.length => std::fs::remove_file(&path)?,
            Ok(found) => segments.push((number, found)),
            Err(error) => tracing::warn!(file = ?path, %error, "cannot read what a log has left here"),
        }
    }
    segments.sort_unstable_by_key(|&(number, _)| number);
    Ok(segments)
}

fn siblings(base: &Path) -> impl Iterator<Item = PathBuf> {
    let others = (2..=MOST).map(|number| {
        let mut name = base.as_os_str().to_owned();
        name.push(format!("-{number}"));
        name.into()
    });
    iter::once(base.to_owned()).chain(others)
}

/// The lock of the directory `path`, made if need be and wanted, unless somebody has it.
fn lock(path: &Path, create: bool) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(create)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
