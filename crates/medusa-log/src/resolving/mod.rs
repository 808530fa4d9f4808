//! Host names instead of addresses in the records.
//!
//! - `hostname`: which names may stand in a log;
//! - `worker`: the thread that asks for names and passes batches on;
//! - `window`: how many questions may be open.
//!
//! A batch waits until the names of all its records are known, for as long as [`ResolvingOptions::deadline`] says and no longer,
//! and then goes on, where a name is missing with the address. Batches go on in the order in which they came: one that needs
//! no name waits behind one that does, by the deadline at most.
//!
//! **Invariants.** No record is lost here: what there is no room for goes on unresolved, and is counted. No record waits
//! longer than the deadline, whatever a name server does. Everything is bounded: memory by [`MAX_HELD`], open questions by
//! the window.
//!
//! Whoever owns an address decides what its name is. So a name is written only if it could be a host's and could not be
//! taken for an address; else a client would choose under which address, or with which control characters, it is logged.

mod hostname;
mod window;
mod worker;

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use medusa_proto::entry::Entry;
use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;

use crate::drain;
use crate::mailbox::{Load, Mailbox};
use crate::sink::spawn;
use crate::{Batch, Flushed, Sink, SinkError};
pub use hostname::hostname;
use worker::NameWorker;

/// Memory of records that wait, in bytes: as much as other sinks queue. What does not fit goes on unresolved.
const MAX_HELD: Load = Load { records: u64::MAX, bytes: 32 * 1024 * 1024 };

/// Source of the names of addresses. Stands between this crate and a resolver, of which it knows nothing.
pub trait Names: fmt::Debug + Send + Sync + 'static {
    /// Tells whether [`prepare`](Self::prepare) would succeed, as far as can be told without leaving a trace.
    ///
    /// # Errors
    ///
    /// Names cannot be looked up as it is set up.
    fn check(&self) -> Result<(), NamesError>;

    /// Makes ready for questions; called again, it does nothing.
    ///
    /// # Errors
    ///
    /// Names cannot be looked up as it is set up.
    fn prepare(&self) -> Result<(), NamesError>;

    /// Tells what is known of `address` now. Does not wait: called for every record.
    fn known(&self, address: IpAddr) -> Known;

    /// Finds out the name of `address`, and gives it to `answer` from whatever thread it likes; dropping `answer` says
    /// that there is none. Does not wait.
    fn ask(&self, address: IpAddr, answer: Answer);
}

/// Fault of a resolver.
pub type NamesError = Box<dyn Error + Send + Sync>;

/// Knowledge of an address's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// This is its name; not checked yet.
    Name(Arc<str>),
    /// It has none, or none that could be found out a moment ago.
    NoName,
    /// It has to be asked for.
    NotYet,
}

/// The way back of an answer. It does not keep the sink alive.
#[derive(Debug)]
pub struct Answer {
    address: IpAddr,
    name: Option<Arc<str>>,
    mailbox: Weak<Mailbox<Arrival>>,
}

impl Answer {
    /// Answers: the name of the address, as the name server has it.
    pub fn give(mut self, name: Option<Arc<str>>) {
        self.name = name;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.upgrade() {
            mailbox.put(Arrival::Answer(self.address, self.name.take()));
        }
    }
}

/// Message to the worker.
#[derive(Debug)]
enum Arrival {
    /// A batch, and when.
    Batch(Arc<Batch>, Instant),
    /// An answer: one for each question that is open, at most.
    Answer(IpAddr, Option<Arc<str>>),
}

/// Counts of what became of access records that came with an address.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Addresses whose names are being asked for.
    asked: usize,
    /// Records whose names were found.
    named: u64,
    /// Records whose addresses have no name, or none that may be logged.
    nameless: u64,
    /// Records whose answer did not come before the deadline.
    late: u64,
    /// Records there was no room for to wait, or for which too many were being asked for.
    not_asked: u64,
}

/// Options of a [`ResolvingSink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvingOptions {
    /// How long a record waits for the name of its client. Default: 500 ms, in which a name server that is well answers
    /// what it has to ask others; half a second of records is what a killed server loses more. With zero, only names
    /// that are known already are written.
    pub deadline: Duration,
}

impl Default for ResolvingOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_millis(500) }
    }
}

/// Writes the host names of clients into the records, and passes these on to another sink.
///
/// Dropping it does not wait: what waits for names still does, and goes on at the deadline.
#[derive(Debug)]
pub struct ResolvingSink {
    shared: Arc<ResolvingShared>,
    /// Whether the worker runs.
    started: Mutex<bool>,
}

/// Part of a sink that lasts as long as its worker works.
#[derive(Debug)]
struct ResolvingShared {
    names: Arc<dyn Names>,
    sink: Arc<dyn Sink>,
    deadline: Duration,
    mailbox: Arc<Mailbox<Arrival>>,
    tally: Mutex<Tally>,
}

impl ResolvingSink {
    /// Has `names` find the names for the records of `sink`. Nothing runs before it is [prepared](Sink::prepare).
    pub fn new(names: Arc<dyn Names>, sink: Arc<dyn Sink>, options: ResolvingOptions) -> Self {
        let (mailbox, tally) = (Arc::new(Mailbox::new(MAX_HELD)), Mutex::default());
        let shared = ResolvingShared { names, sink, deadline: options.deadline, mailbox, tally };
        Self { shared: Arc::new(shared), started: Mutex::default() }
    }
}

fn no_names(source: NamesError) -> SinkError {
    SinkError::new("with names", "look them up").because(source)
}

impl Sink for ResolvingSink {
    fn check(&self) -> Result<(), SinkError> {
        self.shared.names.check().map_err(no_names)
    }

    fn prepare(&self) -> Result<(), SinkError> {
        self.shared.names.prepare().map_err(no_names)?;
        let mut started = self.started.lock();
        if !*started {
            let shared = Arc::clone(&self.shared);
            spawn("log-names", "with names", || NameWorker::new(shared).run())?;
            drain::enter(&self.shared.mailbox);
            *started = true;
        }
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        let arrival = Arrival::Batch(Arc::clone(batch), Instant::now());
        if !self.shared.mailbox.offer(arrival, Load::of(batch)) {
            let records = batch.iter().filter(|entry| matches!(entry, Entry::Access(_))).count();
            self.shared.tally.lock().not_asked += records as u64;
            self.shared.sink.submit(batch);
        }
    }

    /// Waits for names, too, but no longer than for its own deadline, and for no more than half of the time.
    fn flush(&self, deadline: Instant) -> Flushed {
        let started = *self.started.lock();
        let here = if started { self.shared.mailbox.flush(deadline) } else { 0 };
        Flushed { left: here, spilled: 0 }.and(self.shared.sink.flush(deadline))
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        std::slice::from_ref(&self.shared.sink)
    }

    fn status(&self) -> Status {
        let (pending, tally) = (self.shared.mailbox.pending(), *self.shared.tally.lock());
        Status::new("log.resolving", "")
            .field("deadline", self.shared.deadline)
            .gauge("waiting", pending.records)
            .gauge("waiting_bytes", Value::Bytes(pending.bytes as u64))
            .gauge("asked", tally.asked)
            .counter("named", tally.named)
            .counter("nameless", tally.nameless)
            .counter("late", tally.late)
            .counter("not_asked", tally.not_asked)
    }
}

impl Drop for ResolvingSink {
    fn drop(&mut self) {
        self.shared.mailbox.close();
    }
}

#[cfg(test)]
mod tests;
