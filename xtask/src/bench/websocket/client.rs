//! The load: connections that send messages and check what comes back.
//!
//! Invariant: what a connection has in flight fits the buffers of its sockets. Each thread writes to all its connections
//! before it reads, so more could leave client and server waiting for each other.

use std::fmt;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tungstenite::handshake::HandshakeError;
use tungstenite::{Message, Utf8Bytes, WebSocket};

use crate::bench::load::{Counted, of_latencies};
use crate::bench::side::Side;
use crate::error::{Error, Result};
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
        let mut failed = 0;
        for outcome in threads::together(herds, |herd| self.until(deadline, herd)) {
            match outcome {
                Ok(more) => latencies.extend(more),
                Err(Wrong::Broken(error)) => return Err(side.fault(&format!("broke an echo: {error}"))),
                Err(Wrong::Changed) => failed += 1,
            }
        }
        let bytes = (latencies.len() * self.size) as u64;
        let counted = of_latencies(latencies, start.elapsed(), bytes);
        side.accept(Counted { failed, ..counted }, PATH, &self)
    }

    /// Batch after batch on every connection; the latency of each message.
    fn until(
        self,
        deadline: Instant,
        mut herd: Vec<Connection>,
    ) -> std::result::Result<Vec<Duration>, Wrong> {
        let text = Utf8Bytes::from("m".repeat(self.size));
        let mut latencies = Vec::new();
        while Instant::now() < deadline {
            let mut sent = Vec::with_capacity(herd.len());
            for connection in &mut herd {
                for _ in 0..self.in_flight {
                    connection.write(Message::Text(text.clone()))?;
                }
                connection.flush()?;
                sent.push(Instant::now());
            }
            for (connection, sent) in herd.iter_mut().zip(sent) {
                for _ in 0..self.in_flight {
                    if connection.read()?.into_data() != text.as_bytes() {
                        return Err(Wrong::Changed);
                    }
                    latencies.push(sent.elapsed());
                }
            }
        }
        for connection in &mut herd {
            connection.close(None)?;
        }
        Ok(latencies)
    }
}

/// The reason why a thread ended early.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error(transparent)]
    Broken(#[from] tungstenite::Error),
    #[error("the echo differs from what was sent")]
    Changed,
}

/// One message there and back, to see that the server can.
pub(super) fn rehearse(side: &Side) -> Result {
    let broken = |error| side.fault(&format!("broke the first echo: {error}"));
    let mut connection = connect(side, PATH)?;
    connection.send(Message::text("hello")).map_err(broken)?;
    let echo = connection.read().map_err(broken)?;
    if echo.into_data() == b"hello".as_slice() {
        return connection.close(None).map_err(broken);
    }
    Err(side.fault("sent back something else than the message `hello`"))
}

/// Opens a session at `path`.
pub(in crate::bench) fn connect(side: &Side, path: &str) -> Result<Connection> {
    let address = side.address;
    let failed = |source| Error::Io { what: format!("connect to {} at {address}", side.name), source };
    let socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    match tungstenite::client(format!("ws://{address}{path}"), socket) {
        Ok((connection, _response)) => Ok(connection),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(side.fault(&format!(
            "does not serve a WebSocket: it answered {} to the handshake for {path}",
            response.status()
        ))),
        Err(HandshakeError::Failure(error)) => {
            Err(side.fault(&format!("does not serve a WebSocket at {path}: {error}")))
        }
        Err(HandshakeError::Interrupted(_)) => {
            Err(side.fault(&format!("did not answer the handshake for {path} within {PATIENCE:?}")))
        }
    }
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
            error.starts_with("nginx does not serve a WebSocket: it answered 400 Bad Request"),
            "{error}"
        );
    }
}
