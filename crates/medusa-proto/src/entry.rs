//! The entry of a log: an access record, or an event of the server's own.

use crate::access::{Record, Timestamp};
use crate::event::{Event, Level};

/// An entry of a log, which a sink writes as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A request that was answered.
    Access(Record<'a>),
    /// Something that happened in the server.
    Event(Event<'a>),
}

impl Entry<'_> {
    /// The time when it happened.
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Access(record) => record.time,
            Self::Event(event) => event.time,
        }
    }

    /// Its level; of a request, that is up to its status.
    pub const fn level(&self) -> Level {
        match self {
            Self::Access(record) => Level::of_status(record.status),
            Self::Event(event) => event.level,
        }
    }
}

impl<'a> From<Record<'a>> for Entry<'a> {
    fn from(record: Record<'a>) -> Self {
        Self::Access(record)
    }
}

impl<'a> From<Event<'a>> for Entry<'a> {
    fn from(event: Event<'a>) -> Self {
        Self::Event(event)
    }
}
