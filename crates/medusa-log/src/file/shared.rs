//! State that the sink, its writer's thread and that which looks after rotated files share: a file on its way to the writer,
//! and what happened to files.

use medusa_proto::status::Status;
use parking_lot::Mutex;

use super::open::Opened;
use super::rotate::{Place, Rotation};
use crate::{SinkError, local};

#[derive(Debug, Default)]
pub(super) struct FileShared {
    /// The file a [`reopen`](crate::Sink::reopen) has opened, until the writer takes it.
    pub(super) fresh: Mutex<Option<Opened>>,
    pub(super) past: Mutex<Past>,
}

/// What has become of the file, and of those before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) rotations: u64,
    pub(super) last_rotation: Option<String>,
    pub(super) compressed: u64,
    pub(super) deleted: u64,
    /// Rotated files there were when they were last looked after.
    pub(super) kept: Option<u64>,
    pub(super) errors: u64,
    /// Of these, those with rotated files.
    pub(super) tidy_errors: u64,
    /// With its time before it.
    pub(super) last_error: Option<String>,
    is_missing: bool,
    /// Whether rotated files are being looked after, and those that have to be once more.
    pub(super) is_tidying: bool,
    pub(super) untidy: Option<Place>,
    /// Whether something could not be done, because another writer still had a file open.
    pub(super) is_postponed: bool,
}

impl Past {
    pub(super) fn failed(&mut self, error: &str) {
        self.errors += 1;
        self.last_error = Some(format!("{} {error}", local::now_shown()));
    }
}

impl FileShared {
    /// The file is not in its place any more, and no other could be opened; or now one could. The first failure in a row
    /// is reported, and so is the recovery.
    pub(super) fn missing(&self, name: &str, error: Option<&SinkError>) {
        let before = std::mem::replace(&mut self.past.lock().is_missing, error.is_some());
        match error {
            Some(error) => {
                let why = std::error::Error::source(error).map(|why| format!(": {why}")).unwrap_or_default();
                let error = format!("{error}{why}");
                if !before {
                    tracing::warn!(
                        log = name,
                        error,
                        "the log file is not in its place, and no new one can be opened: lines go on into the old one"
                    );
                }
                self.past.lock().failed(&error);
            }
            None if before => tracing::info!(log = name, "the log file is in its place again"),
            None => {}
        }
    }

    pub(super) fn describe(&self, mut status: Status, rotation: Option<&Rotation>) -> Status {
        let past = self.past.lock().clone();
        if let Some(rotation) = rotation {
            status = status
                .field("rotate", rotation.to_string())
                .counter("rotations", past.rotations)
                .maybe("last_rotation", past.last_rotation)
                .maybe_counter("compressed", rotation.compress.then_some(past.compressed))
                .maybe_counter("deleted", rotation.keep.map(|_| past.deleted))
                .maybe_gauge("kept", past.kept);
        }
        let errors = (rotation.is_some() || past.errors > 0).then_some(past.errors);
        status.maybe_counter("file_errors", errors).maybe("last_file_error", past.last_error)
    }
}
