//! Small files in memory, so that a request for one costs no system call.
//!
//! Each worker has a part of its own, so that workers never wait for, or share cache lines with, each other. An entry
//! counts for [`FRESH`] without a look at the disk; then one request looks (off the worker), while the others go on
//! with what is there.
//!
//! **Invariant:** a part never holds more than its share of bytes, what an entry costs beside its content included.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::entity::{Content, Entity};

/// How long an entry counts without a look at the disk.
pub(super) const FRESH: Duration = Duration::from_millis(50);
/// The largest file that is kept, in bytes. Larger ones are read as they are sent: next to sending them, opening them
/// costs little.
pub(super) const LARGEST: u64 = 64 * 1024;
/// What an entry costs beside its content and its path: its fields, its place in the tables.
const OVERHEAD: usize = 768;

/// The cache of one handler.
#[derive(Debug)]
pub(super) struct Cache {
    slots: Box<[Slot]>,
}

impl Cache {
    /// A cache of at most `bytes` in all.
    pub(super) fn new(bytes: usize) -> Self {
        let workers = available_parallelism().map_or(1, usize::from);
        Self { slots: (0..workers).map(|_| Slot::new(bytes / workers)).collect() }
    }

    /// The part of the worker this thread is. Should there be more workers than parts, some share one.
    pub(super) fn slot(&self) -> &Slot {
        &self.slots[medusa_net::worker::index() % self.slots.len()]
    }

    pub(super) fn usage(&self) -> Usage {
        self.slots.iter().map(Slot::usage).fold(Usage::default(), |sum, one| Usage {
            files: sum.files + one.files,
            bytes: sum.bytes + one.bytes,
            hits: sum.hits + one.hits,
            loads: sum.loads + one.loads,
        })
    }
}

/// What a cache holds and has done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    /// Files held.
    pub(super) files: u64,
    /// Bytes held, all included.
    pub(super) bytes: u64,
    /// Requests answered from memory.
    pub(super) hits: u64,
    /// Requests that went to the disk.
    pub(super) loads: u64,
}

/// One worker's part. On its own cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Slot {
    state: Mutex<State>,
    limit: usize,
}

/// What a look into the cache gives.
#[derive(Debug)]
pub(super) enum Lookup<'c> {
    /// Use this.
    Fresh(Arc<Entity>),
    /// It is time to look at the disk, and it falls to this request.
    Stale(Check<'c>),
    /// Not here.
    Miss,
}

#[derive(Debug, Default)]
struct State {
    index: HashMap<Arc<[u8]>, usize>,
    entries: Vec<Entry>,
    /// Where the search for the next entry to drop begins.
    hand: usize,
    bytes: usize,
    hits: u64,
    loads: u64,
}

#[derive(Debug)]
struct Entry {
    path: Arc<[u8]>,
    entity: Arc<Entity>,
    /// When it was last compared with the disk.
    checked: Instant,
    /// A request is comparing it now.
    is_being_checked: bool,
    /// Asked for since the hand last came by.
    is_used: bool,
}

impl Entry {
    fn cost(&self) -> usize {
        cost(&self.path, &self.entity)
    }
}

fn cost(path: &[u8], entity: &Entity) -> usize {
    let content = match &entity.content {
        Content::Bytes(bytes) => bytes.len(),
        Content::File(_) => 0,
    };
    content + path.len() + OVERHEAD
}

impl Slot {
    fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look_up(&self, path: &[u8], now: Instant) -> Lookup<'_> {
        let mut state = self.state();
        let Some(entry) = state.find(path) else {
            state.loads += 1;
            return Lookup::Miss;
        };
        entry.is_used = true;
        let entity = Arc::clone(&entry.entity);
        if entry.is_being_checked || now.saturating_duration_since(entry.checked) < FRESH {
            state.hits += 1;
            return Lookup::Fresh(entity);
        }
        entry.is_being_checked = true;
        let path = Arc::clone(&entry.path);
        state.loads += 1;
        Lookup::Stale(Check { slot: self, path, entity })
    }

    /// Keeps a file that was compared with the disk at `now`, in place of any other state of it. Large files and files
    /// that do not fit are not kept.
    pub(super) fn put(&self, path: &[u8], entity: &Arc<Entity>, now: Instant) {
        let mut state = self.state();
        if let Some(entry) = state.find(path)
            && Arc::ptr_eq(&entry.entity, entity)
        {
            entry.checked = now;
            return;
        }
        state.remove(path);
        let cost = cost(path, entity);
        if cost > self.limit || matches!(entity.content, Content::File(_)) {
            return;
        }
        while state.bytes + cost > self.limit {
            state.drop_one();
        }
        state.add(Entry {
            path: path.into(),
            entity: Arc::clone(entity),
            checked: now,
            is_being_checked: false,
            is_used: false,
        });
    }

    pub(super) fn remove(&self, path: &[u8]) {
        self.state().remove(path);
    }

    fn usage(&self) -> Usage {
        let state = self.state();
        Usage {
            files: state.entries.len() as u64,
            bytes: state.bytes as u64,
            hits: state.hits,
            loads: state.loads,
        }
    }
}

impl State {
    fn find(&mut self, path: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(*self.index.get(path)?)
    }

    fn add(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        self.index.insert(Arc::clone(&entry.path), self.entries.len());
        self.entries.push(entry);
    }

    fn remove(&mut self, path: &[u8]) {
        let Some(place) = self.index.remove(path) else { return };
        let removed = self.entries.swap_remove(place);
        self.bytes -= removed.cost();
        if let Some(moved) = self.entries.get(place) {
            self.index.insert(Arc::clone(&moved.path), place);
        }
    }

    /// Drops the first entry that was not asked for since the hand last came by (the CLOCK algorithm). An entry that is
    /// asked for once goes before one that is asked for again and again, so a crawler does not empty the cache.
    fn drop_one(&mut self) {
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else { return };
            if !std::mem::take(&mut entry.is_used) {
                let path = Arc::clone(&entry.path);
                return self.remove(&path);
            }
            self.hand += 1;
        }
    }
}

/// The duty to compare an entry with the disk. Dropped, also because its request was cancelled, it leaves the entry to
/// be checked by the next request, unless it was found to be as it was.
#[derive(Debug)]
pub(super) struct Check<'c> {
    slot: &'c Slot,
    path: Arc<[u8]>,
    entity: Arc<Entity>,
}

impl Check<'_> {
    pub(super) fn entity(&self) -> &Arc<Entity> {
        &self.entity
    }
}

impl Drop for Check<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.slot.state().find(&self.path)
            && Arc::ptr_eq(&entry.entity, &self.entity)
        {
            entry.is_being_checked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderValue;
    use rustix::fs::fstat;

    use super::super::entity::Stamp;
    use super::*;

    fn entity(len: usize) -> Arc<Entity> {
        let stamp = Stamp::from(&fstat(tempfile::tempfile().unwrap()).unwrap());
        let content = Content::Bytes(vec![0; len].into());
        Arc::new(Entity::new(stamp, content, HeaderValue::from_static("a/b"), SystemTime::now(), true))
    }

    /// Room for `count` files of `len` bytes with paths of one byte.
    fn slot(count: usize, len: usize) -> Slot {
        Slot::new(count * (len + 1 + OVERHEAD))
    }

    fn has(slot: &Slot, path: &[u8], now: Instant) -> bool {
        matches!(slot.look_up(path, now), Lookup::Fresh(_))
    }

    #[test]
    fn an_entry_is_fresh_for_a_while_then_one_request_checks_it() {
        let (slot, start) = (slot(1, 4), Instant::now());
        let file = entity(4);
        slot.put(b"a", &file, start);
        assert!(has(&slot, b"a", start + FRESH / 2));
        let later = start + FRESH;
        let Lookup::Stale(check) = slot.look_up(b"a", later) else { panic!("still fresh") };
        assert!(has(&slot, b"a", later), "the others go on meanwhile");
        slot.put(b"a", &file, later);
        drop(check);
        assert!(has(&slot, b"a", later + FRESH / 2), "the check has renewed it");
    }

    #[test]
    fn a_cancelled_check_falls_to_the_next_request() {
        let (slot, start) = (slot(1, 4), Instant::now());
        slot.put(b"a", &entity(4), start);
        let later = start + FRESH;
        drop(slot.look_up(b"a", later));
        assert!(matches!(slot.look_up(b"a", later), Lookup::Stale(_)));
    }

    #[test]
    fn a_check_does_not_touch_the_state_that_came_after() {
        let (slot, start) = (slot(1, 4), Instant::now());
        slot.put(b"a", &entity(4), start);
        let later = start + FRESH;
        let Lookup::Stale(old) = slot.look_up(b"a", later) else { panic!("still fresh") };
        slot.put(b"a", &entity(4), later);
        let Lookup::Stale(new) = slot.look_up(b"a", later + FRESH) else { panic!("still fresh") };
        drop(old);
        assert!(has(&slot, b"a", later + FRESH), "the new check is still under way");
        drop(new);
    }

    #[test]
    fn bytes_are_bounded_and_files_in_use_stay() {
        let (slot, now) = (slot(3, 100), Instant::now());
        for path in [b"a", b"b", b"c"] {
            slot.put(path, &entity(100), now);
        }
        assert!(has(&slot, b"a", now) && has(&slot, b"c", now));
        slot.put(b"d", &entity(100), now);
        assert!(!has(&slot, b"b", now), "not asked for since it came");
        assert!(has(&slot, b"a", now) && has(&slot, b"c", now) && has(&slot, b"d", now));
        for n in 0..100_u8 {
            slot.put(&[n], &entity(usize::from(n)), now);
            assert!(slot.usage().bytes <= slot.limit as u64);
        }
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let (slot, now) = (slot(1, 100), Instant::now());
        slot.put(b"a", &entity(100), now);
        slot.put(b"b", &entity(101), now);
        assert!(has(&slot, b"a", now) && !has(&slot, b"b", now));
        let none = Slot::new(0);
        none.put(b"a", &entity(0), now);
        assert!(!has(&none, b"a", now));
    }

    #[test]
    fn removal_keeps_the_others_in_place() {
        let (slot, now) = (slot(10, 10), Instant::now());
        for n in 0..10_u8 {
            slot.put(&[n], &entity(usize::from(n)), now);
        }
        for n in [0_u8, 9, 5] {
            slot.remove(&[n]);
        }
        let left: Vec<u8> = (0..10).filter(|n| has(&slot, &[*n], now)).collect();
        assert_eq!(left, [1, 2, 3, 4, 6, 7, 8]);
        for n in left {
            slot.remove(&[n]);
        }
        let usage = slot.usage();
        assert_eq!((usage.files, usage.bytes), (0, 0));
    }
}
