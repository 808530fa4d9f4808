//! A share of a dictionary's keys: what they take is counted, and has a limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;

use super::limits::{ALL, LARGEST};
use super::value::{SharedError, SharedValue};

/// The size of an entry beside its key and value.
const OVERHEAD: usize = 96;

/// The size of all dictionaries together, in bytes.
#[derive(Debug, Default)]
pub(super) struct Held(AtomicUsize);

impl Held {
    /// The number of bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Relaxed) as u64
    }

    /// Takes room, if there is that much.
    pub(super) fn take(&self, more: usize) -> bool {
        let room = |held: usize| held.checked_add(more).filter(|held| *held <= ALL);
        self.0.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    pub(super) fn give_back(&self, less: usize) {
        self.0.fetch_sub(less, Relaxed);
    }
}

/// The keys of one share of a dictionary.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) entries: HashMap<Bytes, Entry>,
    pub(super) size: usize,
    held: Arc<Held>,
}

/// A value under a key.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) value: SharedValue,
    pub(super) expires: Option<Instant>,
}

impl Entry {
    /// The size it takes, with its key.
    fn size(&self, key: &[u8]) -> usize {
        key.len() + self.value.size() + OVERHEAD
    }

    pub(super) fn alive(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Shard {
    pub(super) fn new(held: &Arc<Held>) -> Self {
        Self { entries: HashMap::new(), size: 0, held: Arc::clone(held) }
    }

    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<&Entry> {
        if self.entries.get(key).is_some_and(|entry| !entry.alive(now)) {
            self.remove(key);
        }
        self.entries.get(key)
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.shrink(entry.size(&key));
        }
    }

    fn shrink(&mut self, less: usize) {
        self.size -= less;
        self.held.give_back(less);
    }

    pub(super) fn put(
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
