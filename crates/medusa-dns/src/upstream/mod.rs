//! The servers: in which order they are asked, and what becomes of a question that one of them does not answer.
//!
//! - `server`: one of them;
//! - `asked`: which datagrams count as its answers, `guard`: the sockets that hear no others;
//! - `failure`: why it has none;
//! - `reply`: what an answer says;
//! - `stream`: the connection to it, if it needs one;
//! - `stats`: how it has served us;
//! - `tls`: the trust in its certificate.
//!
//! hickory-resolver does the protocols, for one server at a time; its own cache, order and repetition are not used, since
//! they tell neither which server was slow nor why one failed.

mod failure;
mod guard;
mod reply;
mod sent_query;
mod server;
mod stats;
mod stream;
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medusa_proto::status::Status;

use crate::LookupError;
use crate::name::Key;

pub(crate) use failure::Failure;
pub(crate) use reply::Reply;
pub(crate) use server::{Server, Transport};
pub(crate) use stats::Stats;
pub(crate) use tls::{check_name, trust};

/// The policy by which the servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueryPolicy {
    /// The time that one may take.
    pub(crate) timeout: Duration,
    /// How often each is asked.
    pub(crate) attempts: u32,
    /// Whether they are taken in turn.
    pub(crate) rotate: bool,
}

/// The servers.
#[derive(Debug)]
pub(crate) struct Servers {
    list: Vec<Server>,
    policy: QueryPolicy,
    /// Where the next question begins, if they are taken in turn.
    next: AtomicUsize,
}

impl Servers {
    pub(crate) fn new(list: Vec<Server>, policy: QueryPolicy) -> Self {
        Self { list, policy, next: AtomicUsize::new(0) }
    }

    pub(crate) fn list(&self) -> &[Server] {
        &self.list
    }

    /// The longest that a question can take.
    pub(crate) fn longest_query(&self) -> Duration {
        self.policy.timeout * self.policy.attempts * self.list.len().max(1) as u32
    }

    /// Asks them, one after the other, as often as each may be asked.
    pub(crate) async fn ask(&self, key: &Key) -> Result<Reply, LookupError> {
        let mut worst: Option<Failure> = None;
        for _ in 0..self.policy.attempts {
            for server in self.order() {
                match server.ask(key, self.policy.timeout).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => worst = Some(more_specific(worst, failure)),
                }
            }
        }
        Err(lookup_error(key, worst))
    }

    /// All of them, in the order to try; those that have not answered lately at the end.
    fn order(&self) -> impl Iterator<Item = &Server> {
        let first = if self.policy.rotate { self.next.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let turn =
            move || (0..self.list.len()).map(move |place| &self.list[(first + place) % self.list.len()]);
        let down: Vec<bool> = turn().map(|server| server.stats().is_to_be_spared()).collect();
        let up = down.clone();
        let first = turn().zip(up).filter(|(_, down)| !down);
        let last = turn().zip(down).filter(|(_, down)| *down);
        first.chain(last).map(|(server, _)| server)
    }

    pub(crate) fn status(&self) -> Vec<Status> {
        self.list.iter().map(Server::status).collect()
    }
}

/// Of two failures, the one that tells more: a server that says why is better than one that says nothing.
fn more_specific(one: Option<Failure>, other: Failure) -> Failure {
    const fn weight(failure: &Failure) -> u8 {
        match failure {
            Failure::Code(_) => 3,
            Failure::Malformed(_) => 2,
            Failure::Timeout => 1,
            Failure::Unreachable(_) => 0,
        }
    }
    match one {
        Some(one) if weight(&one) >= weight(&other) => one,
        _ => other,
    }
}

fn lookup_error(key: &Key, failure: Option<Failure>) -> LookupError {
    let name = key.shown();
    match failure {
        Some(Failure::Code(code)) => LookupError::Failed { name, code },
        Some(Failure::Malformed(cause)) => LookupError::Malformed { name, cause },
        Some(Failure::Timeout) => LookupError::Timeout { name },
        Some(Failure::Unreachable(cause)) => LookupError::Unreachable { name, cause },
        None => LookupError::Unreachable { name, cause: "there is no server".into() },
    }
}
