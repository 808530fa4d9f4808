//! The way into a running server: sessions that run statements, reload, ask for its status, stop it.
//!
//! - [`protocol`]: what is said, as lines of JSON;
//! - [`state`]: the state directory, which one server at a time holds, and the unix socket in it;
//! - [`server`]: the sessions on that socket;
//! - [`client`]: the other end, for a command line.
//!
//! Nothing here knows what reloading or stopping takes: that is the [`Control`] the sessions are given.
//!
//! **Invariant:** only the user the server runs as, and root, are ever listened to. Whoever gets in here can do whatever
//! the server can, so a session of anyone else is refused before its first byte is read.

pub mod client;
pub mod protocol;
pub mod server;
pub mod state;

pub use client::{CallError, Client, ConnectError};
pub use protocol::{Done, Failure, Op};
pub use server::{Control, MAX_SESSIONS};
pub use state::{ControlSocket, StateDir, StateError};
