//! Dictionaries that every VM sees: what scripts on different workers share.
//!
//! A dictionary is split into shards by key, each behind its own lock, held for one operation; every operation on one
//! key is atomic. It lives as long as the process, across reloads, and never holds more than its limit.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medusa_proto::status::{Status, Value};
use parking_lot::{Mutex, MutexGuard};

use crate::counted::shown_name;

/// What all keys and values of one dictionary may take together, in bytes.
const LIMIT: usize = 64 * 1024 * 1024;

/// What those of all dictionaries may take together, in bytes: as much as one VM may hold. They are in no VM's limit, and
/// a script may make as many as it likes.
const ALL: usize = 256 * 1024 * 1024;

/// How many dictionaries there may be. Their names are chosen by the script; one for each client would never go again.
const MAX_DICTIONARIES: usize = 1024;

/// The longest name of a dictionary, in bytes: names are kept beside what [`ALL`] counts.
const MAX_NAME: usize = 256;

/// What an entry costs beside its key and value.
const OVERHEAD: usize = 96;

pub(crate) const SHARDS: usize = 32;

/// What one shard may hold, and so the largest entry.
pub(crate) const LARGEST: usize = LIMIT / SHARDS;

/// A value that may cross between VMs: anything without identity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SharedValue {
    Bool(bool),
    Number(f64),
    Text(Bytes),
}

impl SharedValue {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bool(_) | Self::Number(_) => 0,
        }
    }
}

/// Up to here each whole number has a next one: 2^53 - 1.
const LAST_WHOLE: f64 = 9_007_199_254_740_991.0;

/// Why an operation is refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum SharedError {
    #[error("the shared dictionary is full ({} MiB): remove keys, or give them a time to live", LIMIT >> 20)]
    Full,
    #[error("all shared dictionaries together are full ({} MiB): remove keys, or give them a time to live", ALL >> 20)]
    AllFull,
    #[error("a key and its value may have {} MiB together, not {size} bytes", LARGEST >> 20)]
    TooLarge { size: usize },
    #[error("there are {MAX_DICTIONARIES} shared dictionaries already")]
    TooMany,
    #[error("the name of a shared dictionary may have {MAX_NAME} bytes, not {0}")]
    Name(usize),
    #[error("the key \"{0}\" does not hold a number")]
    NotANumber(String),
    #[error("the key \"{0}\" would hold a number beyond 2^53 - 1, where adding one may change nothing")]
    TooFar(String),
}

/// All dictionaries of the process, by name.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries {
    by_name: Mutex<HashMap<Box<[u8]>, Arc<Dictionary>>>,
    held: Arc<Held>,
}

/// What all dictionaries hold together, in bytes.
#[derive(Debug, Default)]
struct Held(AtomicUsize);

impl Held {
    /// Takes room, if there is that much.
    fn take(&self, more: usize) -> bool {
        let room = |held: usize| held.checked_add(more).filter(|held| *held <= ALL);
        self.0.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    fn give_back(&self, less: usize) {
        self.0.fetch_sub(less, Relaxed);
    }
}

impl Dictionaries {
    /// The dictionary of that name, made when it is first asked for.
    pub(crate) fn open(&self, name: &[u8]) -> Result<Arc<Dictionary>, SharedError> {
        if name.len() > MAX_NAME {
            return Err(SharedError::Name(name.len()));
        }
        let mut all = self.by_name.lock();
        if let Some(known) = all.get(name) {
            return Ok(Arc::clone(known));
        }
        if all.len() >= MAX_DICTIONARIES {
            return Err(SharedError::TooMany);
        }
        let made = Arc::new(Dictionary::new(&self.held));
        all.insert(name.into(), Arc::clone(&made));
        Ok(made)
    }

    /// How many there are and what they hold, once there are any.
    pub(crate) fn status(&self) -> Option<Status> {
        let count = self.by_name.lock().len();
        let status = || {
            Status::new("shared", "dictionaries")
                .gauge("dictionaries", count)
                .gauge("memory", Value::Bytes(self.held.0.load(Relaxed) as u64))
                .gauge("memory_limit", Value::Bytes(ALL as u64))
        };
        (count > 0).then(status)
    }
}

/// One dictionary.
#[derive(Debug)]
pub(crate) struct Dictionary {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl Dictionary {
    fn new(held: &Arc<Held>) -> Self {
        let shard = |_| Mutex::new(Shard { entries: HashMap::new(), size: 0, held: Arc::clone(held) });
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(shard).collect() }
    }
}

#[derive(Debug)]
struct Shard {
    entries: HashMap<Bytes, Entry>,
    size: usize,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Entry {
    value: SharedValue,
    expires: Option<Instant>,
}

impl Entry {
    /// What it takes, with its key.
    fn size(&self, key: &[u8]) -> usize {
        key.len() + self.value.size() + OVERHEAD
    }

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

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.shrink(entry.size(&key));
        }
    }

    fn shrink(&mut self, less: usize) {
        self.size -= less;
        self.held.give_back(less);
    }

    fn put(
        &mut self,
        key: &[u8],
        value: SharedValue,
        expires: Option<Instant>,
        now: Instant,
    ) -> Result<(), SharedError> {
        let entry = Entry { value, expires };
        let size = entry.size(key);
        if size > LARGEST {
            return Err(SharedError::TooLarge { size });
        }
        if self.make_room(key, size).is_err() {
            self.sweep(now);
            self.make_room(key, size)?;
        }
        match self.entries.get_mut(key) {
            Some(known) => *known = entry,
            None => drop(self.entries.insert(Bytes::copy_from_slice(key), entry)),
        }
        Ok(())
    }

    /// Counts an entry of `size` in place of the one under its key, if there is room.
    fn make_room(&mut self, key: &[u8], size: usize) -> Result<(), SharedError> {
        let old = self.entries.get(key).map_or(0, |old| old.size(key));
        if self.size - old + size > LARGEST {
            return Err(SharedError::Full);
        }
        match size.checked_sub(old) {
            // Most are counters, which stay as large as they are: nothing that all share is touched.
            Some(0) => {}
            Some(more) if self.held.take(more) => self.size += more,
            Some(_) => return Err(SharedError::AllFull),
            None => self.shrink(old - size),
        }
        Ok(())
    }

    fn sweep(&mut self, now: Instant) {
        let mut gone = 0;
        self.entries.retain(|key, entry| {
            let alive = entry.alive(now);
            if !alive {
                gone += entry.size(key);
            }
            alive
        });
        self.shrink(gone);
    }
}

impl Dictionary {
    /// Where a key is. One that is longer than any may be is nowhere: it is not even hashed.
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

    /// Up to `max` keys of one shard that start with `prefix`, in no order.
    pub(crate) fn keys(&self, shard: usize, prefix: &[u8], max: usize) -> Vec<Bytes> {
        let now = Instant::now();
        let shard = self.shards[shard].lock();
        let alive = shard.entries.iter().filter(|(key, entry)| key.starts_with(prefix) && entry.alive(now));
        alive.map(|(key, _)| key.clone()).take(max).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> SharedValue {
        SharedValue::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn set_get_remove() {
        let dictionary = Dictionary::new(&Arc::default());
        dictionary.set(b"k", Some(text("v")), None).unwrap();
        assert_eq!(dictionary.get(b"k"), Some(text("v")));
        dictionary.set(b"k", None, None).unwrap();
        assert_eq!(dictionary.get(b"k"), None);
    }

    #[test]
    fn what_has_expired_is_gone() {
        let dictionary = Dictionary::new(&Arc::default());
        dictionary.set(b"k", Some(text("v")), Some(Duration::ZERO)).unwrap();
        assert_eq!(dictionary.get(b"k"), None);
        assert!((0..SHARDS).all(|shard| dictionary.keys(shard, b"", 10).is_empty()));
        assert_eq!(dictionary.incr(b"k", 2.0, None), Ok(2.0));
    }

    #[test]
    fn counting_is_atomic_over_threads() {
        let dictionary = Dictionary::new(&Arc::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| drop(dictionary.incr(b"n", 1.0, None))));
            }
        });
        assert_eq!(dictionary.get(b"n"), Some(SharedValue::Number(40_000.0)));
        dictionary.set(b"s", Some(text("x")), None).unwrap();
        assert_eq!(dictionary.incr(b"s", 1.0, None), Err(SharedError::NotANumber("s".into())));
        assert_eq!(dictionary.incr(b"far", LAST_WHOLE - 1.0, None), Ok(LAST_WHOLE - 1.0));
        assert_eq!(dictionary.incr(b"far", 1.0, None), Ok(LAST_WHOLE));
        assert_eq!(dictionary.incr(b"far", 1.0, None), Err(SharedError::TooFar("far".into())));
        assert_eq!(dictionary.incr(b"far", -1.0, None), Ok(LAST_WHOLE - 1.0), "it is what it was");
    }

    #[test]
    fn compare_and_set() {
        let dictionary = Dictionary::new(&Arc::default());
        assert_eq!(dictionary.cas(b"k", None, Some(text("a")), None), Ok(true));
        assert_eq!(dictionary.cas(b"k", None, Some(text("b")), None), Ok(false));
        assert_eq!(dictionary.cas(b"k", Some(&text("a")), Some(text("b")), None), Ok(true));
        assert_eq!(dictionary.cas(b"k", Some(&text("b")), None, None), Ok(true));
        assert_eq!(dictionary.get(b"k"), None);
    }

    #[test]
    fn all_together_never_hold_more_than_their_limit() {
        let all = Dictionaries::default();
        let fill = |name: &str| {
            let dictionary = all.open(name.as_bytes()).unwrap();
            let big = Bytes::from(vec![b'x'; 1 << 20]);
            let set = |n: u32| dictionary.set(&n.to_ne_bytes(), Some(SharedValue::Text(big.clone())), None);
            let refused: Vec<_> = (0..200).filter_map(|n| set(n).err()).collect();
            assert!(all.held.0.load(Relaxed) <= ALL);
            refused
        };
        let names: Vec<String> = (0..10).map(|n| format!("d{n}")).collect();
        let is_full = |refused: &[SharedError]| refused.iter().all(|error| *error == SharedError::Full);
        assert!(is_full(&fill(&names[0])), "one by itself");
        for name in &names {
            fill(name);
        }
        assert!(fill("more").contains(&SharedError::AllFull));
        for name in &names {
            let dictionary = all.open(name.as_bytes()).unwrap();
            (0..200_u32).for_each(|n| dictionary.set(&n.to_ne_bytes(), None, None).unwrap());
        }
        assert!(is_full(&fill("more")), "there is room again");
        let large = SharedValue::Text(Bytes::from(vec![0; LARGEST]));
        let refused = all.open(b"more").unwrap().set(b"k", Some(large), None).unwrap_err();
        assert!(matches!(refused, SharedError::TooLarge { .. }), "{refused}");
        let (key, more) = (vec![0; LARGEST + 1], all.open(b"more").unwrap());
        assert_eq!(more.incr(&key, 1.0, None), Err(SharedError::TooLarge { size: LARGEST + 1 }));
        assert_eq!(more.get(&key), None);
        assert_eq!(all.open(&[b'n'; 257]).unwrap_err(), SharedError::Name(257));
    }

    #[test]
    fn it_never_holds_more_than_its_limit_and_makes_room_of_what_expired() {
        let dictionary = Dictionary::new(&Arc::default());
        let big = Bytes::from(vec![b'x'; LARGEST / 2]);
        let mut stored = 0;
        for n in 0..SHARDS * 4 {
            let key = format!("k{n}");
            stored += usize::from(
                dictionary
                    .set(key.as_bytes(), Some(SharedValue::Text(big.clone())), Some(Duration::from_mins(1)))
                    .is_ok(),
            );
        }
        assert!(stored <= SHARDS * 2 && stored > 0, "{stored}");
        for shard in &dictionary.shards {
            let mut shard = shard.lock();
            assert!(shard.size <= LARGEST);
            shard.entries.values_mut().for_each(|entry| entry.expires = Some(Instant::now()));
        }
        assert_eq!(dictionary.set(b"k0", Some(SharedValue::Text(big)), None), Ok(()));
    }
}
