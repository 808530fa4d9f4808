//! The directory that is served, and the only way to open something in it.
//!
//! **Invariant:** every path is resolved by the kernel *beneath* the directory: `openat2` with `RESOLVE_BENEATH` refuses
//! `..` above it, absolute symbolic links and links that lead out, also while others rename and link; with
//! `RESOLVE_NO_MAGICLINKS` it refuses the links of `/proc`. Links that stay within are followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use super::FilesError;

/// What is opened for reading. `NONBLOCK`: opening a FIFO must not wait for a writer; it means nothing for files.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// How often to try again when others rename things while the kernel resolves a path.
const RACES: usize = 8;

/// The directory by its path, not by a descriptor, so that it can be replaced as a whole while the server runs.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
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
        let directory = root.directory().map_err(|error| match error {
            Errno::NOENT => FilesError::Missing(root.path.clone()),
            Errno::NOTDIR => FilesError::NotDirectory(root.path.clone()),
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

    /// Opens what is at a path below the root. Blocks.
    pub(super) fn look_up(&self, path: &[u8]) -> io::Result<Opened> {
        let path = if path.is_empty() { b"." } else { path };
        let file = match self.beneath(path, READ) {
            Ok(file) => file,
            Err(error) => return refusal(error),
        };
        let stat = fstat(&file)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Opened::File(file.into(), stat),
            FileType::Directory => Opened::Directory(file),
            _ => Opened::Nothing,
        })
    }

    /// What is at a path below the root, without opening it; `None` if nothing is, or it leads out. Blocks.
    pub(super) fn stat(&self, path: &[u8]) -> Option<Stat> {
        fstat(self.beneath(path, OFlags::PATH | OFlags::CLOEXEC).ok()?).ok()
    }

    fn beneath(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let directory = self.directory()?;
        let mut tries = 0;
        loop {
            match openat2(directory.as_fd(), path, flags, Mode::empty(), BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
                result => return result,
            }
        }
    }

    fn directory(&self) -> rustix::io::Result<OwnedFd> {
        openat(CWD, &self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }
}

/// Errors that are an answer, and those that are the server's trouble.
fn refusal(error: Errno) -> io::Result<Opened> {
    match error {
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
