//! The limits of a server's connections and requests: sizes, counts and times, each with its default and the reason.
//!
//! Times are whole seconds and acted on within two seconds after they passed, never before; in every limit 0 stands for
//! "none", except where a request could not be served without one.

use std::time::Duration;

use medusa_net::Deadlines;

/// The limits of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest request body, in bytes, where its mount says nothing else. Default 1 MiB, as nginx: enough for forms
    /// and JSON, too little to fill the memory with. More is answered 413.
    pub body: u64,
    /// How long a client may pause within its request body. Default 30: TCP sends a lost packet again within a few
    /// seconds. More is answered 408.
    pub body_idle: u32,
    /// The least rate of a request body, in bytes per second on the average, after its first 10 seconds. Default 240, as
    /// Kestrel: below a modem, above what keeps a slow-body attack cheap. Slower is answered 408.
    pub body_rate: u32,
    /// How long a new connection may be silent. Default 30: browsers connect ahead of need. Then it is closed.
    pub first_byte: u32,
    /// How long a request's head may take from its first byte on. Default 30: slow enough for a bad mobile link, too
    /// fast for a slowloris to be cheap. Later is answered 408.
    pub head: u32,
    /// How long a request's head may pause. Default 10. Later is answered 408.
    pub head_read: u32,
    /// How long a handler may take until it answers, counted anew whenever the client has sent some of a body. Default
    /// 60: a client has given up by then. Later is answered 503. What it streams after that is its own affair.
    pub handler: u32,
    /// How long a client may take less than 16 KiB of what is sent, if there is so much. Default 60, as nginx. Then it is
    /// closed, or with HTTP/2 the one request is.
    pub write: u32,
    /// How long a connection may idle between requests. Default 75, as nginx: browsers reuse a connection within a
    /// minute. Then it is closed.
    pub idle: u32,
    /// How long a TLS handshake may take, or the header of the PROXY protocol. Default 10: a few round trips.
    pub handshake: u32,
    /// How long a connection may live; then it ends after the request it is at. Default 3600: long enough to cost
    /// nothing, short enough that connections spread over the workers again. a `WebSocket` is told to close (1001).
    pub connection: u32,
    /// The longest fields of a request together, in bytes. Default 64 KiB: a dozen cookies of 4 KiB. More is 431.
    pub head_bytes: u32,
    /// The most fields of a head. Default 100, as Apache. More is 431.
    pub fields: u32,
    /// The longest target of a request, in bytes. Default 8 KiB, as Apache; RFC 9112 §3 asks for 8000. More is 414; with
    /// HTTP/1, one that alone is longer than this and `head_bytes` together is not read to its end, and is 431.
    pub uri: u32,
    /// Requests on one connection; then it ends. Default 100,000: costs nothing, and no connection is for ever.
    pub requests: u32,
    /// Requests at a time on one HTTP/2 connection. Default 128: RFC 9113 §6.5.2 recommends at least 100.
    pub streams: u32,
    /// Connections at a time. Default 50,000: half of what the process may have in all. More are answered 503.
    pub connections: u32,
    /// Connections at a time from one address (for IPv6, one /64; eight times as many from one /48). Default 1,024: an
    /// office behind one address has less, and a single machine cannot take the server for itself. Never more, at all
    /// servers together, than an eighth of the descriptors that the process may have, or a quarter from one /48. More are
    /// answered 503. Not for this machine's own addresses, unix sockets and trusted proxies, which speak for others.
    pub connections_per_address: u32,
    /// Requests under way at a time from one address, counted as its connections are. Default 1,024: as many as it
    /// may have connections, for each request that waits costs some 10 KiB. More are answered 503.
    pub requests_per_address: u32,
    /// Bytes of requests in memory at a time, of all servers of the process together: heads, bodies that are read into
    /// memory, what comes before it is read, and 16 KiB for a request that others are under way beside on its connection.
    /// Default 128 MiB: what a small machine can spare, and more than a thousand uploads need that are read piece by piece.
    /// All strangers have seven eighths of it, one address a quarter as much as is left free of that, an IPv6 /48 half as
    /// much, each beside one piece. Who passes it is answered 503.
    pub request_bytes: u64,
    /// The same of answers: what was made and is not taken yet. Default 128 MiB. Who passes it is answered 503, and a
    /// stream waits until there is room.
    pub answer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1024 * 1024,
            body_idle: 30,
            body_rate: 240,
            first_byte: 30,
            head: 30,
            head_read: 10,
            handler: 60,
            write: 60,
            idle: 75,
            handshake: 10,
            connection: 3600,
            head_bytes: 64 * 1024,
            fields: 100,
            uri: 8 * 1024,
            requests: 100_000,
            streams: 128,
            connections: 50_000,
            connections_per_address: 1024,
            requests_per_address: 1024,
            request_bytes: 128 * 1024 * 1024,
            answer_bytes: 128 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Those that the connection minds.
    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            first_byte: time(self.first_byte),
            idle: time(self.idle),
            head: time(self.head),
            head_read: time(self.head_read),
            write: time(self.write),
            life: time(self.connection),
            ..Deadlines::default()
        }
    }
}

/// A limit of so many seconds; 0 is none.
pub(crate) fn time(seconds: u32) -> Duration {
    if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds.into()) }
}

/// Whether `count` is past a limit; 0 is none.
pub(crate) fn passes(count: u64, limit: u32) -> bool {
    limit != 0 && count > limit.into()
}
