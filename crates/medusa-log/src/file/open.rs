//! Opens the target of a file sink, or says whether it could be opened.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat, fcntl_getfl, fcntl_setfl};

use super::Target;
use crate::SinkError;

/// Log files name who visited what: for owner and group.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// A target that has been opened for appending.
#[derive(Debug)]
pub(super) struct Opened<W> {
    pub(super) to: W,
    /// Whether it ends in the middle of a line: its last writer was killed.
    pub(super) torn: bool,
}

pub(super) fn open(target: &Target) -> Result<Opened<File>, SinkError> {
    match target {
        Target::Path(path) => open_path(path),
        Target::Stdout => standard("stdout", io::stdout().as_fd().try_clone_to_owned()),
        Target::Stderr => standard("stderr", io::stderr().as_fd().try_clone_to_owned()),
    }
}

/// Whether [`open`] would succeed. Creates nothing, and does not open what others could notice being opened (a pipe).
pub(super) fn check(target: &Target) -> Result<(), SinkError> {
    let Target::Path(path) = target else { return open(target).map(drop) };
    let failed = |source| SinkError::Open { path: path.clone(), source };
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Err(SinkError::IsDirectory(path.clone())),
        Ok(_) => may(path, Access::WRITE_OK).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => check_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => check_parent(path),
        Err(error) => Err(failed(error)),
    }
}

/// Whether `path`, which does not exist, could be made: the nearest thing above it that exists must be a directory to
/// write in.
fn check_parent(path: &Path) -> Result<(), SinkError> {
    if ends_in_slash(path) {
        return Err(SinkError::IsDirectory(path.to_owned()));
    }
    let above = path
        .ancestors()
        .skip(1)
        .map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    for parent in above {
        match parent.metadata() {
            Ok(meta) if meta.is_dir() => {
                return may(parent, Access::WRITE_OK | Access::EXEC_OK)
                    .map_err(|source| SinkError::CreateDirectory { path: parent.to_owned(), source });
            }
            Ok(_) => {
                return Err(SinkError::NotADirectory { file: path.to_owned(), parent: parent.to_owned() });
            }
            Err(_) => {} // does not exist either, or is below a file: the next one says
        }
    }
    Err(SinkError::Open { path: path.to_owned(), source: io::ErrorKind::NotFound.into() })
}

/// As the user the server runs as, which need not be the one who started it.
fn may(path: &Path, access: Access) -> io::Result<()> {
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

fn open_path(path: &Path) -> Result<Opened<File>, SinkError> {
    let failed = |source| SinkError::Open { path: path.to_owned(), source };
    if ends_in_slash(path) || path.is_dir() {
        return Err(SinkError::IsDirectory(path.to_owned()));
    }
    create_parent(path)?;
    // Without NONBLOCK, opening a pipe would wait for its reader.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut to = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .custom_flags(flags.bits() as i32)
        .open(path)
        .map_err(failed)?;
    let meta = to.metadata().map_err(failed)?;
    if !meta.is_file() {
        block_on_write(&mut to).map_err(failed)?;
    }
    let torn = meta.is_file() && meta.len() > 0 && !ends_in_newline(path);
    Ok(Opened { to, torn })
}

fn create_parent(path: &Path) -> Result<(), SinkError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(parent)
        .map_err(|source| SinkError::CreateDirectory { path: parent.to_owned(), source })
}

/// A pipe or terminal that is full makes the writer wait, which is what it is for, rather than fail.
fn block_on_write(file: &mut File) -> io::Result<()> {
    let flags = fcntl_getfl(&*file)?;
    Ok(fcntl_setfl(&*file, flags - OFlags::NONBLOCK)?)
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

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

fn standard(name: &'static str, fd: io::Result<OwnedFd>) -> Result<Opened<File>, SinkError> {
    match fd {
        Ok(fd) => Ok(Opened { to: File::from(fd), torn: false }),
        Err(source) => Err(SinkError::Standard { name, source }),
    }
}
