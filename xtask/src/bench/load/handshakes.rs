//! Load of TLS handshakes: each connection is made, asks once, and is closed by the server.
//!
//! wrk and h2load cannot do this: neither says whether a handshake was a full one or resumed a session, which differ
//! several times in cost. This client decides which it wants, and counts a handshake of the other kind as an error.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_testkit::load::Broken;
use medusa_testkit::{Client, Response};
use parking_lot::Mutex;
use rustls::{ClientConfig, HandshakeKind};

use super::{Counted, Target};
use crate::bench::tls::{Exchange, NAME};
use crate::error::{Error, Result};
use crate::threads;

/// Threads, each with one connection at a time: enough that the server always has one to work on.
const THREADS: usize = 16;

/// A load of handshakes.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Handshakes {
    /// The key exchange.
    pub(in crate::bench) exchange: Exchange,
    /// Resume the session of an earlier connection, instead of a full handshake with certificate and signature.
    pub(in crate::bench) resumed: bool,
}

/// The counts of all threads.
#[derive(Debug, Default)]
struct Tally {
    latencies: Vec<Duration>,
    broken: Broken,
    /// Handshakes of another kind than was wanted, and answers other than 200.
    failed: u64,
}

impl Handshakes {
    pub(super) fn press(self, seconds: u32, target: Target<'_>) -> Result<Counted> {
        let Some(identity) = target.identity else {
            return Err(Error::Found(format!("{} is not encrypted: no handshake to measure", target.url())));
        };
        let start = Instant::now();
        let deadline = start + Duration::from_secs(seconds.into());
        // Each thread its own client: a session is then resumed by whoever began it, and no thread waits for another.
        let all = Mutex::new(Tally::default());
        let outcomes = threads::together(0..THREADS, |_| {
            let settings = identity.client(self.exchange, self.resumed)?;
            self.until(deadline, &settings, target, &all);
            Ok(())
        });
        outcomes.into_iter().collect::<Result>()?;
        let Tally { latencies, broken, failed } = all.into_inner();
        Ok(Counted { broken, failed, ..Counted::of_latencies(latencies, start.elapsed(), 0) })
    }

    fn until(self, deadline: Instant, settings: &Arc<ClientConfig>, target: Target<'_>, all: &Mutex<Tally>) {
        if self.resumed {
            // The session that the first counted connection resumes.
            let _seen_by_the_next = connection(settings, target);
        }
        let wanted = if self.resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
        while Instant::now() < deadline {
            let began = Instant::now();
            let outcome = connection(settings, target);
            let took = began.elapsed();
            let mut tally = all.lock();
            match outcome {
                Ok((kind, answer)) => {
                    tally.latencies.push(took);
                    tally.failed += u64::from(kind != Some(wanted) || answer.status != 200);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tally.broken.timeout += 1,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => tally.broken.connect += 1,
                Err(_broken) => tally.broken.read += 1,
            }
        }
    }
}

/// One connection from beginning to end: how it began, and the answer.
fn connection(
    settings: &Arc<ClientConfig>,
    target: Target<'_>,
) -> io::Result<(Option<HandshakeKind>, Response)> {
    let mut client = Client::try_connect(target.address)?.encrypted_by(settings, NAME);
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target.path);
    client.try_send(request)?;
    let answer = client.try_response("GET")?.ok_or(io::ErrorKind::UnexpectedEof)?;
    client.closed().map_err(io::Error::other)?;
    Ok((client.handshake_kind(), answer))
}

/// No command can be typed for it: what it does, in words.
impl fmt::Display for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.resumed { "resumed" } else { "full" };
        let exchange = match self.exchange {
            Exchange::X25519 => "X25519",
            Exchange::PostQuantum => "X25519MLKEM768",
        };
        write!(f, "{THREADS} threads, {kind} handshakes, {exchange}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::load::Load;
    use crate::bench::nginx;
    use crate::bench::side::Wire;
    use crate::bench::tls::Identity;

    #[test]
    fn a_handshake_of_the_other_kind_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Arc::new(Identity::make(folder.path()).expect("an identity"));
        let side = nginx::with_a_file(folder.path(), Wire::Tls(Arc::clone(&identity)));
        for resumed in [false, true] {
            let load = Handshakes { exchange: Exchange::X25519, resumed };
            let counted = side.press(&Load::Handshakes(load), 1, "/tiny.bin").expect("all of the kind");
            assert!(counted.requests > 1 && counted.p99 > Duration::ZERO, "{counted:?}");
        }
        // A client without memory makes full handshakes, whatever is wanted.
        let target = Target { address: side.address, path: "/tiny.bin", identity: Some(&identity) };
        let forgetful = identity.client(Exchange::X25519, false).expect("a client");
        let deadline = Instant::now() + Duration::from_millis(50);
        let tally = Mutex::new(Tally::default());
        let wanted = Handshakes { exchange: Exchange::X25519, resumed: true };
        wanted.until(deadline, &forgetful, target, &tally);
        let tally = tally.into_inner();
        assert_eq!(tally.failed, tally.latencies.len() as u64);
        assert!(tally.failed > 0);
    }

    #[test]
    fn a_plain_target_has_no_handshake_to_measure() {
        let load = Handshakes { exchange: Exchange::X25519, resumed: false };
        let target = Target { address: ([127, 0, 0, 1], 9).into(), path: "/", identity: None };
        let error = load.press(1, target).expect_err("not encrypted").to_string();
        assert_eq!(error, "http://127.0.0.1:9/ is not encrypted: no handshake to measure");
    }
}
