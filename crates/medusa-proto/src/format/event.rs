//! Events as lines.

use super::escape;
use super::json;
use super::time::Stamp;
use crate::event::Event;

/// `# 10/Oct/2000:13:55:36 -0700 warn http: message`; no record starts with `# `.
pub(super) fn text(event: &Event<'_>, stamp: &mut Stamp, utc_offset: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    out.extend_from_slice(stamp.clf(event.time, utc_offset));
    out.push(b' ');
    out.extend_from_slice(event.level.name().as_bytes());
    out.push(b' ');
    escape::text(event.part.as_bytes(), out);
    out.extend_from_slice(b": ");
    escape::text(event.message.as_bytes(), out);
}

/// An object with a level, a logger, a message, and the id of the request.
pub(super) fn json(event: &Event<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    json::start(event.time, stamp, out);
    out.extend_from_slice(br#","log":{"level":""#);
    out.extend_from_slice(event.level.name().as_bytes());
    out.extend_from_slice(br#"","logger":""#);
    escape::json(event.part.as_bytes(), out);
    if let Some(id) = event.request {
        out.extend_from_slice(br#""},"http":{"request":{"id":""#);
        escape::json(id.as_bytes(), out);
        out.extend_from_slice(br#""}"#);
    } else {
        out.push(b'"');
    }
    out.extend_from_slice(br#"},"message":""#);
    escape::json(event.message.as_bytes(), out);
    out.extend_from_slice(br#""}"#);
}
