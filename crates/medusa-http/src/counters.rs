//! Counts of requests, by outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;
use medusa_net::worker;
use medusa_proto::status::Status;

use crate::admission::Admission;
use crate::fault::Faults;

/// The shards of a counter. More workers than that share them.
pub(crate) const SHARDS: usize = 8;

/// Requests answered, by outcome. Shared by all generations of the same object.
///
/// Each worker counts in a shard of its own: one cache line that every core writes to would cost each request more than
/// its routing does.
#[derive(Debug, Default)]
pub struct Counters {
    shards: [Shard; SHARDS],
}

/// The counts of a server. Shared by all its generations.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Its requests.
    pub requests: Counters,
    /// Faults of its clients.
    pub faults: Faults,
    /// Its connections.
    pub admission: Arc<Admission>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    requests: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, status: StatusCode) {
        let shard = &self.shards[worker::index() % SHARDS];
        shard.requests.fetch_add(1, Relaxed);
        if status.is_client_error() {
            shard.client_errors.fetch_add(1, Relaxed);
        } else if status.is_server_error() {
            shard.server_errors.fetch_add(1, Relaxed);
        }
    }

    /// The requests, and of those the ones with a 5xx.
    pub fn answered(&self) -> (u64, u64) {
        let of = |shard: &Shard| (shard.requests.load(Relaxed), shard.server_errors.load(Relaxed));
        self.shards.iter().map(of).fold((0, 0), |(all, errors), (some, failed)| (all + some, errors + failed))
    }

    /// Adds the counts to an object's status.
    pub fn describe(&self, status: Status) -> Status {
        let sum = |of: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| of(shard).load(Relaxed)).sum::<u64>()
        };
        status
            .counter("requests", sum(|shard| &shard.requests))
            .counter("client_errors", sum(|shard| &shard.client_errors))
            .counter("server_errors", sum(|shard| &shard.server_errors))
    }
}
