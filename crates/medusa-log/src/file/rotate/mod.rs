//! Rotation: when a file is rotated, what it is called then, and what becomes of it.
//!
//! - `period`: hours, days, weeks, months of local time, and where they end;
//! - `name`: what a file is called once it is rotated, and which files are ours by their name;
//! - `place`: the directory, and the renaming;
//! - `pack`: one file compressed;
//! - `tidy`: the thread that compresses, and deletes what is too old.
//!
//! **Invariant: rotation never overwrites a file, and deletes none but those it has rotated itself**, which it knows by
//! the whole of their name. Nor does it compress a file that a writer may still append to: each writer holds a shared
//! lock (`flock`) on its file, and who compresses needs the exclusive one.
//!
//! Someone who can write to the directory of a log can do with it what they like; the server then follows no symbolic
//! link of theirs when it compresses or deletes. Someone who can only read a log can hold up its compression (with a lock on
//! a rotated file), but neither rotation nor deletion.

mod name;
mod pack;
mod period;
mod place;
pub(super) mod tidy;

use std::fmt;

use super::options::size;
use crate::OptionError;
pub use period::Period;
pub(super) use period::{Span, Tag};
pub(super) use place::{Place, is_at};

/// Occasions on which a file is rotated, and what becomes of it then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// At the end of each of these. Default: not by time.
    pub every: Option<Period>,
    /// Before it would grow beyond so many bytes (a single line may be longer). Default: not by size.
    pub size: Option<u64>,
    /// The number of rotated files that are kept; older ones are deleted. Default: all.
    pub keep: Option<u32>,
    /// Whether rotated files are compressed, with Zstandard: sooner done than gzip, smaller, and much sooner read. Default:
    /// not.
    pub compress: bool,
}

impl Rotation {
    /// The least [`size`](Self::size): a handful of lines.
    pub const MIN_SIZE: u64 = 1000;

    /// Adds another occasion: there can be one period and one size. `"hourly"`, `"daily"`, `"weekly"`, `"monthly"`, or a size
    /// such as `"100MB"`.
    pub fn add(&mut self, text: &str) -> Result<(), OptionError> {
        match (Period::named(text), size(text)) {
            (Some(period), _) => once(self.every.replace(period).is_none()),
            (None, Some(bytes)) => self.add_size(bytes),
            (None, None) => Err(OptionError(format!(
                "\"hourly\", \"daily\", \"weekly\", \"monthly\" or a size such as \"100MB\" is expected, not {text:?}"
            ))),
        }
    }

    /// Adds the occasion of a file of `bytes`, if that is enough for some lines.
    pub fn add_size(&mut self, bytes: u64) -> Result<(), OptionError> {
        if bytes < Self::MIN_SIZE {
            let least = Self::MIN_SIZE;
            return Err(OptionError(format!("a size of at least {least} bytes is expected, not {bytes}")));
        }
        once(self.size.replace(bytes).is_none())
    }
}

fn once(is_first: bool) -> Result<(), OptionError> {
    is_first
        .then_some(())
        .ok_or_else(|| OptionError("one period and one size at most are expected".to_owned()))
}

/// As a script has it: `daily, 100000000 bytes`.
impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.every, self.size) {
            (Some(period), Some(size)) => write!(f, "{period}, {size} bytes"),
            (Some(period), None) => period.fmt(f),
            (None, Some(size)) => write!(f, "{size} bytes"),
            (None, None) => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests;
