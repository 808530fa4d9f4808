//! Answers of servers, for as long as they hold.
//!
//! - `entry`: one answer and its times;
//! - `shard`: a part of the cache with a lock of its own, and what goes when it is full.
//!
//! The time is an argument (milliseconds since the resolver was made), so that a day passes in a test as fast as a line.
//!
//! **Invariant: an entry is found only under the question it answers, and no longer than it may be.** Who can make the
//! cache hold more, or for longer, than it should, has a way to fill memory or to keep a lie alive: number, bytes and
//! times are limited here and nowhere else.

mod entry;
mod shard;

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::name::{Key, kind_in, name_in};
use crate::{CacheOptions, Data, LookupError};
use entry::Times;
use shard::Shard;

pub use entry::State;
pub(crate) use entry::{Found, Value};
pub(crate) use shard::{Counts, Listed};

/// Parts with a lock of their own: a power of two, several for each core that may look something up at once.
const SHARDS: usize = 32;

/// A part with fewer entries would evict what is in use because of where it hashes to.
const ENTRIES_PER_SHARD: usize = 256;

/// A part with fewer bytes could not hold the largest answers.
const BYTES_PER_SHARD: usize = 256 * 1024;

/// The time that is told of an answer that holds no longer, and for which no one is asked again after a failure (RFC 8767
/// §5).
pub(crate) const STALE_TTL: Duration = Duration::from_secs(30);

/// The lifetime of an answer, as its server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// A record's own.
    Positive(u32),
    /// That of there being no such name at all: it holds for every type. Otherwise as below.
    NoName(Option<u32>),
    /// That of a negative answer: the lesser of the SOA record's own and its minimum (RFC 2308 §5). Without an SOA record
    /// it should not be cached; we do so as shortly as for a failure, so that it is not asked for all the time.
    Negative(Option<u32>),
}

/// Answers by name and type.
#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl Cache {
    pub(crate) fn new(options: CacheOptions) -> Self {
        let wanted =
            (options.entries / ENTRIES_PER_SHARD).min(options.bytes / BYTES_PER_SHARD).clamp(1, SHARDS);
        let shards = wanted.next_power_of_two(); // at most `SHARDS`, which is one
        let entries = options.entries.div_ceil(shards);
        let bytes = options.bytes / shards;
        let shards = (0..shards).map(|_| Mutex::new(Shard::new(entries, bytes))).collect();
        Self { options, hasher: RandomState::new(), shards }
    }

    /// The answer to a question, if it is known. Counts as a use of it.
    pub(crate) fn get(&self, key: &Key, now: u64) -> Found {
        self.find(key, now, self.options.prefetch)
    }

    /// As [`get`](Self::get), for a caller that found nothing a moment ago: there is nothing to be fetched before its
    /// time.
    pub(crate) fn get_again(&self, key: &Key, now: u64) -> Found {
        self.find(key, now, false)
    }

    fn find(&self, key: &Key, now: u64, prefetch: bool) -> Found {
        let found = self.shard(key.bytes()).get(key.bytes(), now, prefetch);
        if matches!(found, Found::Fresh { .. }) {
            return found;
        }
        let Some(name) = key.any_type() else { return found };
        match self.shard(name.bytes()).get(name.bytes(), now, false) {
            nothing @ Found::Fresh { .. } => nothing,
            _ => found,
        }
    }

    /// Keeps what a server said.
    pub(crate) fn put(&self, key: &Key, value: &Value, lifetime: Lifetime, now: u64) -> Duration {
        let ttl = self.lifetime(lifetime);
        let stale = if value.is_ok() { self.options.stale } else { Duration::ZERO };
        let times = Times::new(now, ttl, stale);
        // What holds for the whole name and what holds for one type of it must not contradict each other.
        match key.any_type() {
            Some(name) if matches!(lifetime, Lifetime::NoName(_)) => {
                self.shard(key.bytes()).remove(key.bytes());
                self.shard(name.bytes()).put(name.bytes(), value.clone(), times);
            }
            name => {
                if let Some(name) = name {
                    self.shard(name.bytes()).remove(name.bytes());
                }
                self.shard(key.bytes()).put(key.bytes(), value.clone(), times);
            }
        }
        ttl
    }

    /// Remembers that there was no answer, or, if there is an older one, that it has to do for now: then it is returned.
    pub(crate) fn put_failure(&self, key: &Key, error: LookupError, now: u64) -> Option<Arc<[Data]>> {
        let kept = self.keep_stale(key, now);
        if kept.is_none() {
            let times = Times::new(now, self.options.failure_ttl, Duration::ZERO);
            self.shard(key.bytes()).put(key.bytes(), Err(error), times);
        }
        kept
    }

    /// An older answer that has to do for now, if there is one. It is not asked for again for a while.
    pub(crate) fn keep_stale(&self, key: &Key, now: u64) -> Option<Arc<[Data]>> {
        let failure = millis(self.options.failure_ttl);
        self.shard(key.bytes()).keep_stale(key.bytes(), now, millis(STALE_TTL), failure)
    }

    /// Forgets all; tells how many answers that were.
    pub(crate) fn flush(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().flush()).sum()
    }

    /// Forgets the name of `key`, with all its types; tells how many answers that were.
    pub(crate) fn flush_name(&self, key: &Key) -> usize {
        key.all_types().filter(|key| self.shard(key.bytes()).remove(key.bytes()).is_some()).count()
    }

    /// The entries most in use, at most `limit`.
    pub(crate) fn list(&self, limit: usize, now: u64) -> Vec<Listed> {
        let mut keys: Vec<(u32, Arc<[u8]>)> = Vec::new();
        for shard in &self.shards {
            shard.lock().keys(&mut keys, now);
            // Not all of them at once: there may be millions.
            if keys.len() > limit {
                keys.select_nth_unstable_by(limit, more_in_use);
                keys.truncate(limit);
            }
        }
        keys.sort_unstable_by(more_in_use);
        keys.iter().filter_map(|(_, key)| self.shard(key).describe(key, now)).collect()
    }

    /// The entries of the name of `key`, of all types.
    pub(crate) fn list_name(&self, key: &Key, now: u64) -> Vec<Listed> {
        key.all_types().filter_map(|key| self.shard(key.bytes()).describe(key.bytes(), now)).collect()
    }

    /// Counts of its use, and of its content.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in &self.shards {
            sum.add(&shard.lock().counts());
        }
        sum
    }

    /// For how long what a server said is taken to hold.
    pub(crate) fn lifetime(&self, lifetime: Lifetime) -> Duration {
        let options = &self.options;
        match lifetime {
            Lifetime::Positive(seconds) => seconds_of(seconds).clamp(options.min_ttl, options.max_ttl),
            Lifetime::NoName(Some(seconds)) | Lifetime::Negative(Some(seconds)) => {
                seconds_of(seconds).min(options.negative_max)
            }
            Lifetime::NoName(None) | Lifetime::Negative(None) => {
                options.failure_ttl.min(options.negative_max)
            }
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key) as usize;
        self.shards[hash & (self.shards.len() - 1)].lock() // their number is a power of two
    }
}

/// The order of a list: the most hits first, then by name, then by type.
fn more_in_use((hits, key): &(u32, Arc<[u8]>), (other_hits, other): &(u32, Arc<[u8]>)) -> Ordering {
    let by_name = || (name_in(key), kind_in(key)).cmp(&(name_in(other), kind_in(other)));
    other_hits.cmp(hits).then_with(by_name)
}

/// A TTL is a number of 31 bits; one with the highest bit is to be read as 0 (RFC 2181 §8).
fn seconds_of(ttl: u32) -> Duration {
    Duration::from_secs(if ttl > i32::MAX.cast_unsigned() { 0 } else { ttl.into() })
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
