//! HTTP/1.0 and 1.1 on one connection, by hyper.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medusa_net::cork::CorkHandle;
use medusa_net::{Conn, PeerSide, Phase, Signal, Stream};

use super::end::HttpEnd;
use super::strict::StrictReader;
use crate::connection::Connection;
use crate::exchange::exchange;
use crate::fault::Fault;
use crate::limits::{Limits, passes};

/// The fields that hyper has room for by default; another number costs it an allocation per request.
const HYPERS_FIELDS: u32 = 100;

/// The least that hyper's read buffer can be limited to, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;

/// Answers requests until the connection ends, rests, or changes its protocol.
pub(super) async fn drive(context: &Rc<Connection>) -> HttpEnd {
    let (conn, handle) = (&context.conn, &context.handle);
    let unread = context.unread();
    let upgrade = Cell::new(None);
    let service = service_fn(|request| exchange(request, Rc::clone(context), Some(&upgrade)));
    let io = TokioIo::new(tokio::io::join(StrictReader::new(context), handle.io()));
    let mut http = builder(&context.limits()).serve_connection(io, service);
    if conn.is_draining() {
        Pin::new(&mut http).graceful_shutdown();
    }
    let end = poll_fn(|cx| {
        if unread.poll_ended(cx) && matches!(conn.phase(), Phase::Head | Phase::Idle) {
            // What came was the rest of a body.
            conn.enter(Phase::Idle);
        }
        loop {
            if let Poll::Ready(result) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(match result {
                    Ok(()) => upgrade.take().map_or(HttpEnd::Done, HttpEnd::Upgraded),
                    Err(error) => end_of(&error),
                });
            }
            match conn.poll_signal(cx) {
                Signal::Drain => {
                    Pin::new(&mut http).graceful_shutdown();
                    context.finish();
                }
                Signal::Rest if unread.is_none() && handle.is_empty() => return Poll::Ready(HttpEnd::Rest),
                Signal::CheckPeer if has_left(handle, conn, &context.limits()) => {
                    return Poll::Ready(HttpEnd::Gone);
                }
                // At rest what comes next must be a request, and not content.
                Signal::None | Signal::Rest | Signal::CheckPeer => break,
                Signal::Expired(Phase::Head) => return Poll::Ready(HttpEnd::HeadTimeout),
                Signal::Expired(_) => return Poll::Ready(HttpEnd::Gone),
                Signal::Stalled => {
                    context.count(Fault::WriteStall);
                    return Poll::Ready(HttpEnd::Gone);
                }
            }
        }
        match context.end_turn(cx) {
            Some(()) => Poll::Pending,
            None => Poll::Ready(HttpEnd::Gone),
        }
    })
    .await;
    let parts = http.into_parts();
    match end {
        HttpEnd::Done if parts.io.inner().reader().has_stopped_in_head() => {
            context.note_unreadable(&[&parts.read_buf[..], parts.io.inner().reader().rest()].concat());
            HttpEnd::Malformed { status: StatusCode::BAD_REQUEST, is_answered: false }
        }
        HttpEnd::Rest | HttpEnd::Upgraded(_) => {
            if !parts.read_buf.is_empty() {
                if matches!(end, HttpEnd::Rest) {
                    // The beginning of a head.
                    conn.enter(Phase::Head);
                }
                handle.unread(parts.read_buf);
            }
            end
        }
        HttpEnd::Malformed { status, is_answered: true } => {
            // hyper's own reply is short of a few things, and a target without end is none of fields without end. It is
            // the last that hyper has written, and nothing is written out before this poll's end.
            let is_answered = !handle.take_back(answer_of_hyper(status));
            let longest_target = context.limits().uri as usize;
            let left = parts.read_buf;
            context.note_unreadable(&left);
            let status = match status {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if is_one_line(&left, longest_target) => {
                    StatusCode::URI_TOO_LONG
                }
                StatusCode::HTTP_VERSION_NOT_SUPPORTED if !names_a_version(&left) => StatusCode::BAD_REQUEST,
                status => status,
            };
            HttpEnd::Malformed { status, is_answered }
        }
        end => end,
    }
}

/// Whether there is nobody to answer any more. A client that has ended its side may be waiting for its answer, but not
/// for one that does not come.
fn has_left(handle: &CorkHandle<Stream>, conn: &Conn, limits: &Limits) -> bool {
    match handle.peer_side() {
        PeerSide::Open => false,
        PeerSide::Ended => passes(conn.seconds_since_sent().into(), limits.write),
        PeerSide::Gone => true,
    }
}

pub(super) fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The target has a limit of its own, which is told by a status of its own.
    let head = limits.head_bytes.saturating_add(limits.uri) as usize;
    // A client that shuts down its sending side after its request still gets its answer. Deadlines are the registry's,
    // which needs no timer per request.
    builder
        .half_close(true)
        .header_read_timeout(None)
        .ignore_invalid_headers(false)
        .max_buf_size(head.max(LEAST_BUFFER))
        .max_header_size(head);
    if limits.fields != HYPERS_FIELDS {
        builder.max_headers(limits.fields as usize);
    }
    builder
}

/// hyper tells its errors apart by their text alone, beyond the coarse kinds.
fn end_of(error: &hyper::Error) -> HttpEnd {
    if !error.is_parse() {
        // A head that breaks off takes nothing of what was answered before it along.
        return match error {
            error if error.is_user() => HttpEnd::BrokeOff,
            error if error.is_incomplete_message() => HttpEnd::Done,
            _ => HttpEnd::Gone,
        };
    }
    let text = error.to_string();
    if text.contains("HTTP2 preface") {
        // The one that hyper leaves unanswered.
        return HttpEnd::Malformed { status: StatusCode::HTTP_VERSION_NOT_SUPPORTED, is_answered: false };
    }
    let status = if text.contains("URI too long") {
        StatusCode::URI_TOO_LONG
    } else if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else if text.contains("HTTP version") {
        StatusCode::HTTP_VERSION_NOT_SUPPORTED
    } else {
        StatusCode::BAD_REQUEST
    };
    HttpEnd::Malformed { status, is_answered: true }
}

/// The beginning of hyper's answer to what we would answer with `status`.
fn answer_of_hyper(status: StatusCode) -> &'static [u8] {
    match status {
        StatusCode::URI_TOO_LONG => b"HTTP/1.1 414 ",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => b"HTTP/1.1 431 ",
        _ => b"HTTP/1.1 400 ",
    }
}

/// Whether what is there of a head is a line that is longer than `most` and not yet at its end.
fn is_one_line(head: &[u8], most: usize) -> bool {
    head.len() > most && !head.contains(&b'\n')
}

/// Whether the first line of a head is a request line of some version
/// ([RFC 9112 §2.3](https://www.rfc-editor.org/rfc/rfc9112#section-2.3)).
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|&b| b == b' ');
    let version = (words.next(), words.next(), words.next(), words.next());
    let (Some(_), Some(_), Some(version), None) = version else { return false };
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}
