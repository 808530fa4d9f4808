//! Many entries in three allocations.
//!
//! A [`Batch`] copies the text of each entry behind that of the one before, and remembers lengths only. Text that is
//! known to be UTF-8 and bytes that are not are kept apart, so that reading a record back checks nothing twice.

use std::sync::Arc;

use medusa_proto::access::{Loss, Peer, Record, Timestamp, Version};
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};

/// The most bytes kept of one text field; what is longer is cut. It bounds what a single request can put in a log, and
/// with it the memory of every queue.
pub const MAX_FIELD: usize = 16 * 1024;

/// Stands for a field that is absent.
const ABSENT: u16 = u16::MAX;

/// Access records and events on their way to a sink, in the order in which they were pushed. Both count as records.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<PackedEntry>,
    text: String,
    raw: Vec<u8>,
}

/// Content of a batch, or the room it should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Records.
    pub records: usize,
    /// Bytes of text: of a record its name, user, method, target, host, server and id, of an event all.
    pub text: usize,
    /// Bytes that need not be text: referer, user agent.
    pub raw: usize,
}

/// An entry without its text.
#[derive(Clone, Copy, Debug)]
struct PackedEntry {
    time: Timestamp,
    text_at: usize,
    raw_at: usize,
    kind: PackedKind,
}

#[derive(Clone, Copy, Debug)]
enum PackedKind {
    Access(Access),
    Event { level: Level, texts: [u16; 3] },
}

#[derive(Clone, Copy, Debug)]
struct Access {
    bytes: u64,
    duration_us: u64,
    peer: Peer,
    version: Version,
    status: u16,
    /// Lengths of its [texts] and of what need not be text.
    texts: [u16; 7],
    raws: [u16; 2],
}

/// The texts of a record, in the order in which they are stored, here and on disk.
pub(crate) const fn texts<'a>(record: &Record<'a>) -> [Option<&'a str>; 7] {
    let Record { name, user, method, target, host, server, id, .. } = *record;
    [name, user, Some(method), Some(target), host, Some(server), id]
}

impl Batch {
    /// An empty batch; allocates with the first record.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), text: String::new(), raw: Vec::new() }
    }

    /// An empty batch with room for `extent`.
    pub fn with_capacity(extent: Extent) -> Self {
        Self {
            entries: Vec::with_capacity(extent.records),
            text: String::with_capacity(extent.text),
            raw: Vec::with_capacity(extent.raw),
        }
    }

    /// Copies `record` in. Text fields longer than [`MAX_FIELD`] are cut.
    pub fn push(&mut self, record: &Record<'_>) {
        self.push_entry(&Entry::Access(*record));
    }

    /// Copies `event` in. Text longer than [`MAX_FIELD`] is cut.
    pub fn push_event(&mut self, event: &Event<'_>) {
        self.push_entry(&Entry::Event(*event));
    }

    /// Copies `entry` in, whichever it is.
    #[inline]
    pub fn push_entry(&mut self, entry: &Entry<'_>) {
        let (text_at, raw_at) = (self.text.len(), self.raw.len());
        let kind = match entry {
            Entry::Access(record) => PackedKind::Access(Access {
                bytes: record.bytes,
                duration_us: record.duration_us,
                peer: record.peer,
                version: record.version,
                status: record.status,
                texts: texts(record).map(|text| self.push_text(text)),
                raws: [record.referer, record.user_agent].map(|raw| self.push_raw(raw)),
            }),
            Entry::Event(event) => {
                let texts = [Some(event.part), Some(event.message), event.request];
                PackedKind::Event { level: event.level, texts: texts.map(|text| self.push_text(text)) }
            }
        };
        self.entries.push(PackedEntry { time: entry.time(), text_at, raw_at, kind });
    }

    /// The entries, in the order in which they were pushed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.entries.iter().map(|packed| self.read(packed))
    }

    /// The number of records.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no record.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes in use, the fixed part of each record included.
    pub const fn bytes(&self) -> usize {
        self.entries.len() * size_of::<PackedEntry>() + self.text.len() + self.raw.len()
    }

    /// Bytes of memory held, which is what counts against the limit of a queue.
    pub const fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<PackedEntry>() + self.text.capacity() + self.raw.capacity()
    }

    /// The content: a good size for the next one.
    pub const fn extent(&self) -> Extent {
        Extent { records: self.entries.len(), text: self.text.len(), raw: self.raw.len() }
    }

    /// Makes it fit for sharing and for waiting in a queue: memory is given back if less than half of it is in use.
    pub fn seal(mut self) -> Arc<Self> {
        if self.bytes() < self.footprint() / 2 {
            self.entries.shrink_to_fit();
            self.text.shrink_to_fit();
            self.raw.shrink_to_fit();
        }
        Arc::new(self)
    }

    /// The loss of all but the first `kept` records; `None` if that is nothing.
    pub fn loss_after(&self, kept: usize) -> Option<Loss> {
        let times = self.entries.iter().skip(kept).map(|entry| entry.time);
        times.map(|time| Loss { records: 1, from: time, to: time }).reduce(Loss::merge)
    }

    /// The records behind the first `kept`, as a batch of their own.
    pub fn behind(&self, kept: usize) -> Arc<Self> {
        let mut rest = Self::new();
        self.iter().skip(kept).for_each(|entry| rest.push_entry(&entry));
        rest.seal()
    }

    fn push_text(&mut self, field: Option<&str>) -> u16 {
        let Some(field) = field else { return ABSENT };
        let cut = &field[..field.floor_char_boundary(MAX_FIELD)];
        self.text.push_str(cut);
        cut.len() as u16
    }

    fn push_raw(&mut self, field: Option<&[u8]>) -> u16 {
        let Some(field) = field else { return ABSENT };
        let cut = &field[..field.len().min(MAX_FIELD)];
        self.raw.extend_from_slice(cut);
        cut.len() as u16
    }

    /// Takes the fields off the arenas in the order in which `push` put them there.
    fn read(&self, packed: &PackedEntry) -> Entry<'_> {
        let (mut text, mut raw) = (&self.text[packed.text_at..], &self.raw[packed.raw_at..]);
        match packed.kind {
            PackedKind::Access(access) => {
                let Access { bytes, duration_us, peer, version, status, texts, raws } = access;
                let [name, user, method, target, host, server, id] =
                    texts.map(|length| take_text(&mut text, length));
                let [referer, user_agent] = raws.map(|length| take_raw(&mut raw, length));
                let [method, target, server] = [method, target, server].map(Option::unwrap_or_default);
                let time = packed.time;
                Entry::Access(Record {
                    time,
                    peer,
                    name,
                    user,
                    method,
                    target,
                    version,
                    host,
                    status,
                    bytes,
                    duration_us,
                    referer,
                    user_agent,
                    server,
                    id,
                })
            }
            PackedKind::Event { level, texts } => {
                let [part, message, request] = texts.map(|length| take_text(&mut text, length));
                let [part, message] = [part, message].map(Option::unwrap_or_default);
                Entry::Event(Event { time: packed.time, level, part, message, request })
            }
        }
    }
}

fn take_text<'a>(arena: &mut &'a str, length: u16) -> Option<&'a str> {
    let field;
    (field, *arena) = (length != ABSENT).then(|| arena.split_at_checked(length.into())).flatten()?;
    Some(field)
}

fn take_raw<'a>(arena: &mut &'a [u8], length: u16) -> Option<&'a [u8]> {
    let field;
    (field, *arena) = (length != ABSENT).then(|| arena.split_at_checked(length.into())).flatten()?;
    Some(field)
}

#[cfg(test)]
#[path = "batch/tests.rs"] // as seen from the fuzz target that has this file, too
pub(crate) mod tests;
