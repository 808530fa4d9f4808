//! The clients that must not suffer: they ask for a page and for a handler, one request after the other, and mind how
//! long each takes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, Response, dial};

use crate::threads;

/// Clients of each path.
const CLIENTS: usize = 2;
/// Where they come from: no address of a hostile client.
const FROM: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(10);
/// A request is lost if its answer takes longer. What people wait for a page; the server's own deadlines are longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that is read of an answer.
const MOST: usize = 1 << 20;

/// What is asked for: a file, a handler in the workers' VMs, and one in the main VM. The first takes no script.
pub(super) const PATHS: [(&str, &str); 3] = [("page", "/"), ("handler", "/ok"), ("inline", "/inline")];

/// The answers seen of one path.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The time that each answer took.
    pub(super) times: Vec<Duration>,
    /// 503: the server said that it is full.
    pub(super) refused: u64,
    /// Requests without a whole answer, or with another than 200 and 503: why, the first of them.
    pub(super) lost: Vec<String>,
}

/// The answers seen, of each of [`PATHS`].
pub(super) type Visits = [Seen; PATHS.len()];

/// Runs all clients until `over`: of each path some, so that one that waits keeps no other waiting.
pub(super) fn run(server: SocketAddr, over: &AtomicBool) -> Visits {
    let clients = PATHS.iter().flat_map(|(_, path)| [*path; CLIENTS]);
    let seen = threads::together(clients, |path| Visitor { server, kept: None }.run(path, over));
    let mut seen = seen.into_iter();
    PATHS.map(|_| seen.by_ref().take(CLIENTS).fold(Seen::default(), Seen::add))
}

struct Visitor {
    server: SocketAddr,
    kept: Option<Client>,
}

impl Visitor {
    fn run(mut self, path: &str, over: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let answer = self.ask(path);
            seen.count(path, answer, begun.elapsed());
            thread::park_timeout(PAUSE); // a client's pace, not a wait for something
        }
        seen
    }

    /// One request. A kept connection may have ended between two, as its server may end it: then a new one is made.
    fn ask(&mut self, path: &str) -> io::Result<Response> {
        if let Some(kept) = self.kept.take() {
            match self.ask_over(kept, path) {
                Err(error) if is_end(&error) => {}
                answer => return answer,
            }
        }
        let fresh = Client::over(dial(FROM, self.server, PATIENCE, None)?);
        self.ask_over(fresh, path)
    }

    fn ask_over(&mut self, mut client: Client, path: &str) -> io::Result<Response> {
        client.read_at_most(MOST);
        client.try_send(format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n"))?;
        let answer = client.try_response("GET")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.kept = (!answer.says_close()).then_some(client);
        Ok(answer)
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

impl Seen {
    fn count(&mut self, path: &str, answer: io::Result<Response>, after: Duration) {
        match answer {
            Ok(Response { status: 200, .. }) => self.times.push(after),
            Ok(Response { status: 503, .. }) => self.refused += 1,
            Ok(Response { status, .. }) => self.lost.push(format!("{path}: status {status}")),
            Err(error) => self.lost.push(format!("{path}: {error} after {after:.1?}")),
        }
    }

    fn add(mut self, other: Self) -> Self {
        self.times.extend(other.times);
        self.lost.extend(other.lost);
        self.refused += other.refused;
        self
    }

    /// The time that `share` of all answers took at most; zero without any.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let place = (times.len() as f64 * share) as usize;
        times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let seen = Seen { times, ..Seen::default() };
        assert_eq!(seen.quantile(0.5), Duration::from_millis(51));
        assert_eq!(seen.quantile(0.99), Duration::from_millis(100));
        assert_eq!(seen.quantile(1.0), Duration::from_millis(100));
        assert_eq!(Seen::default().quantile(0.5), Duration::ZERO);
    }
}
