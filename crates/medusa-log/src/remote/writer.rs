//! The thread of a network sink: connects, takes batches, sends them, and again what may not have arrived.
//!
//! Work is taken from the queue only while there is a connection, so what waits for a target waits in the queue, where the
//! user's choice for a full one applies to it. The server's own log is told when the target fails and when it works again,
//! and nothing in between: that log may well end up here.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;

use super::backoff::Backoff;
use super::connect::{Connection, Connector};
use super::datagram::{Datagrams, Sent};
use super::lines::Lines;
use super::stream::Stream;
use super::window::Window;
use super::{RemoteOptions, RemoteTarget, Shared, Wording};
use crate::Batch;
use crate::queue::{Queue, Work};

/// How long one write waits before it looks whether it still should.
const SLICE: Duration = Duration::from_millis(250);

/// After how long without taking anything a target counts as one that fails.
const STALLED: Duration = Duration::from_secs(5);

/// How often to look after what was sent, while it may not have arrived.
const LOOK: Duration = Duration::from_millis(500);

/// How often to look after a connection that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

/// How long a sink that is gone may take to send what it still has.
const CLOSING: Duration = Duration::from_secs(5);

/// How often a sink that is gone looks whether all has arrived.
const DRAINING: Duration = Duration::from_millis(10);

/// The memory that is kept between two batches; a larger one was an exception.
const KEEP: usize = 256 * 1024;

pub(super) struct Writer {
    /// How the server's own log calls this sink.
    name: String,
    wording: Wording,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    connector: Connector,
    backoff: Backoff,
    /// How long to wait before the next attempt to connect.
    wait: Duration,
    connection: Option<(Connection, Lines)>,
    window: Window,
    /// What a connection that cannot be watched was sending when it broke.
    hand: Option<Hand>,
    /// What the stream has yet to be told.
    loss: Option<Loss>,
    failing: bool,
    /// When to give up, once the sink is gone.
    deadline: Option<Instant>,
    out: Vec<u8>,
    /// Where the datagrams in `out` end.
    ends: Vec<usize>,
}

/// A batch, and how many of its records are sent.
#[derive(Debug)]
struct Hand {
    batch: Arc<Batch>,
    sent: usize,
}

impl Writer {
    pub(super) fn new(
        target: &RemoteTarget,
        options: &RemoteOptions,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            name: target.to_string(),
            wording: options.wording.clone(),
            connector: Connector::new(target.clone(), options.max_size, Arc::clone(&shared)),
            queue,
            shared,
            backoff: Backoff::default(),
            wait: Duration::ZERO,
            connection: None,
            window: Window::new(),
            hand: None,
            loss: None,
            failing: false,
            deadline: None,
            out: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Works until the sink is gone and its queue empty, or [`CLOSING`] after it is gone.
    pub(super) fn run(mut self) {
        loop {
            if self.connection.is_none() {
                if self.has_ended() {
                    return self.give_up();
                }
                self.connect();
            } else if self.hand.is_some() {
                self.send_hand();
            } else if self.loss.is_some() {
                self.write(Arc::default());
            } else if !self.work() {
                return self.tell_unsaid();
            }
        }
    }

    /// Does what there is to do. False when that was all.
    fn work(&mut self) -> bool {
        match self.queue.next_within(if self.window.is_empty() { IDLE } else { LOOK }) {
            Work::Batch(batch, _) => self.write(batch),
            Work::Lost(loss) => {
                self.remember(loss); // told next
                self.queue.settle_loss();
            }
            Work::Nudge => self.look(),
            Work::End => return !self.drain(),
        }
        true
    }

    // Connections.

    /// Waits out the time between two attempts, then makes one.
    fn connect(&mut self) {
        self.rest();
        match self.connector.connect() {
            Ok((connection, peer)) => {
                let lines = match &connection {
                    Connection::Stream(_) => Lines::stream(&self.wording),
                    Connection::Datagrams(datagrams) => Lines::datagrams(&self.wording, datagrams.limit()),
                };
                self.backoff.connected(Instant::now());
                self.shared.connections.fetch_add(1, Relaxed);
                self.shared.lock().peer = Some(peer);
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
    fn broken(&mut self, in_hand: Option<Arc<Batch>>, error: &io::Error) {
        self.connection = None;
        self.shared.lock().peer = None;
        let again = self.window.take();
        if let Some(loss) = again.loss {
            self.remember(loss);
        }
        self.queue.put_back(again.batches, in_hand);
        self.shared.set_unacknowledged(0);
        self.failed(error);
        self.wait = self.backoff.failed(Instant::now());
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
        if let Err(error) = look(connection, &mut self.window) {
            return self.broken(None, &error);
        }
        self.shared.set_unacknowledged(self.window.unacknowledged());
        if self.failing && self.backoff.has_lasted(Instant::now()) {
            self.works(0);
        }
    }

    // Writing.

    /// Sends `batch`, and before it what is to be told of a loss.
    fn write(&mut self, batch: Arc<Batch>) {
        if let Some((Connection::Stream(_), _)) = &self.connection {
            self.write_stream(batch);
        } else {
            self.hand = Some(Hand { batch, sent: 0 });
            self.send_hand();
        }
    }

    fn write_stream(&mut self, batch: Arc<Batch>) {
        let Some((Connection::Stream(mut stream), mut lines)) = self.connection.take() else { return };
        self.begin();
        if let Some(loss) = &self.loss {
            lines.loss(loss, &mut self.out);
        }
        for entry in batch.iter() {
            lines.entry(&entry, &mut self.out);
        }
        let sent = stream.check().and_then(|()| self.send(&mut stream));
        let end = stream.wire().sent();
        self.connection = Some((Connection::Stream(stream), lines));
        match sent {
            Ok(()) => self.written(batch, end),
            Err(error) => self.broken(Some(batch).filter(|batch| !batch.is_empty()), &error),
        }
    }

    fn written(&mut self, batch: Arc<Batch>, end: u64) {
        self.works(self.out.len() as u64);
        if let Some(loss) = self.loss.take() {
            self.window.push_loss(loss, end);
        }
        if !batch.is_empty() {
            self.window.push(Arc::clone(&batch), end);
            // Before it is settled: a flush looks at both, in the other order.
            self.shared.set_unacknowledged(self.window.unacknowledged());
            self.queue.settle(&batch, batch.len());
        }
        self.look();
    }

    /// Sends all of `out`, however long that takes, unless the connection breaks or the sink is gone.
    fn send(&mut self, stream: &mut Stream) -> io::Result<()> {
        let (mut at, mut moved) = (0, Instant::now());
        loop {
            let before = stream.wire().sent();
            let (taken, is_sent) = stream.offer(&self.out[at..])?;
            at += taken;
            if is_sent {
                return Ok(());
            }
            let now = Instant::now();
            self.window.held_up(now);
            if stream.wire().sent() > before {
                moved = now;
            }
            self.stalled(now, moved)?;
            stream.wire().wait_writable(SLICE)?;
        }
    }

    /// The target takes nothing now, and has not since `moved`. An error if that is to be waited for no longer.
    fn stalled(&mut self, now: Instant, moved: Instant) -> io::Result<()> {
        if self.is_out_of_time() {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                "the target takes nothing, and the sink is gone",
            ));
        }
        if !self.failing && now.saturating_duration_since(moved) >= STALLED {
            let told = format!("the target has taken nothing for {} seconds", STALLED.as_secs());
            self.failed(&io::Error::new(ErrorKind::TimedOut, told));
        }
        Ok(())
    }

    /// Sends what is left of the batch in hand as datagrams.
    fn send_hand(&mut self) {
        let Some(Hand { batch, sent }) = self.hand.take() else { return };
        let Some((Connection::Datagrams(mut datagrams), mut lines)) = self.connection.take() else { return };
        self.begin();
        let loss = self.loss;
        if let Some(loss) = &loss {
            lines.loss(loss, &mut self.out);
            self.ends.push(self.out.len());
        }
        for entry in batch.iter().skip(sent) {
            lines.entry(&entry, &mut self.out);
            self.ends.push(self.out.len());
        }
        self.shared.truncated.fetch_add(lines.take_truncated(), Relaxed);
        let mut done = 0;
        let result = datagrams.check().and_then(|()| self.send_datagrams(&mut datagrams, &mut done));
        if loss.is_some() && done > 0 {
            self.loss = None;
            done -= 1;
        }
        let (is_watched, end) = (datagrams.is_watched(), datagrams.wire().sent());
        self.connection = Some((Connection::Datagrams(datagrams), lines));
        match result {
            Ok(()) if is_watched => {
                self.loss = loss;
                self.written(batch, end);
            }
            Ok(()) => {
                self.works(self.out.len() as u64);
                self.settle(&batch, batch.len());
            }
            Err(error) if is_watched => {
                self.loss = loss;
                self.broken(Some(batch).filter(|batch| !batch.is_empty()), &error);
            }
            Err(error) => {
                self.hand = Some(Hand { batch, sent: sent + done });
                self.broken(None, &error);
            }
        }
    }

    /// Sends the datagrams in `out`; `done` becomes the number of those that are sent.
    fn send_datagrams(&mut self, datagrams: &mut Datagrams, done: &mut usize) -> io::Result<()> {
        let mut moved = Instant::now();
        while let Some(&end) = self.ends.get(*done) {
            let begin = done.checked_sub(1).map_or(0, |before| self.ends[before]);
            let sent = datagrams.send(&self.out[begin..end])?;
            match sent {
                Sent::Done => *done += 1,
                Sent::Cut => {
                    self.shared.truncated.fetch_add(1, Relaxed);
                    *done += 1;
                }
                Sent::Full => {
                    let now = Instant::now();
                    self.window.held_up(now);
                    self.stalled(now, moved)?;
                    datagrams.wait(SLICE)?;
                    continue;
                }
                Sent::Refused => return Err(self.refused(done)),
            }
            moved = Instant::now();
        }
        if *done > 0 && datagrams.was_refused() { Err(self.refused(done)) } else { Ok(()) }
    }

    /// Nobody listens at the UDP port. The kernel says so of an earlier datagram, most likely the last.
    fn refused(&mut self, done: &mut usize) -> io::Error {
        self.shared.refused.fetch_add(1, Relaxed);
        *done = done.saturating_sub(1);
        io::Error::new(ErrorKind::ConnectionRefused, "nobody listens at that port")
    }

    fn begin(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEEP);
        self.ends.clear();
    }

    fn remember(&mut self, loss: Loss) {
        self.loss = Some(self.loss.map_or(loss, |known| known.merge(loss)));
    }

    fn settle(&self, batch: &Batch, written: usize) {
        if !batch.is_empty() {
            self.queue.settle(batch, written);
        }
    }

    // The end.

    /// Whether the sink is gone, with nothing left to send or no time left to do so.
    fn has_ended(&mut self) -> bool {
        if !self.queue.is_closed() {
            return false;
        }
        let is_late = self.is_out_of_time();
        is_late || (self.queue.accounts().pending == 0 && self.hand.is_none())
    }

    fn is_out_of_time(&mut self) -> bool {
        let now = Instant::now();
        self.queue.is_closed() && now >= *self.deadline.get_or_insert(now + CLOSING)
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
            let records = self.window.unacknowledged();
            tracing::warn!(log = self.name, records, "the log is closed before these records have arrived");
        }
        if let Some((Connection::Stream(stream), _)) = &mut self.connection {
            stream.finish();
        }
        true
    }

    /// What could not be sent is lost, unless the queue keeps it on disk.
    fn give_up(mut self) {
        if let Some(Hand { batch, sent }) = self.hand.take() {
            self.abandon(&batch, sent);
        }
        loop {
            match self.queue.next() {
                Work::Batch(batch, _) => self.abandon(&batch, 0),
                Work::Lost(loss) => {
                    self.remember(loss);
                    self.queue.settle_loss();
                }
                Work::Nudge => {}
                Work::End => break,
            }
        }
        self.tell_unsaid();
    }

    fn abandon(&mut self, batch: &Batch, sent: usize) {
        if !batch.is_empty()
            && let Some(loss) = self.queue.give_up(batch, sent)
        {
            self.remember(loss);
        }
    }

    fn tell_unsaid(self) {
        if let Some(loss) = self.loss {
            let records = loss.records;
            tracing::warn!(log = self.name, records, "records lost, and no way to say so in the log");
        }
    }
}

/// Whether `connection` stands, and what of `window` has arrived.
fn look(connection: &mut Connection, window: &mut Window) -> io::Result<()> {
    match connection {
        Connection::Stream(stream) => stream.check()?,
        Connection::Datagrams(datagrams) => datagrams.check()?,
    }
    if connection.is_watched() {
        window.acknowledged(connection.wire().acknowledged()?, Instant::now());
    }
    Ok(())
}
