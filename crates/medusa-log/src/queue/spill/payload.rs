//! The binary form of entries, in version 1.
//!
//! Integers are little-endian; a field is its length in two bytes, then its bytes; the length `0xffff` stands for a field
//! that is absent. Nothing here trusts what it reads: whatever the bytes, decoding ends with a batch or with nothing, and
//! takes no more memory than they do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use medusa_proto::access::{Peer, Record, Timestamp, Version};
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};

use crate::batch::texts;
use crate::{Batch, MAX_FIELD};

/// First byte of a payload. Another form gets another number; what has an unknown one is lost, and counted.
pub(super) const VERSION: u8 = 1;

const ACCESS: u8 = 0;
const EVENT: u8 = 1;
const EVENT_OF_REQUEST: u8 = 2;

/// Stands for a field that is absent.
const ABSENT: u16 = u16::MAX;

const UNIX: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// Appends `entry`.
pub(super) fn encode(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let record = match entry {
        Entry::Access(record) => record,
        Entry::Event(event) => {
            out.push(if event.request.is_some() { EVENT_OF_REQUEST } else { EVENT });
            out.extend_from_slice(&event.time.micros().to_le_bytes());
            out.push(Level::ALL.iter().position(|&level| level == event.level).unwrap_or_default() as u8);
            encode_field(Some(event.part.as_bytes()), out);
            encode_field(Some(event.message.as_bytes()), out);
            if let Some(request) = event.request {
                encode_field(Some(request.as_bytes()), out);
            }
            return;
        }
    };
    out.push(ACCESS);
    out.extend_from_slice(&record.time.micros().to_le_bytes());
    out.extend_from_slice(&record.bytes.to_le_bytes());
    out.extend_from_slice(&record.duration_us.to_le_bytes());
    out.extend_from_slice(&record.status.to_le_bytes());
    out.push(match record.version {
        Version::Http10 => 10,
        Version::Http11 => 11,
        Version::Http2 => 20,
    });
    match record.peer {
        Peer::Unix => out.push(UNIX),
        Peer::Ip(IpAddr::V4(ip)) => {
            out.push(IPV4);
            out.extend_from_slice(&ip.octets());
        }
        Peer::Ip(IpAddr::V6(ip)) => {
            out.push(IPV6);
            out.extend_from_slice(&ip.octets());
        }
    }
    for text in texts(record) {
        encode_field(text.map(str::as_bytes), out);
    }
    encode_field(record.referer, out);
    encode_field(record.user_agent, out);
}

/// A batch has cut its fields to [`MAX_FIELD`] already; were it not so, the length would lie.
fn encode_field(field: Option<&[u8]>, out: &mut Vec<u8>) {
    const { assert!(MAX_FIELD < ABSENT as usize) };
    let Some(field) = field else { return out.extend_from_slice(&ABSENT.to_le_bytes()) };
    let field = &field[..field.len().min(MAX_FIELD)];
    out.extend_from_slice(&(field.len() as u16).to_le_bytes());
    out.extend_from_slice(field);
}

/// The batch of a payload: [`VERSION`], then entries up to its end. `None` if that is not what it holds.
pub(super) fn decode(payload: &[u8]) -> Option<Batch> {
    let mut input = Input(payload);
    if input.byte()? != VERSION {
        return None;
    }
    let mut batch = Batch::new();
    while !input.0.is_empty() {
        batch.push_entry(&input.entry()?);
    }
    Some(batch)
}

/// Bytes that are left to be read. What is not an entry gives nothing.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn entry(&mut self) -> Option<Entry<'a>> {
        let kind = self.byte()?;
        let time = Timestamp::from_micros(i64::from_le_bytes(self.array()?));
        if kind == ACCESS {
            return self.record(time).map(Entry::Access);
        }
        let level = *Level::ALL.get(usize::from(self.byte()?))?;
        let (part, message) = (self.text()??, self.text()??);
        let request = match kind {
            EVENT => None,
            EVENT_OF_REQUEST => self.text()?,
            _ => return None,
        };
        Some(Entry::Event(Event { time, level, part, message, request }))
    }

    fn record(&mut self, time: Timestamp) -> Option<Record<'a>> {
        let bytes = u64::from_le_bytes(self.array()?);
        let duration_us = u64::from_le_bytes(self.array()?);
        let status = u16::from_le_bytes(self.array()?);
        let version = match self.byte()? {
            10 => Version::Http10,
            11 => Version::Http11,
            20 => Version::Http2,
            _ => return None,
        };
        let peer = match self.byte()? {
            UNIX => Peer::Unix,
            IPV4 => Peer::Ip(Ipv4Addr::from(self.array::<4>()?).into()),
            IPV6 => Peer::Ip(Ipv6Addr::from(self.array::<16>()?).into()),
            _ => return None,
        };
        Some(Record {
            time,
            peer,
            name: self.text()?,
            user: self.text()?,
            method: self.text()??,
            target: self.text()??,
            version,
            host: self.text()?,
            status,
            bytes,
            duration_us,
            server: self.text()??,
            id: self.text()?,
            referer: self.field()?,
            user_agent: self.field()?,
        })
    }

    #[expect(clippy::option_option, reason = "a field that is absent is not one that is torn")]
    fn text(&mut self) -> Option<Option<&'a str>> {
        self.field()?.map(str::from_utf8).transpose().ok()
    }

    #[expect(clippy::option_option, reason = "a field that is absent is not one that is torn")]
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let length = u16::from_le_bytes(self.array()?);
        if length == ABSENT {
            return Some(None);
        }
        let (field, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        Some(Some(field))
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }
}
