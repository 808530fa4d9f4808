//! Common and Combined: the formats of Apache's [`mod_log_config`], which every log analyser reads.
//!
//! Where we deviate: Apache writes `\n` and `\t` where we write `\x0a` and `\x09`, and escapes all that is not ASCII
//! where we keep readable UTF-8; and it leaves spaces in a user's name alone (see [`escape::word`]).
//!
//! [`mod_log_config`]: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html

use super::time::Stamp;
use super::{addr, decimal, escape};
use crate::access::{Loss, Record};

/// `%h %l %u %t "%r" %>s %b`, where the name stands for the address as with Apache's `HostnameLookups`.
pub(super) fn common(record: &Record<'_>, time: &[u8], out: &mut Vec<u8>) {
    match record.name {
        Some(name) => escape::word(name.as_bytes(), out),
        None => addr::peer(record.peer, out),
    }
    out.extend_from_slice(b" - ");
    user(record.user, out);
    out.extend_from_slice(b" [");
    out.extend_from_slice(time);
    out.extend_from_slice(b"] \"");
    request_line(record, None, out);
    out.extend_from_slice(b"\" ");
    decimal(record.status, out);
    out.push(b' ');
    bytes(record.bytes, out);
}

/// Common, then `"%{Referer}i" "%{User-agent}i"`.
pub(super) fn combined(record: &Record<'_>, time: &[u8], out: &mut Vec<u8>) {
    common(record, time, out);
    for field in [record.referer, record.user_agent] {
        out.extend_from_slice(b" \"");
        escape::text(field.unwrap_or(b"-"), out);
        out.push(b'"');
    }
}

/// `# 3 records lost between 10/Oct/2000:13:55:36 -0700 and 10/Oct/2000:13:55:38 -0700`
pub(super) fn loss(loss: &Loss, stamp: &mut Stamp, utc_offset: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    decimal(loss.records, out);
    out.extend_from_slice(if loss.records == 1 { b" record" } else { b" records" });
    out.extend_from_slice(b" lost between ");
    out.extend_from_slice(stamp.clf(loss.from, utc_offset));
    out.extend_from_slice(b" and ");
    out.extend_from_slice(stamp.clf(loss.to, utc_offset));
}

fn user(user: Option<&str>, out: &mut Vec<u8>) {
    match user {
        None => out.push(b'-'),
        Some("") => out.extend_from_slice(b"\"\""), // an empty column would shift those after it
        Some(name) => escape::word(name.as_bytes(), out),
    }
}

/// The request line, or `-` where there was none; no part of it has the character `end`.
pub(super) fn request_line(record: &Record<'_>, end: Option<char>, out: &mut Vec<u8>) {
    if record.method.is_empty() && record.target.is_empty() {
        out.push(b'-');
    } else {
        escape::until(record.method.as_bytes(), end, out);
        out.push(b' ');
        escape::until(record.target.as_bytes(), end, out);
        out.push(b' ');
        out.extend_from_slice(record.version.name().as_bytes());
    }
}

/// `%b`
pub(super) fn bytes(bytes: u64, out: &mut Vec<u8>) {
    if bytes == 0 {
        out.push(b'-');
    } else {
        decimal(bytes, out);
    }
}
