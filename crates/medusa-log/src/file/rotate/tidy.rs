//! Care for rotated files: compressed, and deleted when there are more than should be kept.
//!
//! A thread of low priority does it, started when there may be something to do, and gone when there is not. It keeps no
//! list of work: it looks at the directory, so that it also finds what was interrupted, and has no queue that could grow.
//! In the whole process one such thread works at a time.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustix::process::setpriority_process;

use super::Rotation;
use super::name::{Form, Suffix};
use super::pack;
use super::place::Place;
use crate::file::shared::{FileShared, Past};

/// Yields to whatever else wants the processor.
const NICEST: i32 = 19;

/// Many logs that rotate at midnight are compressed one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Care for the files that a log has rotated.
struct Tidy {
    rotation: Rotation,
    /// How the server's own log calls the sink.
    name: String,
    shared: Arc<FileShared>,
}

/// Looks after the rotated files of `place`, soon, on a thread of its own.
pub(in crate::file) fn start(shared: &Arc<FileShared>, rotation: &Rotation, place: Place, name: &str) {
    let tidy = Tidy { rotation: rotation.clone(), name: name.to_owned(), shared: Arc::clone(shared) };
    let mut past = shared.past.lock();
    past.untidy = Some(place);
    if past.is_tidying {
        return;
    }
    match std::thread::Builder::new().name("log-tidy".to_owned()).spawn(move || tidy.run()) {
        Ok(_) => past.is_tidying = true,
        Err(error) => past.failed(&format!("starting a thread: {error}")),
    }
}

impl Tidy {
    fn past(&self) -> MutexGuard<'_, Past> {
        self.shared.past.lock()
    }

    fn run(&self) {
        // Linux counts priorities per thread. If it cannot be lowered, the work is still to be done.
        let _: rustix::io::Result<()> = setpriority_process(None, NICEST);
        let _one = ONE_AT_A_TIME.lock();
        while let Some(place) = self.next() {
            let before = self.past().tidy_errors;
            if let Err(error) = self.look_after(&place) {
                self.failed(place.directory(), &error);
            }
            let past = self.past().clone();
            if let (true, Some(error)) = (past.tidy_errors > before, past.last_error) {
                tracing::warn!(
                    log = self.name,
                    error,
                    "cannot look after the rotated logs, will try again later"
                );
            }
        }
    }

    fn next(&self) -> Option<Place> {
        let mut past = self.past();
        let place = past.untidy.take();
        past.is_tidying = place.is_some();
        past.is_postponed &= !past.is_tidying;
        place
    }

    /// Does all there is to be done now. Each file is on its own: an error with one does not keep it from the next.
    fn look_after(&self, place: &Place) -> io::Result<()> {
        let (unfinished, files): (Vec<_>, Vec<_>) =
            place.files()?.into_iter().partition(|file| file.form == Form::Unfinished);
        for file in unfinished {
            self.note(place, file, pack::clean(place, file));
        }
        let mut kept: BTreeSet<_> = files.iter().map(Suffix::identity).collect();
        let surplus = self.rotation.keep.map_or(0, |keep| kept.len().saturating_sub(keep as usize));
        for _ in 0..surplus {
            kept.pop_first();
        }
        for file in files {
            if !kept.contains(&file.identity()) {
                let deleted = self.note(place, file, fs::remove_file(place.at(file)));
                self.past().deleted += u64::from(deleted);
            } else if file.form == Form::Plain && self.rotation.compress {
                let packed = self.note(place, file, pack::pack(place, file));
                self.past().compressed += u64::from(packed);
            }
        }
        self.past().kept = Some(kept.len() as u64);
        Ok(())
    }

    /// Notes what came of a file: whether it is done. That it is gone already is as good.
    fn note(&self, place: &Place, file: Suffix, done: io::Result<()>) -> bool {
        match &done {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => self.past().is_postponed = true,
            Err(error) if error.kind() != ErrorKind::NotFound => self.failed(&place.at(file), error),
            _ => {}
        }
        done.is_ok()
    }

    fn failed(&self, what: &Path, error: &io::Error) {
        let mut past = self.past();
        past.tidy_errors += 1;
        past.failed(&format!("{}: {error}", what.display()));
    }
}
