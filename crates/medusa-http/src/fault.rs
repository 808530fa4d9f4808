//! Faults of clients, counted by kind: who watches a server sees an attack by its shape.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use medusa_proto::status::Status;

/// A reason to end a connection, or to refuse what came on it, before any handler has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not HTTP: a malformed head, or framing that RFC 9112 has refused.
    Malformed,
    /// A `Host` that is missing, doubled or malformed.
    Host,
    /// A target longer than the limit.
    UriTooLong,
    /// A head with more bytes or fields than the limits.
    HeadTooLarge,
    /// A field longer than the limit.
    FieldTooLong,
    /// A head that did not arrive in time.
    HeadTimeout,
    /// A body that came too slowly, or not at all.
    BodyTimeout,
    /// A body longer than the limit.
    BodyTooLarge,
    /// A handler that did not answer in time.
    HandlerTimeout,
    /// A client that stopped reading its responses.
    WriteStall,
    /// HTTP/2 frames for nothing: pings, settings, requests cancelled at once.
    Flood,
    /// More connections than the server takes, in all or from one address.
    TooManyConnections,
    /// More requests under way than one address may have.
    TooManyRequests,
    /// More bytes in memory than there may be, in all or for one address.
    NoMemory,
    /// A TLS handshake that failed.
    Tls,
    /// A header of the PROXY protocol that is missing or malformed.
    Proxy,
}

/// All of them, with their names in the status, in the order of the enum.
const NAMES: [&str; 16] = [
    "malformed",
    "bad_host",
    "uri_too_long",
    "head_too_large",
    "field_too_long",
    "head_timeout",
    "body_timeout",
    "body_too_large",
    "handler_timeout",
    "write_stall",
    "flood",
    "too_many_connections",
    "too_many_requests",
    "no_memory",
    "tls_handshake",
    "proxy_header",
];

/// The counts of all faults.
#[derive(Debug, Default)]
pub struct Faults([AtomicU64; NAMES.len()]);

impl Faults {
    /// Counts one.
    pub fn count(&self, fault: Fault) {
        self.0[fault as usize].fetch_add(1, Relaxed);
    }

    /// The number of faults of a kind.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize].load(Relaxed)
    }

    /// Those that have happened, as a part of a server's status.
    pub(crate) fn status(&self) -> Status {
        let counts = NAMES.iter().zip(&self.0).map(|(name, count)| (*name, count.load(Relaxed)));
        counts
            .filter(|(_, count)| *count > 0)
            .fold(Status::new("http.faults", ""), |status, (name, count)| status.counter(name, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_under_its_own_name() {
        let faults = Faults::default();
        faults.count(Fault::Proxy);
        faults.count(Fault::Proxy);
        faults.count(Fault::Malformed);
        assert_eq!((faults.of(Fault::Proxy), faults.of(Fault::Tls)), (2, 0));
        let text = format!("{:?}", faults.status());
        assert!(
            text.contains("proxy_header") && text.contains("malformed") && !text.contains("flood"),
            "{text}"
        );
    }
}
