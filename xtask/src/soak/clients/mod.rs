//! The hostile clients: each kind does one thing that a server must stand, for a few seconds, and then lets go.
//!
//! Invariant: every attack is bounded, in connections ([`MOST_CONNECTIONS`] of a kind at a time) and in time
//! ([`Attack::over`]); what it holds is closed when it returns. That the server ends a connection is what an attack
//! expects: an error ends it early and means nothing.

mod bodies;
mod http1;
mod http2;
mod others;
mod websocket;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, dial};

use super::rng::Rng;

/// The number of connections that one attack holds at a time.
const MOST_CONNECTIONS: usize = 100;
/// The time that one attack goes on.
const LASTS: Duration = Duration::from_secs(3);
/// The time that a read or a write may take: an attack that waits longer is over anyway.
const PATIENCE: Duration = Duration::from_millis(500);

/// The addresses of the server.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// HTTP in the clear.
    pub(super) plain: SocketAddr,
    /// HTTPS.
    pub(super) tls: SocketAddr,
    /// HTTP after a header of the PROXY protocol.
    pub(super) proxied: SocketAddr,
    /// The control socket.
    pub(super) control: PathBuf,
}

/// A kind of hostile client.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttackKind {
    /// Its name in the report.
    pub(super) name: &'static str,
    run: fn(&mut Attack<'_>) -> io::Result<()>,
}

impl AttackKind {
    const fn new(name: &'static str, run: fn(&mut Attack<'_>) -> io::Result<()>) -> Self {
        Self { name, run }
    }

    /// Attacks once, until `end` at the latest. Returns how many connections were made.
    pub(super) fn attack(&self, targets: &Targets, rng: &mut Rng, end: Instant) -> u64 {
        // An address of its own for each attack: what one may do is limited by address, and tried elsewhere.
        let from = Ipv4Addr::new(127, 1, rng.usize(..256) as u8, 1 + rng.usize(..254) as u8);
        let until = end.min(Instant::now() + LASTS);
        let mut attack = Attack { targets, rng, from, until, made: 0 };
        let _ended_by_the_server = (self.run)(&mut attack);
        attack.made
    }
}

/// Every kind.
pub(super) fn all() -> Vec<AttackKind> {
    [http1::KINDS, http2::KINDS, websocket::KINDS, bodies::KINDS, others::KINDS].concat()
}

/// One attack under way.
struct Attack<'a> {
    targets: &'a Targets,
    rng: &'a mut Rng,
    from: Ipv4Addr,
    until: Instant,
    made: u64,
}

impl Attack<'_> {
    fn over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// A connection to the server in the clear.
    fn dial(&mut self) -> io::Result<TcpStream> {
        self.dial_to(self.targets.plain)
    }

    fn dial_to(&mut self, to: SocketAddr) -> io::Result<TcpStream> {
        self.made += 1;
        dial(self.from, to, PATIENCE, None)
    }

    /// One that takes little: its answers stay with the server.
    fn dial_narrow(&mut self) -> io::Result<TcpStream> {
        self.made += 1;
        dial(self.from, self.targets.plain, PATIENCE, Some(4096))
    }

    /// Does `once` again and again until the attack is over.
    fn again(&mut self, mut once: impl FnMut(&mut Self) -> io::Result<()>) -> io::Result<()> {
        while !self.over() {
            once(self)?;
        }
        Ok(())
    }

    /// As many as `open` makes of what there may be, up to `most`. An error if there is none.
    fn gather<T>(
        &mut self,
        most: usize,
        mut open: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let mut held = Vec::new();
        while held.len() < most && !self.over() {
            match open(self) {
                Ok(one) => held.push(one),
                Err(error) if held.is_empty() => return Err(error),
                Err(_refused) => break,
            }
        }
        Ok(held)
    }

    /// Gathers what `open` makes, and holds on to it until the attack is over.
    fn hold<T>(&mut self, most: usize, open: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<()> {
        let held = self.gather(most, open)?;
        thread::park_timeout(self.until.saturating_duration_since(Instant::now()));
        drop(held);
        Ok(())
    }

    /// Gathers what `open` makes, and says `next` over each in turn, with a pause after each turn, until the attack is
    /// over. Those whose server has gone are let go.
    fn trickle<S: Write>(
        &mut self,
        most: usize,
        open: impl FnMut(&mut Self) -> io::Result<S>,
        next: &[u8],
        pause: Duration,
    ) -> io::Result<()> {
        let mut herd = self.gather(most, open)?;
        while !self.over() && !herd.is_empty() {
            herd.retain_mut(|stream| stream.write_all(next).is_ok());
            thread::park_timeout(pause); // the pace of the attack
        }
        Ok(())
    }

    /// Over one connection after the other, writes `bytes` over and over until the server has enough.
    fn flood<S: Write>(
        &mut self,
        mut open: impl FnMut(&mut Self) -> io::Result<S>,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.again(|attack| {
            let mut stream = open(attack)?;
            while !attack.over() && stream.write_all(bytes).is_ok() {}
            Ok(())
        })
    }

    /// Over one connection after the other, says what `make` makes, be it taken or not, and hears what comes.
    fn say<S: Read + Write>(
        &mut self,
        mut open: impl FnMut(&mut Self) -> io::Result<S>,
        mut make: impl FnMut(&mut Rng) -> Vec<u8>,
    ) -> io::Result<()> {
        self.again(|attack| {
            let mut stream = open(attack)?;
            let _refused = stream.write_all(&make(attack.rng));
            drain(&mut stream);
            Ok(())
        })
    }

    /// Requests one after the other, each over a connection of its own, until the attack is over.
    fn repeat(&mut self, mut request: impl FnMut(&mut Rng) -> Vec<u8>) -> io::Result<()> {
        self.again(|attack| {
            let mut client = Client::over(attack.dial()?);
            client.read_at_most(1 << 20);
            // Answered before all was taken, or not: either way the next one.
            let _cut_off = client.try_send(request(attack.rng)).and_then(|()| client.try_response("GET"));
            Ok(())
        })
    }
}

/// `stream`, after `head` was said over it.
fn after<S: Write>(head: &[u8], mut stream: S) -> io::Result<S> {
    stream.write_all(head)?;
    Ok(stream)
}

/// Reads and forgets until nothing comes.
fn drain(stream: &mut impl Read) {
    let mut piece = [0; 16384];
    while matches!(stream.read(&mut piece), Ok(1..)) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::rng::stream;

    #[test]
    fn there_are_many_kinds_and_each_has_its_name() {
        let mut names: Vec<&str> = all().iter().map(|kind| kind.name).collect();
        assert!(names.len() >= 20, "{}", names.len());
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "two have one name");
    }

    #[test]
    fn an_attack_on_nobody_ends_at_once() {
        let nobody = "127.0.0.1:1".parse().expect("an address");
        let targets =
            Targets { plain: nobody, tls: nobody, proxied: nobody, control: PathBuf::from("/nonexistent") };
        let end = Instant::now() + Duration::from_millis(50);
        for kind in all() {
            kind.attack(&targets, &mut stream(1, 1), end);
        }
    }
}
