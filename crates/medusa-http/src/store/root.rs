//! A directory that is served or published to, and the only way to open something in it.
//!
//! **Invariant:** every path is resolved by the kernel *beneath* the directory: `openat2` with `RESOLVE_BENEATH` refuses
//! `..` above it, absolute symbolic links and links that lead out, also while others rename and link; with
//! `RESOLVE_NO_MAGICLINKS` it refuses the links of `/proc`. Links that stay within are followed.
//!
//! **Invariant:** with [`Wait::Never`] nothing here waits for a disk or a network: the kernel answers from its caches
//! (`RESOLVE_CACHED`), on file systems whose own `open` does not wait either, or this says [`io::ErrorKind::WouldBlock`].
//! A worker may call it then.
//!
//! **Invariant:** what the server has as its own ([`medusa_files::OwnPath`]) is not there, unless somebody asked for it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medusa_files::{FileStamp, named_below, suspect, would_lie_below};
use medusa_proto::glob::Glob;
use parking_lot::Mutex;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, fstatfs, openat2,
};
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::error::StoreError;

/// The flags to open for reading. `NONBLOCK`: opening a FIFO must not wait for a writer; it means nothing for files.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// The flags for a look into the kernel's cache: what is mounted below the root may be of any kind, so that the
/// blocking pool has to see to it (`NO_XDEV`).
const CACHED: ResolveFlags = ResolveFlags::CACHED.union(ResolveFlags::NO_XDEV);
/// Where something is changed, the kernel follows no symbolic link at all, and enters nothing that is mounted below.
const CHANGES: ResolveFlags = BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
/// The number of tries when others rename things while the kernel resolves a path.
const RACES: usize = 8;

/// File systems whose `open` and `fstat` ask no one else: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, overlayfs,
/// `SquashFS`, EROFS. NFS and FUSE, for example, ask their server, whatever the kernel has in its caches.
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x794c_7630, 0x7371_7368, 0xe0f5_e1e2];

/// The time for which what was found counts without another look.
pub(crate) const FRESH: Duration = Duration::from_millis(50);

/// The reason why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is nothing at this path.
    #[error("there is no directory `{}`; create it, or correct the path", .0.display())]
    Missing(PathBuf),
    /// There is something, but no directory.
    #[error("`{}` is not a directory; name the directory that holds the files", .0.display())]
    NotDirectory(PathBuf),
    /// The system does not let us in.
    #[error("cannot read the directory `{}` (let the server's user read and enter it)", .path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let us write.
    #[error("cannot write to the directory `{}` (let the server's user write to it)", .path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel cannot keep a path within a directory.
    #[error(
        "paths cannot be kept within a directory: the system call `openat2` (Linux 5.6 or newer) does not work here"
    )]
    Unsupported(#[source] io::Error),
}

/// Whether the caller can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// No: it is a worker.
    Never,
    /// Yes: it is a thread of the blocking pool.
    ForDisk,
}

/// The directory by its path, not by a descriptor, so that it can be replaced as a whole while the server runs. A worker that
/// opens it keeps it for [`FRESH`], for all, and no longer: a descriptor would hold what is mounted there.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    /// The directory below it that is meant instead, if one is.
    owned: Option<OwnedPart>,
    /// Patterns of what is there although it is the server's own.
    asked: Arc<[Glob]>,
    /// Whether it is kept at all.
    keeps: bool,
    kept: Arc<Mutex<Option<Arc<OwnedFd>>>>,
}

/// A directory below a root, of which only what belongs to a user is there: itself, and what is in it.
#[derive(Debug)]
struct OwnedPart {
    path: PathBuf,
    owner: u32,
}

/// The directory as it is now.
#[derive(Debug)]
pub(crate) struct RootDirectory {
    fd: Arc<OwnedFd>,
    /// Nothing else than what belongs to this user is there.
    owner: Option<u32>,
    asked: Arc<[Glob]>,
    wait: Wait,
}

/// The thing that a path leads to.
#[derive(Debug)]
pub(crate) enum OpenedPath {
    /// A regular file.
    File(File, Stat),
    /// A directory.
    Directory(OwnedFd),
    /// Nothing, or nothing that is served: a way out of the root, a FIFO, a socket, a device.
    Nothing,
    /// Something that the server's user may not read.
    Denied,
}

impl Root {
    /// Checks that the directory can be served from.
    pub(crate) fn open(path: &Path, keeps: bool) -> Result<Self, RootError> {
        let unreadable = |source| RootError::Unreadable { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(unreadable)?;
        let root = Self { path, owned: None, asked: Arc::default(), keeps, kept: Arc::default() };
        let directory = root.directory(ResolveFlags::empty()).map_err(|error| match error {
            Errno::NOENT => RootError::Missing(root.path.clone()),
            Errno::NOTDIR => RootError::NotDirectory(root.path.clone()),
            Errno::NOSYS | Errno::PERM => RootError::Unsupported(error.into()),
            _ => RootError::Unreadable { path: root.path.clone(), source: error.into() },
        })?;
        match openat2(directory, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Ok(_) => Ok(root),
            Err(error @ (Errno::NOSYS | Errno::PERM)) => Err(RootError::Unsupported(error.into())),
            Err(error) => Err(unreadable(error.into())),
        }
    }

    /// What belongs to the user `owner` in the directory at `path` below `home`: nothing, as long as that is not there.
    pub(crate) fn of_user(home: &Path, path: &Path, owner: u32, keeps: bool) -> Self {
        let owned = Some(OwnedPart { path: path.to_owned(), owner });
        Self { path: home.to_owned(), owned, asked: Arc::default(), keeps, kept: Arc::default() }
    }

    /// The same, where what one of these patterns is for is there although it is the server's own.
    pub(crate) fn asked(self, patterns: &[Glob]) -> Self {
        Self { asked: patterns.into(), ..self }
    }

    /// Checks that the directory can be written to.
    pub(super) fn check_writable(&self) -> Result<(), RootError> {
        let unwritable = |source| RootError::Unwritable { path: self.path.clone(), source };
        accessat(CWD, &self.path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::empty())
            .map_err(|errno| unwritable(errno.into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that is at the root's path now; `Err` with what to answer if there is none.
    pub(crate) fn enter(&self, wait: Wait) -> io::Result<Result<RootDirectory, OpenedPath>> {
        let kept = self.kept.lock().clone();
        if let Some(fd) = kept {
            return Ok(Ok(self.entered(fd, wait)));
        }
        let resolve = match wait {
            Wait::Never => ResolveFlags::CACHED,
            Wait::ForDisk => ResolveFlags::empty(),
        };
        match self.directory(resolve) {
            Ok(fd) if wait == Wait::Never && !is_local(&fd) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(fd) => {
                let fd = Arc::new(fd);
                if self.keeps && wait == Wait::Never {
                    self.keep(Arc::clone(&fd));
                }
                Ok(Ok(self.entered(fd, wait)))
            }
            Err(error) => refusal(error, wait).map(Err),
        }
    }

    /// The directory that is at the root's path now, to change what is below it. Blocks.
    pub(super) fn to_change(&self) -> Result<RootDirectory, StoreError> {
        self.enter(Wait::ForDisk)?.map_err(|_nothing| StoreError::NoParent)
    }

    /// Whether something of the server's own lies below the directory at a path. Blocks.
    pub(super) fn holds_own(&self, path: &str) -> bool {
        !named_below(&self.path.join(path)).is_empty()
    }

    /// Whether something of the server's own would lie below a directory at a path, whether it is there or not. Blocks.
    pub(super) fn would_hold_own(&self, path: &str) -> bool {
        would_lie_below(&self.path.join(path))
    }

    fn keep(&self, fd: Arc<OwnedFd>) {
        let Ok(runtime) = Handle::try_current() else { return };
        *self.kept.lock() = Some(fd);
        let kept = Arc::clone(&self.kept);
        runtime.spawn(async move {
            sleep(FRESH).await;
            kept.lock().take();
        });
    }

    fn directory(&self, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat2(CWD, &self.path, flags, Mode::empty(), resolve)?;
        let Some(OwnedPart { path, owner }) = &self.owned else { return Ok(directory) };
        let part = openat2(&directory, path, flags, Mode::empty(), resolve | BENEATH)?;
        if fstat(&part)?.st_uid == *owner { Ok(part) } else { Err(Errno::NOENT) }
    }

    fn entered(&self, fd: Arc<OwnedFd>, wait: Wait) -> RootDirectory {
        let owner = self.owned.as_ref().map(|owned| owned.owner);
        RootDirectory { fd, owner, asked: Arc::clone(&self.asked), wait }
    }
}

impl RootDirectory {
    /// Opens what is at a path below the root.
    pub(crate) fn look_up(&self, path: &[u8]) -> io::Result<OpenedPath> {
        let file = match self.beneath(path, READ) {
            Ok(file) => file,
            Err(error) => return refusal(error, self.wait),
        };
        let stat = fstat(&file)?;
        if !self.is_owned(&stat) || self.is_servers(path, Some(&stat))? {
            return Ok(OpenedPath::Nothing);
        }
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => OpenedPath::File(file.into(), stat),
            FileType::Directory => OpenedPath::Directory(file),
            _ => OpenedPath::Nothing,
        })
    }

    /// The first of the files `names` in the directory at `path` (which ends with a slash, or is empty), and its path.
    pub(crate) fn index(&self, path: &[u8], names: &[String]) -> io::Result<Option<(Vec<u8>, OpenedPath)>> {
        for name in names {
            let index = [path, name.as_bytes()].concat();
            let opened = self.look_up(&index)?;
            if matches!(opened, OpenedPath::File(..) | OpenedPath::Denied) {
                return Ok(Some((index, opened)));
            }
        }
        Ok(None)
    }

    /// Looks at a path below the root, without opening it; `None` if nothing is, or it leads out.
    ///
    /// # Errors
    ///
    /// Only that to find out would mean to wait.
    pub(crate) fn stat(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.beneath(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(file) => match fstat(file) {
                Ok(stat) if self.is_owned(&stat) && !self.is_servers(path, Some(&stat))? => Ok(Some(stat)),
                _ => Ok(None),
            },
            Err(error) if would_block(error, self.wait) => Err(io::ErrorKind::WouldBlock.into()),
            Err(_) => Ok(None),
        }
    }

    /// Whether what is at a path, or would be, is the server's own, also where directories on its way are missing. `root` is the path of
    /// this directory. Blocks.
    pub(super) fn is_servers_own(&self, root: &Path, path: &[u8]) -> io::Result<bool> {
        let found = self.beneath(path, OFlags::PATH | OFlags::CLOEXEC).and_then(fstat).ok();
        if self.is_servers(path, found.as_ref())? {
            return Ok(true);
        }
        let directory = |end: usize| Some(root.join(OsStr::from_bytes(path.get(..end)?)));
        Ok(suspect(path, None).is_some_and(|suspicion| suspicion.would_hold(directory)))
    }

    /// Whether what was found at a path is the server's own, and nobody asked for it.
    fn is_servers(&self, path: &[u8], found: Option<&Stat>) -> io::Result<bool> {
        let identity = |stat: &Stat| FileStamp::from(stat).identity();
        let Some(suspicion) = suspect(path, found.map(identity)) else { return Ok(false) };
        if self.asked.iter().any(|pattern| pattern.matches(path)) {
            return Ok(false);
        }
        if self.wait == Wait::Never {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let directory =
            |end| self.beneath(path.get(..end)?, OFlags::PATH | OFlags::CLOEXEC).and_then(fstat).ok();
        Ok(suspicion.holds(|end| directory(end).as_ref().map(identity)))
    }

    fn is_owned(&self, stat: &Stat) -> bool {
        self.owner.is_none_or(|owner| stat.st_uid == owner)
    }

    /// Opens the directory at a path below the root, to change what is in it. Blocks.
    pub(super) fn to_change(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        resolved(&self.fd, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, CHANGES)
    }

    fn beneath(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        match self.wait {
            Wait::Never => openat2(self.fd.as_fd(), path, flags, Mode::empty(), BENEATH.union(CACHED)),
            Wait::ForDisk => resolved(&self.fd, path, flags, BENEATH),
        }
    }
}

/// Opens a path, once more if others rename things while the kernel resolves it.
fn resolved(
    directory: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match openat2(directory.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
            result => return result,
        }
    }
}

fn is_local(fd: &OwnedFd) -> bool {
    fstatfs(fd).is_ok_and(|system| LOCAL.contains(&(system.f_type as u64)))
}

/// Whether an error only tells that the answer takes waiting. XDEV: something is mounted there. INVAL: a kernel before
/// 5.12, which cannot answer from its caches alone.
fn would_block(error: Errno, wait: Wait) -> bool {
    wait == Wait::Never && matches!(error, Errno::AGAIN | Errno::INTR | Errno::XDEV | Errno::INVAL)
}

/// Errors that are an answer, and those that are the server's trouble.
fn refusal(error: Errno, wait: Wait) -> io::Result<OpenedPath> {
    match error {
        error if would_block(error, wait) => Err(io::ErrorKind::WouldBlock.into()),
        // XDEV: it leads out. LOOP: a magic link, or links in a circle. NXIO: a socket. NODEV: no such device.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NXIO
        | Errno::NODEV => Ok(OpenedPath::Nothing),
        Errno::ACCESS | Errno::PERM => Ok(OpenedPath::Denied),
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_directory_is_kept_for_a_moment_and_then_let_go() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("public");
        let put = |content: &str| {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("a"), content).unwrap();
        };
        let content = |root: &Root| {
            let Ok(entered) = root.enter(Wait::ForDisk).unwrap() else { panic!("it is there") };
            let Ok(OpenedPath::File(file, _)) = entered.look_up(b"a") else { panic!("a file") };
            io::read_to_string(file).unwrap()
        };
        put("old");
        let root = Root::open(&path, true).unwrap();
        assert!(root.enter(Wait::ForDisk).is_ok_and(|entered| entered.is_ok()));
        assert!(root.kept.lock().is_none(), "only a worker keeps it");
        let Ok(Ok(RootDirectory { fd, .. })) = root.enter(Wait::Never) else { return }; // not on this file system
        let kept = Arc::downgrade(&fd);
        drop(fd);
        std::fs::rename(&path, parent.path().join("before")).unwrap();
        put("new");
        assert_eq!(content(&root), "old");
        sleep(FRESH * 2).await;
        assert_eq!((content(&root).as_str(), kept.strong_count()), ("new", 0));
    }
}
