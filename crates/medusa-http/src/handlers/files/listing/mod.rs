//! The content of a directory, as a page for people or as JSON for programs.
//!
//! **Invariant:** a name is text on the page and a single segment in a link, whatever bytes it is made of: it can
//! neither become markup nor lead anywhere else. What could not be opened by a request is not listed.

mod cache;
mod entry;
mod html;
mod json;
mod view;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use medusa_proto::coding::Coding;
use rustix::fs::{Dir, fstat};

use super::options::FilesOptions;
use crate::handlers::compress::encode;
use crate::response::HTML;
use crate::store::{Edition, FileStamp, OpenedPath, RootDirectory, Target};

#[cfg(test)]
pub(super) use cache::at_once;
pub(super) use cache::{AT_ONCE, Listings};
pub(in crate::handlers) use entry::Civil;
use entry::{ListingEntry, Shown};
pub(in crate::handlers) use html::{HEAD, HumanSize, STYLE, breadcrumb, table};
use view::Format;
pub(in crate::handlers) use view::View;

/// The most names of a directory that are read: some 10 MB, and a tenth of a second with a warm cache.
const MOST: usize = 100_000;
/// The longest that a directory is read, however slow its disk is.
const LONGEST: Duration = Duration::from_secs(5);
/// The most names on a page: a page of more is no longer read, and takes long to make and to show.
const ON_A_PAGE: usize = 1000;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The entries of a directory, in no order.
#[derive(Debug)]
pub(in crate::handlers) struct Listing {
    entries: Vec<ListingEntry>,
    /// There is more than [`MOST`] names, or than could be read in [`LONGEST`].
    is_cut_off: bool,
    /// The directory's, if names that come or go later are sure to give it another.
    stamp: Option<FileStamp>,
    /// The time at which it was read.
    read: Instant,
    /// What had been published before that.
    edition: Edition,
    /// The time that this took.
    took: Duration,
}

/// A page, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) content_type: HeaderValue,
    pub(super) content: Bytes,
    pub(super) coding: Option<Coding>,
    /// Links to the pages before and after it (RFC 8288).
    pub(super) link: Option<HeaderValue>,
}

impl Listing {
    /// Reads the directory `found`, which is at `path` below the root. Blocks.
    pub(in crate::handlers) fn read(
        root: &RootDirectory,
        path: &[u8],
        found: OwnedFd,
        options: &FilesOptions,
    ) -> io::Result<Self> {
        let (read, now, edition) = (Instant::now(), SystemTime::now(), Edition::now());
        let before = FileStamp::from(&fstat(&found)?);
        let mut listing =
            Self { entries: Vec::new(), is_cut_off: false, stamp: None, read, edition, took: Duration::ZERO };
        let mut names = Dir::new(found)?;
        while let Some(found) = names.read() {
            let found = found?;
            let name = found.file_name().to_bytes();
            let below = || [path, name].concat();
            let scripts = || options.serve.iter().any(|pattern| pattern.matches(&below()));
            if matches!(name, b"." | b"..")
                || !Target::is_served(name, path.is_empty(), options.dotfiles, scripts)
            {
                continue;
            }
            if listing.entries.len() == MOST || read.elapsed() > LONGEST {
                listing.is_cut_off = true;
                break;
            }
            // By the same way as a request: a link that leads out of the root is not there.
            if let Some(stat) = root.stat(&below())? {
                listing.entries.extend(ListingEntry::new(name, &stat));
            }
        }
        let is_whole = FileStamp::from(&fstat(names.fd()?)?) == before && before.is_settled(now);
        listing.stamp = is_whole.then_some(before);
        listing.took = read.elapsed();
        Ok(listing)
    }

    /// About how many bytes it takes.
    fn cost(&self) -> usize {
        // An allocation for each name takes 16 bytes more than the name, more or less.
        let names = self.entries.iter().map(|entry| entry.name.len() + 16).sum::<usize>();
        names + self.entries.capacity() * size_of::<ListingEntry>()
    }

    /// The number of its pages.
    fn pages(&self) -> usize {
        self.entries.len().div_ceil(ON_A_PAGE).max(1)
    }

    /// The entries on the page that `view` wants.
    pub(in crate::handlers) fn shown(&self, view: &View) -> Shown<'_> {
        let mut entries: Vec<&ListingEntry> = self.entries.iter().collect();
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

impl Listings {
    /// The page of the directory at `path` below the root, read anew if what is known of it no longer counts; or what else
    /// there is. Blocks.
    pub(super) fn load(
        &self,
        root: &RootDirectory,
        path: &[u8],
        mut view: View,
        options: &FilesOptions,
    ) -> io::Result<Result<Page, OpenedPath>> {
        let now = Instant::now();
        let look = || {
            root.stat(if path.is_empty() { b"." } else { path })
                .ok()
                .flatten()
                .map(|stat| FileStamp::from(&stat))
        };
        let listing = match self.known(path, now, look) {
            Some(known) => known,
            None => match root.look_up(path)? {
                OpenedPath::Directory(found) => {
                    self.count();
                    Arc::new(Listing::read(root, path, found, options)?)
                }
                other => return Ok(Err(other)),
            },
        };
        // The page may count again now that the stamp was looked at.
        if let Some(page) = self.page(path, view.clone(), now) {
            return Ok(Ok(page));
        }
        view.page = view.page.min(listing.pages());
        let page = listing.page(&view)?;
        self.put(path, &listing, view, &page);
        Ok(Ok(page))
    }
}

#[cfg(test)]
mod tests;
