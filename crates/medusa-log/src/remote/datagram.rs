//! A socket that takes one record per datagram: UDP or unix.
//!
//! A unix socket says when its reader is full or gone, so nothing need be lost there. UDP says next to nothing: at best,
//! some time later, that nobody listens at the port.
//!
//! Each goes out by a call of its own. `sendmmsg` would take a sixth off the CPU time of a datagram (2.4 µs for 2.9 over
//! loopback), but it keeps the error of all but the first to itself, and with it what little UDP says.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medusa_proto::syslog::truncate;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::wire::{Wire, closed};

/// Size that a receiver of syslog by UDP must take ([RFC 5426 §3.2]), and the least anyone could want.
///
/// [RFC 5426 §3.2]: https://www.rfc-editor.org/rfc/rfc5426#section-3.2
pub(super) const LEAST: usize = 480;

/// Size that a receiver should take (also there), so no more is sent by default even if the network would carry it.
const USUAL: usize = 2048;

/// The largest datagram of UDP over IPv4.
pub(super) const MOST: usize = 65_507;

/// IP header without options, and UDP header.
const HEADERS_V4: usize = 20 + 8;
const HEADERS_V6: usize = 40 + 8;

#[derive(Debug)]
pub(super) struct Datagrams {
    pub(super) wire: Wire,
    /// Datagrams that are sent, and not known to have been refused.
    pub(super) sent: u64,
    /// Of a unix socket, who it leads to.
    reader: Option<(PathBuf, Identity)>,
    pub(super) limit: usize,
    /// Whether there was no room on the way, rather than at the other end.
    is_congested: bool,
    /// Whether the reader takes in a file what is too long for a datagram, as the journal does.
    takes_files: bool,
}

/// Tells a unix socket from another that was made in its place: device and inode, and as the number of an inode is soon used
/// again, when it was made. (When it was changed, where the file system does not know that: who makes a socket may give it an
/// owner and a mode afterwards, and be taken for another.)
type Identity = (u64, u64, SystemTime);

fn identity(path: &Path) -> io::Result<Identity> {
    let meta = path.metadata()?;
    let changed = || {
        Duration::from_secs(meta.ctime().unsigned_abs())
            + Duration::from_nanos(meta.ctime_nsec().unsigned_abs())
    };
    let made = meta.created().unwrap_or_else(|_unknown| UNIX_EPOCH + changed());
    Ok((meta.dev(), meta.ino(), made))
}

/// Outcome for a datagram.
#[derive(Debug)]
pub(super) enum DatagramOutcome {
    /// It is sent.
    Done,
    /// It is sent, with its end cut off.
    Cut,
    /// There is no room for it now.
    Full,
    /// The one before was refused: nobody listens. This one is not sent.
    Refused,
}

impl Datagrams {
    /// A socket for sending to `addr`, in datagrams of at most `limit` bytes. Unless told, no more than the network carries
    /// in one piece (a datagram in pieces is lost with any of them), nor than 2048.
    pub(super) fn udp(addr: SocketAddr, limit: Option<usize>) -> io::Result<Self> {
        let any = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind::<SocketAddr>(any)?;
        socket.connect(addr)?;
        socket.set_nonblocking(true)?;
        let (mtu, headers) = match addr {
            SocketAddr::V4(_) => (sockopt::ip_mtu(&socket), HEADERS_V4),
            SocketAddr::V6(_) => (sockopt::ipv6_mtu(&socket), HEADERS_V6),
        };
        let fits = mtu.map_or(USUAL, |mtu| (mtu as usize).saturating_sub(headers));
        let limit = limit.unwrap_or_else(|| fits.clamp(LEAST, USUAL));
        let wire = Wire::of(socket.into());
        Ok(Self { wire, sent: 0, reader: None, limit, is_congested: false, takes_files: false })
    }

    /// Connects to the unix socket at `path`. Unless told, the limit is what the kernel takes.
    pub(super) fn unix(path: &Path, limit: Option<usize>, takes_files: bool) -> io::Result<Self> {
        let reader = Some((path.to_owned(), identity(path)?));
        let wire = Wire::unix(path, SocketType::DGRAM)?;
        let limit = limit.unwrap_or(usize::MAX);
        Ok(Self { wire, sent: 0, reader, limit, is_congested: false, takes_files })
    }

    /// Tells whether what the other end has not taken is known, so that it can be sent again.
    pub(super) const fn is_watched(&self) -> bool {
        self.reader.is_some()
    }

    /// Tells whether the reader of a unix socket is still there. It takes what it has not read with it, and unlike the end of a
    /// stream nobody is told.
    pub(super) fn check(&self) -> io::Result<()> {
        let Some((path, known)) = &self.reader else { return Ok(()) };
        if identity(path)? != *known {
            return Err(closed());
        }
        Wire::unix(path, SocketType::DGRAM).map(drop)
    }

    /// Waits until there may be room again, for `time` at most.
    pub(super) fn wait(&mut self, time: Duration) -> io::Result<()> {
        /// A network interface without room does not say when it has some.
        const PAUSE: Duration = Duration::from_millis(2);
        if std::mem::take(&mut self.is_congested) {
            std::thread::park_timeout(PAUSE);
        } else {
            self.wire.wait(PollFlags::OUT, time)?;
        }
        Ok(())
    }

    /// Sends `message`, without waiting. One that the kernel finds too long is cut until it does not, or sent in a file.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<DatagramOutcome> {
        let mut left = Cow::Borrowed(message);
        loop {
            let mut sent = self.wire.send(&left).map(drop);
            if sent == Err(Errno::MSGSIZE) && self.takes_files {
                sent = self.send_file(message);
            }
            return match sent {
                Ok(()) if left.len() < message.len() => Ok(DatagramOutcome::Cut),
                Ok(()) => Ok(DatagramOutcome::Done),
                Err(Errno::MSGSIZE) if left.len() / 2 >= LEAST => {
                    let half = left.len() / 2;
                    truncate(left.to_mut(), 0, half);
                    continue;
                }
                Err(error @ (Errno::AGAIN | Errno::NOBUFS)) => {
                    self.is_congested = error == Errno::NOBUFS;
                    Ok(DatagramOutcome::Full)
                }
                Err(Errno::CONNREFUSED) if !self.is_watched() => Ok(DatagramOutcome::Refused),
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Sends a datagram of nothing but a file in memory that nobody can change any more, in which the message is.
    fn send_file(&mut self, message: &[u8]) -> Result<(), Errno> {
        let file = memfd_create("medusa-log", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(file);
        file.write_all(message).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
        self.wire.send_file(file.as_fd(), message.len())
    }

    /// Tells whether the last datagram was refused, as far as is known already.
    pub(super) fn was_refused(&self) -> bool {
        !self.is_watched() && self.wire.pending_error() == Err(Errno::CONNREFUSED)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// As rsyslog does.
    #[test]
    fn a_reader_that_gives_its_socket_a_mode_is_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let reader = UnixDatagram::bind(&path).expect("bound");
        let datagrams = Datagrams::unix(&path, None, false).expect("connected");
        fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("changed");
        datagrams.check().expect("it is the same");
        drop(reader);
        fs::remove_file(&path).expect("removed");
        let _another = UnixDatagram::bind(&path).expect("bound");
        datagrams.check().expect_err("another is there");
    }
}
