//! For tests: the real program on a free port, and whatever it takes to press on it from outside.
//!
//! - [`Site`]: a directory of its own for a site under test;
//! - [`Medusa`] and [`Server`]: the program, run to its end or as a server;
//! - [`Session`]: its control socket;
//! - [`Client`]: HTTP/1 over a raw socket, byte for byte;
//! - [`websocket`] and [`http2`]: the same for `WebSocket` and HTTP/2, frame by frame;
//! - [`Authority`]: certificates, for servers and clients;
//! - [`curl`](fn@curl) and [`run`]: clients that are not ours;
//! - [`Load`]: many connections at once, by `wrk`; [`H2Load`]: many requests at once on each, by `h2load`;
//! - [`Numbered`]: requests that can be told apart, and [`Tally`]: which of them are in a log;
//! - [`browser`]: a page as a real browser sees it;
//! - [`syslog`] and [`Journald`]: log servers that are not ours, and `logger`;
//! - [`Unbound`] and [`Dnsmasq`]: name servers that are not ours;
//! - [`Nginx`]: a proxy, or a server, that is not ours; [`Haproxy`]: another proxy;
//! - [`Tmux`]: a terminal, and a person who types at it;
//! - [`OwnAddress`]: a loopback address for a server that comes back;
//! - [`memory`]: how much a process holds; [`cpu`]: how long it has run; [`process::children`]: whose it is;
//! - [`wait`]: conditions that nobody announces.
//!
//! What does not come within [`PATIENCE`] is a panic that says what was waited for, and a server that is dropped by a
//! panicking test prints what it has said. So a test reads as what it asserts, without a `?` or an `expect` per line.
//!
//! **Invariant:** nothing started here outlives the test, and nothing waits without a limit. No wait is a guess: each is
//! for a line, an answer, an exit or a condition.

mod address;
pub mod authority;
pub mod browser;
pub mod client;
mod configured;
pub mod cpu;
mod curl;
mod dnsmasq;
pub mod h2load;
mod haproxy;
pub mod http2;
mod journald;
mod lines;
pub mod load;
pub mod memory;
mod nginx;
pub mod numbered;
pub mod process;
pub mod server;
mod session;
pub mod site;
pub mod syslog;
mod tmux;
mod unbound;
pub mod wait;
pub mod websocket;

use std::time::Duration;

pub use address::OwnAddress;
pub use authority::{Authority, Issued};
pub use client::{Client, Response, dial, known_as};
pub use curl::{curl, run};
pub use dnsmasq::Dnsmasq;
pub use h2load::H2Load;
pub use haproxy::Haproxy;
pub use http2::Http2;
pub use journald::Journald;
pub use lines::Lines;
pub use load::Load;
pub use nginx::Nginx;
pub use numbered::{Made, Numbered, Tally};
pub use process::{Finished, Process};
pub use rustix::process::Signal;
pub use server::{Medusa, Serve, Server};
pub use session::Session;
pub use site::Site;
pub use tmux::Tmux;
pub use unbound::{Unbound, Zone};
pub use websocket::WebSocket;

/// The time that anything that is waited for may take. Nothing needs a tenth of it; on a busy machine nothing fails
/// by it.
pub const PATIENCE: Duration = Duration::from_secs(20);
