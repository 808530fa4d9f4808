//! A connected socket that never makes its thread wait unless asked to, and then not for long.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, send, sendmsg, shutdown, socket_with, sockopt,
};

use super::outq;

/// Time to wait for a TCP connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Time that a TCP peer may leave what we sent unacknowledged, or take nothing of it, before it is taken for dead. The
/// kernel itself would try for a quarter of an hour.
const DEAD_AFTER: Duration = Duration::from_mins(1);

/// Silence after which the kernel asks whether a TCP peer is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Flags of each write: without the first, one to a closed connection would kill the process (SIGPIPE).
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// A connected socket.
#[derive(Debug)]
pub(super) struct Wire {
    fd: OwnedFd,
    /// Bytes the kernel has taken.
    pub(super) sent: u64,
}

impl Wire {
    /// Connects by TCP.
    pub(super) fn tcp(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, CONNECT)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?; // batches are written whole
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE / 3)?;
        sockopt::set_tcp_user_timeout(&stream, DEAD_AFTER.as_millis() as u32)?;
        Ok(Self::of(stream.into()))
    }

    /// Connects to a unix socket of this type. A listener whose backlog is full is an error, not a wait.
    pub(super) fn unix(path: &Path, kind: SocketType) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, kind, flags, None)?;
        connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Self::of(fd))
    }

    /// A socket that was connected elsewhere, and does not block.
    pub(super) fn of(fd: OwnedFd) -> Self {
        Self { fd, sent: 0 }
    }

    /// Bytes the other end has acknowledged: at least, never more.
    pub(super) fn acknowledged(&self) -> io::Result<u64> {
        Ok(self.sent.saturating_sub(outq::unacknowledged(&self.fd)?))
    }

    /// Waits until it is ready for `events`, for `time` at most. Whether that is so.
    pub(super) fn wait(&self, events: PollFlags, time: Duration) -> io::Result<bool> {
        match poll(&mut [PollFd::new(&self.fd, events)], Timespec::try_from(time).ok().as_ref()) {
            Err(Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Sends what it can of `bytes`, or one datagram.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = retry_on_intr(|| send(&self.fd, bytes, SEND))?;
        self.sent += count as u64;
        Ok(count)
    }

    /// Sends a datagram with nothing in it but a file of so many bytes.
    pub(super) fn send_file(&mut self, file: BorrowedFd<'_>, len: usize) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut files = SendAncillaryBuffer::new(&mut space);
        let handed = [file];
        files.push(SendAncillaryMessage::ScmRights(&handed));
        retry_on_intr(|| sendmsg(&self.fd, &[], &mut files, SEND))?;
        self.sent += len as u64;
        Ok(())
    }

    /// The error the kernel keeps for this socket, if there is one: what became of an earlier datagram.
    pub(super) fn pending_error(&self) -> Result<(), Errno> {
        sockopt::socket_error(&self.fd)?
    }

    /// Tells the other end that nothing more will come.
    pub(super) fn finish(&self) {
        // If it is gone already, there is nobody to be told.
        let _gone = shutdown(&self.fd, Shutdown::Write);
    }
}

/// The other end has closed the connection.
pub(super) fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the other end has closed the connection")
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT))?.1)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.send(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
