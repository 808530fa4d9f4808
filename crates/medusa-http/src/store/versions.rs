//! What was published before: each version that was replaced or removed, until there are too many of it.
//!
//! They lie in a directory of the root itself, [`KEPT`], so that they are on its file system and go where it goes. It is never served
//! ([`Target`](super::Target)). The versions of `blog/a.html` are the files in `.medusa-versions/pages/blog/a.html/`, and each is called
//! by the time at which it was replaced, in nanoseconds since 1970, behind a dot: no name that is published begins with one but
//! `.well-known`, so none of them can be in the way of another page's directory.
//!
//! **Invariant:** a version is on the disk, under its name, before what it was is replaced.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fsync, linkat, mkdirat, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::draft::user_of;
use super::error::StoreError;
use super::page_path::PagePath;
use super::root::RootDirectory;
use super::target::KEPT;
use super::usage::{blocks, walk};

/// The mode of directories in it: they are the server's own.
pub(super) const PRIVATE: Mode = Mode::from_raw_mode(0o700);

/// The most names that are looked at for versions of what is not there any more.
const MOST_NAMES: usize = 1000;

/// A version of a file that was replaced or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Tells it from the others of its file. A later one is greater.
    pub id: String,
    /// Its length, in bytes.
    pub size: u64,
    /// The time at which it was published, or last modified.
    pub modified: SystemTime,
    /// The time at which it was replaced or removed.
    pub replaced: SystemTime,
    /// Who had published it, if that is known.
    pub user: Option<String>,
}

/// How a file becomes a version.
#[derive(Clone, Copy)]
pub(super) enum Keeping<'c> {
    /// It stays where it is until another takes its place. Where the file system has no second names for it, this copies it to
    /// one.
    Replaced(&'c dyn Fn(&OwnedFd, &str) -> Result<(), StoreError>),
    /// It goes away.
    Removed,
}

/// Keeps the file `name` of `parent`, which is at `path`. Returns the versions' directory.
pub(super) fn keep(
    root: &RootDirectory,
    path: &PagePath,
    parent: &OwnedFd,
    keeping: Keeping<'_>,
) -> Result<OwnedFd, StoreError> {
    let directory = make_directories(root, &directory_of(path), PRIVATE)?;
    let (_, name) = path.split();
    let mut time = nanoseconds(SystemTime::now());
    loop {
        let version = format!(".{time:020}");
        let kept = match keeping {
            Keeping::Replaced(copy) => match linkat(parent, name, &directory, &version, AtFlags::empty()) {
                // Not ours to give a name, or there are no second names here.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => {
                    copy(&directory, &version)?;
                    Ok(())
                }
                linked => linked,
            },
            Keeping::Removed => {
                match renameat_with(parent, name, &directory, &version, RenameFlags::NOREPLACE) {
                    Err(Errno::INVAL | Errno::NOSYS) => renameat(parent, name, &directory, &version),
                    renamed => renamed,
                }
            }
        };
        match kept {
            Ok(()) => break,
            Err(Errno::EXIST) => time += 1,
            Err(error) => return Err(error.into()),
        }
    }
    fsync(&directory)?;
    Ok(directory)
}

/// Removes the oldest until there are `most`. Returns the bytes they took.
pub(super) fn prune(directory: &OwnedFd, most: usize) -> Result<u64, StoreError> {
    let mut versions = read(directory)?;
    let mut freed = 0;
    for (id, stat) in versions.drain(most.min(versions.len())..) {
        match unlinkat(directory, format!(".{id}"), AtFlags::empty()) {
            Ok(()) => freed += size(&stat).map_or(0, blocks),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(freed)
}

/// The versions of a file, the latest first.
pub(super) fn list(root: &RootDirectory, path: &PagePath) -> Result<Vec<Version>, StoreError> {
    let Some(directory) = directory(root, path)? else { return Ok(Vec::new()) };
    Ok(read(&directory)?.into_iter().filter_map(|(id, stat)| version(&directory, id, &stat)).collect())
}

fn version(directory: &OwnedFd, id: String, stat: &Stat) -> Option<Version> {
    Some(Version {
        size: size(stat)?,
        modified: since_1970(stat.st_mtime.try_into().ok()?, stat.st_mtime_nsec as u32),
        replaced: time_of(&id)?,
        user: open_in(directory, &id).ok().and_then(user_of),
        id,
    })
}

/// One of them, to be read.
pub(super) fn open(root: &RootDirectory, path: &PagePath, id: &str) -> Result<File, StoreError> {
    if time_of(id).is_none() {
        return Err(StoreError::NoVersion);
    }
    let directory = directory(root, path)?.ok_or(StoreError::NoVersion)?;
    match open_in(&directory, id) {
        Ok(file) => Ok(file.into()),
        Err(Errno::NOENT) => Err(StoreError::NoVersion),
        Err(error) => Err(error.into()),
    }
}

fn open_in(directory: &OwnedFd, id: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(directory, format!(".{id}"), flags, Mode::empty())
}

/// The names in the directory at `path` of which there are versions, each with the latest of them, in no order; at most
/// [`MOST_NAMES`].
pub(super) fn names(root: &RootDirectory, path: &PagePath) -> Result<Vec<(String, Version)>, StoreError> {
    let Some(directory) = directory(root, path)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    let mut found = Dir::read_from(&directory)?;
    while let Some(found) = found.read() {
        let found = found?;
        let Some(name) = found.file_name().to_str().ok().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if names.len() == MOST_NAMES {
            break;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(versions) = openat(&directory, found.file_name(), flags, Mode::empty())
            && let Some((id, stat)) = read(&versions)?.into_iter().next()
        {
            names.extend(version(&versions, id, &stat).map(|version| (name.to_owned(), version)));
        }
    }
    Ok(names)
}

/// Has the versions of what was at `from` go along to `to`, which had none.
pub(super) fn follow(root: &RootDirectory, from: &PagePath, to: &PagePath) -> Result<(), StoreError> {
    let parent = |path: &PagePath| format!("{KEPT}/pages/{}", path.split().0);
    let parent = |path: &PagePath| parent(path).trim_end_matches('/').to_owned();
    let old = match root.to_change(parent(from).as_bytes()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => opened?,
    };
    let new = make_directories(root, &parent(to), PRIVATE)?;
    match renameat_with(&old, from.split().1, &new, to.split().1, RenameFlags::NOREPLACE) {
        // There were none, or there are others by that name, which stay.
        Ok(()) | Err(Errno::NOENT | Errno::EXIST | Errno::NOTDIR | Errno::INVAL | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The bytes that all versions below the root take.
pub(super) fn room(root: &RootDirectory) -> Result<u64, StoreError> {
    let mut bytes = 0_u64;
    walk(root, &format!("{KEPT}/pages"), |_, stat| {
        bytes = bytes.saturating_add(size(stat).map_or(0, blocks));
    })?;
    Ok(bytes)
}

/// Removes the oldest of all versions below the root, until they have given back `wanted` bytes; none if all of them have not so much.
/// Returns what came of it.
pub(super) fn give_way(root: &RootDirectory, wanted: u64) -> Result<u64, StoreError> {
    let mut versions = Vec::new();
    walk(root, &format!("{KEPT}/pages"), |path, stat| {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        versions.push((name.to_vec(), path.to_vec(), size(stat).map_or(0, blocks)));
    })?;
    if versions.iter().map(|(_, _, bytes)| bytes).sum::<u64>() < wanted {
        return Ok(0);
    }
    versions.sort_unstable();
    let mut freed = 0;
    let mut gone = 0_u64;
    for (name, path, bytes) in versions {
        if freed >= wanted {
            break;
        }
        let parent = path.get(..path.len() - name.len()).unwrap_or_default();
        let parent = root.to_change(parent.strip_suffix(b"/").unwrap_or(parent))?;
        match unlinkat(&parent, name.as_slice(), AtFlags::empty()) {
            Ok(()) => (freed, gone) = (freed + bytes, gone + 1),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    tracing::warn!(
        versions = gone,
        bytes = freed,
        "old versions of published files gave way: the quota leaves no room for them"
    );
    Ok(freed)
}

/// Opens the directory at a path below the root. It is made, with those above it, where it is missing.
pub(super) fn make_directories(root: &RootDirectory, path: &str, mode: Mode) -> Result<OwnedFd, StoreError> {
    match root.to_change(path.as_bytes()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    let mut above = root.to_change(b"")?;
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut begin = 0;
    for end in ends {
        let name = path.get(begin..end).unwrap_or_default();
        match mkdirat(&above, name, mode) {
            Ok(()) => fsync(&above)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        above = root.to_change(path.get(..end).unwrap_or_default().as_bytes())?;
        begin = end + 1;
    }
    Ok(above)
}

fn directory_of(path: &PagePath) -> String {
    format!("{KEPT}/pages/{}", path.path())
}

fn directory(root: &RootDirectory, path: &PagePath) -> Result<Option<OwnedFd>, StoreError> {
    match root.to_change(directory_of(path).as_bytes()) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The versions in a directory, the latest first, by their ids.
fn read(directory: &OwnedFd) -> Result<Vec<(String, Stat)>, StoreError> {
    let mut versions = Vec::new();
    let mut names = Dir::read_from(directory)?;
    while let Some(found) = names.read() {
        let found = found?;
        let id = found.file_name().to_str().ok().and_then(|name| name.strip_prefix('.'));
        let Some(id) = id.filter(|id| time_of(id).is_some()) else { continue };
        if let Ok(stat) = statat(directory, found.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode).is_file()
        {
            versions.push((id.to_owned(), stat));
        }
    }
    versions.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    Ok(versions)
}

fn size(stat: &Stat) -> Option<u64> {
    stat.st_size.try_into().ok()
}

/// The time that an id tells; none for what is no id.
fn time_of(id: &str) -> Option<SystemTime> {
    let is_id = id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit());
    let nanoseconds: u64 = is_id.then(|| id.parse().ok())??;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX - (1 << 32))
}

fn since_1970(seconds: u64, nanoseconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
