//! Finds the addresses of a host, without ever holding its caller up for longer than it says.
//!
//! The system's resolver knows no deadline, so it is asked on a thread of its own; one that is late is asked no second
//! time. **Invariant: at most one such thread per [`Resolver`]**, however often its name server fails to answer.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::target::Host;

/// Time that an answer is waited for. The system's own limit is often half a minute, with several servers.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

type Resolved = io::Result<Vec<SocketAddr>>;

/// Asks for the addresses of one host, as often as need be.
#[derive(Debug)]
pub(super) struct Resolver {
    host: Host,
    /// Where an answer will come that was too late last time.
    late: Option<Receiver<Resolved>>,
}

impl Resolver {
    pub(super) fn new(host: &Host) -> Self {
        Self { host: host.clone(), late: None }
    }

    /// The addresses, at least one, in the order in which they should be tried.
    pub(super) fn resolve(&mut self, patience: Duration) -> Resolved {
        if let Ok(ip) = self.host.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.host.port)]);
        }
        let receiver = match self.late.take() {
            Some(receiver) => receiver,
            None => ask(self.host.clone())?,
        };
        match receiver.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                self.late = Some(receiver);
                let told = format!("the name server has not answered within {} s", patience.as_secs());
                Err(io::Error::new(ErrorKind::TimedOut, told))
            }
            Err(RecvTimeoutError::Disconnected) => Err(ErrorKind::Interrupted.into()), // the thread has panicked
        }
    }
}

fn ask(host: Host) -> io::Result<Receiver<Resolved>> {
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("log-resolve".to_owned()).spawn(move || {
        let answer = (host.name.as_str(), host.port).to_socket_addrs().map(Iterator::collect);
        let answer = answer.and_then(|all: Vec<_>| {
            if all.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(all) }
        });
        // Nobody waits any more if the sink is gone.
        let _gone = sender.send(answer);
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name: &str) -> Resolved {
        Resolver::new(&Host { name: name.to_owned(), port: 514 }).resolve(PATIENCE)
    }

    #[test]
    fn addresses_need_no_name_server_and_names_are_found() {
        assert_eq!(resolve("192.0.2.1").expect("an address"), ["192.0.2.1:514".parse().expect("an address")]);
        assert_eq!(resolve("::1").expect("an address"), ["[::1]:514".parse().expect("an address")]);
        assert!(
            resolve("localhost").expect("every system has one").iter().all(|addr| addr.ip().is_loopback())
        );
        resolve("no-such-name.invalid").expect_err("RFC 6761 says so");
    }

    #[test]
    fn a_late_answer_is_waited_for_and_not_asked_for_again() {
        let (sender, receiver) = sync_channel(1);
        let mut resolver =
            Resolver { host: Host { name: "late.invalid".to_owned(), port: 1 }, late: Some(receiver) };
        let error = resolver.resolve(Duration::from_millis(1)).expect_err("nobody has answered");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let addr = "192.0.2.1:1".parse().expect("an address");
        sender.send(Ok(vec![addr])).expect("it is still waiting");
        assert_eq!(resolver.resolve(PATIENCE).expect("the late answer"), [addr]);
    }
}
