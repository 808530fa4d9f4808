//! JSON lines with the names of the [Elastic Common Schema], nested as the schema nests them.
//!
//! A field without a value is left out. Unlike the text formats this one cannot keep bytes that are not UTF-8: they
//! become U+FFFD.
//!
//! [Elastic Common Schema]: https://www.elastic.co/docs/reference/ecs/ecs-field-reference

use super::time::{self, Stamp};
use super::{addr, decimal, escape};
use crate::access::{Loss, Peer, Record, Timestamp};

/// One request.
pub(super) fn record(record: &Record<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    start(record.time, stamp, out);
    out.extend_from_slice(br#","service":{"name":""#);
    escape::json(record.server.as_bytes(), out);
    out.extend_from_slice(br#""},"source":{"#);
    source(record, out);
    if let Some(user) = record.user {
        out.extend_from_slice(br#"},"user":{"name":""#);
        escape::json(user.as_bytes(), out);
        out.push(b'"');
    }
    out.extend_from_slice(br#"},"http":{"#);
    http(record, out);
    out.extend_from_slice(br#"},"url":{"#);
    url(record, out);
    if let Some(agent) = record.user_agent {
        out.extend_from_slice(br#"},"user_agent":{"original":""#);
        escape::json(agent, out);
        out.push(b'"');
    }
    out.extend_from_slice(br#"},"event":{"duration":"#);
    decimal(record.duration_us.saturating_mul(1000), out); // nanoseconds
    out.extend_from_slice(b"}}");
}

/// Lost records: an event of its own, with a level and a message.
pub(super) fn loss(loss: &Loss, stamp: &mut Stamp, out: &mut Vec<u8>) {
    start(loss.to, stamp, out);
    out.extend_from_slice(br#","log":{"level":"warn"},"message":""#);
    decimal(loss.records, out);
    out.extend_from_slice(if loss.records == 1 { b" record" } else { b" records" });
    out.extend_from_slice(b" lost between ");
    timestamp(loss.from, stamp, out);
    out.extend_from_slice(b" and ");
    timestamp(loss.to, stamp, out);
    out.extend_from_slice(br#""}"#);
}

/// The opening brace and what every event has: `@timestamp` and the schema's version.
pub(super) fn start(time: Timestamp, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"@timestamp":""#);
    timestamp(time, stamp, out);
    out.extend_from_slice(br#"","ecs":{"version":"8.11.0"}"#);
}

/// `2000-10-10T20:55:36.000000Z`
fn timestamp(time: Timestamp, stamp: &mut Stamp, out: &mut Vec<u8>) {
    out.extend_from_slice(stamp.rfc3339(time));
    time::micros(time.subsec_micros(), out);
    out.push(b'Z');
}

fn source(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(match record.peer {
        Peer::Ip(_) => &br#""ip":""#[..],
        Peer::Unix => &br#""address":""#[..],
    });
    addr::peer(record.peer, out);
    if let Some(name) = record.name {
        out.extend_from_slice(br#"","domain":""#);
        escape::json(name.as_bytes(), out);
    }
    out.push(b'"');
}

fn http(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""version":""#);
    out.extend_from_slice(record.version.number().as_bytes());
    out.extend_from_slice(br#"","request":{"method":""#);
    escape::json(record.method.as_bytes(), out);
    if let Some(id) = record.id {
        out.extend_from_slice(br#"","id":""#);
        escape::json(id.as_bytes(), out);
    }
    if let Some(referer) = record.referer {
        out.extend_from_slice(br#"","referrer":""#);
        escape::json(referer, out);
    }
    out.extend_from_slice(br#""},"response":{"status_code":"#);
    decimal(record.status, out);
    out.extend_from_slice(br#","body":{"bytes":"#);
    decimal(record.bytes, out);
    out.extend_from_slice(b"}}");
}

fn url(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""original":""#);
    escape::json(record.target.as_bytes(), out);
    out.push(b'"');
    let Some(host) = record.host else { return };
    let (domain, port) = split_port(host);
    out.extend_from_slice(br#","domain":""#);
    escape::json(domain.as_bytes(), out);
    out.push(b'"');
    if let Some(port) = port {
        out.extend_from_slice(br#","port":"#);
        decimal(port, out);
    }
}

/// Splits `example.org:8080` and `[::1]:8080`. What does not look like either is all name; the schema wants the
/// brackets of an IPv6 address kept.
pub(super) fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(number) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(number)),
            _ => (host, None),
        },
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_port;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(split_port("example.org"), ("example.org", None));
        assert_eq!(split_port("example.org:8080"), ("example.org", Some(8080)));
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some(80)));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("::1"), ("::1", None));
        assert_eq!(split_port("a:+80"), ("a:+80", None));
        assert_eq!(split_port("a:99999"), ("a:99999", None));
    }
}
