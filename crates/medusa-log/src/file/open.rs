//! Opens the target of a file sink, or says whether it could be opened.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, CWD, FlockOperation, FsWord, OFlags, PROC_SUPER_MAGIC, accessat, flock, statfs,
};
use rustix::io::Errno;

use super::options::{Fsync, Options};
use super::rotate::{Place, is_at};
use super::{Mode, Target};
use crate::SinkError;

/// Log files name who visited what: for owner and group.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Attempts at a file that somebody replaces again and again while it is opened.
const ATTEMPTS: u32 = 8;

/// A target that has been opened for appending.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    /// What it was when it was opened.
    pub(super) meta: Metadata,
    /// Whether it ends in the middle of a line: its last writer was killed.
    pub(super) torn: bool,
}

/// Permissions and owners of a file that has to be made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Make<'a> {
    /// What the user says of its permissions.
    pub(super) mode: Option<Mode>,
    /// The file it follows: it gets its permissions, unless the user says something else, and its owners.
    pub(super) like: Option<&'a Metadata>,
}

pub(super) fn open(target: &Target, make: Make<'_>) -> Result<Opened, SinkError> {
    match target {
        Target::Path(path) => open_path(path, make),
        Target::Stdout => standard("stdout", io::stdout().as_fd().try_clone_to_owned()),
        Target::Stderr => standard("stderr", io::stderr().as_fd().try_clone_to_owned()),
    }
}

/// Tells whether [`open`] would succeed. Creates nothing, and does not open what others could notice being opened (a pipe).
pub(super) fn check(target: &Target) -> Result<(), SinkError> {
    let Target::Path(path) = target else { return open(target, Make::default()).map(drop) };
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Err(is_directory(path)),
        Ok(_) => may(path, Access::WRITE_OK).map_err(|source| not_opened(path, source)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            check_parent(path)
        }
        Err(error) => Err(not_opened(path, error)),
    }
}

/// Tells whether the target can do what `options` ask of it. Creates nothing.
pub(super) fn check_options(target: &Target, options: &Options) -> Result<(), SinkError> {
    if options.rotation.is_none() && options.fsync == Fsync::Never {
        return Ok(());
    }
    let meta = match target {
        Target::Path(path) => path.metadata(),
        Target::Stdout | Target::Stderr => open(target, Make::default())?.file.metadata(),
    };
    // What is not there yet will be a file; what cannot be looked at is refused when it is opened.
    let Ok(meta) = meta else { return Ok(()) };
    let (action, what) = match target {
        _ if options.fsync != Fsync::Never && !meta.is_file() => {
            ("brought to the disk (`fsync`)", kind(&meta))
        }
        _ if options.rotation.is_none() => return Ok(()),
        Target::Stdout | Target::Stderr => ("rotated", "the process's own output"),
        Target::Path(_) if !meta.is_file() && !meta.is_dir() => ("rotated", kind(&meta)),
        Target::Path(path) => return check_place(path),
    };
    Err(SinkError::new(target, format!("be {action}: it is {what}, not a file of its own")))
}

/// Tells whether files can be rotated beside `path`, which exists.
fn check_place(path: &Path) -> Result<(), SinkError> {
    let failed = |source: io::Error| {
        let doing = "be rotated: its directory must be writable for the server's user, and its name short enough to have a \
                     date added";
        SinkError::new(path.display(), doing).because(source)
    };
    let place = Place::of(path).map_err(failed)?;
    may(place.directory(), Access::WRITE_OK | Access::EXEC_OK).map_err(failed)
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_char_device() {
        "a terminal or another device"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "something else than a file"
    }
}

/// The one name of the regular file that `path` leads to, or will once it is made.
pub(super) fn regular(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return real.is_file().then_some(real);
    }
    let real = directory_of(path).canonicalize().ok().zip(path.file_name());
    Some(real.map_or(path.to_owned(), |(directory, name)| directory.join(name)))
}

/// The directory that `path` is in, or would be.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tells whether `path`, which does not exist, could be made: the nearest thing above it that exists must be a directory to
/// write in.
fn check_parent(path: &Path) -> Result<(), SinkError> {
    if ends_in_slash(path) {
        return Err(is_directory(path));
    }
    let directory = directory_of(path);
    let failed = |source| {
        if directory.exists() { not_opened(path, source) } else { not_made(path, directory, source) }
    };
    let above = directory.ancestors().map(|above| if above == "" { Path::new(".") } else { above });
    match above.into_iter().find(|above| above.exists()) {
        None => Err(failed(ErrorKind::NotFound.into())),
        Some(above) if !above.is_dir() => {
            let doing = format!("be created: {} is not a directory", above.display());
            Err(SinkError::new(path.display(), doing))
        }
        Some(above) if is_made_up(above) => Err(failed(Errno::NOENT.into())),
        Some(above) => may(above, Access::WRITE_OK | Access::EXEC_OK).map_err(failed),
    }
}

/// Tells whether what is in a directory is the kernel's to say, and no file can be made there, whatever its permissions are:
/// `/proc`, `/sys`.
fn is_made_up(directory: &Path) -> bool {
    /// <https://man7.org/linux/man-pages/man2/statfs.2.html>
    const SYSFS_MAGIC: FsWord = 0x6265_6572;
    statfs(directory).is_ok_and(|system| [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&system.f_type))
}

/// Asks for the user the server runs as, which need not be the one who started it.
fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

fn open_path(path: &Path, make: Make<'_>) -> Result<Opened, SinkError> {
    if ends_in_slash(path) || path.is_dir() {
        return Err(is_directory(path));
    }
    let directory = directory_of(path);
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|source| not_made(path, directory, source))?;
    open_file(path, make).map_err(|source| not_opened(path, source))
}

/// A regular file is opened under a shared lock, which keeps it from being compressed, and is in its place then: it was
/// not rotated before we had the lock.
fn open_file(path: &Path, make: Make<'_>) -> io::Result<Opened> {
    for attempt in 1..=ATTEMPTS {
        let file = open_or_make(path, make)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Ok(Opened { file, meta, torn: false });
        }
        // Not every file system can lock. And a lock of somebody else's is none of our business.
        let _: rustix::io::Result<()> = flock(&file, FlockOperation::NonBlockingLockShared);
        if attempt == ATTEMPTS || is_at(path, &meta) {
            let torn = meta.len() > 0 && !ends_in_newline(path);
            return Ok(Opened { file, meta, torn });
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

fn open_or_make(path: &Path, make: Make<'_>) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe would wait for its reader, and writing to it might do so for ever.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(flags.bits() as i32);
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    // What was made a moment ago by another writer, or through a link that led nowhere, gets the same permissions.
    let file = options.create(true).mode(make.mode().unwrap_or(FILE_MODE)).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.len() == 0 {
        make.apply(&file)?;
    }
    Ok(file)
}

impl Make<'_> {
    fn mode(&self) -> Option<u32> {
        self.mode.map(Mode::bits).or_else(|| self.like.map(|like| like.mode() & 0o777))
    }

    /// Whatever the process's umask says.
    pub(super) fn apply(&self, file: &File) -> io::Result<()> {
        if let Some(like) = self.like {
            // Only the superuser can give files away, and anybody else has them anyway.
            let _: io::Result<()> = fchown(file, Some(like.uid()), Some(like.gid()));
        }
        let set = self.mode().map_or(Ok(()), |mode| file.set_permissions(Permissions::from_mode(mode)));
        // Not every file system has permissions; it matters if they were asked for.
        if self.mode.is_some() { set } else { Ok(()) }
    }
}

/// True too if nobody may look: a log may well be write-only.
fn ends_in_newline(path: &Path) -> bool {
    let last_byte = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        io::Result::Ok(last[0])
    };
    last_byte().map_or(true, |last| last == b'\n')
}

fn is_directory(path: &Path) -> SinkError {
    SinkError::new(path.display(), "be a file: it is a directory: name a file in it")
}

fn not_opened(path: &Path, source: io::Error) -> SinkError {
    SinkError::new(path.display(), "be opened for appending").because(source)
}

fn not_made(path: &Path, parent: &Path, source: io::Error) -> SinkError {
    let doing = format!(
        "have its directory {} made: create it, or let the server's user write above it",
        parent.display()
    );
    SinkError::new(path.display(), doing).because(source)
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn standard(name: &'static str, fd: io::Result<OwnedFd>) -> Result<Opened, SinkError> {
    let opened = fd.and_then(|fd| {
        let file = File::from(fd);
        Ok(Opened { meta: file.metadata()?, file, torn: false })
    });
    opened.map_err(|source| SinkError::new(name, "be written: it is closed").because(source))
}
