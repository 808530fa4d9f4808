//! The client's end of a session, for a program that has nothing else to do meanwhile: everything here blocks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::protocol::{self, Done, Failure, MAX_REPLY, Op, Reply, RequestError};
use crate::state;

/// The time that the server may take to take a request. One that takes longer has stopped.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// The reason why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server has this state directory.
    #[error("no server is running with the state directory {0:?}")]
    NotRunning(PathBuf),
    /// The state directory is somebody else's.
    #[error("the state directory {0:?} is not for you: become the user the server runs as, or use `sudo`")]
    Denied(PathBuf),
    /// Something else.
    #[error("cannot reach the server of the state directory {path:?}")]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The reason why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server says that it failed. Nothing has changed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It could not be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The session ended.
    #[error("the server closed the session before it answered: it may have ended; its log says more")]
    Closed,
    /// The session broke.
    #[error("the session with the server broke")]
    Io(#[from] io::Error),
    /// The server answered what this client does not understand.
    #[error("the server's answer cannot be understood; is this the `medusa` it was started with?")]
    Malformed(#[from] serde_json::Error),
}

/// A session with a running server.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    pid: Option<u32>,
}

impl Client {
    /// Begins a session with the server whose state directory is `state`.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub fn connect(state: &Path) -> Result<Self, ConnectError> {
        match open(state) {
            Ok(stream) => Ok(Self { stream: BufReader::new(stream), pid: state::pid_in(state) }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    ConnectError::NotRunning(state.to_owned())
                }
                io::ErrorKind::PermissionDenied => ConnectError::Denied(state.to_owned()),
                _ => ConnectError::Failed { path: state.to_owned(), source: error },
            }),
        }
    }

    /// The server's process, if it can be told.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Sends a request and waits for its result. What happens meanwhile goes to `on_event`.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn call(&mut self, op: &Op, mut on_event: impl FnMut(TaskProgress)) -> Result<Done, CallError> {
        let line = protocol::encode(op)?;
        // A server that refuses us has said why and closed; then this fails, but there is something to read.
        let sent = self.stream.get_mut().write_all(&line);
        loop {
            match self.reply() {
                Ok(Reply::Output { text }) => on_event(TaskProgress::Output(text)),
                Ok(Reply::Waiting { text }) => on_event(TaskProgress::Waiting(text)),
                Ok(Reply::Top(sample)) => on_event(TaskProgress::Top(sample)),
                // Nobody has asked for these.
                Ok(Reply::News { .. } | Reply::Trial { .. }) => {}
                Ok(Reply::Done(done)) => return Ok(done),
                Ok(Reply::Failed(failure)) => return Err(failure.into()),
                Err(error) => return Err(sent.err().map_or(error, CallError::Io)),
            }
        }
    }

    /// The two directions, for somebody who does other things while there is no answer.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn split(self) -> io::Result<(Requests, Replies)> {
        let requests = self.stream.get_ref().try_clone()?;
        requests.set_write_timeout(Some(WRITE_WITHIN))?;
        Ok((Requests(requests), Replies(self.stream)))
    }

    /// Waits until the server closes the session, which after [`Op::Stop`] it does when it ends.
    pub fn wait_for_end(mut self) {
        // Broken is as ended as closed.
        let _ended = io::copy(&mut self.stream, &mut io::sink());
    }

    fn reply(&mut self) -> Result<Reply, CallError> {
        read_reply(&mut self.stream)
    }
}

fn read_reply(stream: &mut BufReader<UnixStream>) -> Result<Reply, CallError> {
    let mut line = Vec::new();
    stream.by_ref().take(MAX_REPLY as u64).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Err(CallError::Closed),
        Some(b'\n') => Ok(serde_json::from_slice(&line)?),
        Some(_) if line.len() < MAX_REPLY => Err(CallError::Closed),
        Some(_) => Err(CallError::Io(io::Error::other(format!("a reply is longer than {MAX_REPLY} bytes")))),
    }
}

/// The way to the server. The session ends when it is dropped.
#[derive(Debug)]
pub struct Requests(UnixStream);

impl Requests {
    /// Sends a request. Its replies come after those to what was asked before.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn send(&mut self, op: &Op) -> Result<(), CallError> {
        Ok(self.0.write_all(&protocol::encode(op)?)?)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // One that has ended is.
        let _ended = self.0.shutdown(Shutdown::Both);
    }
}

/// The way from the server. Blocks.
#[derive(Debug)]
pub struct Replies(BufReader<UnixStream>);

impl Replies {
    /// The next reply.
    ///
    /// # Errors
    ///
    /// See [`CallError`]. There are no more.
    pub fn next_reply(&mut self) -> Result<Reply, CallError> {
        read_reply(&mut self.0)
    }
}

fn open(path: &Path) -> io::Result<UnixStream> {
    let directory = state::open_directory(path)?;
    let address = state::address(path, directory.as_fd())?;
    let socket = state::new_socket(SocketFlags::empty())?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket.into()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
