//! Content on its way into a store: a file that has no name until it is whole.
//!
//! Where the file system can, it has none at all (`O_TMPFILE`), and is gone with its last descriptor, however the process ends. A name
//! that others have can only be taken by one that has a name, so it gets one for the moment before that; and from the beginning where the
//! file system cannot do without. What is left of these when a process is killed, the next one that opens the store removes
//! ([`clean`]).
//!
//! **Invariant:** a file with a name in `unfinished` is locked as long as somebody writes it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderValue;
use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors::OpenFile;
use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, RenameFlags, Stat, XattrFlags, fchmod, fgetxattr, flock,
    fsetxattr, fstat, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::error::StoreError;
use super::root::{Root, RootDirectory};
use super::tag::Hasher;
use super::target::KEPT;
use super::usage::Reserved;
use super::versions::{PRIVATE, make_directories};

/// The mode of a new file, from which the process's umask takes away.
const MODE: Mode = Mode::from_raw_mode(0o644);
const READ_WRITE: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);
/// The attribute of a file that says who has published it.
const USER: &str = "user.medusa.user";
/// The most of a user's name that is noted, in bytes.
const MAX_USER: usize = 128;
/// The number of names that are tried.
const TRIES: usize = 8;
/// The length of one read of a file that is copied.
const PIECE: usize = 256 * 1024;

/// Content on its way in. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    file: OpenFile,
    /// Its name and the directory that has it, if it has one.
    name: Option<DraftName>,
    len: u64,
    hasher: Hasher,
    reserved: Reserved,
}

#[derive(Debug)]
struct DraftName {
    unfinished: OwnedFd,
    name: String,
}

impl Drop for DraftName {
    fn drop(&mut self) {
        // It is not there any more, if all went well.
        let _gone = unlinkat(&self.unfinished, &self.name, AtFlags::empty());
    }
}

impl Draft {
    /// An empty one, in the file system of `root`, on the account of `holder`.
    pub(super) fn new(
        root: &RootDirectory,
        holder: Option<ClientPrefix>,
        reserved: Reserved,
    ) -> Result<Self, StoreError> {
        let unfinished = unfinished(root)?;
        let (file, name) = match openat(&unfinished, ".", READ_WRITE | OFlags::TMPFILE, MODE) {
            Ok(file) => (File::from(file), None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let (file, name) = named(unfinished)?;
                (file, Some(name))
            }
            Err(error) => return Err(error.into()),
        };
        let file = OpenFile::new(file, holder).map_err(std::io::Error::from)?;
        Ok(Self { file, name, len: 0, hasher: Hasher::new(), reserved })
    }

    /// Adds a piece.
    pub(crate) fn write(&mut self, piece: &[u8], root: &Root) -> Result<(), StoreError> {
        self.reserved.grow_to(self.len + piece.len() as u64, root)?;
        let mut file: &File = &self.file;
        file.write_all(piece)?;
        self.len += piece.len() as u64;
        self.hasher.update(piece);
        Ok(())
    }

    /// Adds all that is in a file.
    pub(super) fn copy(&mut self, from: &File, root: &Root) -> Result<(), StoreError> {
        let (mut piece, mut at) = (vec![0; PIECE], 0);
        loop {
            match from.read_at(&mut piece, at) {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    self.write(&piece[..read], root)?;
                    at += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Its length, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Brings it to the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        Ok(self.file.sync_all()?)
    }

    /// Notes who publishes it, with the file itself, so that its versions have it, too: where the file system keeps such notes.
    pub(crate) fn set_user(&self, user: Option<&str>) {
        if let Some(user) = user.and_then(|user| user.get(..user.floor_char_boundary(MAX_USER))) {
            let _kept = fsetxattr(&self.file, USER, user.as_bytes(), XattrFlags::empty());
        }
    }

    /// Gives it the permissions of the file that it is to replace, so far as these are anybody's to set.
    pub(super) fn take_mode(&self, of: &Stat) -> Result<(), StoreError> {
        let mode = |stat: &Stat| Mode::from_raw_mode(stat.st_mode & 0o777);
        if mode(of) != mode(&fstat(&self.file)?) {
            fchmod(&self.file, mode(of))?;
            self.sync()?;
        }
        Ok(())
    }

    /// Gives it a name that nobody has.
    pub(super) fn create(&self, directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        match &self.name {
            None => link(&self.file, directory, name),
            Some(DraftName { unfinished, name: own }) => {
                match renameat_with(unfinished, own, directory, name, RenameFlags::NOREPLACE) {
                    // The file system cannot; its own name goes when this is dropped.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(unfinished, own, directory, name, AtFlags::empty())
                    }
                    renamed => renamed,
                }
            }
        }
    }

    /// Gives it a name of its own, which [`replace`](Self::replace) needs.
    pub(super) fn name(&mut self, root: &RootDirectory) -> Result<(), StoreError> {
        if self.name.is_none() {
            // Where files cannot be locked, none is removed for not being locked.
            let _unlocked = flock(&self.file, FlockOperation::NonBlockingLockExclusive);
            let unfinished = unfinished(root)?;
            let name = free_name(|name| link(&self.file, &unfinished, name))?;
            self.name = Some(DraftName { unfinished, name });
        }
        Ok(())
    }

    /// Gives it a name that another file has, in one step. One that was not named before is nowhere.
    pub(super) fn replace(&self, directory: &OwnedFd, name: &str) -> Result<(), StoreError> {
        let own = self.name.as_ref().ok_or(Errno::NOENT)?;
        Ok(renameat(&own.unfinished, &own.name, directory, name)?)
    }

    /// The file, and the tag of its content if that is made of the content.
    pub(super) fn into_file(self) -> (OpenFile, Option<HeaderValue>) {
        (self.file, self.hasher.tag())
    }
}

/// Who has published a file, if that is known.
pub(super) fn user_of(file: impl AsFd) -> Option<String> {
    let mut user = [0; MAX_USER];
    let len = fgetxattr(file, USER, &mut user).ok()?;
    Some(std::str::from_utf8(user.get(..len)?).ok()?.to_owned())
}

fn unfinished(root: &RootDirectory) -> Result<OwnedFd, StoreError> {
    make_directories(root, &format!("{KEPT}/unfinished"), PRIVATE)
}

/// A new file with a name, which is locked.
fn named(unfinished: OwnedFd) -> Result<(File, DraftName), StoreError> {
    let new = READ_WRITE | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for _ in 0..TRIES {
        let mut file = None;
        let name = free_name(|name| {
            file = Some(openat(&unfinished, name, new, MODE)?);
            Ok(())
        })?;
        // There is one: a free name was found.
        let Some(file) = file else { break };
        // Another process that starts just now may have taken it for a dead one's.
        let is_taken = flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK);
        if !is_taken && fstat(&file)?.st_nlink > 0 {
            return Ok((file.into(), DraftName { unfinished, name }));
        }
    }
    Err(Errno::EXIST.into())
}

/// Has `take` take a name that nobody has.
fn free_name(mut take: impl FnMut(&str) -> rustix::io::Result<()>) -> Result<String, StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut tries = 0;
    loop {
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        match take(&name) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) if tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives a name to a file that has none.
fn link(file: &OpenFile, directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    match linkat(CWD, path.as_str(), directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc: it takes Linux 6.10, or a privilege.
        Err(Errno::NOENT) => linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
        linked => linked,
    }
}

/// Removes what processes that are gone have left.
pub(super) fn clean(root: &RootDirectory) -> Result<u64, StoreError> {
    let path = format!("{KEPT}/unfinished");
    let unfinished = match root.to_change(path.as_bytes()) {
        Ok(unfinished) => unfinished,
        Err(Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut removed = 0;
    let mut names = Dir::read_from(&unfinished)?;
    while let Some(found) = names.read() {
        let found = found?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(&unfinished, name, open, Mode::empty()) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && unlinkat(&unfinished, name, AtFlags::empty()).is_ok()
        {
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::store::Store;

    fn root(dir: &TempDir) -> Root {
        Root::open(dir.path(), false).unwrap()
    }

    /// A draft as there is where files must have names.
    fn with_name(root: &Root) -> Draft {
        let directory = root.to_change().unwrap();
        let (file, name) = named(unfinished(&directory).unwrap()).unwrap();
        let file = OpenFile::new(file, None).unwrap();
        let usage = std::sync::Arc::default();
        Draft { file, name: Some(name), len: 0, hasher: Hasher::new(), reserved: Reserved::new(&usage, None) }
    }

    fn unfinished_in(dir: &Path) -> usize {
        std::fs::read_dir(dir.join(KEPT).join("unfinished")).map_or(0, Iterator::count)
    }

    #[test]
    fn a_draft_with_a_name_creates_and_replaces() {
        let dir = TempDir::new().unwrap();
        let root = root(&dir);
        let directory = root.to_change().unwrap().to_change(b"").unwrap();
        let mut new = with_name(&root);
        new.write(b"new", &root).unwrap();
        assert_eq!(unfinished_in(dir.path()), 1);
        new.create(&directory, "a").unwrap();
        assert_eq!(new.create(&directory, "b"), Err(Errno::NOENT));
        drop(new);
        let mut other = with_name(&root);
        other.write(b"other", &root).unwrap();
        assert_eq!(other.create(&directory, "a"), Err(Errno::EXIST));
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"new");
        other.replace(&directory, "a").unwrap();
        drop(other);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"other");
        drop(with_name(&root));
        assert_eq!(unfinished_in(dir.path()), 0, "one that is given up is gone");
    }

    #[test]
    fn what_a_dead_process_has_left_is_removed_and_nothing_else() {
        let dir = TempDir::new().unwrap();
        let root = root(&dir);
        let alive = with_name(&root);
        std::fs::write(dir.path().join(KEPT).join("unfinished/4711-0"), "half").unwrap();
        Store::open(dir.path()).unwrap();
        assert_eq!(unfinished_in(dir.path()), 1, "somebody writes the other");
        drop(alive);
        assert_eq!(unfinished_in(dir.path()), 0);
    }
}
