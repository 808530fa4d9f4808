//! Entries in the [native protocol of the journal]: datagrams of named fields, which `journalctl` searches.
//!
//! A value of one line is `NAME=value` and a line feed; any other is its name, a line feed, its length in 64 bits (little
//! endian), itself and a line feed. So nothing in a value can begin another field.
//!
//! [native protocol of the journal]: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/

use crate::access::{Loss, Record};
use crate::entry::Entry;
use crate::event::{Event, Level};
use crate::format::{Encoder, Format, addr, decimal};
use crate::syslog::{AppName, Severity};

/// The fields that all messages of a sink have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The program's name: `SYSLOG_IDENTIFIER`, which `journalctl -t` asks for.
    pub identifier: AppName,
    /// The format of an entry in `MESSAGE`.
    pub message: Format,
}

/// Writes entries as messages for the journal: a datagram each.
#[derive(Debug)]
pub struct JournalEncoder {
    identifier: AppName,
    message: Encoder,
    /// The value that is being written.
    value: Vec<u8>,
}

impl JournalEncoder {
    /// An encoder of such messages.
    pub fn new(journal: Journal) -> Self {
        let Journal { identifier, message } = journal;
        Self { identifier, message: Encoder::new(message), value: Vec::new() }
    }

    /// Appends `entry` to `out`. `utc_offset` is that of local time at the entry's time, in seconds (east is positive).
    pub fn encode(&mut self, entry: &Entry<'_>, utc_offset: i32, out: &mut Vec<u8>) {
        self.value.clear();
        self.message.encode(entry, utc_offset, &mut self.value);
        self.start(entry.level(), out);
        match entry {
            Entry::Access(record) => self.record(record, out),
            Entry::Event(event) => about_event(event, out),
        }
    }

    /// Appends a message that says which records are missing at this place.
    pub fn encode_loss(&mut self, loss: &Loss, utc_offset: i32, out: &mut Vec<u8>) {
        self.value.clear();
        self.message.encode_loss(loss, utc_offset, &mut self.value);
        self.start(Level::Warn, out);
        self.number("MEDUSA_LOST", loss.records, out);
    }

    fn start(&mut self, level: Level, out: &mut Vec<u8>) {
        field("MESSAGE", &self.value, out);
        self.number("PRIORITY", u64::from(Severity::from(level) as u8), out);
        field("SYSLOG_IDENTIFIER", self.identifier.as_str().as_bytes(), out);
    }

    fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.value.clear();
        addr::peer(record.peer, &mut self.value);
        field("HTTP_CLIENT", &self.value, out);
        let fields = [
            ("HTTP_CLIENT_NAME", record.name.map(str::as_bytes)),
            ("HTTP_USER", record.user.map(str::as_bytes)),
            ("HTTP_METHOD", Some(record.method.as_bytes())),
            ("HTTP_TARGET", Some(record.target.as_bytes())),
            ("HTTP_HOST", record.host.map(str::as_bytes)),
            ("HTTP_REFERER", record.referer),
            ("HTTP_USER_AGENT", record.user_agent),
            ("HTTP_SERVER", Some(record.server.as_bytes())),
            ("REQUEST_ID", record.id.map(str::as_bytes)),
        ];
        for (name, value) in fields {
            // What is empty was not said: a request that could not be read has no method.
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                field(name, value, out);
            }
        }
        self.number("HTTP_STATUS", record.status.into(), out);
        self.number("HTTP_BYTES", record.bytes, out);
        self.number("HTTP_DURATION_USEC", record.duration_us, out);
    }

    fn number(&mut self, name: &str, number: u64, out: &mut Vec<u8>) {
        self.value.clear();
        decimal(number, &mut self.value);
        field(name, &self.value, out);
    }
}

fn about_event(event: &Event<'_>, out: &mut Vec<u8>) {
    field("MEDUSA_PART", event.part.as_bytes(), out);
    if let Some(id) = event.request {
        field("REQUEST_ID", id.as_bytes(), out);
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::access::{Peer, Timestamp, Version};

    fn encoder() -> JournalEncoder {
        JournalEncoder::new(Journal { identifier: AppName::default(), message: Format::Common })
    }

    fn record<'a>(user: Option<&'a str>, agent: &'a [u8]) -> Record<'a> {
        Record {
            time: Timestamp::from_micros(971_211_336_000_042),
            peer: Peer::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            name: None,
            user,
            method: "GET",
            target: "/a",
            version: Version::Http11,
            host: Some("x.example"),
            status: 404,
            bytes: 7,
            duration_us: 250,
            referer: None,
            user_agent: Some(agent),
            server: "web",
            id: Some("r1"),
        }
    }

    #[test]
    fn a_request_is_a_line_and_its_fields() {
        let mut out = Vec::new();
        encoder().encode(&record(None, b"curl/8").into(), 0, &mut out);
        let text = String::from_utf8(out).expect("text");
        let (message, rest) = text.split_once('\n').expect("lines");
        assert!(message.starts_with("MESSAGE=127.0.0.1 - - ["), "{message}");
        assert_eq!(
            rest,
            "PRIORITY=4\nSYSLOG_IDENTIFIER=medusa\nHTTP_CLIENT=127.0.0.1\nHTTP_METHOD=GET\nHTTP_TARGET=/a\n\
             HTTP_HOST=x.example\nHTTP_USER_AGENT=curl/8\nHTTP_SERVER=web\nREQUEST_ID=r1\nHTTP_STATUS=404\nHTTP_BYTES=7\n\
             HTTP_DURATION_USEC=250\n"
        );
    }

    #[test]
    fn no_value_can_begin_another_field() {
        let mut out = Vec::new();
        encoder().encode(&record(Some("a\nPRIORITY=0"), b"\xff").into(), 0, &mut out);
        let forged = b"HTTP_USER\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        assert!(
            out.windows(forged.len()).any(|window| window == forged),
            "{}",
            String::from_utf8_lossy(&out)
        );
        assert!(out.windows(18).any(|window| window == b"HTTP_USER_AGENT=\xff\n"));
    }

    #[test]
    fn an_event_and_a_loss_have_fields_of_their_own() {
        let (mut out, mut encoder) = (Vec::new(), encoder());
        let time = Timestamp::from_micros(0);
        let event = Event { time, level: Level::Error, part: "script", message: "oh", request: Some("r2") };
        encoder.encode(&event.into(), 0, &mut out);
        encoder.encode_loss(&Loss { records: 3, from: time, to: time }, 0, &mut out);
        let text = String::from_utf8(out).expect("text");
        for part in ["PRIORITY=3\n", "MEDUSA_PART=script\nREQUEST_ID=r2\n", "PRIORITY=4\n", "MEDUSA_LOST=3\n"]
        {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }
}
