//! The reason why something below a directory was not changed.

use std::io;

use http::StatusCode;
use medusa_net::descriptors::FilesExhausted;
use rustix::io::Errno;

use crate::handler::HandlerError;

/// The reason why something below a directory was not changed. What it says a client may know.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is nothing at this path: 404.
    #[error("there is nothing at this path")]
    Missing,
    /// There is no such version: 404.
    #[error("there is no such version of it")]
    NoVersion,
    /// The directory that is to hold it is not there: 409.
    #[error("the directory that is to hold it does not exist")]
    NoParent,
    /// A directory is there: 409.
    #[error("a directory is in the way")]
    Directory,
    /// A lock is on it: 423.
    #[error("it is locked, and the request does not name the lock by its token")]
    Locked,
    /// A directory is there, and not empty: 409.
    #[error("the directory is not empty")]
    NotEmpty,
    /// Something is there already: 409.
    #[error("there is something of that name already")]
    Exists,
    /// A directory would be put below itself: 409.
    #[error("a directory cannot be moved into itself")]
    Within,
    /// A device, a FIFO or a socket is there: 403.
    #[error("something that is no file is in the way")]
    NoFile,
    /// A symbolic link is there, or something that is mounted, or on the way there: 403. Both are an administrator's, who means
    /// something by them.
    #[error("a symbolic link or another file system is in the way, and neither is written through")]
    Link,
    /// The server itself reads or writes that: 403.
    #[error("this is the server's own, and not published to")]
    Own,
    /// The server's user may not do that: 403.
    #[error("the server may not write there")]
    Denied(#[source] io::Error),
    /// What is there is not what the client takes it for: 412.
    #[error("it is not what the request says it should be")]
    Changed,
    /// The quota leaves no room: 507.
    #[error("the quota of {quota} bytes leaves no room for it")]
    Quota {
        /// The quota, in bytes.
        quota: u64,
    },
    /// The disk is full: 507.
    #[error("there is no room for it on the disk")]
    Full(#[source] io::Error),
    /// There is more below a directory than one request may change: 507.
    #[error("there are more than {most} files and directories, which is too much for one request")]
    TooMany {
        /// The most there may be.
        most: usize,
    },
    /// A name is too long for the file system: 400.
    #[error("a name in the path is too long")]
    TooLong,
    /// The process or the client has as many open files as it may: 503.
    #[error("too many files are open")]
    Exhausted(#[source] io::Error),
    /// The system failed: 500.
    #[error("the file system failed")]
    Io(#[source] io::Error),
}

impl StoreError {
    /// The status that says so ([RFC 9110 §15](https://www.rfc-editor.org/rfc/rfc9110#section-15),
    /// [RFC 4918 §11.5](https://www.rfc-editor.org/rfc/rfc4918#section-11.5)).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::NoVersion => StatusCode::NOT_FOUND,
            Self::NoParent | Self::Directory | Self::NotEmpty | Self::Exists | Self::Within => {
                StatusCode::CONFLICT
            }
            Self::Locked => StatusCode::LOCKED,
            Self::NoFile | Self::Link | Self::Own | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::Quota { .. } | Self::Full(_) | Self::TooMany { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::TooLong => StatusCode::BAD_REQUEST,
            Self::Exhausted(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for HandlerError {
    /// A store that failed is the server's fault; else it is the request that cannot be.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(_) => Self::internal(error),
            StoreError::Exhausted(_) => Self::unavailable(error),
            _ => Self::client(error.status(), error),
        }
    }
}

impl From<Errno> for StoreError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if FilesExhausted::is(&error) {
            return Self::Exhausted(error);
        }
        match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full(error),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied(error),
            // LOOP: a symbolic link. XDEV: out of the directory, or into what is mounted.
            Some(Errno::LOOP | Errno::XDEV) => Self::Link,
            Some(Errno::NAMETOOLONG) => Self::TooLong,
            Some(Errno::NOENT | Errno::NOTDIR) => Self::NoParent,
            Some(Errno::NOTEMPTY | Errno::EXIST) => Self::NotEmpty,
            Some(Errno::ISDIR) => Self::Directory,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => Self::Exhausted(error),
            _ => Self::Io(error),
        }
    }
}
