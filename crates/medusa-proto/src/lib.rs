//! Pure protocol code: log formats, byte ranges, preconditions; no tokio, no clock, no panic.
//!
//! Everything here is a function of its arguments: bytes and times come in, bytes and decisions go out. That makes it
//! the part of Medusa that can be fuzzed and property-tested whole, and the part an attacker reaches first.
//!
//! - [`access`]: the record of one answered request, [`event`]: what the server itself has to say; an [`entry`] of a log
//!   is one or the other, [`format`](mod@format) has the lines made of it, [`syslog`] and [`journal`] the messages;
//! - [`forwarded`] and [`proxy_protocol`]: whom a proxy speaks for, said in fields of a request or before a connection;
//! - [`networks`]: sets of addresses, as scripts list them;
//! - [`framing`]: where the requests of an HTTP/1 connection begin and end;
//! - [`conditional`] and [`range`]: what the `If-*` and `Range` fields of a request ask for;
//! - [`coding`]: the compressed form that a client takes; [`glob`]: patterns for paths;
//! - [`query`] and [`cookie`]: what queries, forms and cookies say; [`event_stream`]: server-sent events as written;
//! - [`author`]: who changes the server; [`hex`]: bytes as digits; [`shown`]: text from outside for a person's eyes; [`progress`]: what is told of a statement while it runs; [`status`]: the document by which a long-lived object describes itself; [`top`]: a server in numbers.
//!
//! **Invariant: nothing here panics, whatever the input.** The lints below keep the usual ways to do so out.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::expect_used,
        clippy::unwrap_used
    )
)]

pub mod access;
pub mod author;
mod causes;
pub mod coding;
pub mod conditional;
pub mod cookie;
pub mod entry;
pub mod event;
pub mod event_stream;
pub mod format;
pub mod forwarded;
pub mod framing;
pub mod glob;
pub mod hex;
pub mod journal;
pub mod networks;
pub mod progress;
pub mod proxy_protocol;
pub mod query;
pub mod range;
pub mod shown;
pub mod status;
pub mod syslog;
pub mod top;

pub use causes::with_causes;
