//! Many connections that do nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, dial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ClientConfig;

use super::{PATH, SIZE};
use crate::bench::side::Side;
use crate::bench::tls::{Exchange, NAME};
use crate::error::{Error, Result};
use crate::threads;

/// Threads that open them: enough to keep both cores busy while some wait.
const THREADS: u32 = 8;
/// Connections from one source address: what a server allows one client, and far below the ports there are.
const EACH_SOURCE: u32 = 100;
/// The time that a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The connections.
#[derive(Debug)]
pub(super) struct Herd(Vec<TcpStream>);

impl Herd {
    /// Opens so many. With `asked`, each makes a request and reads the answer.
    pub(super) fn open(side: &Side, count: u32, asked: bool) -> Result<Self> {
        let encryption = match side.identity() {
            Some(identity) if asked => Some(identity.client(Exchange::X25519, false)?),
            _ => None,
        };
        let address = side.address;
        let open = |index| one(address, index, asked, encryption.as_ref());
        let opened = threads::together(0..THREADS, |first| {
            (first..count).step_by(THREADS as usize).map(open).collect::<io::Result<Vec<TcpStream>>>()
        });
        let opened: io::Result<Vec<Vec<TcpStream>>> = opened.into_iter().collect();
        let all = opened.map_err(|error| {
            side.fault(&format!("must hold {count} connections, but one could not be made: {error}"))
        })?;
        Ok(Self(all.into_iter().flatten().collect()))
    }

    /// Holds them for so long. The server must neither close one nor send a byte.
    pub(super) fn hold(&self, side: &Side, time: Duration) -> Result {
        let deadline = Instant::now() + time;
        let mut files: Vec<PollFd<'_>> =
            self.0.iter().map(|socket| PollFd::new(socket, PollFlags::IN | PollFlags::RDHUP)).collect();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            match poll(&mut files, timeout.as_ref()) {
                Ok(0) => return Ok(()),
                Ok(closed) => {
                    return Err(side.fault(&format!(
                        "must leave idle connections alone, but closed or wrote to {closed} of {}",
                        self.0.len()
                    )));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::Io { what: "poll".to_owned(), source: errno.into() }),
            }
        }
    }
}

fn one(
    address: SocketAddr,
    index: u32,
    asked: bool,
    encryption: Option<&Arc<ClientConfig>>,
) -> io::Result<TcpStream> {
    let client = Client::over(dial(source(index), address, PATIENCE, None)?);
    if !asked {
        return Ok(client.into_tcp());
    }
    let mut client = match encryption {
        Some(settings) => client.encrypted_by(settings, NAME),
        None => client,
    };
    client.try_send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))?;
    match client.try_response("GET")? {
        Some(answer) if answer.status == 200 && answer.body.len() == SIZE => Ok(client.into_tcp()),
        other => Err(io::Error::other(format!("it answered {:?}", other.map(|answer| answer.status)))),
    }
}

/// Every hundred connections another address of 127.0.0.0/8.
fn source(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + index / EACH_SOURCE)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::bench::idle::accepted;
    use crate::bench::nginx;
    use crate::bench::side::Wire;
    use crate::bench::tls::Identity;

    #[test]
    fn no_source_address_has_more_than_its_share() {
        assert_eq!(source(0), source(99));
        assert_eq!(source(100), Ipv4Addr::new(127, 1, 0, 2));
        assert_eq!(source(25_600), Ipv4Addr::new(127, 1, 1, 1));
    }

    #[test]
    fn connections_that_asked_or_did_not_are_held_in_the_clear_and_over_tls() {
        for tls in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let wire = if tls {
                Wire::Tls(Arc::new(Identity::make(folder.path()).expect("TLS")))
            } else {
                Wire::Plain
            };
            let side = nginx::with_a_file(folder.path(), wire);
            for asked in [false, true] {
                let herd = Herd::open(&side, 150, asked).expect("open");
                accepted::wait(&side, &herd, 150).expect("accepted");
                herd.hold(&side, Duration::from_millis(1)).expect("left alone");
            }
        }
    }

    #[test]
    fn a_connection_that_the_server_ends_is_not_idle() {
        let folder = tempfile::tempdir().expect("a folder");
        let side = nginx::with_a_file(folder.path(), Wire::Plain);
        let herd = Herd::open(&side, 2, false).expect("open");
        (&herd.0[0]).write_all(b"GET /tiny.bin HTTP/1.0\r\n\r\n").expect("write");
        let error = herd.hold(&side, PATIENCE).expect_err("one is closed").to_string();
        assert!(error.contains("closed or wrote to 1 of 2"), "{error}");
    }
}
