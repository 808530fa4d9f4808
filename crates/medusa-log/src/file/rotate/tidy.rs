//! Care for rotated files: compressed, and deleted when there are more than should be kept.
//!
//! A thread of low priority does it, started when there may be something to do, and gone when there is not. It keeps no
//! list of work: it looks at the directory, so that it also finds what was interrupted, and has no queue that could grow.
//! In the whole process one such thread works at a time.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::setpriority_process;

use super::Rotation;
use super::name::{Form, Suffix};
use super::pack::{self, Packing};
use super::place::Place;
use crate::local;

/// Yields to whatever else wants the processor.
const NICEST: i32 = 19;

/// Many logs that rotate at midnight are compressed one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Care for the files that a log has rotated.
#[derive(Debug)]
pub(in crate::file) struct Tidy {
    keep: Option<u32>,
    compress: bool,
    state: Mutex<TidyState>,
}

#[derive(Debug, Default)]
struct TidyState {
    running: bool,
    /// Something may have changed since it looked last.
    again: Option<Place>,
    done: Done,
}

/// Outcome so far.
#[derive(Clone, Debug, Default)]
pub(in crate::file) struct Done {
    pub(in crate::file) compressed: u64,
    pub(in crate::file) deleted: u64,
    /// Files there were when it looked last.
    pub(in crate::file) kept: Option<u64>,
    postponed: bool,
    pub(in crate::file) errors: u64,
    /// With its time before it.
    pub(in crate::file) last_error: Option<String>,
}

impl Tidy {
    pub(in crate::file) fn new(rotation: &Rotation) -> Self {
        Self { keep: rotation.keep, compress: rotation.compress, state: Mutex::default() }
    }

    pub(in crate::file) fn done(&self) -> Done {
        self.state.lock().done.clone()
    }

    /// Tells whether something could not be done, because another writer still had a file open, and nobody is at it.
    pub(in crate::file) fn is_postponed(&self) -> bool {
        let state = self.state.lock();
        state.done.postponed && !state.running
    }

    #[cfg(test)]
    pub(super) fn is_running(&self) -> bool {
        self.state.lock().running
    }

    /// Looks after `place`, soon, on a thread of its own. `name` is how the server's own log calls the sink.
    pub(in crate::file) fn start(self: &Arc<Self>, place: Place, name: &str) {
        let mut state = self.state.lock();
        state.again = Some(place);
        if state.running {
            return;
        }
        let (this, name) = (Arc::clone(self), name.to_owned());
        let started = std::thread::Builder::new().name("log-tidy".to_owned()).spawn(move || this.run(&name));
        match started {
            Ok(_) => state.running = true,
            Err(error) => state.done.failed("starting a thread", &error),
        }
    }

    fn run(&self, name: &str) {
        // Linux counts priorities per thread. If it cannot be lowered, the work is still to be done.
        let _: rustix::io::Result<()> = setpriority_process(None, NICEST);
        let _one = ONE_AT_A_TIME.lock();
        while let Some(place) = self.next() {
            let before = self.done().errors;
            self.look_after(&place);
            let done = self.done();
            if let (true, Some(error)) = (done.errors > before, done.last_error) {
                tracing::warn!(log = name, error, "cannot look after the rotated logs, will try again later");
            }
        }
    }

    fn next(&self) -> Option<Place> {
        let mut state = self.state.lock();
        let place = state.again.take();
        state.running = place.is_some();
        state.done.postponed &= !state.running;
        place
    }

    /// Does all there is to be done now. Each file is on its own: an error with one does not keep it from the next.
    fn look_after(&self, place: &Place) {
        let files = match place.files() {
            Ok(files) => files,
            Err(error) => {
                return self.state.lock().done.failed(&place.directory().display().to_string(), &error);
            }
        };
        let (unfinished, files): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.form == Form::Unfinished);
        for file in unfinished {
            self.note(place, file, pack::clean(place, file));
        }
        let mut kept: BTreeSet<_> = files.iter().map(Suffix::identity).collect();
        let surplus = self.keep.map_or(0, |keep| kept.len().saturating_sub(keep as usize));
        for _ in 0..surplus {
            kept.pop_first();
        }
        for &file in &files {
            if !kept.contains(&file.identity()) {
                let deleted = fs::remove_file(place.at(file));
                self.state.lock().done.deleted += u64::from(deleted.is_ok());
                self.note(place, file, deleted);
            } else if file.form == Form::Plain && self.compress {
                self.pack(place, file);
            }
        }
        self.state.lock().done.kept = Some(kept.len() as u64);
    }

    fn pack(&self, place: &Place, file: Suffix) {
        let packed = pack::pack(place, file);
        let mut state = self.state.lock();
        match packed {
            Ok(Packing::Done) => state.done.compressed += 1,
            Ok(Packing::Busy) => state.done.postponed = true,
            Ok(Packing::Gone) => {}
            Err(error) => state.done.failed(&place.at(file).display().to_string(), &error),
        }
    }

    /// That it is gone already is as good.
    fn note(&self, place: &Place, file: Suffix, done: io::Result<()>) {
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            self.state.lock().done.failed(&place.at(file).display().to_string(), &error);
        }
    }
}

impl Done {
    fn failed(&mut self, what: &str, error: &io::Error) {
        self.errors += 1;
        self.last_error = Some(format!("{} {what}: {error}", local::now_shown()));
    }
}
