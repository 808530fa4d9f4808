//! logfmt: `key=value` and spaces between, as [go-logfmt](https://pkg.go.dev/github.com/go-logfmt/logfmt) reads and writes
//! it, and with it Grafana Loki.
//!
//! A field without a value is left out. What is not UTF-8 becomes U+FFFD, as in JSON.

use super::time::{self, Stamp};
use super::{addr, decimal, escape};
use crate::access::{Loss, Record, Timestamp};
use crate::event::{Event, Level};

/// `time=2000-10-10T20:55:36.000042Z level=info server=web client=192.0.2.1 method=GET target=/ ...`
pub(super) fn record(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    start(record.time, Level::of_status(record.status), stamp, out);
    text(b" server=", record.server.as_bytes(), out);
    out.extend_from_slice(b" client=");
    addr::peer(record.peer, out);
    optional(b" name=", record.name, out);
    optional(b" user=", record.user, out);
    if !(record.method.is_empty() && record.target.is_empty()) {
        text(b" method=", record.method.as_bytes(), out);
        text(b" target=", record.target.as_bytes(), out);
    }
    optional(b" host=", record.host, out);
    out.extend_from_slice(b" proto=");
    out.extend_from_slice(record.version.name().as_bytes());
    number(b" status=", record.status.into(), out);
    number(b" bytes=", record.bytes, out);
    number(b" duration_us=", record.duration_us, out);
    optional(b" referer=", record.referer, out);
    optional(b" user_agent=", record.user_agent, out);
    optional(b" id=", record.id, out);
}

/// `time=2000-10-10T20:55:36.000042Z level=warn part=http msg="a response broke off"`
pub(super) fn event(event: &Event<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    start(event.time, event.level, stamp, out);
    text(b" part=", event.part.as_bytes(), out);
    text(b" msg=", event.message.as_bytes(), out);
    optional(b" id=", event.request, out);
}

/// `time=2000-10-10T20:55:38.000042Z level=warn msg="records lost" records=3 from=2000-10-10T20:55:36.000042Z to=...`
pub(super) fn loss(loss: &Loss, stamp: &mut Stamp, out: &mut Vec<u8>) {
    start(loss.to, Level::Warn, stamp, out);
    out.extend_from_slice(b" msg=\"records lost\"");
    number(b" records=", loss.records, out);
    out.extend_from_slice(b" from=");
    timestamp(loss.from, stamp, out);
    out.extend_from_slice(b" to=");
    timestamp(loss.to, stamp, out);
}

fn start(time: Timestamp, level: Level, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"time=");
    timestamp(time, stamp, out);
    out.extend_from_slice(b" level=");
    out.extend_from_slice(level.name().as_bytes());
}

/// `2000-10-10T20:55:36.000042Z`
fn timestamp(time: Timestamp, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(stamp.rfc3339(time));
    time::micros(time.subsec_micros(), out);
    out.push(b'Z');
}

fn optional<T: AsRef<[u8]>>(key: &[u8], value: Option<T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        text(key, value.as_ref(), out);
    }
}

fn text(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    escape::logfmt(value, out);
}

fn number(key: &[u8], value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    decimal(value, out);
}
