//! State that the sink and its writer's thread share: a file on its way to the writer, and what happened to files.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use medusa_proto::status::Status;
use parking_lot::Mutex;

use super::clock::Clock;
use super::open::Opened;
use super::rotate::{Rotation, Tidy};
use crate::{SinkError, local};

#[derive(Debug, Default)]
pub(super) struct FileShared {
    state: Mutex<FileState>,
    /// Of a sink that rotates, once it has been prepared.
    tidy: OnceLock<Arc<Tidy>>,
}

#[derive(Debug, Default)]
struct FileState {
    /// The file a [`reopen`](crate::Sink::reopen) has opened, until the writer takes it.
    fresh: Option<Opened>,
    rotations: u64,
    last_rotation: Option<String>,
    errors: u64,
    /// With its time before it.
    last_error: Option<String>,
    missing: bool,
}

impl FileShared {
    pub(super) fn put_fresh(&self, opened: Opened) {
        self.state.lock().fresh = Some(opened);
    }

    pub(super) fn take_fresh(&self) -> Option<Opened> {
        self.state.lock().fresh.take()
    }

    pub(super) fn tidy_for(&self, rotation: &Rotation) -> &Arc<Tidy> {
        self.tidy.get_or_init(|| Arc::new(Tidy::new(rotation)))
    }

    pub(super) fn rotated(&self, at: Timestamp, clock: &Clock) {
        let at = local::shown(at, clock.zone());
        let mut state = self.state.lock();
        state.rotations += 1;
        state.last_rotation = Some(at);
    }

    pub(super) fn file_failed(&self, error: String) {
        let mut state = self.state.lock();
        state.errors += 1;
        state.last_error = Some(format!("{} {error}", local::now_shown()));
    }

    /// The file is not in its place any more, and no other could be opened; or now one could. The first failure in a row
    /// is reported, and so is the recovery.
    pub(super) fn missing(&self, name: &str, error: Option<&SinkError>) {
        let before = std::mem::replace(&mut self.state.lock().missing, error.is_some());
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
                self.file_failed(error);
            }
            None if before => tracing::info!(log = name, "the log file is in its place again"),
            None => {}
        }
    }

    pub(super) fn describe(&self, status: Status, rotation: Option<&Rotation>) -> Status {
        let state = self.state.lock();
        let (rotations, last) = (state.rotations, state.last_rotation.clone());
        let (errors, last_error) = (state.errors, state.last_error.clone());
        drop(state);
        let Some(rotation) = rotation else {
            return status
                .maybe_counter("file_errors", (errors > 0).then_some(errors))
                .maybe("last_file_error", last_error);
        };
        let done = self.tidy.get().map(|tidy| tidy.done()).unwrap_or_default();
        status
            .field("rotate", rotation.to_string())
            .counter("rotations", rotations)
            .maybe("last_rotation", last)
            .maybe_counter("compressed", rotation.compress.then_some(done.compressed))
            .maybe_counter("deleted", rotation.keep.map(|_| done.deleted))
            .maybe_gauge("kept", done.kept)
            .counter("file_errors", errors + done.errors)
            .maybe("last_file_error", last_error.or(done.last_error))
    }
}
