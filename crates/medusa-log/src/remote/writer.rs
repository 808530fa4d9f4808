//! The thread of a network sink: connects, takes batches, sends them, and again what may not have arrived.
//!
//! Work is taken from the queue only while there is a connection, so what waits for a target waits in the queue, where the
//! user's choice for a full one applies to it. The server's own log is told when the target fails and when it works again,
//! and nothing in between: that log may well end up here.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use rustix::event::PollFlags;

use super::backoff::Backoff;
use super::connect::{Connection, Connector};
use super::datagram::{DatagramOutcome, Datagrams};
use super::lines::Lines;
use super::relp::Refused;
use super::stream::Stream;
use super::window::{Outgoing, ResendWindow};
use super::{RecordFraming, RemoteOptions, RemoteShared, RemoteTarget};
use crate::Batch;
use crate::queue::{Queue, Work};

/// Time between two looks after what was sent, while it may not have arrived.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks after a connection that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

/// Time that one write waits before it looks whether it still should.
const SLICE: Duration = Duration::from_millis(250);

/// Time without taking anything after which a target counts as one that fails.
const STALLED: Duration = Duration::from_secs(5);

/// The memory that is kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

/// Bytes that go over the wire next.
#[derive(Debug, Default)]
struct Buffer {
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
}

/// Time that a sink that is gone may take to send what it still has.
const CLOSING: Duration = Duration::from_secs(5);

/// Time between two looks of a sink that is gone whether all has arrived.
const DRAINING: Duration = Duration::from_millis(10);

/// Time that the other end of RELP may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) struct RemoteWriter {
    /// How the server's own log calls this sink.
    name: String,
    framing: RecordFraming,
    queue: Arc<Queue>,
    shared: Arc<RemoteShared>,
    connector: Connector,
    backoff: Backoff,
    /// How long to wait before the next attempt to connect.
    wait: Duration,
    connection: Option<(Connection, Lines)>,
    window: ResendWindow,
    /// What was in hand when the connection broke, as by UDP nobody could tell the next one otherwise, and how many datagrams of
    /// it are sent.
    unsent: Option<(Outgoing, usize)>,
    /// What the target has yet to be told.
    loss: Option<Loss>,
    failing: bool,
    /// When to give up, once the sink is gone.
    deadline: Option<Instant>,
    buffer: Buffer,
}

impl RemoteWriter {
    pub(super) fn new(target: &RemoteTarget, options: &RemoteOptions, shared: Arc<RemoteShared>) -> Self {
        Self {
            name: target.to_string(),
            framing: options.framing.clone(),
            connector: Connector::new(
                target.clone(),
                options.max_size,
                matches!(options.framing, RecordFraming::Journal(_)),
            ),
            queue: Arc::clone(&shared.queue),
            shared,
            backoff: Backoff::default(),
            wait: Duration::ZERO,
            connection: None,
            window: ResendWindow::new(target.is_relp()),
            unsent: None,
            loss: None,
            failing: false,
            deadline: None,
            buffer: Buffer::default(),
        }
    }

    /// Works until the sink is gone and its queue empty, or its time is up.
    pub(super) fn run(mut self) {
        loop {
            if self.connection.is_none() {
                if self.has_ended() {
                    return self.give_up();
                }
                self.connect();
            } else if let Some((what, sent)) = self.unsent.take() {
                self.write(what, sent);
            } else if let Some(loss) = self.loss.take() {
                self.write(Outgoing::Loss(loss), 0);
            } else if !self.work() {
                return;
            }
        }
    }

    /// Does what there is to do. False when that was all.
    fn work(&mut self) -> bool {
        match self.queue.next(Some(if self.window.is_empty() { IDLE } else { LOOK })) {
            Work::Batch(batch, _) => self.write(Outgoing::Batch(batch), 0),
            Work::Lost(loss) => {
                self.remember(Some(loss)); // told next
                self.queue.settle_loss();
            }
            Work::Nudge => {
                let is_reopened = std::mem::take(&mut self.shared.state.lock().is_reopened);
                match &self.connection {
                    // No record is lost by it.
                    Some((connection, _)) if is_reopened && !connection.is_watched() => {
                        self.connection = None;
                    }
                    _ => self.look(),
                }
            }
            Work::End => return !self.drain(),
        }
        true
    }

    /// Waits out the time between two attempts, then makes one.
    fn connect(&mut self) {
        self.rest();
        let secured = self.shared.state.lock().secured.clone();
        match self.connector.connect(secured.as_ref()) {
            Ok((connection, peer)) => {
                self.backoff.connected(Instant::now());
                let mut state = self.shared.state.lock();
                state.connections += 1;
                state.peer = Some(peer);
                let lines = Lines::new(&self.framing, &connection);
                self.connection = Some((connection, lines));
            }
            Err(error) => {
                self.failed(&error);
                self.wait = self.backoff.failed(Instant::now());
            }
        }
    }

    /// Less if nudged, or if the sink is gone and out of time.
    fn rest(&mut self) {
        let wait = std::mem::take(&mut self.wait);
        if wait.is_zero() {
            return;
        }
        if !self.queue.is_closed() {
            self.queue.pause(wait);
        } else if let Some(deadline) = self.deadline {
            std::thread::park_timeout(wait.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// The connection is gone: what may not have arrived is sent again by the next one, then `in_hand`.
    fn broken(&mut self, in_hand: Option<Outgoing>, error: &io::Error) {
        self.hear();
        self.connection = None;
        self.shared.state.lock().peer = None;
        let again = self.window.take();
        let (in_hand, loss) = match in_hand {
            Some(Outgoing::Batch(batch)) => (Some(batch), None),
            Some(Outgoing::Loss(loss)) => (None, Some(loss)),
            None => (None, None),
        };
        self.remember(loss);
        self.remember(again.loss);
        self.queue.put_back(again.batches, in_hand);
        self.shared.set_unacknowledged(0);
        self.failed(error);
        self.wait = self.backoff.failed(Instant::now());
    }

    /// Takes in what the receiver has acknowledged, as far as it does. What it has said comes before the end of a connection.
    fn hear(&mut self) -> Option<u64> {
        let Some((Connection::Stream(stream), _)) = &mut self.connection else { return None };
        stream.delivered()?;
        let _broken = stream.check();
        let delivered = stream.delivered()?;
        self.delivered(delivered);
        Some(delivered)
    }

    /// The receiver has acknowledged so many records. Those it would not have are lost; it would refuse them again.
    fn delivered(&mut self, records: u64) {
        self.window.delivered(records);
        let Some((Connection::Stream(stream), _)) = &mut self.connection else { return };
        let Some(session) = &mut stream.session else { return };
        let Refused { count, reason } = std::mem::take(&mut session.refused);
        if count > 0 {
            self.shared.state.lock().refused += count;
            (0..count).for_each(|_| self.queue.tear());
            tracing::warn!(
                log = self.name,
                records = count,
                reason,
                "records lost: the receiver refuses them"
            );
        }
    }

    /// `what` was being sent when the connection broke, and would have been all of it after `end` records. If some of it is
    /// with the receiver, it counts as sent, and the rest of it comes again with all else.
    fn begun(&mut self, what: Outgoing, end: u64) -> Option<Outgoing> {
        let delivered = self.hear().unwrap_or_default();
        let batch = what.batch().filter(|batch| delivered + batch.len() as u64 > end).map(Arc::clone);
        let Some(batch) = batch else { return Some(what) };
        self.window.push(what, end);
        self.window.delivered(delivered);
        self.queue.settle(&batch, batch.len());
        None
    }

    fn failed(&mut self, error: &io::Error) {
        self.queue.attempted(0, Some(error.to_string()));
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(log = self.name, %error, "cannot send the log, will go on trying");
        }
    }

    fn works(&mut self, bytes: u64) {
        self.queue.attempted(bytes, None);
        if std::mem::take(&mut self.failing) {
            tracing::info!(log = self.name, "the log can be sent again");
        }
    }

    /// Looks after the connection: whether it still stands, and what has arrived.
    fn look(&mut self) {
        let Some((connection, _)) = &mut self.connection else { return };
        match look(connection, &mut self.window) {
            Err(error) => return self.broken(None, &error),
            Ok(Some(delivered)) => self.delivered(delivered),
            Ok(None) => {}
        }
        self.shared.set_unacknowledged(self.window.unacknowledged());
        if self.failing && self.backoff.has_lasted(Instant::now()) {
            self.works(0);
        }
    }

    fn remember(&mut self, loss: Option<Loss>) {
        self.loss = self.loss.into_iter().chain(loss).reduce(Loss::merge);
    }
}

/// Sending one batch, however long that takes.
impl RemoteWriter {
    /// Sends `what`, but for its first `sent` records.
    fn write(&mut self, what: Outgoing, mut sent: usize) {
        // Taken out, as sending may report what is going on.
        let Some((mut connection, mut lines)) = self.connection.take() else {
            self.unsent = Some((what, sent));
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
                let in_hand = if acknowledges { self.begun(what, end) } else { Some(what) };
                self.broken(in_hand, &error);
            }
            Err(error) => {
                self.unsent = Some((what, sent));
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
        let (mut begin, mut moved) = (0, Instant::now());
        for &end in &buffer.ends {
            let outcome = loop {
                match datagrams.send(&buffer.bytes[begin..end])? {
                    DatagramOutcome::Full => self.held_up(moved)?,
                    outcome => break outcome,
                }
                datagrams.wait(SLICE)?;
            };
            match outcome {
                DatagramOutcome::Cut => self.truncated(1),
                DatagramOutcome::Refused => return Err(self.refused(sent)),
                DatagramOutcome::Done | DatagramOutcome::Full => {}
            }
            (begin, moved) = (end, Instant::now());
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

/// The end of a sink: what is queued is sent, for a while.
impl RemoteWriter {
    /// Tells whether the sink is gone, with nothing left to send or no time left to do so.
    fn has_ended(&mut self) -> bool {
        let is_late = self.is_out_of_time();
        is_late || (self.queue.is_closed() && self.queue.accounts().pending == 0 && self.unsent.is_none())
    }

    fn is_out_of_time(&mut self) -> bool {
        let now = Instant::now();
        self.queue.is_closed()
            && (now >= *self.deadline.get_or_insert(now + CLOSING) || self.shared.state.lock().is_over)
    }

    /// All is written: waits until it has arrived. False if the connection breaks meanwhile: then there is work again.
    fn drain(&mut self) -> bool {
        while !self.is_out_of_time() {
            self.look();
            if self.connection.is_none() {
                return false;
            }
            if self.window.is_acknowledged() {
                break;
            }
            std::thread::park_timeout(DRAINING);
        }
        if !self.window.is_acknowledged() {
            if self.window.knows() || self.queue.spills() {
                // The other end does not have them: they are kept on disk, or counted as lost.
                let error = io::Error::new(ErrorKind::TimedOut, "the other end has not acknowledged all");
                self.broken(None, &error);
                return false;
            }
            let records = self.window.unacknowledged();
            tracing::warn!(log = self.name, records, "the log is closed before these records have arrived");
        }
        if let Some((Connection::Stream(stream), lines)) = &mut self.connection {
            stream.finish(lines.frames());
            // The other end of RELP answers, and would find the connection reset.
            let until = Instant::now() + GOODBYE;
            while stream.delivered().is_some() && stream.check().is_ok() && Instant::now() < until {
                std::thread::park_timeout(DRAINING);
            }
        }
        true
    }

    /// Counts as lost what could not be sent, unless the queue keeps it on disk.
    fn give_up(mut self) {
        match self.unsent.take() {
            Some((Outgoing::Batch(batch), sent)) => self.abandon(&batch, sent),
            Some((Outgoing::Loss(loss), _)) => self.remember(Some(loss)),
            None => {}
        }
        loop {
            match self.queue.next(None) {
                Work::Batch(batch, _) => self.abandon(&batch, 0),
                Work::Lost(loss) => {
                    self.remember(Some(loss));
                    self.queue.settle_loss();
                }
                Work::Nudge => {}
                Work::End => break,
            }
        }
        if let Some(loss) = self.loss {
            let records = loss.records;
            tracing::warn!(log = self.name, records, "records lost, and no way to say so in the log");
        }
    }

    fn abandon(&mut self, batch: &Batch, sent: usize) {
        let loss = self.queue.give_up(batch, sent);
        self.remember(loss);
    }
}

/// Tells whether `connection` stands, and takes note of what of `window` has arrived: how many records, if the receiver says.
fn look(connection: &mut Connection, window: &mut ResendWindow) -> io::Result<Option<u64>> {
    match connection {
        Connection::Stream(stream) => {
            stream.check()?;
            if let Some(delivered) = stream.delivered() {
                return Ok(Some(delivered));
            }
        }
        Connection::Datagrams(datagrams) => datagrams.check()?,
    }
    if connection.is_watched() {
        window.acknowledged(connection.wire().acknowledged()?, Instant::now());
    }
    Ok(None)
}
