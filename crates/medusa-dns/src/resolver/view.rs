//! Views of a resolver: its cache, and its status.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use medusa_proto::status::{Status, Value};

use super::settings::Settings;
use super::shared::Shared;
use crate::RecordType;
use crate::cache::Listed;
use crate::name::{self, Key, kind_in};

pub use crate::cache::State as EntryState;

/// The length of an answer that is shown.
const MAX_SHOWN: usize = 1024;

/// An answer in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The name, in lower case, without the dot at its end.
    pub name: String,
    /// The type; `None` if there is no such name, of any type.
    pub kind: Option<RecordType>,
    /// The records, each behind a comma, or why there are none. Cut if it is long.
    pub answer: String,
    /// For how long it holds; zero if it does no longer.
    pub ttl: Duration,
    /// The number of times it was used. Half of that is handed down when it is replaced by a newer answer.
    pub hits: u32,
    /// The state of it.
    pub state: EntryState,
}

impl CacheEntry {
    fn of(listed: Listed) -> Self {
        Self {
            name: name::shown(&listed.key).to_owned(),
            kind: kind_in(&listed.key),
            answer: shown(&listed),
            ttl: listed.ttl,
            hits: listed.hits,
            state: listed.state,
        }
    }
}

fn shown(listed: &Listed) -> String {
    let mut text = String::new();
    match &listed.value {
        Err(error) => text.push_str(error.name()),
        Ok(records) => {
            for record in records.iter() {
                let comma = if text.is_empty() { "" } else { ", " };
                write!(text, "{comma}{record}").unwrap_or_default(); // writing to a string cannot fail
                if text.len() > MAX_SHOWN {
                    text.truncate(text.floor_char_boundary(MAX_SHOWN));
                    text.push('…');
                    break;
                }
            }
        }
    }
    text
}

pub(super) fn cache(shared: &Shared, limit: usize) -> Vec<CacheEntry> {
    shared.cache.list(limit, shared.now()).into_iter().map(CacheEntry::of).collect()
}

pub(super) fn cache_of(shared: &Shared, name: &Key) -> Vec<CacheEntry> {
    shared.cache.list_name(name, shared.now()).into_iter().map(CacheEntry::of).collect()
}

pub(super) fn status(settings: &Settings, shared: &Shared) -> Status {
    let status = match settings {
        Settings::System(options) => Status::new("dns.system", options.resolv_conf.display().to_string()),
        Settings::Given { servers, .. } => {
            let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
            Status::new("dns.server", names.join(" "))
        }
    };
    let counts = shared.cache.counts();
    let (pending, waiting) = shared.pending.counts();
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    status
        .gauge("entries", counts.entries)
        .gauge("size", Value::Bytes(counts.bytes))
        .counter("evicted", counts.evicted)
        .counter("hits", counts.hits)
        .counter("misses", count(&shared.counters.misses))
        .counter("stale", count(&shared.counters.stale))
        .counter("prefetched", count(&shared.counters.prefetched))
        .counter("failures", count(&shared.counters.failures))
        .counter("local", count(&shared.counters.local))
        .gauge("in_flight", pending)
        .gauge("waiting", waiting)
        .gauge("hosts", shared.hosts.load().len())
        .gauge("pins", shared.pins.load().len())
        .children(shared.servers.load().status())
}
