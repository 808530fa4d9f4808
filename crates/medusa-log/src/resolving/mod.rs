//! Host names instead of addresses in the records.
//!
//! - `hostname`: which names may stand in a log;
//! - `desk`: where workers leave batches and the resolver leaves answers;
//! - `clerk`: the thread that puts the two together;
//! - `window`: how many questions may be open.
//!
//! A record whose name is known goes on at once, and so does one that has none. Any other waits for its answer, for as
//! long as [`ResolvingOptions::deadline`] says and no longer, and then goes on with its address. So lines pass each
//! other: one may come later than those behind it, by the deadline at most. Formats write the time of the request.
//!
//! **Invariants.** No record is lost here: what there is no room for goes on unresolved, and is counted. No record waits
//! longer than the deadline, whatever a name server does, and none waits for another's answer. Everything is bounded:
//! memory by [`MAX_HELD`], open questions by the window.
//!
//! Whoever owns an address decides what its name is. So a name is written only if it could be a host's and could not be
//! taken for an address; else a client would choose under which address, or with which control characters, it is logged.

mod clerk;
mod desk;
mod hostname;
mod window;

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;

use crate::drain::{self, Drain};
use crate::sink::NO_THREAD;
use crate::{Batch, Flushed, Sink, SinkError};
use clerk::Clerk;
use desk::Desk;
pub use hostname::hostname;

/// Memory of records that wait, in bytes: as much as other sinks queue. What does not fit goes on unresolved.
const MAX_HELD: usize = 32 * 1024 * 1024;

/// Who knows the names of addresses. Stands between this crate and a resolver, of which it knows nothing.
pub trait Names: fmt::Debug + Send + Sync + 'static {
    /// Whether [`prepare`](Self::prepare) would succeed, as far as can be told without leaving a trace.
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

    /// What is known of `address` now. Does not wait: called for every record.
    fn known(&self, address: IpAddr) -> Known;

    /// Finds out the name of `address`, and gives it to `answer` from whatever thread it likes; dropping `answer` says
    /// that there is none. Does not wait.
    fn ask(&self, address: IpAddr, answer: Answer);
}

/// What is wrong with a resolver.
pub type NamesError = Box<dyn Error + Send + Sync>;

/// What is known of an address's name.
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
    desk: Weak<Desk>,
}

impl Answer {
    /// Answers: the name of the address, as the name server has it.
    pub fn give(mut self, name: Option<Arc<str>>) {
        self.name = name;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.upgrade() {
            desk.answer(self.address, self.name.take());
        }
    }
}

/// What a user may choose about a [`ResolvingSink`].
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
    names: Arc<dyn Names>,
    sink: Arc<dyn Sink>,
    options: ResolvingOptions,
    desk: Arc<Desk>,
    /// Whether the clerk works.
    started: Mutex<bool>,
}

impl ResolvingSink {
    /// Has `names` find the names for the records of `sink`. Nothing runs before it is [prepared](Sink::prepare).
    pub fn new(names: Arc<dyn Names>, sink: Arc<dyn Sink>, options: ResolvingOptions) -> Self {
        Self { names, sink, options, desk: Arc::new(Desk::new(MAX_HELD)), started: Mutex::default() }
    }

    fn start(&self) -> Result<(), SinkError> {
        let (names, sink) = (Arc::clone(&self.names), Arc::clone(&self.sink));
        let clerk = Clerk::new(names, sink, Arc::clone(&self.desk), self.options.deadline);
        std::thread::Builder::new()
            .name("log-names".to_owned())
            .spawn(move || clerk.run())
            .map_err(|source| SinkError::new("with names", NO_THREAD).because(source))?;
        drain::enter(&self.desk);
        Ok(())
    }
}

fn no_names(source: NamesError) -> SinkError {
    SinkError::new("with names", "look them up").because(source)
}

impl Sink for ResolvingSink {
    fn check(&self) -> Result<(), SinkError> {
        self.names.check().map_err(no_names)?;
        self.sink.check()
    }

    fn prepare(&self) -> Result<(), SinkError> {
        self.names.prepare().map_err(no_names)?;
        self.sink.prepare()?;
        let mut started = self.started.lock();
        if !*started {
            self.start()?;
            *started = true;
        }
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        if !self.desk.submit(batch) {
            self.sink.submit(batch);
        }
    }

    /// Waits for names, too, but no longer than for its own deadline, and for no more than half of the time.
    fn flush(&self, deadline: Instant) -> Flushed {
        let started = *self.started.lock();
        let here = if started { self.desk.flush(deadline) } else { 0 };
        Flushed { left: here, spilled: 0 }.and(self.sink.flush(deadline))
    }

    fn close(&self) {
        self.sink.close();
    }

    fn reopen(&self) -> Result<(), SinkError> {
        self.sink.reopen()
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        std::slice::from_ref(&self.sink)
    }

    fn status(&self) -> Status {
        let counts = self.desk.counts();
        Status::new("log.resolving", "")
            .field("deadline", self.options.deadline)
            .field("waiting", counts.held)
            .field("waiting_bytes", Value::Bytes(counts.held_bytes as u64))
            .field("asked", counts.asked)
            .field("named", counts.tally.named)
            .field("nameless", counts.tally.nameless)
            .field("late", counts.tally.late)
            .field("not_asked", counts.tally.not_asked)
    }
}

impl Drain for Desk {
    fn drain(&self, deadline: Instant) -> Flushed {
        Flushed { left: self.flush(deadline), spilled: 0 }
    }
}

impl Drop for ResolvingSink {
    fn drop(&mut self) {
        self.desk.close();
    }
}

#[cfg(test)]
mod tests;
