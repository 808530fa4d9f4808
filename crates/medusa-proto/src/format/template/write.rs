//! Lines by a template.

use super::{Directive, Piece, Template, Variable};
use crate::access::Record;
use crate::format::json::split_port;
use crate::format::text;
use crate::format::time::Stamp;
use crate::format::{addr, decimal, escape};

impl Template {
    /// Appends the line of `record`.
    pub(in crate::format) fn record(
        &self,
        record: &Record<'_>,
        stamp: &mut Stamp,
        utc_offset: i32,
        out: &mut Vec<u8>,
    ) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Directive(value)
                    if value.only.as_ref().is_some_and(|only| !only.shows(record.status)) =>
                {
                    out.push(b'-');
                }
                Piece::Directive(value) => value.write(record, stamp, utc_offset, out),
            }
        }
    }
}

impl Directive {
    fn write(&self, record: &Record<'_>, stamp: &mut Stamp, utc_offset: i32, out: &mut Vec<u8>) {
        match &self.field {
            Variable::Client => match record.name {
                Some(_) => self.optional(record.name, out),
                None => addr::peer(record.peer, out),
            },
            Variable::Address => addr::peer(record.peer, out),
            Variable::Absent => out.push(b'-'),
            Variable::User => self.user(record.user, out),
            Variable::Time(format) => format.write(record, stamp, utc_offset, out),
            Variable::RequestLine => text::request_line(record, self.end, out),
            Variable::Method => self.optional(Some(record.method), out),
            Variable::Path => self.optional(Some(path_and_query(record.target).0), out),
            Variable::Query => escape::until(path_and_query(record.target).1.as_bytes(), self.end, out),
            Variable::Protocol => out.extend_from_slice(record.version.name().as_bytes()),
            Variable::Status => decimal(record.status, out),
            Variable::BytesOrDash => text::bytes(record.bytes, out),
            Variable::Bytes => decimal(record.bytes, out),
            Variable::Duration(unit) => decimal(record.duration_us / unit.micros(), out),
            Variable::Referer => self.optional(record.referer, out),
            Variable::UserAgent => self.optional(record.user_agent, out),
            Variable::Host => self.optional(record.host, out),
            Variable::Server => self.optional(Some(record.server), out),
            Variable::HostName => {
                self.optional(record.host.map(|host| split_port(host).0).or(Some(record.server)), out);
            }
            Variable::Id => self.optional(record.id, out),
        }
    }

    fn optional<T: AsRef<[u8]>>(&self, value: Option<T>, out: &mut Vec<u8>) {
        match value.as_ref().map(AsRef::as_ref) {
            None => out.push(b'-'),
            // Between spaces it would be no column at all.
            Some(b"") if self.end == Some(' ') => out.push(b'-'),
            Some(value) => escape::until(value, self.end, out),
        }
    }

    /// As in Common, an empty name is `""` where it is a column.
    fn user(&self, user: Option<&str>, out: &mut Vec<u8>) {
        match user {
            Some("") if self.end == Some(' ') => out.extend_from_slice(b"\"\""),
            user => self.optional(user, out),
        }
    }
}

/// A target's path, and its query with the question mark.
fn path_and_query(target: &str) -> (&str, &str) {
    target.find('?').and_then(|at| target.split_at_checked(at)).unwrap_or((target, ""))
}
