//! The thread of a network sink: connects, takes batches, sends them, and again what may not have arrived.
//!
//! Work is taken from the queue only while there is a connection, so what waits for a target waits in the queue, where the
//! user's choice for a full one applies to it. The server's own log is told when the target fails and when it works again,
//! and nothing in between: that log may well end up here.

mod close;
mod send;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;

use super::backoff::Backoff;
use super::connect::{Connection, Connector};
use super::lines::Lines;
use super::relp::Refused;
use super::window::{Outgoing, ResendWindow};
use super::{RecordFraming, RemoteOptions, RemoteShared, RemoteTarget};
use crate::queue::{Queue, Work};
use send::{Buffer, Unsent};

/// Time between two looks after what was sent, while it may not have arrived.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks after a connection that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

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
    unsent: Option<Unsent>,
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
            } else if let Some(Unsent { what, sent }) = self.unsent.take() {
                self.write(what, sent); // it was in hand when the connection broke
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
            Work::Nudge if self.is_to_reopen() => self.connection = None,
            Work::Nudge => self.look(),
            Work::End => return !self.drain(),
        }
        true
    }

    /// Tells whether the target is to be opened anew, and no record would be lost by it.
    fn is_to_reopen(&self) -> bool {
        let is_reopened = std::mem::take(&mut self.shared.state.lock().is_reopened);
        is_reopened && self.connection.as_ref().is_some_and(|(connection, _)| !connection.is_watched())
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
        let in_hand = match in_hand {
            Some(Outgoing::Batch(batch)) => Some(batch),
            Some(Outgoing::Loss(loss)) => {
                self.remember(Some(loss));
                None
            }
            None => None,
        };
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
        let Outgoing::Batch(batch) = what else { return Some(what) };
        if delivered + batch.len() as u64 <= end {
            return Some(Outgoing::Batch(batch));
        }
        self.window.push(Outgoing::Batch(Arc::clone(&batch)), end);
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
