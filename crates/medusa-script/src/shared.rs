//! Dictionaries that every VM sees: what scripts on different workers share.
//!
//! A dictionary is split into shards by key, each behind its own lock, held for one operation; every operation on one
//! key is atomic. It lives as long as the process, across reloads, and never holds more than its limit.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// What all keys and values of one dictionary may take together, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// How many dictionaries there may be.
const MAX_DICTIONARIES: usize = 1024;

/// What an entry costs beside its key and value.
const OVERHEAD: usize = 96;

const SHARDS: usize = 32;

/// A value that may cross between VMs: anything without identity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shared {
    Bool(bool),
    Number(f64),
    Text(Bytes),
}

impl Shared {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bool(_) | Self::Number(_) => 0,
        }
    }
}

/// Why an operation is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum SharedError {
    #[error("the shared dictionary is full ({} MiB): remove keys, or give them a time to live", LIMIT >> 20)]
    Full,
    #[error("there are {MAX_DICTIONARIES} shared dictionaries already")]
    TooMany,
    #[error("the key \"{0}\" does not hold a number")]
    NotANumber(String),
}

/// All dictionaries of the process, by name.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries(Mutex<HashMap<String, Arc<Dictionary>>>);

impl Dictionaries {
    /// The dictionary of that name, made when it is first asked for.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Dictionary>, SharedError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name) {
            return Ok(Arc::clone(known));
        }
        if all.len() >= MAX_DICTIONARIES {
            return Err(SharedError::TooMany);
        }
        let made = Arc::new(Dictionary::default());
        all.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

/// One dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Bytes, Entry>,
    size: usize,
}

#[derive(Debug)]
struct Entry {
    value: Shared,
    expires: Option<Instant>,
}

impl Entry {
    fn alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Shard {
    fn get(&mut self, key: &[u8], now: Instant) -> Option<&Entry> {
        if self.entries.get(key).is_some_and(|entry| !entry.alive(now)) {
            self.remove(key);
        }
        self.entries.get(key)
    }

    fn remove(&mut self, key: &[u8]) -> Option<Shared> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.size -= key.len() + entry.value.size() + OVERHEAD;
        Some(entry.value)
    }

    fn put(
        &mut self,
        key: &[u8],
        value: Shared,
        expires: Option<Instant>,
        now: Instant,
    ) -> Result<(), SharedError> {
        let old = self.entries.get(key).map_or(0, |old| key.len() + old.value.size() + OVERHEAD);
        let new = key.len() + value.size() + OVERHEAD;
        if self.size - old + new > LIMIT / SHARDS {
            self.sweep(now);
            let old = self.entries.get(key).map_or(0, |old| key.len() + old.value.size() + OVERHEAD);
            if self.size - old + new > LIMIT / SHARDS {
                return Err(SharedError::Full);
            }
        }
        self.remove(key);
        self.size += new;
        self.entries.insert(Bytes::copy_from_slice(key), Entry { value, expires });
        Ok(())
    }

    fn sweep(&mut self, now: Instant) {
        let size = &mut self.size;
        self.entries.retain(|key, entry| {
            let alive = entry.alive(now);
            if !alive {
                *size -= key.len() + entry.value.size() + OVERHEAD;
            }
            alive
        });
    }
}

impl Dictionary {
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Shared> {
        self.shard(key).get(key, Instant::now()).map(|entry| entry.value.clone())
    }

    /// Sets or, with `None`, removes. Without `ttl` the entry stays.
    pub(crate) fn set(
        &self,
        key: &[u8],
        value: Option<Shared>,
        ttl: Option<Duration>,
    ) -> Result<(), SharedError> {
        let now = Instant::now();
        let mut shard = self.shard(key);
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
        let mut shard = self.shard(key);
        let (sum, expires) = match shard.get(key, now) {
            None => (by, ttl.and_then(|ttl| now.checked_add(ttl))),
            Some(Entry { value: Shared::Number(number), expires }) => (number + by, *expires),
            Some(_) => return Err(SharedError::NotANumber(String::from_utf8_lossy(key).into_owned())),
        };
        shard.put(key, Shared::Number(sum), expires, now)?;
        Ok(sum)
    }

    /// Sets (or removes) only if the value is `old` (`None`: only if there is none); says whether it did.
    pub(crate) fn cas(
        &self,
        key: &[u8],
        old: Option<&Shared>,
        new: Option<Shared>,
        ttl: Option<Duration>,
    ) -> Result<bool, SharedError> {
        let now = Instant::now();
        let mut shard = self.shard(key);
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

    /// Up to `max` keys that start with `prefix`, in no order.
    pub(crate) fn keys(&self, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let now = Instant::now();
        let mut keys = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let alive =
                shard.entries.iter().filter(|(key, entry)| key.starts_with(prefix) && entry.alive(now));
            keys.extend(alive.map(|(key, _)| key.clone()).take(max - keys.len()));
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Shared {
        Shared::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn set_get_remove() {
        let dictionary = Dictionary::default();
        dictionary.set(b"k", Some(text("v")), None).unwrap();
        assert_eq!(dictionary.get(b"k"), Some(text("v")));
        dictionary.set(b"k", None, None).unwrap();
        assert_eq!(dictionary.get(b"k"), None);
    }

    #[test]
    fn what_has_expired_is_gone() {
        let dictionary = Dictionary::default();
        dictionary.set(b"k", Some(text("v")), Some(Duration::ZERO)).unwrap();
        assert_eq!(dictionary.get(b"k"), None);
        assert!(dictionary.keys(b"", 10).is_empty());
        assert_eq!(dictionary.incr(b"k", 2.0, None), Ok(2.0));
    }

    #[test]
    fn counting_is_atomic_over_threads() {
        let dictionary = Dictionary::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| drop(dictionary.incr(b"n", 1.0, None))));
            }
        });
        assert_eq!(dictionary.get(b"n"), Some(Shared::Number(40_000.0)));
        dictionary.set(b"s", Some(text("x")), None).unwrap();
        assert_eq!(dictionary.incr(b"s", 1.0, None), Err(SharedError::NotANumber("s".into())));
    }

    #[test]
    fn compare_and_set() {
        let dictionary = Dictionary::default();
        assert_eq!(dictionary.cas(b"k", None, Some(text("a")), None), Ok(true));
        assert_eq!(dictionary.cas(b"k", None, Some(text("b")), None), Ok(false));
        assert_eq!(dictionary.cas(b"k", Some(&text("a")), Some(text("b")), None), Ok(true));
        assert_eq!(dictionary.cas(b"k", Some(&text("b")), None, None), Ok(true));
        assert_eq!(dictionary.get(b"k"), None);
    }

    #[test]
    fn it_never_holds_more_than_its_limit_and_makes_room_of_what_expired() {
        let dictionary = Dictionary::default();
        let big = Bytes::from(vec![b'x'; LIMIT / SHARDS / 2]);
        let mut stored = 0;
        for n in 0..SHARDS * 4 {
            let key = format!("k{n}");
            stored += usize::from(
                dictionary
                    .set(key.as_bytes(), Some(Shared::Text(big.clone())), Some(Duration::from_mins(1)))
                    .is_ok(),
            );
        }
        assert!(stored <= SHARDS * 2 && stored > 0, "{stored}");
        for shard in &dictionary.shards {
            let mut shard = shard.lock().unwrap();
            assert!(shard.size <= LIMIT / SHARDS);
            shard.entries.values_mut().for_each(|entry| entry.expires = Some(Instant::now()));
        }
        assert_eq!(dictionary.set(b"k0", Some(Shared::Text(big)), None), Ok(()));
    }
}
