//! A directory as a page.
//!
//! **Invariant:** a name is text on the page and a single segment in a link, whatever bytes it is made of: it can
//! neither become markup nor lead anywhere else. What could not be opened by a request is not listed.

use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FileType, Stat};

use super::root::Root;
use super::target::Target;
use crate::router::encode_segment;

/// The most names a page shows. More make a page that no one reads, and memory that no one bounds.
const MOST: usize = 5000;

/// What is in a directory, in the order of the page.
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

impl Listing {
    /// Reads the directory that is at `path` below the root. Blocks.
    pub(super) fn read(root: &Root, path: &[u8], directory: OwnedFd, dotfiles: bool) -> io::Result<Self> {
        let mut listing = Self { entries: Vec::new(), is_cut_off: false };
        for found in Dir::new(directory)? {
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
            if let Some(stat) = root.stat(&[path, name].concat()) {
                listing.entries.extend(Entry::new(name, &stat));
            }
        }
        listing.entries.sort_by(|a, b| (a.size.is_some(), &a.name).cmp(&(b.size.is_some(), &b.name)));
        Ok(listing)
    }

    /// The page. `path` is the request's, raw; `tail` what of it lies below the mount.
    pub(super) fn page(&self, path: &str, tail: &str) -> String {
        let path = percent_encoding::percent_decode_str(path).collect::<Vec<u8>>();
        let title = Escaped(&String::from_utf8_lossy(&path)).to_string();
        let mut page = format!("{HEAD}<title>{title}</title>\n{STYLE}<h1>{title}</h1>\n<ul>\n");
        if !tail.is_empty() {
            page.push_str("<li><a href=\"../\">Parent directory</a>\n");
        }
        for entry in &self.entries {
            entry.write(&mut page);
        }
        page.push_str("</ul>\n");
        if self.is_cut_off {
            let _infallible = writeln!(page, "<p>There is more here than the {MOST} names shown.</p>");
        }
        page.push_str("</html>\n");
        page
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

    fn write(&self, page: &mut String) {
        // `./` keeps a name such as `a:b` from being read as a scheme.
        let (link, text) = (encode_segment(&self.name), String::from_utf8_lossy(&self.name));
        let slash = if self.size.is_none() { "/" } else { "" };
        let (link, text) = (Escaped(&link.to_string()).to_string(), Escaped(&text));
        let _infallible = write!(page, "<li><a href=\"./{link}{slash}\">{text}{slash}</a> <small>");
        if let Some(size) = self.size {
            let _infallible = write!(page, "{} \u{b7} ", Size(size));
        }
        let _infallible = writeln!(page, "{}</small>", Day(self.modified));
    }
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";

/// Large enough to touch, and no wider than the screen.
const STYLE: &str = "<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;\
    margin:2rem auto;padding:0 1rem}h1{font-size:1.3rem;overflow-wrap:anywhere}ul{list-style:none;padding:0}\
    li{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:0 1rem;padding:.45rem 0;\
    border-top:1px solid color-mix(in srgb,currentColor 15%,transparent)}a{overflow-wrap:anywhere}\
    small{opacity:.7;white-space:nowrap;margin-left:auto}</style>\n";

/// Text with what means something in HTML, in an element or in a quoted attribute, replaced.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A size for people: three digits are enough.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while size >= 1000.0 && unit + 1 < UNITS.len() {
            (size, unit) = (size / 1024.0, unit + 1);
        }
        let precision = usize::from(size < 9.95);
        write!(f, "{size:.precision$} {}", UNITS[unit])
    }
}

/// The date of a time in seconds since 1970, in UTC: `2026-11-22`.
struct Day(i64);

impl std::fmt::Display for Day {
    /// After `civil_from_days` in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms": years begin in March,
    /// so that the leap day comes last, and eras have 400 years.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAYS_PER_ERA: i64 = 146_097;
        let days = self.0.div_euclid(86_400) + 719_468;
        let (era, day) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
        let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day_of_month:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[(&[u8], Option<u64>)]) -> String {
        let entry =
            |(name, size): &(&[u8], Option<u64>)| Entry { name: name.to_vec(), size: *size, modified: 0 };
        Listing { entries: names.iter().map(entry).collect(), is_cut_off: false }.page("/a%20b/%3Cc/", "x/")
    }

    #[test]
    fn names_are_text_and_links_are_single_segments() {
        let page = page(&[
            (b"<script>.txt", Some(1)),
            (b"a:b?c#d\"'&%", Some(1)),
            (b"sub", None),
            (b"\xff\xfe", Some(1)),
        ]);
        for expected in [
            "<title>/a b/&lt;c/</title>",
            "<h1>/a b/&lt;c/</h1>",
            "<a href=\"../\">Parent directory</a>",
            "<a href=\"./%3Cscript%3E.txt\">&lt;script&gt;.txt</a>",
            "<a href=\"./a:b%3Fc%23d%22&#39;&amp;%25\">a:b?c#d&quot;&#39;&amp;%</a>",
            "<a href=\"./sub/\">sub/</a> <small>1970-01-01</small>",
            "<a href=\"./%FF%FE\">\u{fffd}\u{fffd}</a>",
        ] {
            assert!(page.contains(expected), "{expected}\n{page}");
        }
        assert!(!page.contains("<script"));
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_200, "10 KiB"),
            (1_023_000, "999 KiB"),
            (1_024_000, "1.0 MiB"),
            (5_000_000_000, "4.7 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (size, shown) in table {
            assert_eq!(Size(size).to_string(), shown);
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_767_225_599, "2025-12-31"),
            (1_772_323_200, "2026-03-01"),
            (4_107_542_400, "2100-03-01"),
        ];
        for (time, day) in table {
            assert_eq!(Day(time).to_string(), day);
        }
    }
}
