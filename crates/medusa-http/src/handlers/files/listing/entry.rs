//! The entries of a listing: files and directories, and the part of them that is on one page.

use std::cmp::Ordering;

use http::HeaderValue;
use rustix::fs::{FileType, Stat};

use super::view::{Order, SortKey, View};

/// The entries of one page.
pub(in crate::handlers) struct Shown<'l> {
    pub(super) entries: Vec<&'l ListingEntry>,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) is_cut_off: bool,
}

impl Shown<'_> {
    pub(super) fn before(&self) -> Option<usize> {
        (self.page > 1).then(|| self.page - 1)
    }

    pub(super) fn after(&self) -> Option<usize> {
        (self.page < self.pages).then(|| self.page + 1)
    }

    /// The value of `Link`, in which programs find the next page.
    pub(super) fn link(&self, view: &View) -> Option<HeaderValue> {
        let to = |page: Option<usize>, relation: &str| {
            page.map(|page| format!("<{}>; rel=\"{relation}\"", view.query(page)))
        };
        let links: Vec<String> =
            [to(self.before(), "prev"), to(self.after(), "next")].into_iter().flatten().collect();
        if links.is_empty() { None } else { HeaderValue::from_str(&links.join(", ")).ok() }
    }
}

#[derive(Debug)]
pub(super) struct ListingEntry {
    pub(super) name: Box<[u8]>,
    /// `None` for a directory.
    pub(super) size: Option<u64>,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

impl ListingEntry {
    /// `None` for what is neither a file nor a directory.
    pub(super) fn new(name: &[u8], stat: &Stat) -> Option<Self> {
        let size = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => None,
            FileType::RegularFile => Some(stat.st_size.try_into().unwrap_or(0)),
            _ => return None,
        };
        Some(Self { name: name.into(), size, modified: stat.st_mtime })
    }

    /// Directories first, and equals by their names, whichever way the rest goes: the same directory is listed the same
    /// way each time.
    pub(super) fn compare(&self, other: &Self, order: Order) -> Ordering {
        let by_key = match order.by {
            SortKey::Name => self.name.cmp(&other.name),
            SortKey::Size => self.size.cmp(&other.size),
            SortKey::Modified => self.modified.cmp(&other.modified),
        };
        let by_key = if order.is_descending { by_key.reverse() } else { by_key };
        self.size.is_some().cmp(&other.size.is_some()).then(by_key).then_with(|| self.name.cmp(&other.name))
    }
}

/// An instant in seconds since 1970, in UTC.
pub(in crate::handlers) struct Civil {
    pub(in crate::handlers) year: i64,
    pub(in crate::handlers) month: i64,
    pub(in crate::handlers) day: i64,
    pub(in crate::handlers) hour: i64,
    pub(in crate::handlers) minute: i64,
    pub(super) second: i64,
}

impl Civil {
    /// After `civil_from_days` in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin in March,
    /// so that the leap day comes last, and eras have 400 years.
    pub(in crate::handlers) fn at(time: i64) -> Self {
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
