//! Unix sockets: one queue, shared by the workers, and the file that names it.
//!
//! Invariant: nobody can connect before the file has its permissions (it listens only after), and only the file that we
//! made is removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};

use super::bind::{BoundAddress, Options, Socket};
use super::error::BindError;
use crate::address::ListenAddr;

pub(super) fn bind(path: &Path, workers: usize, options: &Options) -> Result<BoundAddress, BindError> {
    remove_stale(path)?;
    listen(path, workers, options).map_err(|source| BindError::unix(path.to_owned(), source))
}

fn listen(path: &Path, workers: usize, options: &Options) -> io::Result<BoundAddress> {
    let socket = new_socket()?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::made(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(options.unix_mode))?;
    socket.listen(options.backlog)?;

    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(Socket::Unix(socket.try_clone()?.into()));
    }
    sockets.push(Socket::Unix(socket.into()));
    Ok(BoundAddress { addr: ListenAddr::Unix(path.to_owned()), sockets, file: Some(file) })
}

/// Removes the socket file of a server that is dead, as it cannot be bound over. It is dead if nobody accepts a
/// connection.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let error = |source| BindError::unix(path.to_owned(), source);
    match fs::symlink_metadata(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(other) => return Err(error(other)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    // Non-blocking: a live server with a full queue says so instead of making us wait.
    let refused = new_socket().and_then(|socket| socket.connect(&SockAddr::unix(path)?));
    match refused {
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => match fs::remove_file(path) {
            Err(other) if other.kind() != io::ErrorKind::NotFound => Err(error(other)),
            _ => Ok(()),
        },
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(other) if Errno::from_io_error(&other) == Some(Errno::ACCESS) => Err(error(other)),
        _ => Err(BindError::SocketInUse { path: path.to_owned() }),
    }
}

fn new_socket() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The file of a bound unix socket; removed on drop, unless another server has put its own there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn made(path: &Path) -> io::Result<Self> {
        let made = fs::symlink_metadata(path)?;
        // Absolute, so that it is found again wherever the process has gone by then.
        let path = std::path::absolute(path)?;
        Ok(Self { path, device: made.dev(), inode: made.ino() })
    }

    fn is_still_ours(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_still_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "cannot remove the socket file: {error}");
        }
    }
}
