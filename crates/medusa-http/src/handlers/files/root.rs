//! The directory that is served, and the only way to open something in it.
//!
//! **Invariant:** every path is resolved by the kernel *beneath* the directory: `openat2` with `RESOLVE_BENEATH` refuses
//! `..` above it, absolute symbolic links and links that lead out, also while others rename and link; with
//! `RESOLVE_NO_MAGICLINKS` it refuses the links of `/proc`. Links that stay within are followed.
//!
//! **Invariant:** with [`Wait::Never`] nothing here waits for a disk or a network: the kernel answers from its caches
//! (`RESOLVE_CACHED`), on file systems whose own `open` does not wait either, or this says [`io::ErrorKind::WouldBlock`].
//! A worker may call it then.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat2};
use rustix::io::Errno;

use super::options::FilesError;

/// What is opened for reading. `NONBLOCK`: opening a FIFO must not wait for a writer; it means nothing for files.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// What is mounted below the root may be of any kind, so that the blocking pool has to see to it (`NO_XDEV`).
const CACHED: ResolveFlags = ResolveFlags::CACHED.union(ResolveFlags::NO_XDEV);
/// How often to try again when others rename things while the kernel resolves a path.
const RACES: usize = 8;

/// File systems whose `open` and `fstat` ask no one else: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, overlayfs,
/// `SquashFS`, EROFS. NFS and FUSE, for example, ask their server, whatever the kernel has in its caches.
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x794c_7630, 0x7371_7368, 0xe0f5_e1e2];

/// Whether the caller can wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// No: it is a worker.
    Never,
    /// Yes: it is a thread of the blocking pool.
    ForDisk,
}

/// The directory by its path, not by a descriptor, so that it can be replaced as a whole while the server runs.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
}

/// The directory as it is now.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    wait: Wait,
}

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Opened {
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
    pub(super) fn open(path: &Path) -> Result<Self, FilesError> {
        let unreadable = |source| FilesError::Unreadable { path: path.to_owned(), source };
        let root = Self { path: std::path::absolute(path).map_err(unreadable)? };
        let directory = root.directory(ResolveFlags::empty()).map_err(|error| match error {
            Errno::NOENT => FilesError::Missing(root.path.clone()),
            Errno::NOTDIR => FilesError::NotDirectory(root.path.clone()),
            Errno::NOSYS | Errno::PERM => FilesError::Unsupported(error.into()),
            _ => FilesError::Unreadable { path: root.path.clone(), source: error.into() },
        })?;
        match openat2(directory, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Ok(_) => Ok(root),
            Err(error @ (Errno::NOSYS | Errno::PERM)) => Err(FilesError::Unsupported(error.into())),
            Err(error) => Err(unreadable(error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that is at the root's path now; `Err` with what to answer if there is none.
    pub(super) fn enter(&self, wait: Wait) -> io::Result<Result<Directory, Opened>> {
        let resolve = match wait {
            Wait::Never => ResolveFlags::CACHED,
            Wait::ForDisk => ResolveFlags::empty(),
        };
        match self.directory(resolve) {
            Ok(fd) if wait == Wait::Never && !is_local(&fd) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(fd) => Ok(Ok(Directory { fd, wait })),
            Err(error) => refusal(error, wait).map(Err),
        }
    }

    fn directory(&self, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(CWD, &self.path, flags, Mode::empty(), resolve)
    }
}

impl Directory {
    /// Opens what is at a path below the root.
    pub(super) fn look_up(&self, path: &[u8]) -> io::Result<Opened> {
        let path = if path.is_empty() { b"." } else { path };
        let file = match self.beneath(path, READ) {
            Ok(file) => file,
            Err(error) => return refusal(error, self.wait),
        };
        let stat = fstat(&file)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Opened::File(file.into(), stat),
            FileType::Directory => Opened::Directory(file),
            _ => Opened::Nothing,
        })
    }

    /// What is at a path below the root, without opening it; `None` if nothing is, or it leads out.
    ///
    /// # Errors
    ///
    /// Only that to find out would mean to wait.
    pub(super) fn stat(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.beneath(path, OFlags::PATH | OFlags::CLOEXEC) {
            Ok(file) => Ok(fstat(file).ok()),
            Err(error) if would_block(error, self.wait) => Err(io::ErrorKind::WouldBlock.into()),
            Err(_) => Ok(None),
        }
    }

    fn beneath(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let open = |resolve| openat2(self.fd.as_fd(), path, flags, Mode::empty(), resolve);
        if self.wait == Wait::Never {
            return open(BENEATH.union(CACHED));
        }
        let mut tries = 0;
        loop {
            match open(BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
                result => return result,
            }
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
fn refusal(error: Errno, wait: Wait) -> io::Result<Opened> {
    match error {
        error if would_block(error, wait) => Err(io::ErrorKind::WouldBlock.into()),
        // XDEV: it leads out. LOOP: a magic link, or links in a circle. NXIO: a socket. NODEV: no such device.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NXIO
        | Errno::NODEV => Ok(Opened::Nothing),
        Errno::ACCESS | Errno::PERM => Ok(Opened::Denied),
        error => Err(error.into()),
    }
}
