//! What is in a directory, as a page for people or as JSON for programs.
//!
//! **Invariant:** a name is text on the page and a single segment in a link, whatever bytes it is made of: it can
//! neither become markup nor lead anywhere else. What could not be opened by a request is not listed.

mod html;
mod json;
mod view;

use std::cmp::Ordering;
use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use http::HeaderValue;
use medusa_proto::coding::Coding;
use rustix::fs::{Dir, FileType, Stat};

use super::root::Directory;
use super::target::Target;
use crate::handlers::compress::encode;
use crate::response::HTML;

pub(super) use view::View;
use view::{Format, Order};

/// The most names that are listed. More make a page that no one reads, and memory that no one bounds.
const MOST: usize = 5000;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is in a directory, in no order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// There are more names than [`MOST`].
    is_cut_off: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    /// `None` for a directory.
    size: Option<u64>,
    /// Seconds since 1970.
    modified: i64,
}

/// A listing, ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) content_type: HeaderValue,
    pub(super) content: Bytes,
    pub(super) coding: Option<Coding>,
}

impl Listing {
    /// Reads the directory `found`, which is at `path` below the root. Blocks.
    pub(super) fn read(root: &Directory, path: &[u8], found: OwnedFd, dotfiles: bool) -> io::Result<Self> {
        let mut listing = Self { entries: Vec::new(), is_cut_off: false };
        for found in Dir::new(found)? {
            let found = found?;
            let name = found.file_name().to_bytes();
            if matches!(name, b"." | b"..") || !Target::is_served(name, path.is_empty(), dotfiles) {
                continue;
            }
            if listing.entries.len() == MOST {
                listing.is_cut_off = true;
                break;
            }
            // By the same way as a request: a link that leads out of the root is not there.
            if let Some(stat) = root.stat(&[path, name].concat())? {
                listing.entries.extend(Entry::new(name, &stat));
            }
        }
        Ok(listing)
    }

    /// The listing as `view` wants it, compressed if `coding` says so and that makes it smaller. Takes a while.
    pub(super) fn page(mut self, view: &View, coding: Option<Coding>) -> io::Result<Page> {
        self.entries.sort_by(|a, b| a.compare(b, view.order));
        let (content_type, content) = match view.format {
            Format::Html => (HTML, html::page(&self, view)),
            Format::Json => (JSON, json::list(&self.entries)),
        };
        let encoded = match coding {
            Some(coding) => encode::whole(coding, content.as_bytes())?,
            None => None,
        };
        Ok(match encoded {
            Some(encoded) => Page { content_type, content: encoded, coding },
            None => Page { content_type, content: content.into(), coding: None },
        })
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
        Some(Self { name: name.to_owned(), size, modified: stat.st_mtime })
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
