//! The changes: a file is put in the place of what was there, or removed.
//!
//! Who comes with a condition has it judged twice: before its content is taken, and again, with nobody in between, when the content takes
//! its place.

use std::fmt::Debug;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderValue;
use medusa_files::FileStamp;
use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::OpenFile;
use medusa_proto::with_causes;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, fsync, openat, stat, statat, unlinkat};
use rustix::io::Errno;

use super::draft::{Draft, clean, user_of};
use super::edition::Edition;
use super::error::StoreError;
use super::page_path::PagePath;
use super::root::{Root, RootDirectory, RootError, Wait};
use super::tag;
use super::target::KEPT;
use super::usage::{Reserved, StoreUsage, blocks};
use super::versions::{self, Keeping, Version, make_directories};

/// One is held while something of a path is looked at and changed: the path has the one that its hash says. Two paths that share one
/// wait for each other, which is short; all together take no more memory than this.
static LOCKS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// The mode of directories that are made, from which the process's umask takes away.
pub(super) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
/// The number of tries when others, who take none of the [`LOCKS`], create and remove the file meanwhile.
const RACES: usize = 8;

/// Options of what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The most bytes below the directory, versions included. Each file counts for whole blocks of 4 KiB. Default none.
    pub quota: Option<u64>,
    /// The most versions of each file that are kept when it is replaced or removed. Default 20.
    pub versions: usize,
    /// Whether directories that are missing are made. Default no: a mistyped address is an error and not a new part of the site.
    pub create_directories: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { quota: None, versions: 20, create_directories: false }
    }
}

/// A directory in which files are published.
#[derive(Debug)]
pub struct Store {
    pub(super) root: Root,
    pub(super) usage: Arc<StoreUsage>,
    identity: StoreId,
}

/// Tells a directory from others, whatever leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId {
    device: u64,
    inode: u64,
}

/// The file that is there.
#[derive(Debug)]
pub struct Current<'p> {
    parent: &'p OwnedFd,
    name: &'p str,
    pub(super) stat: Stat,
}

/// A judge of what is there: an error leaves it as it is.
pub type Check<'c> = &'c dyn Fn(Option<&Current<'_>>) -> Result<(), StoreError>;

/// The file that was published.
#[derive(Debug)]
pub(crate) struct Published {
    /// Whether nothing was there before.
    pub(crate) is_new: bool,
    file: OpenFile,
    tag: Option<HeaderValue>,
}

impl Store {
    /// Checks that the directory can be published to, and removes what an interrupted process has left there. Blocks.
    ///
    /// # Errors
    ///
    /// See [`RootError`].
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let root = Root::open(path, false)?;
        root.check_writable()?;
        let unreadable = |source| RootError::Unreadable { path: root.path().to_owned(), source };
        let found = stat(root.path()).map_err(|errno| unreadable(errno.into()))?;
        let (usage, identity) =
            (StoreUsage::of(&found), StoreId { device: found.st_dev, inode: found.st_ino });
        let cleaned = root.to_change().and_then(|directory| clean(&directory));
        let left = cleaned.map_err(|error| RootError::Unwritable {
            path: root.path().join(KEPT),
            source: io::Error::other(error),
        })?;
        if left > 0 {
            let directory = root.path().display();
            tracing::info!(files = left, %directory, "uploads that were interrupted are removed");
        }
        Ok(Self { root, usage, identity })
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// What tells the directory that was opened from others: of all stores of one directory it is the same.
    pub fn identity(&self) -> StoreId {
        self.identity
    }

    /// What tells the directory that is at the path now from others. Blocks.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be looked at.
    pub fn identity_now(&self) -> Result<StoreId, StoreError> {
        let found = fstat(self.root.to_change()?.to_change(b"")?)?;
        Ok(StoreId { device: found.st_dev, inode: found.st_ino })
    }

    /// The directory for what is kept beside published files, of which nothing is served. It is made where it is missing. Blocks.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub fn kept_directory(&self) -> Result<PathBuf, StoreError> {
        make_directories(&self.root.to_change()?, KEPT, versions::PRIVATE)?;
        Ok(self.kept_path())
    }

    /// The path of that directory, whether it is there or not.
    pub fn kept_path(&self) -> PathBuf {
        self.path().join(KEPT)
    }

    /// The bytes below it, as far as they were measured for a quota.
    pub fn used(&self) -> Option<u64> {
        self.usage.known()
    }

    /// The root, which a [`Draft`] is written with.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Begins to publish a file, of `len` bytes where that is known, if nothing stands against it by now.
    pub(crate) fn begin(
        &self,
        path: &PagePath,
        len: Option<u64>,
        holder: Option<ClientPrefix>,
        options: &StoreOptions,
        check: Check<'_>,
    ) -> Result<Draft, StoreError> {
        if path.is_directory() {
            return Err(StoreError::Directory);
        }
        let root = self.to_change(path)?;
        let (parent, name) = path.split();
        match root.to_change(parent.as_bytes()) {
            Ok(parent) => check(look(&parent, name)?.as_ref())?,
            Err(Errno::NOENT) if options.create_directories => check(None)?,
            Err(error) => return Err(error.into()),
        }
        let mut reserved = Reserved::new(&self.usage, options.quota);
        reserved.grow_to(len.unwrap_or(0), &self.root)?;
        Draft::new(&root, holder, reserved)
    }

    /// Puts a draft in the place of what is at `path`, unless `check` says no.
    pub(crate) fn publish(
        &self,
        path: &PagePath,
        mut draft: Draft,
        options: &StoreOptions,
        check: Check<'_>,
    ) -> Result<Published, StoreError> {
        draft.sync()?;
        let root = self.to_change(path)?;
        let (parent, name) = path.split();
        let parent = match root.to_change(parent.as_bytes()) {
            Err(Errno::NOENT) if options.create_directories => {
                check(None)?;
                make_directories(&root, parent, DIRECTORY_MODE)?
            }
            opened => opened?,
        };
        let _alone = lock(&parent, name)?;
        let mut tries = 0;
        let (replaced, kept) = loop {
            let current = look(&parent, name)?;
            check(current.as_ref())?;
            let Some(Current { stat, .. }) = current else {
                match draft.create(&parent, name) {
                    Err(Errno::EXIST) if tries < RACES => tries += 1,
                    created => break (created.map(|()| None)?, None),
                }
                continue;
            };
            draft.take_mode(&stat)?;
            draft.name(&root)?;
            let kept = match options.versions {
                // An empty one is nothing to go back to: some clients put one before each file.
                _ if stat.st_size == 0 => None,
                0 => None,
                _ => Some(self.keep_replaced(&root, path, &parent)?),
            };
            draft.replace(&parent, name)?;
            break (Some(stat), kept);
        };
        Edition::publish();
        fsync(&parent)?;
        let went = replaced.as_ref().map_or(0, |stat| self.went(stat, kept.as_ref(), options));
        self.usage.changed(blocks(draft.len()), went);
        let (file, tag) = draft.into_file();
        Ok(Published { is_new: replaced.is_none(), file, tag })
    }

    /// Removes the file at `path`, or the directory if that has a slash at its end and nothing in it, unless `check` says no.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn remove(
        &self,
        path: &PagePath,
        options: &StoreOptions,
        check: Check<'_>,
    ) -> Result<(), StoreError> {
        let root = self.to_change(path)?;
        let (parent, name) = path.split();
        if name.is_empty() {
            return Err(StoreError::Directory);
        }
        let parent = parent_of(&root, parent)?;
        let _alone = lock(&parent, name)?;
        let current = match look(&parent, name) {
            Err(StoreError::Directory) if path.is_directory() => {
                check(None)?;
                unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
                Edition::publish();
                return Ok(fsync(&parent)?);
            }
            current => current?.filter(|_file| !path.is_directory()).ok_or(StoreError::Missing)?,
        };
        check(Some(&current))?;
        let Current { stat, .. } = current;
        let kept = match options.versions {
            0 => {
                unlinkat(&parent, name, AtFlags::empty())?;
                None
            }
            _ => Some(versions::keep(&root, path, &parent, Keeping::Removed)?),
        };
        Edition::publish();
        fsync(&parent)?;
        self.usage.changed(0, self.went(&stat, kept.as_ref(), options));
        Ok(())
    }

    /// The versions that are kept of the file at `path`, the latest first. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Own`], or what the file system says.
    pub fn versions(&self, path: &PagePath) -> Result<Vec<Version>, StoreError> {
        versions::list(&self.to_change(path)?, path)
    }

    /// Publishes a version of the file at `path` anew; what is there becomes a version itself. Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn restore(&self, path: &PagePath, version: &str, options: &StoreOptions) -> Result<(), StoreError> {
        self.restore_by(None, path, version, options, &|_| Ok(()))
    }

    /// Does as [`restore`](Self::restore) in the name of a user, unless `check` says no.
    pub(crate) fn restore_by(
        &self,
        user: Option<&str>,
        path: &PagePath,
        version: &str,
        options: &StoreOptions,
        check: Check<'_>,
    ) -> Result<(), StoreError> {
        if path.is_directory() {
            return Err(StoreError::Directory);
        }
        let options = StoreOptions { create_directories: true, ..options.clone() };
        let root = self.to_change(path)?;
        let content = versions::open(&root, path, version)?;
        let mut draft = Draft::new(&root, None, Reserved::new(&self.usage, options.quota))?;
        draft.take_mode(&fstat(&content)?)?;
        draft.copy(&content, &self.root)?;
        draft.set_user(user);
        self.publish(path, draft, &options, check).map(drop)
    }

    /// The directory, to change what is at `path`.
    pub(super) fn to_change(&self, path: &PagePath) -> Result<RootDirectory, StoreError> {
        let root = self.root.to_change()?;
        let is_own = root.is_servers_own(self.path(), path.path().as_bytes())?;
        if is_own { Err(StoreError::Own) } else { Ok(root) }
    }

    /// Keeps what is about to be replaced.
    pub(super) fn keep_replaced(
        &self,
        root: &RootDirectory,
        path: &PagePath,
        parent: &OwnedFd,
    ) -> Result<OwnedFd, StoreError> {
        let copy = |directory: &OwnedFd, version: &str| {
            let (_, name) = path.split();
            let (content, _) = open(parent, name)?;
            let mut draft = Draft::new(root, None, Reserved::new(&self.usage, None))?;
            draft.copy(&content, &self.root)?;
            draft.set_user(user_of(&content).as_deref());
            draft.sync()?;
            Ok(draft.create(directory, version)?)
        };
        versions::keep(root, path, parent, Keeping::Replaced(&copy))
    }

    /// The bytes that went with a file which is replaced or removed: its own, or those of the versions that are too many now. That these
    /// could not be removed is no reason to say that nothing was published.
    pub(super) fn went(&self, file: &Stat, kept: Option<&OwnedFd>, options: &StoreOptions) -> u64 {
        let Some(kept) = kept else { return blocks(file.st_size.try_into().unwrap_or(0)) };
        versions::prune(kept, options.versions).unwrap_or_else(|error| {
            let (error, directory) = (with_causes(&error), self.path().display());
            tracing::warn!(%directory, "old versions cannot be removed: {error}");
            0
        })
    }
}

impl Current<'_> {
    /// Its entity tag, as [`Files`](crate::handlers::files::Files) gives it.
    pub fn tag(&self) -> Result<HeaderValue, StoreError> {
        let (file, stat) = open(self.parent, self.name)?;
        Ok(tag::of_current(&file, &FileStamp::from(&stat))?)
    }

    /// The time at which it was last modified, in seconds since 1970, as far as that may be told.
    pub fn modified(&self) -> Option<u64> {
        let modified = FileStamp::from(&self.stat).modified(SystemTime::now())?;
        modified.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }
}

impl Published {
    /// Its entity tag, which is strong once later changes are sure to give another.
    pub(crate) fn tag(&self) -> Result<HeaderValue, StoreError> {
        if let Some(tag) = &self.tag {
            return Ok(tag.clone());
        }
        let stamp = FileStamp::from(&fstat(&self.file)?);
        Ok(tag::of_file(&self.file, &stamp, stamp.is_settled(SystemTime::now()), Wait::ForDisk)?)
    }
}

/// Waits until nobody else changes that name.
fn lock(parent: &OwnedFd, name: &str) -> Result<MutexGuard<'static, ()>, StoreError> {
    Ok(LOCKS[lock_of(parent, name)?].lock())
}

/// Opens the directory at `path`, in which something is to be there: if it is not there, neither is that.
pub(super) fn parent_of(root: &RootDirectory, path: &str) -> Result<OwnedFd, StoreError> {
    match root.to_change(path.as_bytes()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Err(StoreError::Missing),
        opened => Ok(opened?),
    }
}

/// Waits until nobody else changes either name. Whoever waits for two does so in the same order.
pub(super) fn lock_both(
    one: (&OwnedFd, &str),
    other: (&OwnedFd, &str),
) -> Result<(MutexGuard<'static, ()>, Option<MutexGuard<'static, ()>>), StoreError> {
    let (one, other) = (lock_of(one.0, one.1)?, lock_of(other.0, other.1)?);
    let first = LOCKS[one.min(other)].lock();
    Ok((first, (one != other).then(|| LOCKS[one.max(other)].lock())))
}

fn lock_of(parent: &OwnedFd, name: &str) -> Result<usize, StoreError> {
    let stat = fstat(parent)?;
    let mut hasher = DefaultHasher::new();
    (stat.st_dev, stat.st_ino, name).hash(&mut hasher);
    Ok(usize::try_from(hasher.finish() % LOCKS.len() as u64).unwrap_or(0))
}

/// The file that has that name; an error if it is something else.
pub(super) fn look<'p>(parent: &'p OwnedFd, name: &'p str) -> Result<Option<Current<'p>>, StoreError> {
    let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some(Current { parent, name, stat })),
        FileType::Directory => Err(StoreError::Directory),
        FileType::Symlink => Err(StoreError::Link),
        _ => Err(StoreError::NoFile),
    }
}

/// Opens the file that has that name, if it still is one.
pub(super) fn open(parent: &OwnedFd, name: &str) -> Result<(File, Stat), StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file.into(), stat)),
        _ => Err(StoreError::NoFile),
    }
}
