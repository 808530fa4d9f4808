//! The budget of frames that an HTTP/2 client has: it pays for them with requests.
//!
//! The attacks that HTTP/2 is known for are many cheap frames that make the server work: requests that are reset at once,
//! pings, settings, heads without end. hyper and h2 bound what each can hold; what they do not bound is how long it goes
//! on.

use std::cell::Cell;

use medusa_net::Conn;

use crate::window::STREAM_WINDOW;

/// Bytes that an HTTP/2 client may send before it has paid for them with requests that it let be answered.
#[derive(Debug, Default)]
pub(crate) struct FrameBudget {
    answered: Cell<u64>,
    cancelled: Cell<u64>,
}

/// Bytes that are free: settings, and a ping now and then for as long as a connection lives.
const FREE_BYTES: u64 = 1024 * 1024;
/// Bytes that come with a request: its head, and a body that nobody reads.
const BYTES_PER_REQUEST: u64 = 64 * 1024 + STREAM_WINDOW as u64;
/// Cancelled requests that are free: a page full of pictures that is left before it has loaded.
const FREE_CANCELLED: u64 = 200;

impl FrameBudget {
    pub(crate) fn ended(&self, cancelled: bool) {
        let count = if cancelled { &self.cancelled } else { &self.answered };
        count.set(count.get() + 1);
    }

    /// Whether the client has sent more than it may. The bytes of bodies that handlers have `read`, with an eighth for the
    /// frames they came in, and responses that it makes room for, pay for themselves.
    pub(crate) fn is_exceeded(&self, conn: &Conn, read: u64) -> bool {
        let (answered, cancelled) = (self.answered.get(), self.cancelled.get());
        let paid = FREE_BYTES + conn.requests() * BYTES_PER_REQUEST + conn.sent() / 8;
        cancelled > FREE_CANCELLED + answered || conn.received() > paid + read + read / 8
    }
}
