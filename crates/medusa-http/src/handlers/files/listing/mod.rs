//! What is in a directory, as a page for people or as JSON for programs.
//!
//! **Invariant:** a name is text on the page and a single segment in a link, whatever bytes it is made of: it can
//! neither become markup nor lead anywhere else. What could not be opened by a request is not listed.

mod cache;
mod html;
mod json;
mod view;

use std::cmp::Ordering;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use medusa_proto::coding::Coding;
use rustix::fs::{Dir, FileType, Stat, fstat};

use super::entity::Stamp;
use super::load::{Loaded, without_file};
use super::options::Options;
use super::root::{Directory, Opened};
use super::target::Target;
use crate::handlers::compress::encode;
use crate::response::HTML;

#[cfg(test)]
pub(super) use cache::at_once;
pub(super) use cache::{AT_ONCE, Listings};
pub(super) use view::View;
use view::{Format, Order};

/// The most names of a directory that are read: some 10 MB, and a tenth of a second with a warm cache.
const MOST: usize = 100_000;
/// How long a directory is read at most, however slow its disk is.
const LONGEST: Duration = Duration::from_secs(5);
/// The most names on a page: a page of more is no longer read, and takes long to make and to show.
const ON_A_PAGE: usize = 1000;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is in a directory, in no order.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// There is more than [`MOST`] names, or than could be read in [`LONGEST`].
    is_cut_off: bool,
    /// The directory's, if names that come or go later are sure to give it another.
    stamp: Option<Stamp>,
    /// When it was read.
    read: Instant,
    /// How long that took.
    took: Duration,
}

/// What is on one page.
struct Shown<'l> {
    entries: Vec<&'l Entry>,
    page: usize,
    pages: usize,
    is_cut_off: bool,
}

#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    /// `None` for a directory.
    size: Option<u64>,
    /// Seconds since 1970.
    modified: i64,
}

/// A page, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) content_type: HeaderValue,
    pub(super) content: Bytes,
    pub(super) coding: Option<Coding>,
    /// Where the pages before and after it are (RFC 8288).
    pub(super) link: Option<HeaderValue>,
}

impl Listing {
    /// Reads the directory `found`, which is at `path` below the root. Blocks.
    fn read(root: &Directory, path: &[u8], found: OwnedFd, dotfiles: bool) -> io::Result<Self> {
        let (read, now) = (Instant::now(), SystemTime::now());
        let before = Stamp::from(&fstat(&found)?);
        let mut listing =
            Self { entries: Vec::new(), is_cut_off: false, stamp: None, read, took: Duration::ZERO };
        let mut names = Dir::new(found)?;
        while let Some(found) = names.read() {
            let found = found?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") || !Target::is_served(name, path.is_empty(), dotfiles) {
                continue;
            }
            if listing.entries.len() == MOST || read.elapsed() > LONGEST {
                listing.is_cut_off = true;
                break;
            }
            // By the same way as a request: a link that leads out of the root is not there.
            if let Some(stat) = root.stat(&[path, name].concat())? {
                listing.entries.extend(Entry::new(name, &stat));
            }
        }
        let is_whole = Stamp::from(&fstat(names.fd()?)?) == before && before.is_settled(now);
        listing.stamp = is_whole.then_some(before);
        listing.took = read.elapsed();
        Ok(listing)
    }

    /// About how many bytes it takes.
    fn cost(&self) -> usize {
        // An allocation for each name takes 16 bytes more than the name, more or less.
        let names = self.entries.iter().map(|entry| entry.name.len() + 16).sum::<usize>();
        names + self.entries.capacity() * size_of::<Entry>()
    }

    /// How many pages it has.
    fn pages(&self) -> usize {
        self.entries.len().div_ceil(ON_A_PAGE).max(1)
    }

    /// What is on the page that `view` wants.
    fn shown(&self, view: &View) -> Shown<'_> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_unstable_by(|a, b| a.compare(b, view.order));
        let pages = self.pages();
        let page = view.page.min(pages);
        let entries = entries.chunks(ON_A_PAGE).nth(page - 1).map(<[_]>::to_vec).unwrap_or_default();
        Shown { entries, page, pages, is_cut_off: self.is_cut_off }
    }

    /// A page as `view` wants it, compressed if that makes it smaller. Takes a while.
    fn page(&self, view: &View) -> io::Result<Page> {
        let shown = self.shown(view);
        let link = shown.link(view);
        let (content_type, content) = match view.format {
            Format::Html => (HTML, html::page(&shown, view)),
            Format::Json => (JSON, json::list(&shown.entries)),
        };
        let encoded = match view.coding {
            Some(coding) => encode::whole(coding, content.as_bytes())?,
            None => None,
        };
        Ok(match encoded {
            Some(encoded) => Page { content_type, content: encoded, coding: view.coding, link },
            None => Page { content_type, content: content.into(), coding: None, link },
        })
    }
}

impl Shown<'_> {
    fn before(&self) -> Option<usize> {
        (self.page > 1).then(|| self.page - 1)
    }

    fn after(&self) -> Option<usize> {
        (self.page < self.pages).then(|| self.page + 1)
    }

    /// The value of `Link`, in which programs find the next page.
    fn link(&self, view: &View) -> Option<HeaderValue> {
        let to = |page: Option<usize>, relation: &str| {
            page.map(|page| format!("<{}>; rel=\"{relation}\"", view.query(page)))
        };
        let links: Vec<String> =
            [to(self.before(), "prev"), to(self.after(), "next")].into_iter().flatten().collect();
        if links.is_empty() { None } else { HeaderValue::from_str(&links.join(", ")).ok() }
    }
}

impl Listings {
    /// The page of the directory at `path` below the root, read anew if what is known of it no longer counts. Blocks.
    pub(super) fn load(
        &self,
        root: &Directory,
        path: &[u8],
        mut view: View,
        options: &Options,
    ) -> io::Result<Loaded> {
        let now = Instant::now();
        let look = || {
            root.stat(if path.is_empty() { b"." } else { path }).ok().flatten().map(|stat| Stamp::from(&stat))
        };
        let listing = match self.known(path, now, look) {
            Some(known) => known,
            None => match root.look_up(path)? {
                Opened::Directory(found) => {
                    self.count();
                    Arc::new(Listing::read(root, path, found, options.dotfiles)?)
                }
                other => return Ok(without_file(&other)),
            },
        };
        // The page may count again now that the stamp was looked at.
        if let Some(page) = self.page(path, view.clone(), now) {
            return Ok(Loaded::Listing(page));
        }
        view.page = view.page.min(listing.pages());
        let page = listing.page(&view)?;
        self.put(path, &listing, view, &page);
        Ok(Loaded::Listing(page))
    }
}

impl Entry {
    /// `None` for what is neither a file nor a directory.
    fn new(name: &[u8], stat: &Stat) -> Option<Self> {
        let size = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => None,
            FileType::RegularFile => Some(stat.st_size.try_into().unwrap_or(0)),
            _ => return None,
        };
        Some(Self { name: name.into(), size, modified: stat.st_mtime })
    }

    /// Directories first, and equals by their names, whichever way the rest goes: the same directory is listed the same
    /// way each time.
    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let by_key = match order.by {
            view::Key::Name => self.name.cmp(&other.name),
            view::Key::Size => self.size.cmp(&other.size),
            view::Key::Modified => self.modified.cmp(&other.modified),
        };
        let by_key = if order.is_descending { by_key.reverse() } else { by_key };
        self.size.is_some().cmp(&other.size.is_some()).then(by_key).then_with(|| self.name.cmp(&other.name))
    }
}

/// An instant in seconds since 1970, in UTC.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// After `civil_from_days` in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin in March,
    /// so that the leap day comes last, and eras have 400 years.
    fn at(time: i64) -> Self {
        const DAYS_PER_ERA: i64 = 146_097;
        let (days, second) = (time.div_euclid(86_400) + 719_468, time.rem_euclid(86_400));
        let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }
}

impl std::fmt::Display for Civil {
    /// As RFC 3339 has it: `2026-11-22T09:30:00Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests;
