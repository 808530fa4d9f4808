//! Keeping an uploaded file, below the script's directory.
//!
//! **Invariants:** the kernel resolves the path *beneath* the directory (`openat2` with `RESOLVE_BENEATH`), so neither
//! `..` nor a symbolic link leads out of it. The name is written in one step, when the file is whole and on disk: nobody
//! sees half of it, and a failure leaves what was there. A name that ends in `.luau` is refused: what a client sends must
//! not become part of the site at its next reload.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, renameat, unlinkat};
use rustix::io::Errno;

use super::upload::Content;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// How often to try again when others rename things while the kernel resolves a path, or took our name.
const RACES: usize = 8;

/// How much is copied at once, in bytes.
const PIECE: usize = 256 * 1024;

/// Why a file was not saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error("{0:?} is not the name of a file below the script's directory")]
    NoName(PathBuf),
    #[error("{0:?} would be a script; what clients send does not become one")]
    Script(PathBuf),
    #[error("{0:?} leads out of the script's directory")]
    Outside(PathBuf),
    #[error("cannot write {0:?}")]
    Io(PathBuf, #[source] io::Error),
}

/// Writes `content` to `path` below `root`, in place of what is there. Blocks.
pub(super) fn save(root: &Path, path: &Path, content: &Content) -> Result<(), SaveError> {
    let failed = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => SaveError::Outside(path.to_owned()),
        _ => SaveError::Io(path.to_owned(), error),
    };
    let name = match path.file_name() {
        Some(name) if !path.as_os_str().as_encoded_bytes().ends_with(b"/") => name,
        _ => return Err(SaveError::NoName(path.to_owned())),
    };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("luau")) {
        return Err(SaveError::Script(path.to_owned()));
    }
    let directory = parent(root, path).map_err(|error| failed(error.into()))?;
    let (file, draft) = draft(&directory).map_err(|error| failed(error.into()))?;
    let written = write(file, content).and_then(|()| Ok(renameat(&directory, &draft, &directory, name)?));
    written.map_err(|error| {
        // It may be gone already; there is nothing more to do about it then.
        let _gone = unlinkat(&directory, &draft, AtFlags::empty());
        failed(error)
    })
}

/// The directory that is to hold the file.
fn parent(root: &Path, path: &Path) -> rustix::io::Result<OwnedFd> {
    let root = openat(CWD, root, DIRECTORY, Mode::empty())?;
    let parent = path.parent().filter(|parent| *parent != OsStr::new("")).unwrap_or(Path::new("."));
    let mut tries = 0;
    loop {
        match openat2(root.as_fd(), parent, DIRECTORY, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
            result => return result,
        }
    }
}

/// A new file, under a name that nobody else has.
fn draft(directory: &OwnedFd) -> rustix::io::Result<(File, String)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut tries = 0;
    loop {
        let name = format!(".upload-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        match openat(directory, &name, NEW, Mode::from_raw_mode(0o644)) {
            Ok(file) => return Ok((file.into(), name)),
            Err(Errno::EXIST) if tries < RACES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

fn write(mut file: File, content: &Content) -> io::Result<()> {
    let mut offset = 0;
    while offset < content.len() {
        let piece = content.read_at(offset, PIECE)?;
        file.write_all(&piece)?;
        offset += piece.len() as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_file_is_saved_whole_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("site");
        fs::create_dir_all(root.join("uploads/deep")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("uploads", root.join("in")).unwrap();
        symlink("../outside/target", root.join("uploads/link")).unwrap();
        let content = Content::Memory(Bytes::from_static(b"content"));
        let to = |path: &str| save(&root, Path::new(path), &content);
        for path in ["a.txt", "uploads/b", "./uploads/../c", "in/d", "uploads/deep/e", "a.txt"] {
            to(path).unwrap();
            assert_eq!(fs::read(root.join(path)).unwrap(), b"content", "{path}");
        }
        // A link in the file's own place is replaced, not followed.
        to("uploads/link").unwrap();
        assert!(root.join("uploads/link").symlink_metadata().unwrap().is_file());
        for path in ["../x", "out/x", "/etc/x", "uploads/../../x", "/x"] {
            assert!(matches!(to(path), Err(SaveError::Outside(_))), "{path}");
        }
        for path in ["", ".", "..", "uploads/..", "uploads/x/"] {
            assert!(matches!(to(path), Err(SaveError::NoName(_))), "{path}");
        }
        for path in ["site.luau", "uploads/x.LUAU"] {
            assert!(matches!(to(path), Err(SaveError::Script(_))), "{path}");
        }
        for path in ["missing/x", "a.txt/x", "uploads", "x\0y"] {
            assert!(matches!(to(path), Err(SaveError::Io(..))), "{path}");
        }
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        let drafts = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap();
            entries
                .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
                .count()
        };
        assert_eq!((drafts(&root), drafts(&root.join("uploads"))), (0, 0), "nothing half-written is left");
    }
}
