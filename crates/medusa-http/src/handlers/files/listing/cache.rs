//! Directories that were read lately, and the pages that were made of them.
//!
//! To read a directory of many names takes so long that it is not done for each request. What was read counts without a
//! look at the disk for a moment, longer the longer it took; then for as long as the directory's stamp is the same, which
//! tells names that come and go, and at most [`OLDEST`], for it does not tell that a file in it has grown.
//!
//! **Invariants:** no more than [`BYTES`] and no more than [`DIRECTORIES`] are kept, of all handlers together. No more
//! directories are read at a time than [`AT_ONCE`] says: reading files, on the same pool, does not wait for them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Listing, Page, View};
use crate::store::{Edition, FRESH, FileStamp};

/// The most memory that listings are kept in, in bytes: one directory of as many names as are ever listed, or hundreds of
/// usual ones.
const BYTES: usize = 24 * 1024 * 1024;
/// The most directories that are kept: they are looked through from end to end, which then takes about a microsecond.
const DIRECTORIES: usize = 256;
/// The most pages of one directory that are kept: some orders, or some pages, in some forms.
const PAGES: usize = 16;
/// The greatest age of sizes and dates.
const OLDEST: Duration = Duration::from_secs(2);
/// So many times as long as it took to read a directory it is not read again, lest one that changes all the time keeps a
/// thread busy; but for no longer than [`LONGEST_REST`], for somebody waits to see the change.
const REST: u32 = 10;
const LONGEST_REST: Duration = Duration::from_secs(1);

/// The right to read a directory or to make a page of it, for all handlers together: a quarter of the processors.
pub(in super::super) static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(at_once()));

pub(in super::super) fn at_once() -> usize {
    let processors = available_parallelism().map_or(1, usize::from);
    (processors / 4).clamp(1, 8)
}

/// The listings that all handlers keep: one that nobody asks any more gives way to the others. Those used last come
/// last.
static CACHED: Mutex<Vec<CachedListing>> = Mutex::new(Vec::new());

/// The listings of one handler.
#[derive(Debug)]
pub(in super::super) struct Listings {
    /// Tells it from the others.
    id: u64,
    read: AtomicU64,
}

#[derive(Debug)]
struct CachedListing {
    /// The id of the handler it belongs to.
    id: u64,
    path: Box<[u8]>,
    listing: Arc<Listing>,
    checked: Instant,
    /// What had been published before it was.
    edition: Edition,
    pages: Vec<(View, Page)>,
    bytes: usize,
}

impl Default for Listings {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Relaxed), read: AtomicU64::new(0) }
    }
}

impl Drop for Listings {
    fn drop(&mut self) {
        let _gone: Vec<CachedListing> = CACHED.lock().extract_if(.., |cached| cached.id == self.id).collect();
    }
}

impl Listings {
    /// The page of the directory at `path`, if it is there and counts without a look at the disk.
    pub(in super::super) fn page(&self, path: &[u8], mut view: View, now: Instant) -> Option<Page> {
        let mut cached = CACHED.lock();
        let found = self.touch(&mut cached, path).filter(|cached| cached.is_fresh(now))?;
        view.page = view.page.min(found.listing.pages());
        found.pages.iter().find(|(known, _)| *known == view).map(|(_, page)| page.clone())
    }

    /// The directory at `path` as it was read: if that counts for a directory of the stamp that `look` finds,
    /// which is asked only if it must be.
    pub(super) fn known(
        &self,
        path: &[u8],
        now: Instant,
        look: impl FnOnce() -> Option<FileStamp>,
    ) -> Option<Arc<Listing>> {
        let known = {
            let mut cached = CACHED.lock();
            let found = self.touch(&mut cached, path)?;
            if found.is_fresh(now) {
                return Some(Arc::clone(&found.listing));
            }
            Arc::clone(&found.listing)
        };
        let edition = Edition::now();
        let counts = known.stamp.is_some() && now.saturating_duration_since(known.read) < OLDEST;
        if !counts || known.stamp != look() {
            return None;
        }
        if let Some(found) =
            self.touch(&mut CACHED.lock(), path).filter(|cached| Arc::ptr_eq(&cached.listing, &known))
        {
            found.checked = now;
            found.edition = edition;
        }
        Some(known)
    }

    /// Keeps a page that was made of `listing`, the directory at `path`, and that in place of what was known of it.
    /// `view` names a page that there is.
    pub(super) fn put(&self, path: &[u8], listing: &Arc<Listing>, view: View, page: &Page) {
        // Many names take long to free: that is done when others may look again.
        let mut gone = Vec::new();
        let mut cached = CACHED.lock();
        let mut it = match self.find(&cached, path).map(|at| cached.remove(at)) {
            Some(known) if Arc::ptr_eq(&known.listing, listing) => known,
            other => {
                gone.extend(other);
                CachedListing::new(self.id, path, listing)
            }
        };
        it.add(view, page);
        let mut bytes = it.bytes + cached.iter().map(|cached| cached.bytes).sum::<usize>();
        while (bytes > BYTES || cached.len() >= DIRECTORIES) && !cached.is_empty() {
            let oldest = cached.remove(0);
            bytes -= oldest.bytes;
            gone.push(oldest);
        }
        if bytes <= BYTES {
            cached.push(it);
        }
    }

    /// Notes that a directory was read.
    pub(super) fn count(&self) {
        self.read.fetch_add(1, Relaxed);
    }

    /// The number of times that a directory was read.
    pub(in super::super) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    fn find(&self, cached: &[CachedListing], path: &[u8]) -> Option<usize> {
        cached.iter().rposition(|cached| cached.id == self.id && *cached.path == *path)
    }

    fn touch<'k>(&self, cached: &'k mut [CachedListing], path: &[u8]) -> Option<&'k mut CachedListing> {
        let at = self.find(cached, path)?;
        cached[at..].rotate_left(1);
        cached.last_mut()
    }
}

impl CachedListing {
    fn new(id: u64, path: &[u8], listing: &Arc<Listing>) -> Self {
        let bytes = size_of::<Self>() + path.len() + listing.cost();
        Self {
            id,
            path: path.into(),
            listing: Arc::clone(listing),
            checked: listing.read,
            edition: listing.edition,
            pages: Vec::new(),
            bytes,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        let rest = (self.listing.took * REST).min(LONGEST_REST);
        let rests = now.saturating_duration_since(self.listing.read) < rest;
        // Where something is published all the time, what takes long has its rest still.
        if self.edition.is_current() {
            rests || now.saturating_duration_since(self.checked) < FRESH
        } else {
            rests && rest > FRESH
        }
    }

    fn add(&mut self, view: View, page: &Page) {
        // Two may have made it at the same time.
        if self.pages.iter().any(|(known, _)| *known == view) {
            return;
        }
        let cost = |view: &View, page: &Page| size_of::<(View, Page)>() + view.cost() + page.content.len();
        if self.pages.len() >= PAGES {
            let (view, page) = self.pages.remove(0);
            self.bytes -= cost(&view, &page);
        }
        self.bytes += cost(&view, page);
        self.pages.push((view, page.clone()));
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::super::load::Loaded;
    use super::super::super::tests::request;
    use super::super::super::{Files, FilesOptions};
    use super::super::tests::{of, view};
    use super::super::view::{Format, Order};
    use super::*;
    use crate::store::Target;

    fn page(bytes: usize) -> Page {
        let content = vec![b'x'; bytes].into();
        Page { content_type: http::HeaderValue::from_static("a/b"), content, coding: None, link: None }
    }

    fn kept_pages(listings: &Listings, path: &[u8]) -> usize {
        listings.touch(&mut CACHED.lock(), path).map_or(0, |cached| cached.pages.len())
    }

    fn view_of(page: usize) -> View {
        View { page, ..view(Order::DEFAULT, Format::Html) }
    }

    #[test]
    fn a_page_counts_for_a_moment_and_longer_the_longer_it_took() {
        let listings = Listings::default();
        let quick = Arc::new(of(Vec::new()));
        listings.put(b"quick/", &quick, view_of(1), &page(1));
        let slow = Arc::new(Listing { took: Duration::from_millis(40), ..of(Vec::new()) });
        listings.put(b"slow/", &slow, view_of(1), &page(1));
        let there = |path: &[u8], after| listings.page(path, view_of(1), quick.read + after).is_some();
        assert!(there(b"quick/", FRESH / 2) && !there(b"quick/", FRESH));
        assert!(there(b"slow/", FRESH * 5) && !there(b"slow/", FRESH * 20));
        let endless = Arc::new(Listing { took: Duration::from_secs(5), ..of(Vec::new()) });
        listings.put(b"endless/", &endless, view_of(1), &page(1));
        assert!(!there(b"endless/", LONGEST_REST * 2));
        let past = listings.page(b"quick/", view_of(1_000_000_000_000_000), quick.read);
        assert!(past.is_some(), "one past the last is the last");
        let other = View { format: Format::Json, ..view_of(1) };
        assert!(listings.page(b"quick/", other, quick.read).is_none(), "another page");
        assert!(!there(b"other/", Duration::ZERO));
    }

    #[test]
    fn what_was_read_counts_as_long_as_the_stamp_but_not_for_ever() {
        let stamp = || Some(FileStamp::from(&rustix::fs::stat("/").unwrap()));
        let other = || Some(FileStamp::from(&rustix::fs::stat("/proc").unwrap()));
        let listings = Listings::default();
        let sure = Arc::new(Listing { stamp: stamp(), ..of(Vec::new()) });
        listings.put(b"sure/", &sure, view_of(1), &page(1));
        let unsure = Arc::new(of(Vec::new()));
        listings.put(b"unsure/", &unsure, view_of(1), &page(1));
        let later = sure.read + FRESH * 2;
        assert!(listings.known(b"sure/", later, other).is_none());
        assert!(listings.known(b"sure/", later, stamp).is_some());
        assert!(listings.page(b"sure/", view_of(1), later).is_some(), "it was looked at");
        assert!(listings.known(b"sure/", sure.read + OLDEST, stamp).is_none(), "sizes may have changed");
        assert!(listings.known(b"unsure/", later, || None).is_none(), "it may have changed within its time");
    }

    #[test]
    fn a_page_is_made_and_kept_once_however_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a b")).unwrap();
        let files =
            Files::open(dir.path(), FilesOptions { listing: true, ..FilesOptions::default() }).unwrap();
        let ask = |target: &str| {
            let head = request(Method::GET, target, &[]).head;
            let loaded = files
                .place
                .list(&Target::parse(head.tail(), false, &[]).unwrap(), View::of(&head, files.options()))
                .unwrap();
            let Loaded::Listing(page) = loaded else { panic!("{target} is a directory") };
            page
        };
        // It stays fresh, however slow the machine is.
        let read = Instant::now() + Duration::from_hours(1);
        let listing = Arc::new(Listing { read, ..of(Vec::new()) });
        let head = request(Method::GET, "/a%20b/", &[]).head;
        files.place.listings.put(b"a b/", &listing, View::of(&head, files.options()), &page(1));
        for target in
            ["/a%20b/", "/%61%20b/", "/a%20%62/?page=1", "/a%20b/?page=0", "/a%20b/?page=1000000000000000"]
        {
            assert_eq!(ask(target).content, "x", "{target} was made again");
        }
        ask("/a%20b/?sort=size");
        ask("/a%20b/?sort=size&page=7");
        assert_eq!(kept_pages(&files.place.listings, b"a b/"), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let listings = Listings::default();
        let others = Listings::default();
        let bytes = || CACHED.lock().iter().map(|cached| cached.bytes).sum::<usize>();
        let below = |mount: usize| View { path: format!("/{mount}/"), ..view_of(1) };
        let one = Arc::new(of(Vec::new()));
        for n in 0..2 * PAGES {
            listings.put(b"a/", &one, below(n), &page(1000));
        }
        assert_eq!(kept_pages(&listings, b"a/"), PAGES);
        assert!((PAGES * 1000..PAGES * 2000).contains(&bytes()), "{}", bytes());
        for n in 0..40_u8 {
            let handler = if n % 2 == 0 { &listings } else { &others };
            handler.put(&[b'b', n, b'/'], &Arc::new(of(Vec::new())), view_of(1), &page(BYTES / 20));
        }
        assert!(bytes() <= BYTES && CACHED.lock().len() >= 15, "{} bytes", bytes());
        assert_eq!(kept_pages(&listings, b"a/"), 0, "the one used longest ago went");
        listings.put(b"huge/", &one, view_of(1), &page(BYTES));
        assert!(bytes() <= BYTES && kept_pages(&listings, b"huge/") == 0);
        for n in 0..2 * DIRECTORIES {
            others.put(n.to_string().as_bytes(), &one, view_of(1), &page(1));
        }
        assert_eq!(CACHED.lock().len(), DIRECTORIES);
    }

    #[test]
    fn handlers_do_not_share_pages_and_leave_none() {
        let (one, other) = (Listings::default(), Listings::default());
        let listing = Arc::new(of(Vec::new()));
        one.put(b"a/", &listing, view_of(1), &page(1));
        assert_eq!((kept_pages(&one, b"a/"), kept_pages(&other, b"a/")), (1, 0));
        other.put(b"a/", &listing, view_of(1), &page(1));
        let id = one.id;
        drop(one);
        assert!(CACHED.lock().iter().all(|cached| cached.id != id));
        assert_eq!(kept_pages(&other, b"a/"), 1);
    }
}
