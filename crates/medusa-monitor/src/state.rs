//! The state directory: where one running server keeps what is its own.
//!
//! It holds `pid`, locked while the server lives and naming its process, and `control`, the socket. Scripts' history is there, too
//! (`medusa-script`).
//!
//! **Invariant:** one server at a time has the lock, and only its holder touches the socket's file. The lock is the
//! kernel's and ends with the process however that ends, so a socket file found under it is a dead server's.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medusa_files::{OwnKind, OwnPath};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The name of the socket in the state directory.
const SOCKET: &str = "control";

/// The name of the lock in the state directory.
const LOCK: &str = "pid";

/// Connections that may wait to be accepted; as many again as may be open.
const BACKLOG: i32 = 32;

/// The reason why a state directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another server has it.
    #[error("a server is already running with the state directory {path:?} ({who}): stop it, or give this one a state directory of its own", who = Pid(*.pid))]
    Taken {
        /// The directory.
        path: PathBuf,
        /// The other server's process, if it can be told.
        pid: Option<u32>,
    },
    /// The directory could not be made or used.
    #[error(
        "cannot {what} the state directory {path:?} (let the server's user write there, or name another with `--state`)"
    )]
    Unusable {
        /// What failed.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is no socket has the socket's name.
    #[error("{0:?} is in the way of the control socket, and is not a socket: move it away")]
    NotASocket(PathBuf),
}

impl StateError {
    /// Whether the reason is that the directory cannot be written to, so that another one might do.
    pub fn is_unwritable(&self) -> bool {
        let kind = |source: &io::Error| source.kind();
        matches!(self, Self::Unusable { source, .. }
            if matches!(kind(source), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem))
    }
}

struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "pid {pid}"),
            None => f.write_str("pid unknown"),
        }
    }
}

/// A state directory this process has for itself, until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: OwnPath,
    handle: Arc<OwnedFd>,
    lock: File,
}

impl StateDir {
    /// Takes the state directory `path`. Makes it, for its owner alone, if it does not exist; one that does keeps its
    /// permissions.
    ///
    /// # Errors
    ///
    /// See [`StateError`].
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let error = |what| move |source| StateError::Unusable { what, path: path.to_owned(), source };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(error("make"))?;
        let handle = open_directory(path).map_err(error("open"))?;
        let lock = open_lock(&handle).map_err(error("write into"))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(StateError::Taken { path: path.to_owned(), pid: read_pid(&lock) });
            }
            Err(errno) => return Err(error("lock")(errno.into())),
        }
        let state = Self { path: OwnPath::new(path, OwnKind::State), handle: Arc::new(handle), lock };
        state.write_pid().map_err(error("write into"))?;
        Ok(state)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Binds the control socket. It is for the server's user alone before anybody can connect.
    ///
    /// # Errors
    ///
    /// See [`StateError`].
    pub fn bind(&self) -> Result<ControlSocket, StateError> {
        let error = |source| StateError::Unusable {
            what: "put a socket into",
            path: self.path.to_path_buf(),
            source,
        };
        self.remove_dead()?;
        let listener = listen(&self.path, self.handle.as_fd()).map_err(|errno| error(errno.into()))?;
        Ok(ControlSocket { listener: UnixListener::from(listener), directory: Arc::clone(&self.handle) })
    }

    /// Removes the socket of a server that is dead: it has not got the lock.
    fn remove_dead(&self) -> Result<(), StateError> {
        let path = || self.path.join(SOCKET);
        match rustix::fs::statat(&self.handle, SOCKET, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Socket => {
                Err(StateError::NotASocket(path()))
            }
            // What cannot be looked at or removed is told by the bind that follows.
            _ => {
                let _left = rustix::fs::unlinkat(&self.handle, SOCKET, AtFlags::empty());
                Ok(())
            }
        }
    }

    fn write_pid(&self) -> io::Result<()> {
        self.lock.set_len(0)?;
        writeln!(&self.lock, "{}", std::process::id())
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // The file stays, as removing a lock that someone waits for would make two of it. It only names nobody.
        if let Err(error) = self.lock.set_len(0) {
            tracing::warn!(path = %self.path.display(), %error, "the pid file could not be emptied");
        }
    }
}

/// The bound control socket. Dropping it closes it and removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    pub(crate) listener: UnixListener,
    directory: Arc<OwnedFd>,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::unlinkat(&self.directory, SOCKET, AtFlags::empty()) {
            tracing::warn!(%error, "the control socket's file could not be removed");
        }
    }
}

/// Opens a directory as a place to name things in; nothing of it is read.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// The socket's address, in a state directory that is also open as `handle`.
///
/// An address has room for 107 bytes (`sun_path` of unix(7)); a directory with a longer name is spoken of by its handle.
pub(crate) fn address(path: &Path, handle: BorrowedFd<'_>) -> rustix::io::Result<SocketAddrUnix> {
    match SocketAddrUnix::new(path.join(SOCKET)) {
        Err(Errno::NAMETOOLONG) => {
            SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", handle.as_raw_fd()))
        }
        address => address,
    }
}

/// A new stream socket of the unix family.
pub(crate) fn new_socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)
}

fn listen(path: &Path, directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let socket = new_socket(SocketFlags::NONBLOCK)?;
    rustix::net::bind(&socket, &address(path, directory)?)?;
    // Before `listen`, until which every connection is refused.
    rustix::fs::chmodat(directory, SOCKET, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn open_lock(directory: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, LOCK, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn read_pid(mut lock: &File) -> Option<u32> {
    let mut text = String::new();
    (&mut lock).take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The process that holds the state directory `path`, if one does, as its `pid` file says.
pub(crate) fn pid_in(path: &Path) -> Option<u32> {
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    read_pid(&rustix::fs::open(path.join(LOCK), flags, Mode::empty()).ok()?.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[test]
    fn directory_and_socket_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/state");
        let state = StateDir::take(&path).expect("free");
        let socket = state.bind().expect("bound");
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(SOCKET)), 0o600);
        assert_eq!(mode(&path.join(LOCK)), 0o600);
        drop(socket);
        assert!(!path.join(SOCKET).exists());
    }

    #[test]
    fn a_second_server_is_told_who_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateDir::take(folder.path()).expect("free");
        let error = StateDir::take(folder.path()).expect_err("taken").to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(first);
        StateDir::take(folder.path()).expect("free again");
    }

    #[test]
    fn a_dead_servers_socket_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(SOCKET);
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists(), "it leaves its file, as a killed server does");

        let state = StateDir::take(folder.path()).expect("free");
        let _socket = state.bind().expect("bound");
        std::os::unix::net::UnixStream::connect(&path).expect("somebody listens");
    }

    #[test]
    fn a_file_in_the_sockets_place_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(SOCKET), "precious").expect("written");
        let state = StateDir::take(folder.path()).expect("free");
        assert!(matches!(state.bind(), Err(StateError::NotASocket(_))));
        assert_eq!(fs::read_to_string(folder.path().join(SOCKET)).expect("it is there"), "precious");
    }

    #[test]
    fn a_path_too_long_for_an_address_works() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x".repeat(120));
        let state = StateDir::take(&path).expect("free");
        let socket = state.bind().expect("bound");
        let found = fs::symlink_metadata(path.join(SOCKET)).expect("the socket is there");
        assert!(found.file_type().is_socket());
        drop(socket);
        assert!(!path.join(SOCKET).exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let error = StateDir::take(&file.join("state")).expect_err("a file is in the way");
        assert!(error.to_string().contains("file/state"), "{error}");
        assert!(!error.is_unwritable());
    }
}
