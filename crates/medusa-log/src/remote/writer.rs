//! The thread of a network sink: connects, takes batches, sends them, and again what may not have arrived.
//!
//! Work is taken from the queue only while there is a connection, so what waits for a target waits in the queue, where the
//! user's choice for a full one applies to it; and there goes back what a connection that breaks has not delivered.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::PollFlags;

use super::backoff::Backoff;
use super::connect::{Connection, Connector};
use super::datagram::{DatagramOutcome, Datagrams};
use super::lines::Lines;
use super::relp::Refused;
use super::stream::Stream;
use super::window::ResendWindow;
use super::{RecordFraming, RemoteOptions, RemoteState, RemoteTarget};
use crate::queue::{Queue, Records, Work, load};

/// Time between two looks after what was sent, while it may not have arrived.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks after a connection that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

/// Time that one write waits before it looks whether it still should.
const SLICE: Duration = Duration::from_millis(250);

/// Time without taking anything after which a target counts as one that fails.
const STALLED: Duration = Duration::from_secs(5);

/// Time that a sink that is gone may take to send what it still has.
const CLOSING: Duration = Duration::from_secs(5);

/// Time between two looks of a sink that is gone whether all has arrived.
const DRAINING: Duration = Duration::from_millis(10);

/// Time that the other end of RELP may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) struct RemoteWriter {
    framing: RecordFraming,
    connector: Connector,
    backoff: Backoff,
    /// How long to wait before the next attempt to connect.
    wait: Duration,
    connection: Option<(Connection, Lines)>,
    delivery: Delivery,
}

/// Records on their way, and how they fare.
struct Delivery {
    queue: Arc<Queue>,
    state: Arc<Mutex<RemoteState>>,
    /// What is in a unix socket is with its reader, whatever becomes of us.
    is_local: bool,
    window: ResendWindow,
    /// Records not acknowledged, as far as the queue has been told.
    unacknowledged: u64,
    /// When to give up, once the sink is gone.
    deadline: Option<Instant>,
}

impl RemoteWriter {
    pub(super) fn new(
        target: &RemoteTarget,
        options: &RemoteOptions,
        queue: &Arc<Queue>,
        state: &Arc<Mutex<RemoteState>>,
    ) -> Self {
        let takes_files = matches!(options.framing, RecordFraming::Journal(_));
        Self {
            framing: options.framing.clone(),
            connector: Connector::new(target.clone(), options.max_size, takes_files),
            backoff: Backoff::default(),
            wait: Duration::ZERO,
            connection: None,
            delivery: Delivery {
                queue: Arc::clone(queue),
                state: Arc::clone(state),
                is_local: target.is_local(),
                window: ResendWindow::new(target.is_relp()),
                unacknowledged: 0,
                deadline: None,
            },
        }
    }

    /// Works until the sink is gone and its queue empty, or its time is up.
    pub(super) fn run(mut self) {
        loop {
            if self.connection.is_none() {
                if self.delivery.has_ended() {
                    return;
                }
                self.connect();
            } else if !self.work() {
                return;
            }
        }
    }

    /// Does what there is to do. False when that was all.
    fn work(&mut self) -> bool {
        let time = if self.delivery.window.is_empty() { IDLE } else { LOOK };
        match self.delivery.queue.next(Some(time)) {
            Work::Records(records, _) => self.write(records),
            Work::Nudge => {
                let is_reopened = std::mem::take(&mut self.delivery.state.lock().is_reopened);
                match &self.connection {
                    // No record is lost by it.
                    Some((connection, _)) if is_reopened && !connection.is_watched() => {
                        self.connection = None;
                    }
                    _ => self.look(),
                }
                if self.backoff.has_lasted(Instant::now()) && self.delivery.queue.is_failing() {
                    self.delivery.queue.attempted(0, None);
                }
            }
            Work::End => return !self.drain(),
        }
        true
    }

    /// Waits out the time between two attempts, then makes one.
    fn connect(&mut self) {
        self.delivery.rest(std::mem::take(&mut self.wait));
        let secured = self.delivery.state.lock().secured.clone();
        match self.connector.connect(secured.as_ref()) {
            Ok((connection, peer)) => {
                self.backoff.connected(Instant::now());
                let mut state = self.delivery.state.lock();
                state.connections += 1;
                state.peer = Some(peer);
                let lines = Lines::new(&self.framing, &connection);
                self.connection = Some((connection, lines));
            }
            Err(error) => self.broken(None, &error),
        }
    }

    /// The connection is gone, or there was none: what may not have arrived is sent again by the next one, then `in_hand` but
    /// for its first records.
    fn broken(&mut self, in_hand: Option<(Records, usize)>, error: &io::Error) {
        self.connection = None;
        self.delivery.state.lock().peer = None;
        let again = self.delivery.window.take();
        self.delivery.queue.put_back(again, in_hand);
        self.delivery.note_unacknowledged(0);
        self.delivery.queue.attempted(0, Some(error.to_string()));
        self.wait = self.backoff.failed(Instant::now());
    }

    /// Sends `what`, however long that takes.
    fn write(&mut self, what: Records) {
        let Some((connection, lines)) = &mut self.connection else {
            return self.delivery.queue.put_back(Vec::new(), Some((what, 0)));
        };
        let before = lines.count;
        match self.delivery.send(connection, lines, &what) {
            Ok(()) => {
                let end = if self.delivery.window.knows() { lines.count } else { connection.wire().sent };
                let end = connection.is_watched().then_some(end);
                self.delivery.written(what, lines.bytes.len() as u64, end);
                self.look();
            }
            Err(error) => {
                // What the receiver has said comes before the end of a connection.
                let _broken = self.delivery.take_in(connection);
                let arrived = connection.delivered().saturating_sub(before);
                self.broken(Some((what, arrived as usize)), &error);
            }
        }
    }

    /// Looks after the connection: whether it still stands, and what has arrived.
    fn look(&mut self) {
        let Some((connection, _)) = &mut self.connection else { return };
        if let Err(error) = self.delivery.take_in(connection) {
            return self.broken(None, &error);
        }
        self.delivery.note_unacknowledged(0);
    }

    /// All is written: waits until it has arrived. False if the connection breaks meanwhile: then there is work again.
    fn drain(&mut self) -> bool {
        loop {
            self.look();
            if self.connection.is_none() {
                return false;
            }
            if self.delivery.window.is_acknowledged() || self.delivery.is_out_of_time() {
                break;
            }
            std::thread::park_timeout(DRAINING);
        }
        if !self.delivery.window.is_acknowledged() {
            if self.delivery.window.knows() || self.delivery.queue.spills() {
                // The other end does not have them: they are kept on disk, or counted as lost.
                let error = io::Error::new(ErrorKind::TimedOut, "the other end has not acknowledged all");
                self.broken(None, &error);
                return false;
            }
            let (log, records) = (self.delivery.queue.name(), self.delivery.window.unacknowledged());
            tracing::warn!(log, records, "the log is closed before these records have arrived");
        }
        if let Some((Connection::Stream(stream), lines)) = &mut self.connection {
            stream.finish(lines.count);
            // The other end of RELP answers, and would find the connection reset.
            let until = Instant::now() + GOODBYE;
            while stream.session.is_some() && stream.check().is_ok() && Instant::now() < until {
                std::thread::park_timeout(DRAINING);
            }
        }
        true
    }
}

impl Delivery {
    /// Waits for `wait`, less if nudged, or if the sink is gone and out of time.
    fn rest(&self, wait: Duration) {
        if wait.is_zero() {
            return;
        }
        if !self.queue.is_closed() {
            self.queue.pause(wait);
        } else if let Some(deadline) = self.deadline {
            std::thread::park_timeout(wait.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// Tells whether `connection` stands, and takes note of what has arrived.
    fn take_in(&mut self, connection: &mut Connection) -> io::Result<()> {
        let stands = connection.check();
        let position = match connection {
            Connection::Stream(Stream { session: Some(session), .. }) => {
                self.turned_down(std::mem::take(&mut session.refused));
                session.delivered()
            }
            _ if stands.is_ok() && connection.is_watched() => connection.wire().acknowledged()?,
            _ => return stands,
        };
        self.window.acknowledged(position, Instant::now());
        stands
    }

    /// What the receiver would not have is lost; it would refuse it again.
    fn turned_down(&self, Refused { count, reason }: Refused) {
        if count > 0 {
            self.state.lock().refused += count;
            (0..count).for_each(|_| self.queue.tear());
            let log = self.queue.name();
            tracing::warn!(log, records = count, reason, "records lost: the receiver refuses them");
        }
    }

    fn send(&mut self, connection: &mut Connection, lines: &mut Lines, what: &Records) -> io::Result<()> {
        self.wait_for_room(connection, what)?;
        lines.fill(what);
        self.truncated(std::mem::take(&mut lines.truncated));
        match connection {
            Connection::Stream(stream) => self.send_stream(stream, &lines.bytes),
            Connection::Datagrams(datagrams) => self.send_datagrams(datagrams, lines),
        }
    }

    /// Waits until the receiver has acknowledged so much that `what` may follow.
    fn wait_for_room(&mut self, connection: &mut Connection, what: &Records) -> io::Result<()> {
        let (mut known, mut moved) = (connection.delivered(), Instant::now());
        while !self.window.has_room(what) {
            self.take_in(connection)?;
            if connection.delivered() != known {
                (known, moved) = (connection.delivered(), Instant::now());
                continue;
            }
            self.held_up(moved)?;
            connection.wire().wait(PollFlags::IN, SLICE)?;
        }
        Ok(())
    }

    /// `what` is with the kernel. On a connection that is watched, which has taken `end` bytes or records by now, it may
    /// still have to come again.
    fn written(&mut self, what: Records, bytes: u64, end: Option<u64>) {
        self.queue.attempted(bytes, None);
        if end.is_some() {
            // Before it is settled: a flush looks at both, in the other order.
            self.note_unacknowledged(load(&what).records);
        }
        let counts = self.queue.settle(&what, load(&what).records as usize);
        if let Some(end) = end.filter(|_| counts) {
            self.window.push(what, end);
        }
    }

    /// Notes how many records are not acknowledged, with so many `more`.
    fn note_unacknowledged(&mut self, more: u64) {
        let records = self.window.unacknowledged() + more;
        if !self.is_local && std::mem::replace(&mut self.unacknowledged, records) != records {
            self.queue.set_unacknowledged(records);
        }
    }

    fn send_stream(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
        stream.check()?;
        let (mut at, mut moved) = (0, Instant::now());
        loop {
            let before = stream.wire.sent;
            let (taken, is_sent) = stream.offer(&bytes[at..])?;
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

    fn send_datagrams(&mut self, datagrams: &mut Datagrams, lines: &Lines) -> io::Result<()> {
        datagrams.check()?;
        let (mut begin, mut moved) = (0, Instant::now());
        for &end in &lines.ends_at {
            let outcome = loop {
                match datagrams.send(&lines.bytes[begin..end])? {
                    DatagramOutcome::Full => self.held_up(moved)?,
                    outcome => break outcome,
                }
                datagrams.wait(SLICE)?;
            };
            match outcome {
                DatagramOutcome::Cut => self.truncated(1),
                DatagramOutcome::Refused => return Err(self.refused(datagrams)),
                DatagramOutcome::Done | DatagramOutcome::Full => {}
            }
            (begin, moved) = (end, Instant::now());
            datagrams.sent += 1;
        }
        if datagrams.was_refused() { Err(self.refused(datagrams)) } else { Ok(()) }
    }

    fn truncated(&self, records: u64) {
        if records > 0 {
            self.state.lock().truncated += records;
        }
    }

    /// Nobody listens at the UDP port. The kernel says so of an earlier datagram, most likely the last.
    fn refused(&self, datagrams: &mut Datagrams) -> io::Error {
        self.state.lock().refused += 1;
        datagrams.sent = datagrams.sent.saturating_sub(1);
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
        if now.saturating_duration_since(moved) >= STALLED && !self.queue.is_failing() {
            let told = format!("the target has taken nothing for {} seconds", STALLED.as_secs());
            self.queue.attempted(0, Some(told));
        }
        Ok(())
    }

    /// Tells whether the sink is gone, with nothing left to send or no time left to do so.
    fn has_ended(&mut self) -> bool {
        let is_late = self.is_out_of_time();
        is_late || (self.queue.is_closed() && self.queue.accounts().pending == 0)
    }

    fn is_out_of_time(&mut self) -> bool {
        let now = Instant::now();
        self.queue.is_closed() && (now >= *self.deadline.get_or_insert(now + CLOSING) || self.queue.is_over())
    }
}
