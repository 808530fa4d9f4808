//! A connection that is a stream of bytes: TCP or unix, bare or under TLS; with RELP on it or nothing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustls::ClientConnection;

use super::relp::{self, Session};
use super::wire::{Wire, closed};

/// Time that a TLS handshake may take, and the opening of RELP.
const HANDSHAKE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) wire: Wire,
    tls: Option<Box<ClientConnection>>,
    /// Of RELP: what the other end has acknowledged.
    pub(super) session: Option<Box<Session>>,
}

impl Stream {
    pub(super) fn bare(wire: Wire) -> Self {
        Self { wire, tls: None, session: None }
    }

    /// Shakes hands, within [`HANDSHAKE`].
    pub(super) fn tls(mut wire: Wire, mut tls: ClientConnection) -> io::Result<Self> {
        let deadline = Instant::now() + HANDSHAKE;
        while tls.is_handshaking() {
            match tls.complete_io(&mut wire) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = left(deadline, "the TLS handshake has taken too long")?;
                    wire.wait(if tls.wants_write() { PollFlags::OUT } else { PollFlags::IN }, left)?;
                }
                done => drop(done?),
            }
        }
        Ok(Self { wire, tls: Some(Box::new(tls)), session: None })
    }

    /// Opens a session of RELP on it, within [`HANDSHAKE`].
    pub(super) fn open_relp(mut self) -> io::Result<Self> {
        let deadline = Instant::now() + HANDSHAKE;
        // A new connection has room for so little.
        self.offer(&relp::open())?;
        self.session = Some(Box::default());
        while !self.session.as_ref().is_some_and(|session| session.is_open()) {
            let left = left(deadline, "the receiver has not answered as one of RELP does")?;
            self.wire.wait(PollFlags::IN, left)?;
            self.check()?;
        }
        Ok(self)
    }

    /// Takes what it can of `bytes` without waiting: how many, and whether they are all with the kernel. The latter is
    /// not the same under TLS, which encrypts more than the kernel may have room for.
    pub(super) fn offer(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        let mut write_all = || {
            while taken < bytes.len() {
                match self.write(&bytes[taken..])? {
                    0 => return Err(ErrorKind::WouldBlock.into()), // what TLS holds is more than it may
                    count => taken += count,
                }
            }
            self.flush()
        };
        match write_all() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((taken, false)),
            done => done.map(|()| (taken, true)),
        }
    }

    /// Tells whether the other end is still there, as far as is known. What it says is taken in, or without RELP forgotten: but
    /// for that nobody expects anything.
    pub(super) fn check(&mut self) -> io::Result<()> {
        /// One that talks without end is heard no longer than this at once.
        const READS: usize = 16;
        let mut scratch = [0; 8 * 1024];
        for _ in 0..READS {
            let count = match self.read(&mut scratch) {
                Ok(0) => return Err(closed()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            if let Some(session) = &mut self.session {
                session.hear(&scratch[..count])?;
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.wire).write(bytes),
            None => self.wire.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), &mut self.wire).flush(),
            None => Ok(()),
        }
    }

    /// Not by [`rustls::Stream`], which reads nothing once it cannot write: what the other end has said by then counts.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.wire.read(scratch) };
        loop {
            match tls.reader().read(scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if tls.read_tls(&mut self.wire)? == 0 {
                return Err(closed());
            }
            tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    /// Says goodbye: nothing will follow these `frames` of RELP, or whatever it was.
    pub(super) fn finish(&mut self, frames: u64) {
        if self.session.is_some() {
            // The other end would report a session that ends without; one that takes nothing now must do so.
            let _unsent = self.offer(&relp::close(frames));
        }
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // All before it is with the kernel; a goodbye that does not fit is done without.
            let _unsent = self.flush();
        }
        self.wire.finish();
    }
}

/// Time until `deadline`, unless it has passed.
fn left(deadline: Instant, told: &str) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(ErrorKind::TimedOut, told)) } else { Ok(left) }
}
