//! What the kernel holds of a connection for a server that has not read it yet.
//!
//! A test that wants its bytes to arrive in two parts must know when the first one has been read: until then the second
//! joins it in the receive queue, and the server sees one part.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

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
    let table = if ours.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sockets = fs::read_to_string(table).expect("Linux shows its sockets");
        // Without an entry the server has closed its end, and reads no more.
        if unread(&sockets, theirs, ours).unwrap_or(0) == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the server has not read for {PATIENCE:?}");
        thread::park_timeout(PAUSE);
    }
}

/// How many bytes wait in the socket at `local` whose other end is `remote`: see `proc_pid_net(5)`. Both are on this
/// machine, so their ports tell them from all others.
fn unread(sockets: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    sockets.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let ports = (port(columns.next()?)?, port(columns.next()?)?);
        let queues = columns.nth(1)?;
        let (_sending, receiving) = queues.split_once(':')?;
        (ports == (local.port(), remote.port())).then(|| u64::from_str_radix(receiving, 16).ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_is_sent_is_unread_until_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (mut server, remote) = listener.accept().expect("a client");
        let local = server.local_addr().expect("an address");
        let waiting = || unread(&fs::read_to_string("/proc/net/tcp").expect("Linux"), local, remote);
        client.write_all(b"hello").expect("sent");
        assert_eq!(waiting(), Some(5));
        server.read_exact(&mut [0; 3]).expect("three bytes");
        assert_eq!(waiting(), Some(2));
        server.read_exact(&mut [0; 2]).expect("the rest");
        until_empty(&client);
        drop(server);
        until_empty(&client);
    }
}
