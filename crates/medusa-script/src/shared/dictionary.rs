//! One dictionary: its operations, each atomic for one key.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::limits::{LARGEST, SHARDS};
use super::shard::{Entry, Held, Shard};
use super::value::{SharedError, SharedValue};
use crate::counted::shown_name;

/// The largest whole number up to which each has a next one: 2^53 - 1.
pub(super) const LAST_WHOLE: f64 = 9_007_199_254_740_991.0;

/// One dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    hasher: RandomState,
    pub(super) shards: Box<[Mutex<Shard>]>,
}

impl Dictionary {
    pub(super) fn new(held: &Arc<Held>) -> Self {
        let shard = |_| Mutex::new(Shard::new(held));
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(shard).collect() }
    }

    /// Locks the shard of a key. One that is longer than any may be is nowhere: it is not even hashed.
    fn shard(&self, key: &[u8]) -> Result<MutexGuard<'_, Shard>, SharedError> {
        if key.len() > LARGEST {
            return Err(SharedError::TooLarge { size: key.len() });
        }
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        Ok(self.shards[at].lock())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<SharedValue> {
        self.shard(key).ok()?.get(key, Instant::now()).map(|entry| entry.value.clone())
    }

    /// Sets or, with `None`, removes. Without `ttl` the entry stays.
    pub(crate) fn set(
        &self,
        key: &[u8],
        value: Option<SharedValue>,
        ttl: Option<Duration>,
    ) -> Result<(), SharedError> {
        let now = Instant::now();
        let mut shard = self.shard(key)?;
        match value {
            None => {
                shard.remove(key);
                Ok(())
            }
            Some(value) => shard.put(key, value, ttl.and_then(|ttl| now.checked_add(ttl)), now),
        }
    }

    /// Adds to a number (0 when there is none) and returns the sum. An entry's time to live goes on; a new entry gets
    /// `ttl`.
    pub(crate) fn incr(&self, key: &[u8], by: f64, ttl: Option<Duration>) -> Result<f64, SharedError> {
        let now = Instant::now();
        let mut shard = self.shard(key)?;
        let (sum, expires) = match shard.get(key, now) {
            None => (by, ttl.and_then(|ttl| now.checked_add(ttl))),
            Some(Entry { value: SharedValue::Number(number), expires }) => {
                let sum = number + by;
                if number.fract() == 0.0 && by.fract() == 0.0 && sum.abs() > LAST_WHOLE {
                    return Err(SharedError::TooFar(shown_name(key)));
                }
                (sum, *expires)
            }
            Some(_) => return Err(SharedError::NotANumber(shown_name(key))),
        };
        shard.put(key, SharedValue::Number(sum), expires, now)?;
        Ok(sum)
    }

    /// Sets (or removes) only if the value is `old` (`None`: only if there is none); says whether it did.
    pub(crate) fn cas(
        &self,
        key: &[u8],
        old: Option<&SharedValue>,
        new: Option<SharedValue>,
        ttl: Option<Duration>,
    ) -> Result<bool, SharedError> {
        let now = Instant::now();
        let mut shard = self.shard(key)?;
        if shard.get(key, now).map(|entry| &entry.value) != old {
            return Ok(false);
        }
        match new {
            None => {
                shard.remove(key);
            }
            Some(new) => shard.put(key, new, ttl.and_then(|ttl| now.checked_add(ttl)), now)?,
        }
        Ok(true)
    }

    /// Lists up to `max` keys of one shard that start with `prefix`, in no order.
    pub(crate) fn keys(&self, shard: usize, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let now = Instant::now();
        let shard = self.shards[shard].lock();
        let alive = shard.entries.iter().filter(|(key, entry)| key.starts_with(prefix) && entry.alive(now));
        alive.map(|(key, _)| key.clone()).take(max).collect()
    }
}
