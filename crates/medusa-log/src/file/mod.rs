//! Records in a file, or on standard output.
//!
//! - `options`: what a user may choose;
//! - `open`: what can be opened, and whether it could be;
//! - `output`: the open file, exchanged for another when others have moved it, or when it is to be rotated;
//! - `rotate`: what becomes of a file that is rotated;
//! - `pending`: bytes on their way, and where their lines begin and end;
//! - `writer`: the thread that formats and writes, and what it does when it cannot.
//!
//! **Invariant: what others read in the file is whole lines.** A batch goes out in one append, and if the disk fills up
//! in the middle of a line, the rest of that line is the first thing written when there is room again.

mod open;
mod options;
mod output;
mod pending;
mod rotate;
mod shared;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use medusa_files::{OwnKind, OwnPath};
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::queue::Queue;
use crate::sink::spawn;
use crate::{Batch, Flushed, Sink, SinkError, drain, local};
use open::{Make, Opened};
pub use options::{Fsync, Mode, Options, size};
use output::LogFile;
pub use rotate::{Period, Rotation};
use shared::FileShared;
use writer::FileWriter;

/// Target of a [`FileSink`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Appends to this file. It is made if need be, readable by owner and group, and so is the directory it is in. Any
    /// path that can be written to will do: a named pipe (with a reader), a terminal. One that is full for 5 seconds counts
    /// as failing until somebody reads it.
    Path(PathBuf),
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
        }
    }
}

/// Writes records to a file by a thread of its own.
///
/// Dropping it does not wait: the thread writes what is queued, with one attempt per batch if the target fails, and
/// ends. Who cannot let that happen in the background (a process about to exit) calls [`drain_all`](drain::drain_all).
#[derive(Debug)]
pub struct FileSink {
    target: Target,
    options: Options,
    queue: Arc<Queue>,
    shared: Arc<FileShared>,
    /// Whether the writer runs.
    started: Mutex<bool>,
    /// The file, known as the server's own from the first look on.
    own: OnceLock<OwnPath>,
}

/// The words of the server's own log when it fails, and when it works again.
const TOLD: [&str; 2] = ["cannot write the log, will go on trying", "the log can be written again"];

impl FileSink {
    /// A sink that will write to `target`. Nothing is opened before [`prepare`](Sink::prepare).
    pub fn new(target: Target, options: Options) -> Self {
        let queue = Arc::new(Queue::new(&target, TOLD, &options.queue));
        Self {
            target,
            options,
            queue,
            shared: Arc::default(),
            started: Mutex::default(),
            own: OnceLock::new(),
        }
    }

    /// Has the file known as the server's own.
    fn own(&self) {
        if let Target::Path(path) = &self.target {
            self.own.get_or_init(|| OwnPath::new(path, OwnKind::Log));
        }
    }

    fn open(&self) -> Result<Opened, SinkError> {
        open::open(&self.target, Make { mode: self.options.mode, like: None })
    }
}

impl Sink for FileSink {
    fn check(&self) -> Result<(), SinkError> {
        self.own();
        open::check_options(&self.target, &self.options)?;
        open::check(&self.target)
    }

    fn prepare(&self) -> Result<(), SinkError> {
        let mut started = self.started.lock();
        if !*started {
            self.own();
            open::check_options(&self.target, &self.options)?;
            let opened = self.open()?;
            self.queue.prepare()?;
            let queue = Arc::clone(&self.queue);
            let clock = Box::new(local::now);
            let file = LogFile::new(&self.target, &self.options, clock, Arc::clone(&self.shared), opened);
            let writer = FileWriter::new(&self.options, Arc::clone(&self.queue), file);
            spawn("log", &self.target, move || queue.leave(writer.run()))?;
            drain::enter(&self.queue);
            *started = true;
        }
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        self.queue.submit(batch);
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        let started = *self.started.lock();
        self.queue.flush(if started { deadline } else { Instant::now() }) // without a writer, waiting changes nothing
    }

    /// The writer goes over to the new file between two batches.
    fn reopen(&self) -> Result<(), SinkError> {
        if *self.started.lock() && matches!(self.target, Target::Path(_)) {
            *self.shared.fresh.lock() = Some(self.open()?);
            self.queue.nudge();
        }
        Ok(())
    }

    fn file(&self) -> Option<PathBuf> {
        match &self.target {
            Target::Path(path) => open::regular(path),
            Target::Stdout | Target::Stderr => None,
        }
    }

    fn status(&self) -> Status {
        let status = Status::new("log.file", self.target.to_string());
        let status = self.queue.describe(status.field("format", self.options.format.name()));
        self.shared.describe(status, self.options.rotation.as_ref())
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
