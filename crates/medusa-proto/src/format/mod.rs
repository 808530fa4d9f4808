//! Access records and events as lines of a log.
//!
//! **Invariant: one entry is one line, whatever the peer sent.** Every field a peer controls passes through
//! [`escape`], so no request can end a line early, forge another, or send control sequences to the terminal of whoever
//! reads the log. The property tests below hold every format to it.
//!
//! An [`Encoder`] allocates nothing per line and keeps the text of the current second, since neighbouring records share
//! it. It is what a writer thread owns, one per file.

pub(crate) mod addr;
pub(crate) mod escape;
mod event;
mod json;
mod text;
pub(crate) mod time;

use std::str::FromStr;

use crate::access::{Loss, Record};
use crate::entry::Entry;
use time::Stamp;

/// How an entry is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Common Log Format, as Apache's `%h %l %u %t "%r" %>s %b`.
    Common,
    /// Common, then the `Referer` and `User-Agent` fields: Apache's `combined`. The default: what log analysers expect.
    #[default]
    Combined,
    /// One JSON object per line with the field names of the Elastic Common Schema.
    Json,
}

impl Format {
    /// Its name in a script.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Json => "json",
        }
    }
}

/// A format's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log format {0:?}: use \"common\", \"combined\" or \"json\"")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Common, Self::Combined, Self::Json]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Writes entries in one [`Format`].
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    stamp: Stamp,
}

impl Encoder {
    /// An encoder for `format`.
    pub const fn new(format: Format) -> Self {
        Self { format, stamp: Stamp::new() }
    }

    /// The format it writes.
    pub const fn format(&self) -> &Format {
        &self.format
    }

    /// Appends `entry` to `out` as one line, without what ends it.
    ///
    /// `utc_offset` is the offset of local time from UTC at the record's time, in seconds (east is positive; more than
    /// a day is taken as a day). The text formats show local time, as Apache does; JSON shows UTC.
    pub fn encode(&mut self, entry: &Entry<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        match entry {
            Entry::Access(record) => self.encode_access(record, utc_offset, out),
            Entry::Event(event) => match self.format {
                Format::Common | Format::Combined => event::text(event, &mut self.stamp, utc_offset, out),
                Format::Json => event::json(event, &mut self.stamp, out),
            },
        }
    }

    fn encode_access(&mut self, record: &Record<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        out.reserve(ROOM + variable_length(record));
        match self.format {
            Format::Common => text::common(record, self.stamp.clf(record.time, utc_offset), out),
            Format::Combined => text::combined(record, self.stamp.clf(record.time, utc_offset), out),
            Format::Json => json::record(record, &mut self.stamp, out),
        }
    }

    /// Appends one line that says which records are missing at this place, without what ends it.
    ///
    /// In the text formats it starts with `# `, which no record does; in JSON it is an object with a `message`, which
    /// no record has. `utc_offset` is as for [`encode`](Self::encode).
    pub fn encode_loss(&mut self, loss: &Loss, utc_offset: i32, out: &mut Vec<u8>) {
        match self.format {
            Format::Common | Format::Combined => text::loss(loss, &mut self.stamp, utc_offset, out),
            Format::Json => json::loss(loss, &mut self.stamp, out),
        }
    }
}

/// Room for all of a line that does not depend on the record's text: the longest, JSON, takes about 440 bytes.
const ROOM: usize = 512;

/// The length of the record's text before escaping.
fn variable_length(record: &Record<'_>) -> usize {
    record.user.map_or(0, str::len)
        + record.method.len()
        + record.target.len()
        + record.host.map_or(0, str::len)
        + record.referer.map_or(0, <[u8]>::len)
        + record.user_agent.map_or(0, <[u8]>::len)
        + record.server.len()
}

/// Appends `number` in decimal.
pub(crate) fn decimal(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
