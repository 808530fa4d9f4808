//! Workers, listeners, connections: everything between the kernel and a protocol.
//!
//! The life of a connection:
//!
//! 1. [`Listener::bind`] opens one socket per worker; everything that can fail fails here.
//! 2. [`Listener::prepare`] hands them to the [`Workers`], and [`Listener::start`] has the accept loops go.
//! 3. A loop accepts a [`Stream`], enters a [`Conn`] for it in the worker's [`registry`] and hands both to the
//!    protocol's [`Accept`]. The future that comes back is one task on this worker, for good.
//!    Behind a proxy it may begin with what that says ([`proxy`]), and with the handshake of the listener's [`tls`].
//! 4. The protocol's driver wraps the stream in a [`cork`] (one write per poll, however many responses), tells the
//!    [`Conn`] which [`Phase`] it is in, and asks it for a [`Signal`]: finish up, or a deadline has passed.
//! 5. [`Listener::finish`] and [`shutdown::drain`] end connections politely, and after a deadline for certain.
//!
//! Invariant of the whole crate: a connection never leaves its worker, so nothing here that belongs to a connection
//! is `Send`, and serving a request takes no lock and touches no memory that another worker writes.

pub mod address;
pub mod clients;
pub mod clock;
pub mod conn;
pub mod cork;
pub mod descriptors;
pub mod limits;
pub mod listener;
mod panic;
pub mod proxy;
pub mod registry;
pub mod shutdown;
pub mod stream;
pub mod tls;
pub mod worker;
mod worker_listener;

pub use address::{AddressError, ListenAddr};
pub use conn::{Conn, Deadlines, Peer, Phase, Signal, WriteGuard};
pub use listener::{Accept, BindError, Listener, ListenerStats, StartError};
pub use shutdown::Drained;
pub use stream::{PeerSide, Stream};
pub use tls::Tls;
pub use worker::{WorkerGone, Workers};
pub use worker_listener::ListenerId;
