//! What is there, directories among it: how it is found, listed, made, moved and copied.
//!
//! What is only looked at is found as it is served: a symbolic link that stays beneath the directory is what it leads to. What is moved,
//! copied or removed is never one.

use std::fs::File;
use std::time::SystemTime;

use http::HeaderValue;
use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::OpenFile;
use rustix::fs::{
    Access, AtFlags, Dir, FileType, RenameFlags, Stat, StatxFlags, accessat, fstatvfs, fsync, mkdirat,
    renameat, renameat_with, statat, statx, unlinkat,
};
use rustix::io::Errno;

use super::edition::Edition;
use super::error::StoreError;
use super::page_path::PagePath;
use super::publish::{Check, DIRECTORY_MODE, Store, StoreOptions, lock_both, look, open, parent_of};
use super::root::{OpenedPath, RootDirectory, Wait};
use super::usage::blocks;
use super::{FileStamp, tag, versions};

/// A file or a directory that is there.
#[derive(Debug)]
pub struct Entry {
    stat: Stat,
    created: Option<u64>,
    file: Option<File>,
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode).is_dir()
    }

    /// The length of a file, in bytes.
    pub fn size(&self) -> u64 {
        self.stat.st_size.try_into().unwrap_or(0)
    }

    /// The time at which it was last modified, in seconds since 1970, as far as that may be told.
    pub fn modified(&self) -> Option<u64> {
        let modified = FileStamp::from(&self.stat).modified(SystemTime::now())?;
        modified.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// The time at which it was made, in seconds since 1970: that of its last change where the file system does not know.
    pub fn created(&self) -> Option<u64> {
        self.created.or_else(|| self.modified())
    }

    /// The bytes that have to be read to tell its tag: none where that is known.
    pub fn tag_costs(&self) -> u64 {
        let stamp = FileStamp::from(&self.stat);
        let is_known = self.file.as_ref().is_none_or(|file| {
            tag::of_file(file, &stamp, stamp.is_settled(SystemTime::now()), Wait::Never).is_ok()
        });
        if is_known || stamp.size() > tag::HASHED { 0 } else { stamp.size() }
    }

    /// The entity tag of a file, as [`Files`](crate::handlers::files::Files) gives it. Blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn tag(&self) -> Result<Option<HeaderValue>, StoreError> {
        let Some(file) = &self.file else { return Ok(None) };
        Ok(Some(tag::of_current(file, &FileStamp::from(&self.stat))?))
    }
}

/// The names in a directory, with what has them, one after another. Not all of them are in memory.
#[derive(Debug)]
pub struct Entries {
    root: RootDirectory,
    path: PagePath,
    names: Dir,
    /// It is held as long as a client takes to read them.
    directory: OpenFile,
}

impl Entries {
    /// The next one that has a name which may be published under, and what is there. Blocks.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub fn next_entry(&mut self) -> Result<Option<(PagePath, Entry)>, StoreError> {
        while let Some(found) = self.names.read() {
            let found = found?;
            let Ok(name) = found.file_name().to_str() else { continue };
            let Some(path) = self.path.join(name) else { continue };
            // What has gone since, and what is not served, is passed over.
            if let Some(entry) = entry(&self.root, &path)? {
                return Ok(Some((path.as_directory(entry.is_directory()), entry)));
            }
        }
        Ok(None)
    }

    /// The names of all that is there, whether it may be published under that or not: `None` for one that may not. Blocks.
    ///
    /// # Errors
    ///
    /// The file system fails, or there are more than `most`.
    pub fn all(mut self, most: usize) -> Result<Vec<Option<(PagePath, bool)>>, StoreError> {
        let mut all = Vec::new();
        while let Some(found) = self.names.read() {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if all.len() >= most {
                return Err(StoreError::TooMany { most });
            }
            let Ok(stat) = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
            let path = name.to_str().ok().and_then(|name| self.path.join(name));
            all.push(path.map(|path| (path.as_directory(is_directory), is_directory)));
        }
        Ok(all)
    }
}

/// How much room there is below a directory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The bytes that are taken.
    pub used: u64,
    /// The bytes that are left.
    pub available: u64,
}

impl Store {
    /// What is at a path. Blocks.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub fn find(&self, path: &PagePath) -> Result<Option<Entry>, StoreError> {
        match self.root.to_change() {
            Ok(root) => entry(&root, path),
            Err(StoreError::NoParent) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds out whether what is at a path is a file or a directory itself, and may be moved. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Link`], [`StoreError::NoFile`], or what the file system says.
    pub fn check_own(&self, path: &PagePath) -> Result<(), StoreError> {
        let root = self.root.to_change()?;
        let (parent, name) = path.split();
        if name.is_empty() {
            return Err(StoreError::Directory);
        }
        match look(&root.to_change(parent.as_bytes())?, name) {
            Err(StoreError::Directory) => Ok(()),
            found => found?.map(drop).ok_or(StoreError::Missing),
        }
    }

    /// What is in the directory at a path, on the account of `holder`. Blocks.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read.
    pub fn list(&self, path: &PagePath, holder: Option<ClientPrefix>) -> Result<Entries, StoreError> {
        let root = self.root.to_change()?;
        let directory = match root.look_up(path.path().as_bytes())? {
            OpenedPath::Directory(directory) => directory,
            OpenedPath::Denied => return Err(denied()),
            OpenedPath::File(..) | OpenedPath::Nothing => return Err(StoreError::Missing),
        };
        let names = Dir::read_from(&directory)?;
        let directory = OpenFile::new(directory.into(), holder).map_err(std::io::Error::from)?;
        Ok(Entries { names, directory, root, path: path.clone() })
    }

    /// Makes a directory. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::NoParent`], or what the file system says.
    pub fn make_directory(&self, path: &PagePath) -> Result<(), StoreError> {
        let root = self.to_change(path)?;
        let (parent, name) = path.split();
        if name.is_empty() {
            return Err(StoreError::Exists);
        }
        let parent = root.to_change(parent.as_bytes())?;
        match mkdirat(&parent, name, DIRECTORY_MODE) {
            Err(Errno::EXIST) => return Err(StoreError::Exists),
            made => made?,
        }
        Edition::publish();
        Ok(fsync(&parent)?)
    }

    /// Makes an empty file where nothing is. Blocks.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], or what [`copy`](Self::copy) may say.
    pub fn create_empty(
        &self,
        path: &PagePath,
        holder: Option<ClientPrefix>,
        options: &StoreOptions,
    ) -> Result<(), StoreError> {
        let absent: Check<'_> = &|current| current.map_or(Ok(()), |_there| Err(StoreError::Exists));
        let draft = self.begin(path, Some(0), holder, options, absent)?;
        self.publish(path, draft, options, absent).map(drop)
    }

    /// Copies the file at `from` to `to`, where there is nothing or a file, which becomes a version. Whether nothing was there. Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn copy(
        &self,
        from: &PagePath,
        to: &PagePath,
        holder: Option<ClientPrefix>,
        options: &StoreOptions,
    ) -> Result<bool, StoreError> {
        let (content, stat) = self.open_to_copy(from)?;
        let mut draft = self.begin(to, stat.st_size.try_into().ok(), holder, options, &|_| Ok(()))?;
        draft.copy(&content, &self.root)?;
        Ok(self.publish(to, draft, options, &|_| Ok(()))?.is_new)
    }

    /// Finds out whether the file at a path may be copied, and the room that it takes, as a quota counts it. Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn check_copy(&self, from: &PagePath) -> Result<u64, StoreError> {
        let (_content, stat) = self.open_to_copy(from)?;
        Ok(blocks(stat.st_size.try_into().unwrap_or(0)))
    }

    fn open_to_copy(&self, from: &PagePath) -> Result<(File, Stat), StoreError> {
        let root = self.to_change(from)?;
        let (parent, name) = from.split();
        let parent = parent_of(&root, parent)?;
        match open(&parent, name) {
            Err(StoreError::NoParent) => Err(StoreError::Missing),
            opened => opened,
        }
    }

    /// Finds out whether what is at a path may be removed, a directory once there is nothing in it, as far as that can be known before.
    /// Returns the room that it takes, as a quota counts it. Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn check_removal(&self, path: &PagePath) -> Result<u64, StoreError> {
        let root = self.to_change(path)?;
        let (parent, name) = path.split();
        if name.is_empty() {
            return Err(StoreError::Directory);
        }
        let parent = parent_of(&root, parent)?;
        let bytes = match look(&parent, name) {
            Err(StoreError::Directory) => {
                // It is not entered where something is mounted.
                root.to_change(path.path().as_bytes())?;
                0
            }
            found => blocks(found?.ok_or(StoreError::Missing)?.stat.st_size.try_into().unwrap_or(0)),
        };
        accessat(&parent, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())?;
        Ok(bytes)
    }

    /// Finds out whether the file, or the directory if `from` has a slash at its end, may be moved, as far as that can be known before.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn check_move(&self, from: &PagePath, to: &PagePath) -> Result<(), StoreError> {
        self.check_removal(from)?;
        if from.is_directory() {
            if self.root.holds_own(from.path()) || self.root.would_hold_own(to.path()) {
                return Err(StoreError::Own);
            }
            if from.split().0 != to.split().0 {
                // Its `..` becomes another.
                let directory = self.root.to_change()?.to_change(from.path().as_bytes())?;
                accessat(&directory, ".", Access::WRITE_OK, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Finds out whether the quota has room for `wanted` bytes once `goes` bytes have gone. Blocks: all that is there may have to be
    /// measured.
    ///
    /// # Errors
    ///
    /// [`StoreError::Quota`], or what the file system says.
    pub fn check_room(&self, wanted: u64, goes: u64, options: &StoreOptions) -> Result<(), StoreError> {
        options.quota.map_or(Ok(()), |quota| self.usage.check_room(wanted, goes, quota, &self.root))
    }

    /// Moves the file or directory at `from` to `to`, with its versions unless there are some of what was there before. There is nothing,
    /// or if it `replaces` what is there, for a file a file, which becomes a version. Whether nothing was there. Blocks.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn rename(
        &self,
        from: &PagePath,
        to: &PagePath,
        options: &StoreOptions,
        replaces: bool,
    ) -> Result<bool, StoreError> {
        let root = self.to_change(from)?;
        self.to_change(to)?;
        let ((old, old_name), (new, new_name)) = (from.split(), to.split());
        if old_name.is_empty() || new_name.is_empty() {
            return Err(StoreError::Directory);
        }
        if to.path().strip_prefix(from.path()).is_some_and(|below| below.starts_with('/')) {
            return Err(StoreError::Within);
        }
        let old = parent_of(&root, old)?;
        let new = match root.to_change(new.as_bytes()) {
            Err(Errno::NOENT) if options.create_directories => {
                versions::make_directories(&root, new, DIRECTORY_MODE)?
            }
            opened => opened?,
        };
        let _alone = lock_both((&old, old_name), (&new, new_name))?;
        let file = match look(&old, old_name) {
            Err(StoreError::Directory) => None,
            found => Some(found?.ok_or(StoreError::Missing)?.stat),
        };
        let is_directory = file.is_none();
        // What is in it could come to lie where something of the server's own is missing.
        if is_directory && (self.root.holds_own(from.path()) || self.root.would_hold_own(to.path())) {
            return Err(StoreError::Own);
        }
        let there = if replaces { look(&new, new_name)? } else { None };
        let went = match there {
            Some(_) if is_directory => return Err(StoreError::NotEmpty),
            // Of two names of one file rename(2) takes none away.
            Some(ref current) if file.is_some_and(|file| are_links(&file, &current.stat)) => {
                unlinkat(&old, old_name, AtFlags::empty())?;
                Some((current.stat, None))
            }
            Some(ref current) => {
                let keeps = options.versions > 0 && current.stat.st_size > 0;
                let kept = keeps.then(|| self.keep_replaced(&root, to, &new)).transpose()?;
                renameat(&old, old_name, &new, new_name)?;
                Some((current.stat, kept))
            }
            None => {
                match renameat_with(&old, old_name, &new, new_name, RenameFlags::NOREPLACE) {
                    Err(Errno::EXIST) => return Err(StoreError::Exists),
                    renamed => renamed?,
                }
                None
            }
        };
        Edition::publish();
        fsync(&new)?;
        fsync(&old)?;
        versions::follow(&root, from, to)?;
        let is_new = went.is_none();
        if let Some((stat, kept)) = went {
            self.usage.changed(0, self.went(&stat, kept.as_ref(), options));
        }
        Ok(is_new)
    }

    /// The room that there is, by the quota and on the disk. Blocks: with a quota all that is there may have to be measured.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub fn room(&self, options: &StoreOptions) -> Result<Room, StoreError> {
        let root = self.root.to_change()?;
        let disk = fstatvfs(root.to_change(b"")?)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let free = bytes(disk.f_bavail);
        match options.quota {
            None => Ok(Room { used: bytes(disk.f_blocks.saturating_sub(disk.f_bfree)), available: free }),
            Some(quota) => {
                let used = self.usage.measured(&self.root)?;
                Ok(Room { used, available: quota.saturating_sub(used).min(free) })
            }
        }
    }
}

/// Whether these are two names of one file.
fn are_links(one: &Stat, other: &Stat) -> bool {
    // With one link they are one name, where the file system takes `a` and `A` for the same.
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) && one.st_nlink > 1
}

fn entry(root: &RootDirectory, path: &PagePath) -> Result<Option<Entry>, StoreError> {
    let (stat, file) = match root.look_up(path.path().as_bytes()) {
        Ok(OpenedPath::File(file, stat)) => (stat, Some(file)),
        Ok(OpenedPath::Directory(directory)) => {
            let stat = rustix::fs::fstat(&directory)?;
            return Ok(Some(Entry { created: created(&directory), stat, file: None }));
        }
        Ok(OpenedPath::Nothing | OpenedPath::Denied) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(Entry { created: file.as_ref().and_then(created), stat, file }))
}

/// The time at which it was made, where the file system knows.
fn created(file: impl std::os::fd::AsFd) -> Option<u64> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    is_known.then(|| u64::try_from(found.stx_btime.tv_sec).ok()).flatten()
}

fn denied() -> StoreError {
    StoreError::Denied(Errno::ACCESS.into())
}
