//! Entries as what goes over the wire: a line or a message each, with what tells it from the next.

use medusa_proto::access::Loss;
use medusa_proto::entry::Entry;
use medusa_proto::format::{Encoder, Format};
use medusa_proto::journal::{Journal, JournalEncoder};
use medusa_proto::syslog::{self, SyslogEncoder, SyslogHeader};

use super::connect::Connection;
use super::relp;
use crate::OptionError;
use crate::local::LocalOffset;
use crate::queue::Records;

/// Form in which entries are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFraming {
    /// As lines.
    Lines(Format, LineEnd),
    /// As syslog messages whose text is in this format.
    Syslog(Box<SyslogHeader>, Format, syslog::SyslogFraming),
    /// As messages for the journal, which takes datagrams.
    Journal(Journal),
}

impl RecordFraming {
    /// The name of the format that an entry is written in, or the text of its message.
    pub(super) fn format(&self) -> &Format {
        match self {
            Self::Lines(format, _) | Self::Syslog(_, format, _) => format,
            Self::Journal(journal) => &journal.message,
        }
    }
}

/// End of a line on a stream. In a datagram nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LineEnd {
    /// A line feed.
    #[default]
    Newline,
    /// A zero byte.
    Nul,
}

impl std::str::FromStr for LineEnd {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "newline" => Ok(Self::Newline),
            "nul" => Ok(Self::Nul),
            _ => Err(OptionError(format!("unknown framing {name:?}: use \"newline\" or \"nul\""))),
        }
    }
}

/// Memory that is kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

/// Writes entries for one connection.
#[derive(Debug)]
pub(super) struct Lines {
    /// What goes over the wire next, and where each entry ends.
    pub(super) bytes: Vec<u8>,
    pub(super) ends_at: Vec<usize>,
    encoder: LineEncoder,
    local: LocalOffset,
    ends: Ends,
    /// The number of entries that have been written.
    pub(super) count: u64,
    /// The number of entries that were cut to fit into a datagram, since this was taken last. A syslog message counts if it is
    /// within a character of the limit, since it comes here cut already.
    pub(super) truncated: u64,
}

#[derive(Debug)]
enum LineEncoder {
    Plain(Encoder),
    Syslog(SyslogEncoder),
    Journal(JournalEncoder),
}

#[derive(Clone, Copy, Debug)]
enum Ends {
    Byte(u8),
    Syslog(syslog::SyslogFraming),
    /// Each entry is a datagram of at most so many bytes.
    Datagram(usize),
    /// Each entry is a frame of RELP.
    Relp,
}

impl Lines {
    /// The encoder for `connection`.
    pub(super) fn new(framing: &RecordFraming, connection: &Connection) -> Self {
        match connection {
            Connection::Stream(stream) if stream.session.is_some() => Self::ending(framing, Ends::Relp),
            Connection::Stream(_) => Self::stream(framing),
            Connection::Datagrams(datagrams) => Self::ending(framing, Ends::Datagram(datagrams.limit)),
        }
    }

    fn stream(framing: &RecordFraming) -> Self {
        let ends = match framing {
            RecordFraming::Lines(_, LineEnd::Newline) | RecordFraming::Journal(_) => Ends::Byte(b'\n'),
            RecordFraming::Lines(_, LineEnd::Nul) => Ends::Byte(b'\0'),
            RecordFraming::Syslog(_, _, framing) => Ends::Syslog(*framing),
        };
        Self::ending(framing, ends)
    }

    fn ending(framing: &RecordFraming, ends: Ends) -> Self {
        let encoder = match framing {
            RecordFraming::Lines(format, _) => LineEncoder::Plain(Encoder::new(format.clone())),
            RecordFraming::Journal(journal) => LineEncoder::Journal(JournalEncoder::new(journal.clone())),
            RecordFraming::Syslog(header, format, _) => {
                let encoder = SyslogEncoder::new(SyslogHeader::clone(header), format.clone());
                LineEncoder::Syslog(match ends {
                    Ends::Datagram(limit) => encoder.with_limit(limit),
                    Ends::Relp => encoder.with_limit(relp::MAX_MESSAGE),
                    Ends::Byte(_) | Ends::Syslog(_) => encoder,
                })
            }
        };
        let (bytes, ends_at) = (Vec::new(), Vec::new());
        Self { bytes, ends_at, encoder, local: LocalOffset::default(), ends, count: 0, truncated: 0 }
    }

    /// Writes `what` in the place of what was written before.
    pub(super) fn fill(&mut self, what: &Records) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.ends_at.clear();
        match what {
            Ok(batch) => batch.iter().for_each(|entry| self.entry(&entry)),
            Err(loss) => self.loss(loss),
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let (out, offset) = (&mut self.bytes, self.local.at(entry.time()));
        let start = out.len();
        match &mut self.encoder {
            LineEncoder::Plain(encoder) => encoder.encode(entry, offset, out),
            LineEncoder::Syslog(encoder) => encoder.encode(entry, offset, out),
            LineEncoder::Journal(encoder) => encoder.encode(entry, offset, out),
        }
        self.end(start);
    }

    /// What says that records are missing.
    fn loss(&mut self, loss: &Loss) {
        let (out, offset) = (&mut self.bytes, self.local.at(loss.to));
        let start = out.len();
        match &mut self.encoder {
            LineEncoder::Plain(encoder) => encoder.encode_loss(loss, offset, out),
            LineEncoder::Syslog(encoder) => encoder.encode_loss(loss, offset, out),
            LineEncoder::Journal(encoder) => encoder.encode_loss(loss, offset, out),
        }
        self.end(start);
    }

    fn end(&mut self, start: usize) {
        self.count += 1;
        match self.ends {
            Ends::Byte(byte) => self.bytes.push(byte),
            Ends::Syslog(framing) => framing.frame(start, &mut self.bytes),
            Ends::Datagram(limit) => self.cut(start, limit),
            Ends::Relp => {
                self.cut(start, relp::MAX_MESSAGE);
                relp::frame(self.count, "syslog", start, &mut self.bytes);
            }
        }
        self.ends_at.push(self.bytes.len());
    }

    fn cut(&mut self, start: usize, limit: usize) {
        let is_cut = match self.encoder {
            LineEncoder::Plain(_) => syslog::truncate(&mut self.bytes, start, limit),
            LineEncoder::Syslog(_) => self.bytes.len() - start > limit.saturating_sub(char::MAX.len_utf8()),
            LineEncoder::Journal(_) => false, // cut, it would not be read; what is too long goes in a file
        };
        self.truncated += u64::from(is_cut);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::record;
    use medusa_proto::syslog::{AppName, Facility, Style, SyslogFraming};

    fn written(mut lines: Lines) -> (String, u64) {
        for target in ["/a", &"/ü".repeat(400)] {
            lines.entry(&record(target, 0).into());
        }
        (String::from_utf8(lines.bytes).expect("UTF-8"), lines.truncated)
    }

    #[test]
    fn lines_end_as_they_should() {
        for (end, byte) in [(LineEnd::Newline, '\n'), (LineEnd::Nul, '\0')] {
            let (out, cut) = written(Lines::stream(&RecordFraming::Lines(Format::Common, end)));
            assert_eq!((out.matches(byte).count(), cut), (2, 0));
            assert!(out.ends_with(byte) && out.starts_with("127.0.0.1 "));
        }
        assert_eq!("nul".parse(), Ok(LineEnd::Nul));
        "lf".parse::<LineEnd>().expect_err("of no kind we know");
    }

    #[test]
    fn datagrams_have_no_end_and_a_limit() {
        let framing = RecordFraming::Lines(Format::Common, LineEnd::Newline);
        let (out, cut) = written(Lines::ending(&framing, Ends::Datagram(200)));
        assert!(!out.contains('\n') && cut == 1 && out.len() < 400, "{out}");
    }

    #[test]
    fn messages_are_framed_on_streams_only() {
        let header = SyslogHeader {
            style: Style::Rfc3164,
            facility: Facility::default(),
            app_name: AppName::default(),
            hostname: String::new(),
            procid: "1".to_owned(),
            structured: None,
        };
        let framing = RecordFraming::Syslog(Box::new(header), Format::Common, SyslogFraming::Octet);
        let (out, _) = written(Lines::stream(&framing));
        let (length, rest) = out.split_once(' ').expect("a length");
        assert!(rest[length.parse::<usize>().expect("a number")..].contains(" <"), "{out}");
        let (out, cut) = written(Lines::ending(&framing, Ends::Datagram(480)));
        assert!(out.starts_with('<') && cut == 1, "{out}");
    }
}
