//! A part of the cache: a map, and the clock that says what goes when it is full.
//!
//! The clock is the simplest order that keeps what is in use: its hand goes round, an entry used since its last visit is
//! spared once, the first that was not goes. A use costs one flag; no list is kept in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, Found, State, Times, Value};
use crate::Data;

/// Counts of a part of the cache: its use, and what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Answers given that held.
    pub(crate) hits: u64,
    /// Entries.
    pub(crate) entries: u64,
    /// About how many bytes they take.
    pub(crate) bytes: u64,
    /// Entries that went to make room.
    pub(crate) evicted: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.evicted += other.evicted;
    }
}

/// An entry, as it is shown.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) key: Arc<[u8]>,
    pub(crate) value: Value,
    pub(crate) ttl: Duration,
    pub(crate) hits: u32,
    pub(crate) state: State,
}

#[derive(Debug)]
pub(super) struct Shard {
    /// Where in `slots` an entry is.
    places: HashMap<Arc<[u8]>, usize>,
    slots: Vec<Option<Entry>>,
    /// Empty slots.
    free: Vec<usize>,
    /// The next slot the clock looks at.
    hand: usize,
    max_entries: usize,
    max_bytes: usize,
    bytes: usize,
    hits: u64,
    evicted: u64,
}

impl Shard {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            max_entries,
            max_bytes,
            bytes: 0,
            hits: 0,
            evicted: 0,
        }
    }

    pub(super) fn get(&mut self, key: &[u8], now: u64, prefetch: bool) -> Found {
        let Some(entry) = self.entry(key) else { return Found::Miss };
        let found = entry.find(now, prefetch);
        self.hits += u64::from(matches!(found, Found::Fresh { .. }));
        found
    }

    /// Keeps an old answer because there is no new one, and returns it.
    pub(super) fn keep_stale(&mut self, key: &[u8], now: u64, stale: u64, fresh: u64) -> Option<Arc<[Data]>> {
        let entry = self.entry(key)?;
        let records = entry.stale(now)?;
        entry.keep(now, stale, fresh);
        Some(records)
    }

    pub(super) fn put(&mut self, key: &[u8], value: Value, times: Times) {
        let hits = self.remove(key).map_or(0, |old| old.hits);
        let mut entry = Entry::new(key.into(), value, times);
        entry.hits = hits / 2; // what was in use is likely to be, but has to show it
        let weight = entry.weight();
        if weight > self.max_bytes {
            return; // every caller that waits for it has it; keeping it would cost all the others
        }
        while self.places.len() >= self.max_entries || self.bytes + weight > self.max_bytes {
            if !self.evict() {
                return;
            }
        }
        self.bytes += weight;
        let key = Arc::clone(&entry.key);
        let place = self.free.pop().unwrap_or(self.slots.len());
        if place < self.slots.len() {
            self.slots[place] = Some(entry);
        } else {
            self.slots.push(Some(entry));
        }
        self.places.insert(key, place);
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let place = self.places.remove(key)?;
        let entry = self.slots[place].take()?;
        self.free.push(place);
        self.bytes -= entry.weight();
        Some(entry)
    }

    /// Lets the first entry go that was not used since the hand's last visit.
    fn evict(&mut self) -> bool {
        for _ in 0..2 * self.slots.len() {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let Some(Some(entry)) = self.slots.get_mut(self.hand) else { continue };
            if !std::mem::take(&mut entry.used) {
                let key = Arc::clone(&entry.key);
                self.remove(&key);
                self.evicted += 1;
                return true;
            }
        }
        false
    }

    pub(super) fn flush(&mut self) -> usize {
        self.slots.clear();
        self.free.clear();
        self.bytes = 0;
        self.places.drain().count()
    }

    /// Appends the keys of all that is still worth something, with how often they were used.
    pub(super) fn keys(&self, keys: &mut Vec<(u32, Arc<[u8]>)>, now: u64) {
        let entries = self.slots.iter().flatten().filter(|entry| !entry.is_over(now));
        keys.extend(entries.map(|entry| (entry.hits, Arc::clone(&entry.key))));
    }

    pub(super) fn describe(&mut self, key: &[u8], now: u64) -> Option<Listed> {
        let entry = self.entry(key).filter(|entry| !entry.is_over(now))?;
        Some(Listed {
            key: Arc::clone(&entry.key),
            value: entry.value.clone(),
            ttl: entry.ttl(now),
            hits: entry.hits,
            state: entry.state(now),
        })
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            hits: self.hits,
            entries: self.places.len() as u64,
            bytes: self.bytes as u64,
            evicted: self.evicted,
        }
    }

    fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let place = *self.places.get(key)?;
        self.slots.get_mut(place)?.as_mut()
    }
}
