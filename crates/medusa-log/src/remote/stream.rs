//! A connection that is a stream of bytes: TCP or unix, bare or under TLS.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::wire::{Wire, closed};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Stream {
    wire: Wire,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    pub(super) fn bare(wire: Wire) -> Self {
        Self { wire, tls: None }
    }

    /// Shakes hands, within [`HANDSHAKE`].
    pub(super) fn tls(mut wire: Wire, mut tls: ClientConnection) -> io::Result<Self> {
        let deadline = Instant::now() + HANDSHAKE;
        while tls.is_handshaking() {
            match tls.complete_io(&mut wire) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(io::Error::new(
                            ErrorKind::TimedOut,
                            "the TLS handshake has taken too long",
                        ));
                    }
                    if tls.wants_write() {
                        wire.wait_writable(left)?
                    } else {
                        wire.wait_readable(left)?
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { wire, tls: Some(Box::new(tls)) })
    }

    pub(super) const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Takes what it can of `bytes` without waiting: how many, and whether they are all with the kernel. The latter is
    /// not the same under TLS, which encrypts more than the kernel may have room for.
    pub(super) fn offer(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let count = match &mut self.tls {
                None if rest.is_empty() => 0,
                None => match self.wire.write(rest) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((taken, false)),
                    other => other?,
                },
                Some(tls) => {
                    // First what it has already: without room it would take nothing.
                    if !push(tls, &mut self.wire)? {
                        return Ok((taken, false));
                    }
                    let count = tls.writer().write(rest)?;
                    if !push(tls, &mut self.wire)? {
                        return Ok((taken + count, false));
                    }
                    count
                }
            };
            taken += count;
            if taken == bytes.len() {
                return Ok((taken, true));
            }
            if count == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
    }

    /// Whether the other end is still there, as far as is known.
    pub(super) fn check(&mut self) -> io::Result<()> {
        /// One that talks without end is heard no longer than this at once: of some KB each.
        const READS: usize = 16;
        let Some(tls) = &mut self.tls else { return self.wire.check() };
        for _ in 0..READS {
            match tls.read_tls(&mut self.wire) {
                Ok(0) => return Err(closed()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            let state =
                tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            if state.peer_has_closed() {
                return Err(closed());
            }
            let mut heard = state.plaintext_bytes_to_read();
            while heard > 0 {
                heard -= tls.reader().read(&mut [0; 1024])?.clamp(1, heard);
            }
        }
        Ok(())
    }

    /// Says goodbye: nothing will follow.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // All before it is with the kernel; a goodbye that does not fit is done without.
            let _unsent = push(tls, &mut self.wire);
        }
        self.wire.finish();
    }
}

/// Gives the kernel what TLS has encrypted; whether it has taken all.
fn push(tls: &mut ClientConnection, wire: &mut Wire) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(wire) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
