//! The load: connections that send messages and check what comes back.
//!
//! Invariant: what a connection has in flight fits the buffers of its sockets. Each thread writes to all its connections
//! before it reads, so more could leave client and server waiting for each other.

use std::fmt;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use medusa_testkit::dial;
use tungstenite::{Message, Utf8Bytes, WebSocket};

use crate::bench::load::Counted;
use crate::bench::side::Side;
use crate::error::Result;
use crate::threads;

/// Threads, and what each has of the 64 connections.
const THREADS: usize = 2;
const CONNECTIONS_EACH: usize = 32;
/// The time that a message may take.
const PATIENCE: Duration = Duration::from_secs(5);
const PATH: &str = "/echo";

/// Messages of one size, so many in flight on each connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Echo {
    /// Bytes in a message.
    pub(super) size: usize,
    pub(super) in_flight: usize,
}

/// A session.
pub(in crate::bench) type Connection = WebSocket<TcpStream>;

impl Echo {
    /// Presses for so many seconds. An error of the server is an error here.
    pub(super) fn press(self, side: &Side, seconds: u32) -> Result<Counted> {
        // All connections stand before the first message: no handshake is in what is measured after the warm-up.
        let herds = (0..THREADS).map(|_| (0..CONNECTIONS_EACH).map(|_| connect(side, PATH)).collect());
        let herds = herds.collect::<Result<Vec<Vec<Connection>>>>()?;
        let start = Instant::now();
        let deadline = start + Duration::from_secs(seconds.into());
        let mut latencies = Vec::new();
        for of_herd in threads::together(herds, |herd| self.until(deadline, side, herd)) {
            latencies.extend(of_herd?);
        }
        let bytes = (latencies.len() * self.size) as u64;
        side.accept(Counted::of_latencies(latencies, start.elapsed(), bytes), PATH, &self)
    }

    /// Batch after batch on every connection, at least one; the latency of each message.
    fn until(self, deadline: Instant, side: &Side, mut herd: Vec<Connection>) -> Result<Vec<Duration>> {
        let broken = |error| side.fault(&format!("broke an echo: {error}"));
        let text = Utf8Bytes::from("m".repeat(self.size));
        let mut latencies = Vec::new();
        while latencies.is_empty() || Instant::now() < deadline {
            let mut sent = Vec::with_capacity(herd.len());
            for connection in &mut herd {
                for _ in 0..self.in_flight {
                    connection.write(Message::Text(text.clone())).map_err(broken)?;
                }
                connection.flush().map_err(broken)?;
                sent.push(Instant::now());
            }
            for (connection, sent) in herd.iter_mut().zip(sent) {
                for _ in 0..self.in_flight {
                    if connection.read().map_err(broken)?.into_data() != text.as_bytes() {
                        return Err(side.fault("sent back something else than was sent"));
                    }
                    latencies.push(sent.elapsed());
                }
            }
        }
        for connection in &mut herd {
            connection.close(None).map_err(broken)?;
        }
        Ok(latencies)
    }
}

/// Some messages there and back, to see that the server can.
pub(super) fn rehearse(side: &Side) -> Result {
    Echo { size: 5, in_flight: 1 }.press(side, 0).map(drop)
}

/// Opens a session at `path`.
pub(in crate::bench) fn connect(side: &Side, path: &str) -> Result<Connection> {
    let address = side.address;
    let cannot =
        |error: &dyn fmt::Display| side.fault(&format!("does not serve a WebSocket at {path}: {error}"));
    let socket = dial(Ipv4Addr::LOCALHOST, address, PATIENCE, None).map_err(|error| cannot(&error))?;
    let (connection, _response) =
        tungstenite::client(format!("ws://{address}{path}"), socket).map_err(|error| cannot(&error))?;
    Ok(connection)
}

/// What it does, in words.
impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} in flight on each", THREADS * CONNECTIONS_EACH, self.in_flight)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bench::nginx;
    use crate::bench::side::Wire;
    use crate::bench::tls::Identity;

    #[test]
    fn echoes_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let side = nginx::with_a_file(folder.path(), Wire::Plain);
        rehearse(&side).expect("an echo");
        let counted = Echo { size: 16 * 1024, in_flight: 4 }.press(&side, 1).expect("echoes");
        assert!(counted.requests >= 256 && counted.requests.is_multiple_of(4), "{counted:?}");
        assert_eq!(counted.bytes, counted.requests * 16 * 1024);
    }

    #[test]
    fn a_server_without_a_websocket_is_told_by_its_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = Identity::make(folder.path()).expect("an identity");
        let side = nginx::with_a_file(folder.path(), Wire::Tls(Arc::new(identity)));
        let error = rehearse(&side).expect_err("TLS").to_string();
        assert!(
            error.starts_with("nginx does not serve a WebSocket at /echo: HTTP error: 400 Bad Request"),
            "{error}"
        );
    }
}
