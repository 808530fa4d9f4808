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
mod logfmt;
mod template;
mod text;
pub(crate) mod time;

use std::str::FromStr;
use std::sync::Arc;

use crate::access::{Loss, Record};
use crate::entry::Entry;
use crate::event::Event;
pub use template::{Template, TemplateError};
use time::Stamp;
pub use time::utc;

/// A format in which entries are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// The Common Log Format, as Apache's `%h %l %u %t "%r" %>s %b`.
    Common,
    /// Common, then the `Referer` and `User-Agent` fields: Apache's `combined`. The default: what log analysers expect.
    #[default]
    Combined,
    /// One JSON object per line with the field names of the Elastic Common Schema.
    Json,
    /// `key=value`, with spaces between.
    Logfmt,
    /// What the user wants, in Apache's letters. Shared, since a format is cloned with the options it stands in.
    Template(Arc<Template>),
}

impl Format {
    /// Its name in a script; a template itself.
    pub fn name(&self) -> &str {
        match self {
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
            Self::Template(template) => template.source(),
        }
    }
}

/// The reason why a text is no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No format has that name.
    #[error(
        "unknown log format {0:?}: use \"common\", \"combined\", \"json\", \"logfmt\", or a template in Apache's letters \
         such as '%h %l %u %t \"%r\" %>s %b'"
    )]
    Unknown(String),
    /// It has a percent sign, so it is a template, but one that means nothing.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "common" => Ok(Self::Common),
            "combined" => Ok(Self::Combined),
            "json" => Ok(Self::Json),
            "logfmt" => Ok(Self::Logfmt),
            template if template.contains('%') => Ok(Self::Template(Arc::new(template.parse()?))),
            _ => Err(FormatError::Unknown(name.to_owned())),
        }
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
    /// `utc_offset` is the offset of local time from UTC at the entry's time, in seconds (east is positive; more than
    /// a day is taken as a day). The text formats show local time, as Apache does; JSON and logfmt show UTC.
    ///
    /// In the text formats an event starts with `# `, which a record does only if a template says so.
    pub fn encode(&mut self, entry: &Entry<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        match entry {
            Entry::Access(record) => self.encode_access(record, utc_offset, out),
            Entry::Event(event) => self.encode_event(event, utc_offset, out),
        }
    }

    fn encode_access(&mut self, record: &Record<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        out.reserve(ROOM + variable_length(record));
        let stamp = &mut self.stamp;
        match &self.format {
            Format::Common => text::common(record, stamp.clf(record.time, utc_offset), out),
            Format::Combined => text::combined(record, stamp.clf(record.time, utc_offset), out),
            Format::Json => json::record(record, stamp, out),
            Format::Logfmt => logfmt::record(record, stamp, out),
            Format::Template(template) => template.record(record, stamp, utc_offset, out),
        }
    }

    fn encode_event(&mut self, event: &Event<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        let stamp = &mut self.stamp;
        match self.format {
            Format::Common | Format::Combined | Format::Template(_) => {
                event::text(event, stamp, utc_offset, out);
            }
            Format::Json => event::json(event, stamp, out),
            Format::Logfmt => logfmt::event(event, stamp, out),
        }
    }

    /// Appends one line that says which records are missing at this place, without what ends it.
    ///
    /// In the text formats it starts with `# `, as an event does; in JSON and logfmt it is a warning.
    /// `utc_offset` is as for [`encode`](Self::encode).
    pub fn encode_loss(&mut self, loss: &Loss, utc_offset: i32, out: &mut Vec<u8>) {
        let stamp = &mut self.stamp;
        match self.format {
            Format::Common | Format::Combined | Format::Template(_) => {
                text::loss(loss, stamp, utc_offset, out);
            }
            Format::Json => json::loss(loss, stamp, out),
            Format::Logfmt => logfmt::loss(loss, stamp, out),
        }
    }
}

/// Room for all of a line that does not depend on the record's text: the longest, JSON, takes about 480 bytes.
const ROOM: usize = 512;

/// The length of the record's text before escaping.
fn variable_length(record: &Record<'_>) -> usize {
    record.name.map_or(0, str::len)
        + record.user.map_or(0, str::len)
        + record.method.len()
        + record.target.len()
        + record.host.map_or(0, str::len)
        + record.referer.map_or(0, <[u8]>::len)
        + record.user_agent.map_or(0, <[u8]>::len)
        + record.server.len()
        + record.id.map_or(0, str::len)
}

/// Appends `number` in decimal.
pub(crate) fn decimal(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests;
