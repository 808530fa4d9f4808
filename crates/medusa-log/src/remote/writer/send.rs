//! Sending one batch, however long that takes.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::super::connect::Connection;
use super::super::datagram::{DatagramOutcome, Datagrams};
use super::super::lines::Lines;
use super::super::stream::Stream;
use super::super::window::Outgoing;
use super::RemoteWriter;

/// Time that one write waits before it looks whether it still should.
const SLICE: Duration = Duration::from_millis(250);

/// Time without taking anything after which a target counts as one that fails.
const STALLED: Duration = Duration::from_secs(5);

/// The memory that is kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

/// Batch that UDP was sending when it was refused: nobody could tell the next connection otherwise.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) what: Outgoing,
    /// Datagrams of it that are sent.
    pub(super) sent: usize,
}

/// Bytes that go over the wire next.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the datagrams end.
    ends: Vec<usize>,
}

impl Buffer {
    /// Fills it with `what`, but for the first `skip` records.
    fn fill(&mut self, what: &Outgoing, skip: usize, lines: &mut Lines) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.ends.clear();
        match what {
            Outgoing::Loss(loss) => {
                lines.loss(loss, &mut self.bytes);
                self.ends.push(self.bytes.len());
            }
            Outgoing::Batch(batch) => {
                for entry in batch.iter().skip(skip) {
                    lines.entry(&entry, &mut self.bytes);
                    self.ends.push(self.bytes.len());
                }
            }
        }
    }

    /// The datagram number `at`.
    fn datagram(&self, at: usize) -> Option<&[u8]> {
        let begin = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(begin..*self.ends.get(at)?)
    }
}

impl RemoteWriter {
    /// Sends `what`, but for its first `sent` records.
    pub(super) fn write(&mut self, what: Outgoing, mut sent: usize) {
        // Taken out, as sending may report what is going on.
        let Some((mut connection, mut lines)) = self.connection.take() else {
            self.unsent = Some(Unsent { what, sent });
            return;
        };
        if let Connection::Stream(stream) = &mut connection
            && let Err(error) = self.wait_for_room(stream, &what)
        {
            self.connection = Some((connection, lines));
            return self.broken(Some(what), &error);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.fill(&what, sent, &mut lines);
        self.truncated(std::mem::take(&mut lines.truncated));
        let result = match &mut connection {
            Connection::Stream(stream) => self.send_stream(stream, &buffer),
            Connection::Datagrams(datagrams) => self.send_datagrams(datagrams, &buffer, &mut sent),
        };
        let bytes = buffer.bytes.len() as u64;
        self.buffer = buffer;
        let acknowledges = self.window.knows();
        let end = if acknowledges { lines.frames() } else { connection.wire().sent };
        let is_watched = connection.is_watched();
        self.connection = Some((connection, lines));
        match result {
            Ok(()) => self.written(what, bytes, is_watched.then_some(end)),
            Err(error) if is_watched => {
                let what = if acknowledges { self.begun(what, end) } else { Some(what) };
                self.broken(what, &error);
            }
            Err(error) => {
                self.unsent = Some(Unsent { what, sent });
                self.broken(None, &error);
            }
        }
    }

    /// Waits until the receiver has acknowledged so much that `what` may follow.
    fn wait_for_room(&mut self, stream: &mut Stream, what: &Outgoing) -> io::Result<()> {
        let (mut known, mut moved) = (stream.delivered(), Instant::now());
        while !self.window.has_room(what) {
            stream.check()?;
            let Some(delivered) = stream.delivered() else { break };
            self.window.delivered(delivered);
            if Some(delivered) != known {
                (known, moved) = (Some(delivered), Instant::now());
                continue;
            }
            self.held_up(moved)?;
            stream.wire.wait(PollFlags::IN, SLICE)?;
        }
        Ok(())
    }

    /// `what` is with the kernel. On a connection that is watched, which has taken `end` bytes or records by now, it may still have to
    /// come again.
    fn written(&mut self, what: Outgoing, bytes: u64, end: Option<u64>) {
        self.works(bytes);
        let batch = what.batch().map(Arc::clone);
        if let Some(end) = end {
            self.window.push(what, end);
            // Before it is settled: a flush looks at both, in the other order.
            self.shared.set_unacknowledged(self.window.unacknowledged());
        }
        if let Some(batch) = batch {
            self.queue.settle(&batch, batch.len());
        }
        self.look();
    }

    fn send_stream(&mut self, stream: &mut Stream, buffer: &Buffer) -> io::Result<()> {
        stream.check()?;
        let (mut at, mut moved) = (0, Instant::now());
        loop {
            let before = stream.wire.sent;
            let (taken, is_sent) = stream.offer(&buffer.bytes[at..])?;
            at += taken;
            if is_sent {
                return Ok(());
            }
            if stream.wire.sent > before {
                moved = Instant::now();
            }
            self.held_up(moved)?;
            stream.wire.wait(PollFlags::OUT, SLICE)?;
        }
    }

    /// Sends the datagrams of `buffer`, and adds those that are sent to `sent`.
    fn send_datagrams(
        &mut self,
        datagrams: &mut Datagrams,
        buffer: &Buffer,
        sent: &mut usize,
    ) -> io::Result<()> {
        datagrams.check()?;
        let (mut at, mut moved) = (0, Instant::now());
        while let Some(datagram) = buffer.datagram(at) {
            match datagrams.send(datagram)? {
                DatagramOutcome::Done => {}
                DatagramOutcome::Cut => self.truncated(1),
                DatagramOutcome::Full => {
                    self.held_up(moved)?;
                    datagrams.wait(SLICE)?;
                    continue;
                }
                DatagramOutcome::Refused => return Err(self.refused(sent)),
            }
            moved = Instant::now();
            at += 1;
            *sent += 1;
        }
        if datagrams.was_refused() { Err(self.refused(sent)) } else { Ok(()) }
    }

    fn truncated(&self, records: u64) {
        if records > 0 {
            self.shared.state.lock().truncated += records;
        }
    }

    /// Nobody listens at the UDP port. The kernel says so of an earlier datagram, most likely the last.
    fn refused(&mut self, sent: &mut usize) -> io::Error {
        self.shared.state.lock().refused += 1;
        *sent = sent.saturating_sub(1);
        io::Error::new(ErrorKind::ConnectionRefused, "nobody listens at that port")
    }

    /// The target takes nothing now, and has not since `moved`. An error if that is to be waited for no longer.
    fn held_up(&mut self, moved: Instant) -> io::Result<()> {
        let now = Instant::now();
        self.window.held_up(now);
        if self.is_out_of_time() {
            let told = "the target takes nothing, and the sink is gone";
            return Err(io::Error::new(ErrorKind::TimedOut, told));
        }
        if !self.failing && now.saturating_duration_since(moved) >= STALLED {
            let told = format!("the target has taken nothing for {} seconds", STALLED.as_secs());
            self.failed(&io::Error::new(ErrorKind::TimedOut, told));
        }
        Ok(())
    }
}
