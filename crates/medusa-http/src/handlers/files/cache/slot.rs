//! One worker's part of the cache.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter, unsync};

use super::super::entity::{Content, Entity};
use super::super::offers::Found;
use super::{FormKey, LARGEST, Usage};
use crate::store::{Edition, FRESH, FileStamp};

/// The size of an entry beside its content and its path: its fields, its place in the tables.
pub(super) const OVERHEAD: usize = 1024;

/// One worker's part. On its own cache lines.
#[derive(Debug)]
#[repr(align(128))]
pub(in super::super) struct Slot {
    pub(super) state: Mutex<SlotState>,
    pub(super) limit: usize,
}

/// The result of a look into the cache.
#[derive(Debug)]
pub(in super::super) enum Lookup<'c> {
    /// Use this.
    Fresh(Arc<Found>),
    /// It is time to look at the disk, and it falls to this request.
    Stale(Revalidation<'c>),
    /// There is no such file.
    Nothing,
    /// Not here.
    Miss,
}

#[derive(Debug)]
pub(super) struct SlotState {
    /// Files by their paths, and what was made of them by their [`FormKey`]s. When it is full, what is asked for once goes
    /// before what is asked for again and again, so a crawler does not empty it.
    entries: unsync::Cache<Arc<[u8]>, CacheEntry, ByCost>,
    hits: u64,
    loads: u64,
    /// The keys of what is being compressed, at most `COMPRESSIONS`.
    pub(super) compressing: Vec<FormKey>,
}

impl SlotState {
    fn new(limit: usize) -> Self {
        // A tenth is for what came last, so that new files get in while a scanner asks for what is not there. Where that is
        // less than a few files, one may take all of it.
        let hot = if limit as u64 > 16 * LARGEST { 0.9 } else { 1.0 };
        let options = OptionsBuilder::new()
            .weight_capacity(limit as u64)
            .estimated_items_capacity(limit / OVERHEAD)
            .hot_allocation(hot)
            // The keys of what is gone are not kept: nothing would count their bytes.
            .ghost_allocation(0.0)
            .build()
            .expect("all that it needs is given");
        let entries = unsync::Cache::with_options(
            options,
            ByCost,
            DefaultHashBuilder::default(),
            unsync::DefaultLifecycle::default(),
        );
        Self { entries, hits: 0, loads: 0, compressing: Vec::new() }
    }
}

#[derive(Debug, Clone)]
enum CachedForm {
    Found(Arc<Found>),
    /// What there is in a coding, made of a file of this stamp.
    Coded(FileStamp, Form),
    /// Nothing is there.
    Nothing,
}

/// The form of a file in a coding.
#[derive(Debug, Clone)]
pub(in super::super) enum Form {
    /// This.
    Encoded(Arc<Entity>),
    /// It does not get smaller: send it as it is.
    Plain,
}

impl CachedForm {
    fn entity(&self) -> Option<&Arc<Entity>> {
        match self {
            Self::Found(found) => Some(&found.entity),
            Self::Coded(_, Form::Encoded(entity)) => Some(entity),
            Self::Coded(_, Form::Plain) | Self::Nothing => None,
        }
    }
}

#[derive(Debug)]
struct CacheEntry {
    cached: CachedForm,
    /// The time at which it was last compared with the disk.
    checked: Cell<Instant>,
    /// What had been published before it was: what comes later has it looked at anew.
    edition: Cell<Edition>,
    /// A request is comparing it now.
    is_being_checked: Cell<bool>,
}

/// Weighs entries by their bytes.
#[derive(Debug, Clone)]
struct ByCost;

impl Weighter<Arc<[u8]>, CacheEntry> for ByCost {
    fn weight(&self, path: &Arc<[u8]>, entry: &CacheEntry) -> u64 {
        cost(path, &entry.cached) as u64
    }
}

fn cost(path: &[u8], cached: &CachedForm) -> usize {
    let content = match cached.entity().map(|entity| &entity.content) {
        Some(Content::Bytes(bytes)) => bytes.len(),
        Some(Content::File(_)) | None => 0,
    };
    // The path is in a file's `Found`, too.
    content + 2 * path.len() + OVERHEAD
}

impl Slot {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::new(SlotState::new(limit)), limit }
    }

    pub(in super::super) fn look_up(&self, path: &[u8], now: Instant) -> Lookup<'_> {
        let mut state = self.state.lock();
        let (lookup, is_hit) = match state.entries.get(path) {
            None => (Lookup::Miss, false),
            Some(entry) => {
                let is_fresh = entry.edition.get().is_current()
                    && (entry.is_being_checked.get()
                        || now.saturating_duration_since(entry.checked.get()) < FRESH);
                match &entry.cached {
                    CachedForm::Found(found) if is_fresh => (Lookup::Fresh(Arc::clone(found)), true),
                    CachedForm::Found(found) => {
                        entry.is_being_checked.set(true);
                        let found = Arc::clone(found);
                        (Lookup::Stale(Revalidation { slot: self, path: path.into(), found }), false)
                    }
                    CachedForm::Nothing if is_fresh => (Lookup::Nothing, true),
                    CachedForm::Nothing | CachedForm::Coded(..) => (Lookup::Miss, false),
                }
            }
        };
        let count = if is_hit { &mut state.hits } else { &mut state.loads };
        *count += 1;
        lookup
    }

    /// The form kept under `key`, if it was made of a file of the stamp `made_of`.
    pub(in super::super) fn coded(&self, key: &FormKey, made_of: &FileStamp) -> Option<Form> {
        let state = self.state.lock();
        let entry = state.entries.get(key.as_slice())?;
        match &entry.cached {
            CachedForm::Coded(stamp, form) if stamp == made_of => Some(form.clone()),
            _ => None,
        }
    }

    /// Keeps a file that was compared with the disk at `now`, when at least `edition` was there, in place of any other state
    /// of it. Large files and files that do not fit are not kept.
    pub(in super::super) fn put(&self, path: &[u8], found: &Arc<Found>, now: Instant, edition: Edition) {
        if let Some(entry) = self.state.lock().entries.peek(path)
            && matches!(&entry.cached, CachedForm::Found(known) if Arc::ptr_eq(known, found))
        {
            entry.checked.set(now);
            entry.edition.set(edition);
            return;
        }
        self.replace(path, CachedForm::Found(Arc::clone(found)), now, edition);
    }

    /// Keeps that nothing was there at `now`, when at least `edition` was there.
    pub(in super::super) fn put_nothing(&self, path: &[u8], now: Instant, edition: Edition) {
        self.replace(path, CachedForm::Nothing, now, edition);
    }

    /// Keeps what was made of a file of the stamp `made_of`.
    pub(in super::super) fn put_coded(&self, key: &FormKey, made_of: FileStamp, form: Form) {
        self.replace(key, CachedForm::Coded(made_of, form), Instant::now(), Edition::now());
    }

    fn replace(&self, path: &[u8], cached: CachedForm, now: Instant, edition: Edition) {
        if cached.entity().is_some_and(|entity| matches!(entity.content, Content::File(_))) {
            return self.remove(path);
        }
        let entry = CacheEntry {
            cached,
            checked: Cell::new(now),
            edition: Cell::new(edition),
            is_being_checked: Cell::new(false),
        };
        self.state.lock().entries.insert(path.into(), entry);
    }

    pub(in super::super) fn remove(&self, path: &[u8]) {
        self.state.lock().entries.remove(path);
    }

    pub(super) fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage {
            files: state.entries.len() as u64,
            bytes: state.entries.weight(),
            hits: state.hits,
            loads: state.loads,
        }
    }
}

/// The duty to compare an entry with the disk. Dropped, also because its request was cancelled, it leaves the entry to
/// be checked by the next request, unless it was found to be as it was.
#[derive(Debug)]
pub(in super::super) struct Revalidation<'c> {
    slot: &'c Slot,
    path: Arc<[u8]>,
    found: Arc<Found>,
}

impl Revalidation<'_> {
    pub(in super::super) fn found(&self) -> &Arc<Found> {
        &self.found
    }
}

impl Drop for Revalidation<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.slot.state.lock().entries.peek(&*self.path)
            && matches!(&entry.cached, CachedForm::Found(found) if Arc::ptr_eq(found, &self.found))
        {
            entry.is_being_checked.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderValue;
    use medusa_proto::coding::Coding;
    use rustix::fs::fstat;

    use super::super::super::entity::{Metadata, Trust};
    use super::super::super::offers::Offers;
    use super::super::{COMPRESSIONS, Cache, key};
    use super::*;

    fn stamp(len: u64) -> FileStamp {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        FileStamp::from(&fstat(file).unwrap())
    }

    fn entity(len: usize) -> Arc<Entity> {
        let content = (Content::Bytes(vec![0; len].into()), HeaderValue::from_static("\"tag\""));
        let metadata = Metadata {
            content_type: HeaderValue::from_static("a/b"),
            cache_control: None,
            coding: None,
            trust: Trust::Ours,
        };
        Arc::new(Entity::new(stamp(len as u64), content, metadata, SystemTime::now(), true))
    }

    fn found(len: usize) -> Arc<Found> {
        Arc::new(Found { path: [].into(), entity: entity(len), offers: Offers::NONE })
    }

    /// Room for `count` files of `len` bytes with paths of one byte.
    fn slot(count: usize, len: usize) -> Slot {
        Slot::new(count * (len + 2 + OVERHEAD))
    }

    fn has(slot: &Slot, path: &[u8], now: Instant) -> bool {
        matches!(slot.look_up(path, now), Lookup::Fresh(_))
    }

    #[test]
    fn an_entry_is_fresh_for_a_while_then_one_request_checks_it() {
        let (slot, start) = (slot(1, 4), Instant::now());
        let file = found(4);
        slot.put(b"a", &file, start, Edition::now());
        assert!(has(&slot, b"a", start + FRESH / 2));
        let later = start + FRESH;
        let Lookup::Stale(check) = slot.look_up(b"a", later) else { panic!("still fresh") };
        assert!(has(&slot, b"a", later), "the others go on meanwhile");
        slot.put(b"a", &file, later, Edition::now());
        drop(check);
        assert!(has(&slot, b"a", later + FRESH / 2), "the check has renewed it");
    }

    #[test]
    fn what_is_published_has_all_looked_at_anew() {
        let (slot, now) = (slot(2, 4), Instant::now());
        let (file, before) = (found(4), Edition::now());
        slot.put(b"a", &file, now, before);
        slot.put_nothing(b"b", now, before);
        Edition::publish();
        assert!(matches!(slot.look_up(b"b", now), Lookup::Miss));
        let Lookup::Stale(check) = slot.look_up(b"a", now) else { panic!("as if nothing were published") };
        assert!(
            matches!(slot.look_up(b"a", now), Lookup::Stale(_)),
            "nobody goes on with what was there before"
        );
        slot.put(b"a", &file, now, before);
        assert!(
            matches!(slot.look_up(b"a", now), Lookup::Stale(_)),
            "who has looked before that has seen nothing of it"
        );
        slot.put(b"a", &file, now, Edition::now());
        drop(check);
        assert!(has(&slot, b"a", now));
    }

    #[test]
    fn that_nothing_is_there_is_known_for_a_while_and_bounded() {
        let (slot, start) = (slot(3, 100), Instant::now());
        slot.put_nothing(b"a", start, Edition::now());
        assert!(matches!(slot.look_up(b"a", start + FRESH / 2), Lookup::Nothing));
        assert!(matches!(slot.look_up(b"a", start + FRESH), Lookup::Miss));
        slot.put(b"a", &found(4), start + FRESH, Edition::now());
        assert!(has(&slot, b"a", start + FRESH), "it has come");
        for n in 0..100_u8 {
            slot.put_nothing(&[n, n], start, Edition::now());
            assert!(has(&slot, b"a", start), "what is asked for stays");
            assert!(slot.usage().bytes <= slot.limit as u64);
        }
    }

    #[test]
    fn a_cancelled_check_falls_to_the_next_request() {
        let (slot, start) = (slot(1, 4), Instant::now());
        slot.put(b"a", &found(4), start, Edition::now());
        let later = start + FRESH;
        drop(slot.look_up(b"a", later));
        assert!(matches!(slot.look_up(b"a", later), Lookup::Stale(_)));
    }

    #[test]
    fn a_check_does_not_touch_the_state_that_came_after() {
        let (slot, start) = (slot(1, 4), Instant::now());
        slot.put(b"a", &found(4), start, Edition::now());
        let later = start + FRESH;
        let Lookup::Stale(old) = slot.look_up(b"a", later) else { panic!("still fresh") };
        slot.put(b"a", &found(4), later, Edition::now());
        let Lookup::Stale(new) = slot.look_up(b"a", later + FRESH) else { panic!("still fresh") };
        drop(old);
        assert!(has(&slot, b"a", later + FRESH), "the new check is still under way");
        drop(new);
    }

    #[test]
    fn bytes_are_bounded_and_files_in_use_stay() {
        let (slot, now) = (slot(3, 100), Instant::now());
        for path in [b"a", b"b", b"c"] {
            slot.put(path, &found(100), now, Edition::now());
        }
        assert!(has(&slot, b"a", now) && has(&slot, b"c", now));
        slot.put(b"d", &found(100), now, Edition::now());
        assert!(!has(&slot, b"b", now), "not asked for since it came");
        assert!(has(&slot, b"a", now) && has(&slot, b"c", now) && has(&slot, b"d", now));
        for n in 0..100_u8 {
            slot.put(&[n], &found(usize::from(n)), now, Edition::now());
            assert!(slot.usage().bytes <= slot.limit as u64);
        }
    }

    #[test]
    fn new_files_get_in_while_a_scanner_asks_for_what_is_not_there() {
        let (slot, now) = (Slot::new(4 << 20), Instant::now());
        let scan = |from: u32, to: u32| {
            (from..to).for_each(|n| slot.put_nothing(&n.to_be_bytes(), now, Edition::now()));
        };
        scan(0, 10_000);
        for path in 0..100_u8 {
            slot.put(&[path], &found(1000), now, Edition::now());
            scan(10_000 + 10 * u32::from(path), 10_010 + 10 * u32::from(path));
            assert!(has(&slot, &[path], now), "{path}: asked for ten misses later");
        }
        assert!((0..100).all(|path| has(&slot, &[path], now)), "asked for twice, they stay");
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let (slot, now) = (slot(1, 100), Instant::now());
        slot.put(b"a", &found(100), now, Edition::now());
        slot.put(b"b", &found(101), now, Edition::now());
        assert!(has(&slot, b"a", now) && !has(&slot, b"b", now));
        let none = Slot::new(0);
        none.put(b"a", &found(0), now, Edition::now());
        assert!(!has(&none, b"a", now));
    }

    #[test]
    fn removal_keeps_the_others_in_place() {
        let (slot, now) = (slot(10, 10), Instant::now());
        for n in 0..10_u8 {
            slot.put(&[n], &found(usize::from(n)), now, Edition::now());
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

    #[test]
    fn what_was_made_counts_only_for_what_it_was_made_of() {
        let (slot, key) = (slot(4, 100), key(b"a", Coding::Gzip));
        let (one, other) = (stamp(1), stamp(2));
        assert!(slot.coded(&key, &one).is_none());
        slot.put_coded(&key, one, Form::Encoded(entity(10)));
        assert!(matches!(slot.coded(&key, &one), Some(Form::Encoded(_))));
        assert!(slot.coded(&key, &other).is_none());
        slot.put_coded(&key, other, Form::Plain);
        assert!(matches!(slot.coded(&key, &other), Some(Form::Plain)));
        assert!(matches!(slot.look_up(&key, Instant::now()), Lookup::Miss), "it is no file of its own");
    }

    #[test]
    fn one_compression_at_a_time_and_few_in_all() {
        let (cache, made_of) = (Arc::new(Cache::new(1 << 20)), stamp(1));
        let begin = |path: u8, coding| cache.begin(key(&[path], coding), made_of);
        let job = begin(b'a', Coding::Gzip).unwrap();
        assert!(begin(b'a', Coding::Gzip).is_none());
        let others: Vec<_> = (1..COMPRESSIONS as u8).map(|n| begin(n, Coding::Zstd).unwrap()).collect();
        assert!(begin(b'z', Coding::Gzip).is_none());
        drop(others);
        job.done(Form::Encoded(entity(10)));
        drop(job);
        assert!(matches!(cache.slot().coded(&key(b"a", Coding::Gzip), &made_of), Some(Form::Encoded(_))));
        assert!(begin(b'a', Coding::Gzip).is_some());
    }
}
