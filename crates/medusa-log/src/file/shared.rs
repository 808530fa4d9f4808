//! State that the sink, its writer's thread and that which looks after rotated files share: a file on its way to the writer,
//! and what happened to files.

use medusa_proto::status::Status;
use parking_lot::Mutex;

use super::open::Opened;
use super::rotate::Rotation;
use crate::local;

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
    /// With its time before it.
    pub(super) last_error: Option<String>,
    /// Whether rotated files are being looked after.
    pub(super) is_tidying: bool,
    /// Whether more have come while they were: then it is not over yet.
    pub(super) is_asked_again: bool,
    /// Whether they have to be once more, later: another writer still had a file open.
    pub(super) is_postponed: bool,
}

impl Past {
    /// Notes that all rotated files there are now are about to be looked after.
    pub(super) fn begin_round(&mut self) {
        (self.is_asked_again, self.is_postponed) = (false, false);
    }

    pub(super) fn failed(&mut self, error: &str) {
        self.errors += 1;
        self.last_error = Some(format!("{} {error}", local::now_shown()));
    }
}

impl FileShared {
    /// Notes what came of something that is tried again and again for `log`: an error, or none. The first failure in a row
    /// is `told`, and so is the recovery; `fails` keeps whether the last attempt did.
    pub(super) fn note(&self, log: &str, fails: &mut bool, error: Option<String>, told: [&str; 2]) {
        let before = std::mem::replace(fails, error.is_some());
        if let Some(error) = error {
            self.past.lock().failed(&error);
            if !before {
                tracing::warn!(log, error, "{}", told[0]);
            }
        } else if before {
            tracing::info!(log, "{}", told[1]);
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
