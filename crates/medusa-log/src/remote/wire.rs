//! A connected socket that never makes its thread wait unless asked to, and then not for long.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
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
    sent: u64,
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
        Ok(Self { fd: stream.into(), sent: 0 })
    }

    /// Connects to a unix socket of this type. A listener whose backlog is full is an error, not a wait.
    pub(super) fn unix(path: &Path, kind: SocketType) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, kind, flags, None)?;
        connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Self { fd, sent: 0 })
    }

    /// A socket that was connected elsewhere, and does not block.
    pub(super) fn of(fd: OwnedFd) -> Self {
        Self { fd, sent: 0 }
    }

    /// Bytes the other end has acknowledged: at least, never more.
    pub(super) fn acknowledged(&self) -> io::Result<u64> {
        Ok(self.sent.saturating_sub(outq::unacknowledged(&self.fd)?))
    }

    /// Bytes the kernel has taken.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Waits until something may be written, for `time` at most. Whether that is so.
    pub(super) fn wait_writable(&self, time: Duration) -> io::Result<bool> {
        self.wait(PollFlags::OUT, time)
    }

    /// Waits until something may be read, for `time` at most. Whether that is so.
    pub(super) fn wait_readable(&self, time: Duration) -> io::Result<bool> {
        self.wait(PollFlags::IN, time)
    }

    fn wait(&self, events: PollFlags, time: Duration) -> io::Result<bool> {
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.fd, events)], Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends one datagram.
    pub(super) fn send(&mut self, datagram: &[u8]) -> Result<(), Errno> {
        loop {
            match send(&self.fd, datagram, SEND) {
                Ok(count) => {
                    self.sent += count as u64;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a datagram with nothing in it but a file of so many bytes.
    pub(super) fn send_file(&mut self, file: BorrowedFd<'_>, len: usize) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut files = SendAncillaryBuffer::new(&mut space);
        let handed = [file];
        files.push(SendAncillaryMessage::ScmRights(&handed));
        loop {
            match sendmsg(&self.fd, &[], &mut files, SEND) {
                Ok(_) => {
                    self.sent += len as u64;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
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

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for Wire {
    fn read(&mut self, mut buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(&self.fd, &mut *buf, RecvFlags::DONTWAIT) {
                Ok((_, count)) => return Ok(count),
                Err(Errno::INTR) => buf = &mut *buf,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(&self.fd, bytes, SEND) {
                Ok(count) => {
                    self.sent += count as u64;
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
