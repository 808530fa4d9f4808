//! The limits of a server's connections and requests: sizes, counts and times, each with its default and the reason.
//!
//! Times are whole seconds and acted on within two seconds after they passed, never before; in every limit 0 stands for
//! "none", except where a request could not be served without one.

use std::time::Duration;

use medusa_net::Deadlines;
use medusa_proto::status::Status;

/// One of the [`LIMITS`].
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name in scripts: the field of [`Limits`].
    pub name: &'static str,
    /// Its description: the unit, its default, and what becomes of what is more; for the reference.
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
    ($($(#[doc = $reason:literal])* $name:ident: $type:ident = $default:expr, $least:literal.., $doc:literal;)+) => {
        /// The limits of one server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $doc] #[doc = ""] $(#[doc = $reason])* pub $name: $type,)+
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
    /// As nginx: enough for forms and JSON, too little to fill the memory with.
    body: u64 = 1024 * 1024, 0..,
        "The longest request body, in bytes, where its mount says nothing else. Default 1 MiB. More is answered 413.";
    /// TCP sends a lost packet again within a few seconds.
    body_idle: u32 = 30, 0..,
        "Seconds a client may pause within its request body. Default 30; more is answered 408.";
    /// As Kestrel: below a modem, above what keeps a slow-body attack cheap.
    body_rate: u32 = 240, 0..,
        "The least rate of a request body, in bytes per second on the average, after its first 10 seconds. Default 240; \
         slower is answered 408.";
    /// Browsers connect ahead of need.
    first_byte: u32 = 30, 0..,
        "Seconds a new connection may be silent. Default 30; then it is closed.";
    /// Slow enough for a bad mobile link, too fast for a slowloris to be cheap. Counts from the first byte on.
    head: u32 = 30, 0..,
        "Seconds a request's head may take. Default 30; more is answered 408.";
    head_read: u32 = 10, 0..,
        "Seconds a request's head may pause. Default 10; more is answered 408.";
    /// A client has given up by then. What a handler streams after it answered is its own affair.
    handler: u32 = 60, 0..,
        "Seconds a handler may take until it answers, counted anew whenever the client has sent some of a body. Default \
         60; more is answered 503.";
    /// As nginx. Taking less counts only if there is so much for the client.
    write: u32 = 60, 0..,
        "Seconds a client may take nothing of what is sent, or less than 16 KiB. Default 60; then it is closed, or with \
         HTTP/2 the one request is.";
    /// As nginx: browsers reuse a connection within a minute.
    idle: u32 = 75, 0..,
        "Seconds a connection may idle between requests. Default 75; then it is closed.";
    /// A few round trips.
    handshake: u32 = 10, 0..,
        "Seconds a TLS handshake may take, or the header of the PROXY protocol. Default 10; then the connection is \
         closed.";
    /// Long enough to cost nothing, short enough that connections spread over the workers again. A `WebSocket` is told to
    /// close (1001).
    connection: u32 = 3600, 0..,
        "Seconds a connection may live; then it ends after the request it is at. Default 3600.";
    /// A dozen cookies of 4 KiB.
    head_bytes: u32 = 64 * 1024, 1024..,
        "The longest fields of a request together, in bytes. Default 64 KiB, at least 1024; more is answered 431.";
    /// For who has something behind the server that takes less, a log or a backend.
    field: u32 = 0, 0..,
        "The longest field of a request, its name and its value together, in bytes. Default 0, which leaves it to \
         `head_bytes`; more is answered 431.";
    /// As Apache.
    fields: u32 = 100, 1..,
        "The most fields of a request. Default 100; more is answered 431.";
    /// As Apache; RFC 9112 §3 asks for 8000. With HTTP/1, a target that alone is longer than this and `head_bytes` together
    /// is not read to its end, and is 431.
    uri: u32 = 8 * 1024, 1..,
        "The longest target of a request, in bytes. Default 8 KiB; more is answered 414.";
    /// Costs nothing, and no connection is for ever.
    requests: u32 = 100_000, 0..,
        "Requests on one connection; then it ends. Default 100000.";
    /// RFC 9113 §6.5.2 recommends at least 100.
    streams: u32 = 128, 1..,
        "Requests at a time on one HTTP/2 connection. Default 128.";
    /// Half of what the process may have in all.
    connections: u32 = 50_000, 0..,
        "Connections at a time. Default 50000; more are answered 503.";
    /// An office behind one address has less, and a single machine cannot take the server for itself. Unix sockets and
    /// trusted proxies speak for others.
    connections_per_address: u32 = 1024, 0..,
        "Connections at a time from one address (for IPv6, one /64; eight times as many from one /48), this machine's \
         own and trusted proxies excepted. Default 1024, and never more than an eighth of the process's file \
         descriptors at all servers together (from one /48, a quarter); more are answered 503.";
    /// As many as it may have connections, for each request that waits costs some 10 KiB.
    requests_per_address: u32 = 1024, 0..,
        "Requests under way at a time from one address, counted as its connections are. Default 1024; more are answered \
         503.";
    /// What a small machine can spare, and more than a thousand uploads need that are read piece by piece.
    request_bytes: u64 = 128 * 1024 * 1024, 0..,
        "Bytes of requests in memory at a time, of all servers of the process together: heads, bodies that are read \
         into memory, what comes before it is read, and what a request takes that others are under way beside on its \
         connection (16 KiB). Default 128 MiB. All strangers have seven eighths of it, one address a quarter as much as \
         is left free of that (22 MiB, if nobody else has any), an IPv6 /48 half as much, each beside one piece; more \
         is answered 503.";
    /// As `request_bytes`.
    answer_bytes: u64 = 128 * 1024 * 1024, 0..,
        "Bytes of answers in memory that clients have not taken, counted in the same way. Default 128 MiB; more is \
         answered 503, and a stream waits.";
}

impl Limits {
    /// The limits as they are, for the operator who asks what a client has run into.
    pub fn status(&self) -> Status {
        LIMITS
            .iter()
            .fold(Status::new("http.limits", ""), |status, limit| status.field(limit.name, (limit.get)(self)))
    }

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
    fn the_status_has_each_limit_as_it_is() {
        let mut limits = Limits::default();
        for (limit, value) in LIMITS.iter().zip(5000..) {
            (limit.set)(&mut limits, value);
        }
        let status = limits.status();
        for (limit, value) in LIMITS.iter().zip(5000_u64..) {
            assert_eq!(status.get(limit.name), Some(&value.into()), "{}", limit.name);
        }
    }

    #[test]
    fn what_users_read_of_a_default_is_so() {
        for limit in LIMITS {
            let (_, default) = limit.doc.split_once("Default ").unwrap();
            let digits = default.find(|c: char| !c.is_ascii_digit()).unwrap();
            let unit = match default[digits..].get(..4) {
                Some(" KiB") => 1024,
                Some(" MiB") => 1024 * 1024,
                _ => 1,
            };
            let value = default[..digits].parse::<u64>().unwrap() * unit;
            assert_eq!(value, (limit.get)(&Limits::default()), "{}", limit.name);
        }
    }
}
