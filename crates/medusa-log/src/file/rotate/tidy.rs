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
pub(super) static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Care for the files that a log has rotated.
struct Tidy {
    rotation: Rotation,
    place: Place,
    shared: Arc<FileShared>,
    /// What could not be done, the last of it.
    error: Option<String>,
}

/// Looks after the rotated files of `place`, soon, on a thread of its own; once more, if that is being done.
pub(in crate::file) fn start(shared: &Arc<FileShared>, rotation: &Rotation, place: Place, name: &str) {
    let (rotation, name) = (rotation.clone(), name.to_owned());
    let tidy = Tidy { rotation, place, shared: Arc::clone(shared), error: None };
    let mut past = shared.past.lock();
    if past.is_tidying {
        past.is_asked_again = true;
        return;
    }
    match std::thread::Builder::new().name("log-tidy".to_owned()).spawn(move || tidy.run(&name)) {
        Ok(_) => past.is_tidying = true,
        Err(error) => past.failed(&format!("starting a thread: {error}")),
    }
}

impl Tidy {
    fn past(&self) -> MutexGuard<'_, Past> {
        self.shared.past.lock()
    }

    fn run(mut self, log: &str) {
        // Linux counts priorities per thread. If it cannot be lowered, the work is still to be done.
        let _: rustix::io::Result<()> = setpriority_process(None, NICEST);
        let _one = ONE_AT_A_TIME.lock();
        loop {
            self.past().begin_round();
            if let Err(error) = self.look_after() {
                let directory = self.place.directory().to_owned();
                self.failed(&directory, &error);
            }
            let mut past = self.past();
            if !past.is_asked_again {
                past.is_tidying = false;
                break;
            }
        }
        if let Some(error) = &self.error {
            tracing::warn!(log, error, "cannot look after the rotated logs, will try again later");
        }
    }

    /// Does all there is to be done now. Each file is on its own: an error with one does not keep it from the next.
    fn look_after(&mut self) -> io::Result<()> {
        let (unfinished, files): (Vec<_>, Vec<_>) =
            self.place.files()?.into_iter().partition(|file| file.form == Form::Unfinished);
        for file in unfinished {
            self.note(file, pack::clean(&self.place, file));
        }
        let mut kept: BTreeSet<_> = files.iter().map(Suffix::identity).collect();
        let surplus = self.rotation.keep.map_or(0, |keep| kept.len().saturating_sub(keep as usize));
        for _ in 0..surplus {
            kept.pop_first();
        }
        for file in files {
            if !kept.contains(&file.identity()) {
                let deleted = self.note(file, fs::remove_file(self.place.at(file)));
                self.past().deleted += u64::from(deleted);
            } else if file.form == Form::Plain && self.rotation.compress {
                let packed = self.note(file, pack::pack(&self.place, file));
                self.past().compressed += u64::from(packed);
            }
        }
        self.past().kept = Some(kept.len() as u64);
        Ok(())
    }

    /// Notes what came of a file: whether it is done. That it is gone already is as good.
    fn note(&mut self, file: Suffix, done: io::Result<()>) -> bool {
        match &done {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => self.past().is_postponed = true,
            Err(error) if error.kind() != ErrorKind::NotFound => self.failed(&self.place.at(file), error),
            _ => {}
        }
        done.is_ok()
    }

    fn failed(&mut self, what: &Path, error: &io::Error) {
        let error = format!("{}: {error}", what.display());
        self.past().failed(&error);
        self.error = Some(error);
    }
}
