//! The thread of a file sink: takes batches, formats them, writes them.
//!
//! When a write fails it is tried again every [`RETRY`], until the batch has waited longer than the sink's patience, or
//! the sink is gone; then what is not written of it is lost. Records lost here or in the queue become one line in the
//! stream, ahead of the next record that can be written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use medusa_proto::format::Encoder;

use super::Options;
use super::output::Output;
use super::pending::Pending;
use crate::local::LocalOffset;
use crate::queue::{Queue, Records, Work};

/// Between two attempts. Short enough to lose little once a full disk has room again, and no load while it has not.
const RETRY: Duration = Duration::from_millis(250);

pub(super) struct FileWriter<W> {
    patience: Duration,
    queue: Arc<Queue>,
    to: W,
    encoder: Encoder,
    local: LocalOffset,
    pending: Pending,
    /// What the stream has yet to be told.
    loss: Option<Loss>,
    /// Whether the line left over in `pending`, if there is one, tells a loss; else it is a record.
    owes_loss: bool,
}

impl<W: Output> FileWriter<W> {
    pub(super) fn new(options: &Options, queue: Arc<Queue>, to: W) -> Self {
        Self {
            patience: options.patience,
            queue,
            to,
            encoder: Encoder::new(options.format.clone()),
            local: LocalOffset::default(),
            pending: Pending::default(),
            loss: None,
            owes_loss: false,
        }
    }

    /// Works until the sink is gone and its queue empty. Returns what the stream could not be told of.
    pub(super) fn run(mut self) -> Option<Loss> {
        loop {
            match self.queue.next(self.to.due_in()) {
                Work::Records(records, since) => self.write(&records, since),
                Work::Nudge => self.catch_up(),
                Work::End => break,
            }
        }
        // One last attempt at what is left over.
        self.catch_up();
        if !self.pending.is_done() && !self.owes_loss {
            self.queue.tear();
        }
        self.loss
    }

    /// Writes `records`, however many attempts it takes, or gives them up. A loss is tried once, and kept in mind.
    fn write(&mut self, records: &Records, since: Instant) {
        let batch = match records {
            Ok(batch) => batch,
            Err(loss) => {
                self.remember(Some(*loss));
                self.write_loss();
                self.queue.settle(records, 0);
                return;
            }
        };
        let (begin, body) = self.begin();
        for entry in batch.iter() {
            let offset = self.local.at(entry.time());
            self.encoder.encode(&entry, offset, self.pending.lines());
            self.pending.lines().push(b'\n');
        }
        while !self.send() {
            if self.queue.is_closed() || since.elapsed() >= self.patience {
                self.give_up(begin, body);
                let written = self.pending.lines_after(body);
                let loss = self.queue.give_up(records, written);
                return self.remember(loss);
            }
            self.queue.pause(RETRY);
        }
        self.loss = None;
        self.queue.settle(records, batch.len());
    }

    /// Writes what is left over and tells of a loss, if there is either: a file just reopened may take them. And looks
    /// whether the file is due for something although there is nothing to write.
    fn catch_up(&mut self) {
        if self.loss.is_some() || !self.pending.is_done() {
            self.write_loss();
        } else {
            self.renew();
        }
        if let Err(error) = self.to.sync() {
            self.queue.attempted(0, Some(error.to_string()));
        }
    }

    /// Tells the stream what it has lost, if that can be done at once.
    fn write_loss(&mut self) {
        let (begin, body) = self.begin();
        if self.send() {
            self.loss = None;
        } else {
            self.give_up(begin, body);
        }
    }

    /// Begins new lines, behind what is left over: with what the stream has yet to be told. Returns where that begins and
    /// ends.
    fn begin(&mut self) -> (usize, usize) {
        self.pending.forget_written();
        let begin = self.pending.len();
        if let Some(loss) = &self.loss {
            let offset = self.local.at(loss.to);
            self.encoder.encode_loss(loss, offset, self.pending.lines());
            self.pending.lines().push(b'\n');
        }
        (begin, self.pending.len())
    }

    /// Drops what has not been begun of the lines from `begin` on. Up to `body` they tell a loss, then come records.
    fn give_up(&mut self, begin: usize, body: usize) {
        let end = self.pending.drop_unbegun(begin);
        if end > begin {
            self.loss = None;
            self.owes_loss = end <= body;
        }
    }

    fn remember(&mut self, loss: Option<Loss>) {
        self.loss = self.loss.into_iter().chain(loss).reduce(Loss::merge);
    }

    /// Lets the output go over to another file. A line begun in the old one is begun again there.
    fn renew(&mut self) {
        if self.to.renew(self.pending.next_line(), self.pending.is_mid_line()) {
            self.pending.restart_line();
        }
    }

    /// One attempt to write all that is pending: as many lines at a time as there is room for in one file.
    fn send(&mut self) -> bool {
        let mut bytes = 0;
        loop {
            self.renew();
            let before = self.pending.left();
            let sent = self.pending.send(self.to.room(), &mut self.to);
            bytes += (before - self.pending.left()) as u64;
            if sent.is_err() || self.pending.is_done() {
                let error = sent.and_then(|()| self.to.sync()).err();
                self.queue.attempted(bytes, error.map(|error| error.to_string()));
                return self.pending.is_done();
            }
        }
    }
}

#[cfg(test)]
mod tests;
