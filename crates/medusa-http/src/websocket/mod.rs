//! `WebSocket` ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)): over HTTP/1.1, where a session takes the connection, and
//! over HTTP/2, where it takes a stream ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)).
//!
//! 1. [`accept`] checks a request's handshake, the page it comes from above all: a browser sends its cookies along with any
//!    site's handshake, so a session that minded no origin would speak for the victim to whoever asks.
//! 2. Its [`Accepted`] becomes the 101 and, once that is out, the *pump*: the connection's part of the session, on its
//!    worker. It turns frames into messages and back, answers pings, minds the clocks and the closing handshake.
//! 3. The [`WebSocket`] is the handler's part; it may live on another thread. Between the two there is a bounded queue
//!    each way ([`queue`]).
//!
//! How a session ends when its handler leaves the site: [`sessions`](crate::sessions).
//!
//! Invariant: neither side can make the other hold more than a queue's bound and one message. While the handler's inbox is
//! full, or the client does not take what is sent, the pump does not read, so that TCP holds the client back; while its
//! outbox is full, a `send` waits. What is read and is no message (pings, empty fragments) has a price: [`overhead`].
//!
//! [`frames`] reads and writes what goes over the wire, [`deflate`] is the one extension: `permessage-deflate`.

mod clock;
mod deflate;
mod fragments;
mod frames;
mod handshake;
mod message;
mod origin;
mod overhead;
mod pump;
mod queue;
mod socket;

use std::time::Duration;

pub use handshake::{Accepted, HandshakeRefusal, accept};
pub use message::{Close, InvalidClose, Message, MessageKind};
pub use origin::Origins;
pub use socket::{Closed, TrySendError, WebSocket};

/// The options of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Subprotocols spoken here, the preferred one first. Of those that the client offers, the first is chosen. Default
    /// none.
    pub protocols: Vec<String>,
    /// The pages that may open a session. Default [`Origins::Same`].
    pub origins: Origins,
    /// The longest message taken, in bytes. A longer one ends the session with 1009. Default 1 MiB, as a request's body:
    /// a client can make the server hold so much.
    pub max_message: usize,
    /// After so long a silence of the client it is sent a ping, and when that has not been answered after as long again,
    /// it is gone. Default 30 s: less than NAT routers and proxies forget a connection after. Zero: never.
    pub ping: Duration,
    /// The longest that a session may be without a message, either way, before it is closed with 1001. Zero, the default: for
    /// ever.
    pub idle: Duration,
    /// Whether messages are compressed where the client can do so
    /// ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)): no session holds any memory for it between messages. Default
    /// true; false for what is compressed already, or where processor time counts more.
    pub compress: bool,
    /// The time for which a session may go on when its handler is no longer part of the site. Zero, the default: it is told to
    /// connect again.
    pub keep: Duration,
}

/// The default of [`Options::max_message`].
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// The default of [`Options::ping`].
pub const PING: Duration = Duration::from_secs(30);

impl Default for Options {
    fn default() -> Self {
        Self {
            protocols: Vec::new(),
            origins: Origins::Same,
            max_message: MAX_MESSAGE,
            ping: PING,
            idle: Duration::ZERO,
            compress: true,
            keep: Duration::ZERO,
        }
    }
}
