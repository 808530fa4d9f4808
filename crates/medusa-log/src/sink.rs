//! The sink: where records go.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use medusa_proto::status::Status;

use crate::Batch;

/// A destination of records: a file, a socket, several others.
///
/// # Life
///
/// 1. [`check`](Self::check) may be called at any time, on a sink that will never be used: `medusa check` does.
/// 2. [`prepare`](Self::prepare) before the first batch, and after that of the sinks it [stands before](Self::inner). All that can fail, fails here, while the draft that wants this
///    sink can still be dropped.
/// 3. [`submit`](Self::submit), from every worker at once, for as long as a published site refers to the sink.
/// 4. [`flush`](Self::flush) at shutdown, then [`close`](Self::close). Nothing to be called when the sink is replaced: dropping the last reference
///    lets it finish, in its own time, what it was given.
///
/// Checking, preparing, opening anew and closing are done by whoever has the sinks of a Site: with each once, however many
/// stand before it, so none passes them on. Records and the flush go through a sink to those behind it.
///
/// It is [`Any`], so that who holds a sink can ask whether it is a [`Tail`](crate::Tail).
pub trait Sink: Any + fmt::Debug + Send + Sync {
    /// Whether [`prepare`](Self::prepare) would succeed, as far as can be told without leaving a trace: nothing is
    /// created, opened for others to see, or started. By default nothing can fail.
    fn check(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Opens what must be open and starts what must run. Once it has succeeded, calling it again does nothing; after an
    /// error it may be tried again. By default there is nothing to do.
    fn prepare(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Takes a batch. Never blocks beyond a short lock, never fails: what cannot be queued is dropped, and its records
    /// counted as lost.
    fn submit(&self, batch: &Arc<Batch>);

    /// Waits until everything submitted before has been written or counted as lost, or until `deadline`. By default, that the
    /// sinks it stands before have done so, one after the other: their writers work meanwhile, so that waiting for one is
    /// waiting for all. A record left in two of them counts twice.
    ///
    /// Blocks: not for a worker's thread.
    fn flush(&self, deadline: Instant) -> Flushed {
        self.inner().iter().map(|sink| sink.flush(deadline)).fold(Flushed::default(), Flushed::and)
    }

    /// Takes its leave, at the end of the process and after a last [`flush`](Self::flush): a peer wants to be told that
    /// no more will come (TLS says so with `close_notify`). Does not wait for that: [`drain_all`](crate::drain::drain_all)
    /// does. What is submitted afterwards may be lost. Nothing by default.
    fn close(&self) {}

    /// Opens its target anew, because someone moved the old one away (logrotate). A sink that has nothing to reopen, or
    /// is not prepared, does nothing, which is the default. On an error it goes on with what it has.
    fn reopen(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The number of times that a record given to it is written: of a sink that stands before others, as often as
    /// those do together.
    fn width(&self) -> usize {
        match self.inner() {
            [] => 1,
            inner => inner.iter().map(|sink| sink.width()).fold(0, usize::saturating_add),
        }
    }

    /// The number of sinks that stand one behind the other, this one included. Whatever is done with one is done with
    /// the next, each on the stack of the one before; so who makes them must have a bound, below which all of this is
    /// cheap.
    fn depth(&self) -> usize {
        1 + self.inner().iter().map(|sink| sink.depth()).max().unwrap_or(0)
    }

    /// The sinks it stands before.
    fn inner(&self) -> &[Arc<dyn Sink>] {
        &[]
    }

    /// The regular file that it writes, by the one name that all names of it lead to; two sinks of one site must not have
    /// the same. Blocks. None by default.
    fn file(&self) -> Option<PathBuf> {
        None
    }

    /// Describes itself, and not those it stands before ([`describe`] does): its queue, what it has written and lost, its
    /// last error.
    fn status(&self) -> Status;
}

/// The statuses of sinks, each with those it stands before. One that stands in several places is described at the
/// first, and named at the others.
pub fn describe(sinks: &[Arc<dyn Sink>]) -> Vec<Status> {
    fn walk(sinks: &[Arc<dyn Sink>], seen: &mut Vec<*const ()>) -> Vec<Status> {
        let one = |sink: &Arc<dyn Sink>| {
            let (address, status) = (Arc::as_ptr(sink).cast::<()>(), sink.status());
            if seen.contains(&address) {
                return Status::new("see", format!("{} {}", status.kind, status.name).trim_end());
            }
            seen.push(address);
            let inner = walk(sink.inner(), seen);
            status.children(inner)
        };
        sinks.iter().map(one).collect()
    }
    walk(sinks, &mut Vec::new())
}

/// The outcome of a [`Sink::flush`].
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Records that were still waiting at the deadline.
    pub left: u64,
    /// Records that were not written, but are kept on disk for the next start.
    pub spilled: u64,
}

impl Flushed {
    /// The outcome of two sinks together.
    pub const fn and(self, other: Self) -> Self {
        Self { left: self.left + other.left, spilled: self.spilled + other.spilled }
    }

    /// Whether nothing was left waiting.
    pub const fn is_complete(self) -> bool {
        self.left == 0
    }
}

/// The reason why a sink cannot be used: what it cannot do, and what may be done about that.
#[derive(Debug, thiserror::Error)]
#[error("the log {target} cannot {doing}")]
pub struct SinkError {
    /// The destination of its records.
    pub target: String,
    /// The thing it cannot do: `be opened for appending`.
    pub doing: Cow<'static, str>,
    /// The error of the system or a library.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// An option that does not say what it could: what is expected, and what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(pub(crate) String);

/// Starts the thread `name` for the sink of `target`.
pub(crate) fn spawn(
    name: &str,
    target: impl fmt::Display,
    run: impl FnOnce() + Send + 'static,
) -> Result<(), SinkError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|source| SinkError::new(target, "have a thread of its own").because(source))
}

impl SinkError {
    /// Tells that the sink of `target` cannot do this, for no other reason than is said.
    pub fn new(target: impl fmt::Display, doing: impl Into<Cow<'static, str>>) -> Self {
        Self { target: target.to_string(), doing: doing.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

#[cfg(test)]
pub(crate) mod tests;
