//! The end of a sink: what is queued is sent, for a while.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::super::connect::Connection;
use super::super::window::Outgoing;
use super::RemoteWriter;
use super::send::Unsent;
use crate::Batch;
use crate::queue::Work;

/// Time that a sink that is gone may take to send what it still has.
const CLOSING: Duration = Duration::from_secs(5);

/// Time between two looks of a sink that is gone whether all has arrived.
const DRAINING: Duration = Duration::from_millis(10);

/// Time that the other end of RELP may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

impl RemoteWriter {
    /// Tells whether the sink is gone, with nothing left to send or no time left to do so.
    pub(super) fn has_ended(&mut self) -> bool {
        let is_late = self.is_out_of_time();
        is_late || (self.queue.is_closed() && self.queue.accounts().pending == 0 && self.unsent.is_none())
    }

    pub(super) fn is_out_of_time(&mut self) -> bool {
        let now = Instant::now();
        self.queue.is_closed()
            && (now >= *self.deadline.get_or_insert(now + CLOSING) || self.shared.state.lock().is_over)
    }

    /// All is written: waits until it has arrived. False if the connection breaks meanwhile: then there is work again.
    pub(super) fn drain(&mut self) -> bool {
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
    pub(super) fn give_up(mut self) {
        match self.unsent.take() {
            Some(Unsent { what: Outgoing::Batch(batch), sent }) => self.abandon(&batch, sent),
            Some(Unsent { what: Outgoing::Loss(loss), .. }) => self.remember(Some(loss)),
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
