//! Entries as messages.

use super::frame::truncate;
use super::header::{HeaderWriter, Style, SyslogHeader};
use super::priority::Severity;
use super::structured::{self, SdId};
use crate::access::{Loss, Timestamp};
use crate::entry::Entry;
use crate::format::{Encoder, Format};

/// Writes entries as syslog messages.
///
/// It allocates nothing per message. It is what a writer thread owns, one per target.
#[derive(Debug)]
pub struct SyslogEncoder {
    header: HeaderWriter,
    style: Style,
    structured: Option<SdId>,
    message: Encoder,
    limit: usize,
}

/// The subject of a message.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Entry(&'a Entry<'a>),
    Loss(&'a Loss),
}

impl Subject<'_> {
    fn severity(self) -> Severity {
        match self {
            Self::Entry(entry) => entry.level().into(),
            Self::Loss(_) => Severity::Warning,
        }
    }

    const fn time(self) -> Timestamp {
        match self {
            Self::Entry(entry) => entry.time(),
            Self::Loss(loss) => loss.to,
        }
    }

    const fn msg_id(self) -> &'static str {
        match self {
            Self::Entry(Entry::Access(_)) => "access",
            Self::Entry(Entry::Event(_)) => "event",
            Self::Loss(_) => "loss",
        }
    }

    fn structured(self, id: &SdId, out: &mut Vec<u8>) {
        match self {
            Self::Entry(Entry::Access(record)) => structured::record(id, record, out),
            Self::Entry(Entry::Event(event)) => structured::event(id, event, out),
            Self::Loss(loss) => structured::loss(id, loss, out),
        }
    }
}

impl SyslogEncoder {
    /// An encoder of messages with this header and with a MSG in this format.
    pub fn new(header: SyslogHeader, message: Format) -> Self {
        Self {
            header: HeaderWriter::new(&header),
            style: header.style,
            structured: header.structured,
            message: Encoder::new(message),
            limit: usize::MAX,
        }
    }

    /// Keeps messages to `bytes`, for a transport that takes no longer ones: structured data that does not fit is left out
    /// as a whole, since a receiver could not make sense of a part, and the MSG is cut. Default: no limit.
    #[must_use]
    pub const fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Appends `entry` to `out` as one message, without what separates it from others (see
    /// [`SyslogFraming`](super::SyslogFraming)).
    ///
    /// `utc_offset` is the offset of local time from UTC at the entry's time, in seconds (east is positive): both protocols
    /// show local time.
    pub fn encode(&mut self, entry: &Entry<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        self.write(Subject::Entry(entry), utc_offset, out);
    }

    /// Appends one message that says which records are missing at this place. Its time is that of the last of them.
    pub fn encode_loss(&mut self, loss: &Loss, utc_offset: i32, out: &mut Vec<u8>) {
        self.write(Subject::Loss(loss), utc_offset, out);
    }

    fn write(&mut self, subject: Subject<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        let start = out.len();
        self.header.write(subject.severity(), subject.time(), utc_offset, subject.msg_id(), out);
        if self.style == Style::Rfc5424 {
            self.write_structured(start, subject, out);
        }
        match subject {
            Subject::Entry(entry) => self.message.encode(entry, utc_offset, out),
            Subject::Loss(loss) => self.message.encode_loss(loss, utc_offset, out),
        }
        truncate(out, start, self.limit);
    }

    /// The element, or `-` in place of one that there is no room for.
    fn write_structured(&self, start: usize, subject: Subject<'_>, out: &mut Vec<u8>) {
        let at = out.len();
        if let Some(id) = &self.structured {
            subject.structured(id, out);
        }
        if out.len() == at || out.len() - start > self.limit {
            out.truncate(at);
            out.push(b'-');
        }
        out.push(b' ');
    }
}
