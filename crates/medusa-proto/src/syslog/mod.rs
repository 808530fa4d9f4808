//! The syslog protocol, as messages: [RFC 5424](https://www.rfc-editor.org/rfc/rfc5424) and what was there before it,
//! [RFC 3164](https://www.rfc-editor.org/rfc/rfc3164); how a stream is cut into them
//! ([RFC 6587](https://www.rfc-editor.org/rfc/rfc6587)), and they to what a datagram takes
//! ([RFC 5426](https://www.rfc-editor.org/rfc/rfc5426)).
//!
//! An [`Encoder`](crate::format::Encoder) makes the MSG part in whatever [`Format`](crate::format::Format) the user
//! wants, and a [`SyslogEncoder`] puts the header before it. What `logger` of util-linux writes is the reference; a
//! test holds the header to it byte for byte.
//!
//! **Invariant: an entry is one message, whatever the peer sent.** The header holds nothing that comes from a peer.
//! Structured data and MSG do, and there every value is escaped so that it cannot end its parameter, its element or the
//! message: no line feed, which ends a message on a stream, and no other control character. Who could put one in would
//! forge what other programs of the machine have to say, not just our own lines.
//!
//! **Where we deviate.** RFC 5424 §6.4 wants a byte order mark before a MSG that is UTF-8. We send none, like `logger`:
//! rsyslog keeps the mark as part of the message, where it breaks JSON and every comparison. A MSG is always UTF-8.

mod encoder;
mod frame;
mod header;
mod priority;
mod structured;

pub use encoder::SyslogEncoder;
pub use frame::{SyslogFraming, UnknownFraming, truncate};
pub use header::{AppName, BadAppName, Style, SyslogHeader, UnknownStyle};
pub use priority::{Facility, Severity, UnknownFacility};
pub use structured::{BadSdId, SdId};

#[cfg(test)]
mod tests;
