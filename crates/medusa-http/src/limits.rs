//! The limits of a server's connections and requests: sizes, counts and times, each with its default and the reason.
//!
//! Times are whole seconds and acted on within two seconds after they passed, never before; in every limit 0 stands for
//! "none", except where a request could not be served without one.

use std::time::Duration;

use medusa_net::Deadlines;

/// One of the [`LIMITS`].
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// What scripts call it: the field of [`Limits`].
    pub name: &'static str,
    /// What it is, in which unit, its default, and what becomes of what is more; for the reference.
    pub doc: &'static str,
    /// The least it may be.
    pub least: u64,
    /// Its value.
    pub get: fn(&Limits) -> u64,
    /// Sets it, to the most it can be at most.
    pub set: fn(&mut Limits, u64),
}

/// Tells each limit once: why it is so, its default, the least it may be, and what users read of it.
macro_rules! limits {
    ($($(#[doc = $reason:literal])+ $name:ident: $type:ident = $default:expr, $least:literal.., $doc:literal;)+) => {
        /// The limits of one server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $reason])+ pub $name: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// All of them, in the order in which users read of them.
        pub const LIMITS: &[Limit] = &[$(Limit {
            name: stringify!($name),
            doc: $doc,
            least: $least,
            get: |limits| limits.$name.into(),
            set: |limits, value| limits.$name = value.try_into().unwrap_or($type::MAX),
        },)+];
    };
}

limits! {
    /// The longest request body, in bytes, where its mount says nothing else. Default 1 MiB, as nginx: enough for forms
    /// and JSON, too little to fill the memory with. More is answered 413.
    body: u64 = 1024 * 1024, 0..,
        "The longest request body, in bytes, where its mount says nothing else. Default 1 MiB. More is answered 413.";
    /// How long a client may pause within its request body. Default 30: TCP sends a lost packet again within a few
    /// seconds. More is answered 408.
    body_idle: u32 = 30, 0..,
        "Seconds a client may pause within its request body. Default 30; more is answered 408.";
    /// The least rate of a request body, in bytes per second on the average, after its first 10 seconds. Default 240, as
    /// Kestrel: below a modem, above what keeps a slow-body attack cheap. Slower is answered 408.
    body_rate: u32 = 240, 0..,
        "The least rate of a request body, in bytes per second on the average, after its first 10 seconds. Default 240; \
         slower is answered 408.";
    /// How long a new connection may be silent. Default 30: browsers connect ahead of need. Then it is closed.
    first_byte: u32 = 30, 0..,
        "Seconds a new connection may be silent. Default 30; then it is closed.";
    /// How long a request's head may take from its first byte on. Default 30: slow enough for a bad mobile link, too
    /// fast for a slowloris to be cheap. Later is answered 408.
    head: u32 = 30, 0..,
        "Seconds a request's head may take. Default 30; more is answered 408.";
    /// How long a request's head may pause. Default 10. Later is answered 408.
    head_read: u32 = 10, 0..,
        "Seconds a request's head may pause. Default 10; more is answered 408.";
    /// How long a handler may take until it answers, counted anew whenever the client has sent some of a body. Default
    /// 60: a client has given up by then. Later is answered 503. What it streams after that is its own affair.
    handler: u32 = 60, 0..,
        "Seconds a handler may take until it answers, counted anew whenever the client has sent some of a body. Default \
         60; more is answered 503.";
    /// How long a client may take less than 16 KiB of what is sent, if there is so much. Default 60, as nginx. Then it is
    /// closed, or with HTTP/2 the one request is.
    write: u32 = 60, 0..,
        "Seconds a client may take nothing of what is sent, or less than 16 KiB. Default 60; then it is closed, or with \
         HTTP/2 the one request is.";
    /// How long a connection may idle between requests. Default 75, as nginx: browsers reuse a connection within a
    /// minute. Then it is closed.
    idle: u32 = 75, 0..,
        "Seconds a connection may idle between requests. Default 75; then it is closed.";
    /// How long a TLS handshake may take, or the header of the PROXY protocol. Default 10: a few round trips.
    handshake: u32 = 10, 0..,
        "Seconds a TLS handshake may take, or the header of the PROXY protocol. Default 10; then the connection is \
         closed.";
    /// How long a connection may live; then it ends after the request it is at. Default 3600: long enough to cost
    /// nothing, short enough that connections spread over the workers again. a `WebSocket` is told to close (1001).
    connection: u32 = 3600, 0..,
        "Seconds a connection may live; then it ends after the request it is at. Default 3600.";
    /// The longest fields of a request together, in bytes. Default 64 KiB: a dozen cookies of 4 KiB. More is 431.
    head_bytes: u32 = 64 * 1024, 1024..,
        "The longest fields of a request together, in bytes. Default 64 KiB, at least 1024; more is answered 431.";
    /// The longest field of a request. Default 0, as `head_bytes` bounds it: for who has something behind the server that
    /// takes less, a log or a backend. More is 431.
    field: u32 = 0, 0..,
        "The longest field of a request, its name and its value together, in bytes. Default 0, which leaves it to \
         `head_bytes`; more is answered 431.";
    /// The most fields of a head. Default 100, as Apache. More is 431.
    fields: u32 = 100, 1..,
        "The most fields of a request. Default 100; more is answered 431.";
    /// The longest target of a request, in bytes. Default 8 KiB, as Apache; RFC 9112 §3 asks for 8000. More is 414; with
    /// HTTP/1, one that alone is longer than this and `head_bytes` together is not read to its end, and is 431.
    uri: u32 = 8 * 1024, 1..,
        "The longest target of a request, in bytes. Default 8 KiB; more is answered 414.";
    /// Requests on one connection; then it ends. Default 100,000: costs nothing, and no connection is for ever.
    requests: u32 = 100_000, 0..,
        "Requests on one connection; then it ends. Default 100000.";
    /// Requests at a time on one HTTP/2 connection. Default 128: RFC 9113 §6.5.2 recommends at least 100.
    streams: u32 = 128, 1..,
        "Requests at a time on one HTTP/2 connection. Default 128.";
    /// Connections at a time. Default 50,000: half of what the process may have in all. More are answered 503.
    connections: u32 = 50_000, 0..,
        "Connections at a time. Default 50000; more are answered 503.";
    /// Connections at a time from one address (for IPv6, one /64; eight times as many from one /48). Default 1,024: an
    /// office behind one address has less, and a single machine cannot take the server for itself. Never more, at all
    /// servers together, than an eighth of the descriptors that the process may have, or a quarter from one /48. More are
    /// answered 503. Not for this machine's own addresses, unix sockets and trusted proxies, which speak for others.
    connections_per_address: u32 = 1024, 0..,
        "Connections at a time from one address (for IPv6, one /64; eight times as many from one /48), this machine's \
         own and trusted proxies excepted. Default 1024, and never more than an eighth of the process's file \
         descriptors at all servers together (from one /48, a quarter); more are answered 503.";
    /// Requests under way at a time from one address, counted as its connections are. Default 1,024: as many as it
    /// may have connections, for each request that waits costs some 10 KiB. More are answered 503.
    requests_per_address: u32 = 1024, 0..,
        "Requests under way at a time from one address, counted as its connections are. Default 1024; more are answered \
         503.";
    /// Bytes of requests in memory at a time, of all servers of the process together: heads, bodies that are read into
    /// memory, what comes before it is read, and 16 KiB for a request that others are under way beside on its connection.
    /// Default 128 MiB: what a small machine can spare, and more than a thousand uploads need that are read piece by piece.
    /// All strangers have seven eighths of it, one address a quarter as much as is left free of that, an IPv6 /48 half as
    /// much, each beside one piece. Who passes it is answered 503.
    request_bytes: u64 = 128 * 1024 * 1024, 0..,
        "Bytes of requests in memory at a time, of all servers of the process together: heads, bodies that are read \
         into memory, what comes before it is read, and what a request takes that others are under way beside on its \
         connection (16 KiB). Default 128 MiB. All strangers have seven eighths of it, one address a quarter as much as \
         is left free of that (22 MiB, if nobody else has any), an IPv6 /48 half as much, each beside one piece; more \
         is answered 503.";
    /// The same of answers: what was made and is not taken yet. Default 128 MiB. Who passes it is answered 503, and a
    /// stream waits until there is room.
    answer_bytes: u64 = 128 * 1024 * 1024, 0..,
        "Bytes of answers in memory that clients have not taken, counted in the same way. Default 128 MiB; more is \
         answered 503, and a stream waits.";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_read_of_a_default_is_so() {
        for limit in LIMITS {
            let (_, told) = limit.doc.split_once("Default ").unwrap();
            let digits = told.find(|c: char| !c.is_ascii_digit()).unwrap();
            let unit = match told[digits..].get(..4) {
                Some(" KiB") => 1024,
                Some(" MiB") => 1024 * 1024,
                _ => 1,
            };
            let told = told[..digits].parse::<u64>().unwrap() * unit;
            assert_eq!(told, (limit.get)(&Limits::default()), "{}", limit.name);
        }
    }
}
