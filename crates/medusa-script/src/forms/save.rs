//! Keeping an uploaded file, below the script's directory.
//!
//! A script makes the path of what clients send, so it is judged as if a client had: [`Destination::of`] says what may be
//! named at all, and the kernel resolves the rest.
//!
//! **Invariants:** the kernel resolves the path *beneath* the directory (`openat2` with `RESOLVE_BENEATH`), so no symbolic
//! link leads out of it, nor one into the state directory, wherever that is. The name is written in one step, when the
//! file is whole and on disk: nobody sees half of it, and a failure leaves what was there. What stands in the name's place
//! is replaced, never opened: a device or a FIFO holds nobody up.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, renameat, stat, unlinkat,
};
use rustix::io::Errno;

use super::upload::Content;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// The number of times to try again when others rename things while the kernel resolves a path, or took our name.
const RACES: usize = 8;

/// The size that is copied at once, in bytes.
const PIECE: usize = 256 * 1024;

/// The reason why a file was not saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SaveError {
    #[error("{0:?} is not the name of a file below the script's directory")]
    NoName(PathBuf),
    #[error("{0:?} climbs by `..`; name the directory itself")]
    Climbs(PathBuf),
    #[error("{0:?} holds a name that begins with a dot; such files are not for what clients send")]
    Dot(PathBuf),
    #[error("{0:?} would be a script; what clients send does not become one")]
    Script(PathBuf),
    #[error("{0:?} leads out of the script's directory")]
    Outside(PathBuf),
    #[error("{0:?} leads into the server's state directory")]
    State(PathBuf),
    #[error("cannot write {0:?}")]
    Io(PathBuf, #[source] io::Error),
}

/// Below which directory files are saved, and where not.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// The script's directory.
    pub(super) directory: Arc<Path>,
    /// The state directory, if there is one: the control socket in it rules the server.
    pub(super) state: Option<Arc<Path>>,
}

/// A path that may be saved to, taken apart.
struct Destination<'p> {
    directory: &'p Path,
    name: &'p OsStr,
}

impl<'p> Destination<'p> {
    /// The one judge of a path to save to. Whatever is read by a name that begins with a dot (`.medusa`, `.git`, `.env`,
    /// `.htaccess`) or as a script is out of reach, and so is what only a detour leads to.
    fn of(path: &'p Path) -> Result<Self, SaveError> {
        let refuse = |why: fn(PathBuf) -> SaveError| Err(why(path.to_owned()));
        let bytes = path.as_os_str().as_encoded_bytes();
        for component in path.components() {
            match component {
                Component::Normal(name) if name.as_encoded_bytes().starts_with(b".") => {
                    return refuse(SaveError::Dot);
                }
                Component::Normal(_) | Component::CurDir => {}
                Component::ParentDir => return refuse(SaveError::Climbs),
                Component::RootDir | Component::Prefix(_) => return refuse(SaveError::Outside),
            }
        }
        let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
            return refuse(SaveError::NoName);
        };
        if bytes.contains(&0) || !bytes.ends_with(name.as_encoded_bytes()) {
            return refuse(SaveError::NoName);
        }
        let is_script = |extension: &OsStr| ["luau", "lua"].iter().any(|e| extension.eq_ignore_ascii_case(e));
        if path.extension().is_some_and(is_script) {
            return refuse(SaveError::Script);
        }
        Ok(Self { directory: if directory == OsStr::new("") { Path::new(".") } else { directory }, name })
    }
}

/// Writes `content` to `path` below `root`, in place of what is there. Blocks.
pub(super) fn save(root: &Root, path: &Path, content: &Content) -> Result<(), SaveError> {
    let failed = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => SaveError::Outside(path.to_owned()),
        _ => SaveError::Io(path.to_owned(), error),
    };
    let Destination { directory, name } = Destination::of(path)?;
    let directory = open_beneath(&root.directory, directory).map_err(|error| failed(error.into()))?;
    if let Some(state) = &root.state
        && is_within(&directory, state).map_err(|error| failed(error.into()))?
    {
        return Err(SaveError::State(path.to_owned()));
    }
    let (file, draft) = draft(&directory).map_err(|error| failed(error.into()))?;
    let written = write(file, content).and_then(|()| Ok(renameat(&directory, &draft, &directory, name)?));
    written.map_err(|error| {
        // It may be gone already; there is nothing more to do about it then.
        let _gone = unlinkat(&directory, &draft, AtFlags::empty());
        failed(error)
    })
}

/// The directory that is to hold the file.
fn open_beneath(root: &Path, directory: &Path) -> rustix::io::Result<OwnedFd> {
    let root = openat(CWD, root, DIRECTORY, Mode::empty())?;
    let mut tries = 0;
    loop {
        match openat2(root.as_fd(), directory, DIRECTORY, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN | Errno::INTR) if tries < RACES => tries += 1,
            result => return result,
        }
    }
}

/// Whether `directory` is `other`, or below it: by what they are, for a name can be a symbolic link.
fn is_within(directory: &OwnedFd, other: &Path) -> rustix::io::Result<bool> {
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let other = match stat(other) {
        Ok(stat) => identity(stat),
        Err(Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut at = directory.try_clone().map_err(|_full| Errno::MFILE)?;
    let mut here = identity(fstat(&at)?);
    loop {
        if here == other {
            return Ok(true);
        }
        at = openat(&at, "..", DIRECTORY, Mode::empty())?;
        let above = identity(fstat(&at)?);
        if above == here {
            return Ok(false); // the file system's root
        }
        here = above;
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
        for state in [".medusa", "state"] {
            fs::create_dir_all(root.join(state).join("spill")).unwrap();
        }
        symlink("../state", root.join("uploads/state")).unwrap();
        symlink("../.medusa/spill", root.join("uploads/spill")).unwrap();
        let content = Content::Memory(Bytes::from_static(b"content"));
        let with_state =
            |state: &str| Root { directory: root.as_path().into(), state: Some(root.join(state).into()) };
        let place = with_state("state");
        let to = |path: &str| save(&place, Path::new(path), &content);
        for path in
            ["a.txt", "uploads/b", "./uploads/./c", "in//d", "uploads/deep/e", "a.txt", "a..b", "a\\..\\b"]
        {
            to(path).unwrap();
            assert_eq!(fs::read(root.join(path)).unwrap(), b"content", "{path}");
        }
        // A link in the file's own place is replaced, not followed.
        to("uploads/link").unwrap();
        assert!(root.join("uploads/link").symlink_metadata().unwrap().is_file());
        for path in ["out/x", "/etc/x", "/x"] {
            assert!(matches!(to(path), Err(SaveError::Outside(_))), "{path}");
        }
        for path in ["../x", "uploads/../../x", "..", "uploads/..", "uploads/../x", "../site/x"] {
            assert!(matches!(to(path), Err(SaveError::Climbs(_))), "{path}");
        }
        for path in ["", ".", "uploads/x/", "uploads/x/.", "x\0y", "x.luau/"] {
            assert!(matches!(to(path), Err(SaveError::NoName(_))), "{path}");
        }
        for path in [".medusa/control", ".medusa", "uploads/.htaccess", ".git/hooks/x", "...", "uploads/.x/y"]
        {
            assert!(matches!(to(path), Err(SaveError::Dot(_))), "{path}");
        }
        for path in ["site.luau", "uploads/x.LUAU", "handlers/api.lua"] {
            assert!(matches!(to(path), Err(SaveError::Script(_))), "{path}");
        }
        for path in ["state/control", "state/spill/x", "uploads/state/control", "./state/x"] {
            assert!(matches!(to(path), Err(SaveError::State(_))), "{path}");
        }
        let elsewhere = save(&with_state(".medusa"), Path::new("uploads/spill/x"), &content);
        assert!(matches!(elsewhere, Err(SaveError::State(_))), "{elsewhere:?}");
        for path in ["missing/x", "a.txt/x", "uploads"] {
            assert!(matches!(to(path), Err(SaveError::Io(..))), "{path}");
        }
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
        let drafts = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap();
            entries
                .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".upload"))
                .count()
        };
        assert_eq!((drafts(&root), drafts(&root.join("uploads"))), (0, 0), "nothing half-written is left");
    }
}
