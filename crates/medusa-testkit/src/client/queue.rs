//! What the kernel holds of a connection for a server that has not read it yet.
//!
//! A test that wants its bytes to arrive in two parts must know when the first one has been read: until then the second
//! joins it in the receive queue, and the server sees one part. The kernel tells of a socket, also of another process,
//! by `sock_diag(7)`; the same is in `/proc/net/tcp`, but that takes the longer the more connections the machine has.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::PATIENCE;

/// Between two looks: a server that has nothing else to do reads within a few microseconds.
const PAUSE: Duration = Duration::from_micros(50);

/// Waits until the peer of `stream`, on this machine, has read everything.
///
/// # Panics
///
/// It does not within [`PATIENCE`].
#[track_caller]
pub(super) fn until_empty(stream: &TcpStream) {
    let ours = stream.local_addr().expect("a connected socket");
    let theirs = stream.peer_addr().expect("a connected socket");
    let kernel = Kernel::open().expect("the kernel tells of its sockets");
    let deadline = Instant::now() + PATIENCE;
    // A server that has closed its end reads no more.
    while kernel.unread(theirs, ours).expect("the kernel tells of a socket").unwrap_or(0) > 0 {
        assert!(Instant::now() < deadline, "the server has not read for {PATIENCE:?}");
        thread::park_timeout(PAUSE);
    }
}

/// The kernel, asked by a netlink socket.
struct Kernel(OwnedFd);

// `linux/netlink.h`, `linux/sock_diag.h`, `linux/inet_diag.h`, `net/tcp_states.h`
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
const LISTENING: u8 = 10;
const NO_ENTRY: i32 = -2;
/// A `nlmsghdr`.
const HEADER: usize = 16;
/// The fields of a `inet_diag_msg` that are looked at.
const STATE: usize = HEADER + 1;
const RECEIVE_QUEUE: usize = HEADER + 4 + SOCKET_ID + 4;
/// An `inet_diag_sockid`.
const SOCKET_ID: usize = 48;

impl Kernel {
    fn open() -> io::Result<Self> {
        let protocol = Some(netlink::SOCK_DIAG);
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?))
    }

    /// The number of bytes that wait in the socket at `local` that is connected to `remote`; `None` if there is none.
    fn unread(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
        send(&self.0, &question(local, remote), SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (_, length) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        let answer = &answer[..length];
        match u16::from_ne_bytes(field(answer, 4)?) {
            // It finds the listener where there is no connection any more.
            BY_FAMILY if field::<1>(answer, STATE)? == [LISTENING] => Ok(None),
            BY_FAMILY => Ok(Some(u32::from_ne_bytes(field(answer, RECEIVE_QUEUE)?))),
            ERROR if i32::from_ne_bytes(field(answer, HEADER)?) == NO_ENTRY => Ok(None),
            _ => Err(io::Error::other(format!("the kernel answers {answer:?}"))),
        }
    }
}

/// A `nlmsghdr` and an `inet_diag_req_v2`.
fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut question = Vec::new();
    question.extend((HEADER as u32 + 8 + SOCKET_ID as u32).to_ne_bytes());
    question.extend(BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST.to_ne_bytes());
    question.extend([0; 8]); // its number, and whose it is
    question.extend([family.as_raw() as u8, TCP, 0, 0]);
    question.extend(u32::MAX.to_ne_bytes()); // in any state
    question.extend(local.port().to_be_bytes());
    question.extend(remote.port().to_be_bytes());
    for address in [local.ip(), remote.ip()] {
        match address {
            IpAddr::V4(address) => {
                question.extend(address.octets());
                question.extend([0; 12]);
            }
            IpAddr::V6(address) => question.extend(address.octets()),
        }
    }
    question.extend([0; 4]); // by any interface
    question.extend([0xff; 8]); // whatever its cookie
    question
}

fn field<const N: usize>(answer: &[u8], at: usize) -> io::Result<[u8; N]> {
    let field = answer.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    field.ok_or_else(|| io::Error::other(format!("the kernel answers {answer:?}")))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn by(address: &str) {
        let listener = TcpListener::bind(address).expect("bound");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (mut server, remote) = listener.accept().expect("a client");
        let local = server.local_addr().expect("an address");
        let unread = || Kernel::open().and_then(|kernel| kernel.unread(local, remote)).expect("an answer");
        client.write_all(b"hello").expect("sent");
        assert_eq!(unread(), Some(5));
        server.read_exact(&mut [0; 3]).expect("three bytes");
        assert_eq!(unread(), Some(2));
        server.read_exact(&mut [0; 2]).expect("the rest");
        assert_eq!(unread(), Some(0));
        until_empty(&client);
        drop(server);
        until_empty(&client);
    }

    #[test]
    fn what_is_sent_is_unread_until_it_is_read() {
        by("127.0.0.1:0");
        by("[::1]:0");
    }

    #[test]
    fn of_what_is_not_connected_nothing_is_unread() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let local = listener.local_addr().expect("an address");
        let remote = SocketAddr::from(([127, 0, 0, 1], 1));
        let unread = Kernel::open().and_then(|kernel| kernel.unread(local, remote)).expect("an answer");
        assert_eq!(unread, None);
    }
}
