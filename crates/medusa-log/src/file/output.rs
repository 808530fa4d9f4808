//! Target of a writer: the open file, which knows when it is to be rotated, and whether it still is the one that
//! others find under its name.
//!
//! What happens to a file under way, and what comes of it:
//!
//! | | |
//! |---|---|
//! | its period ends, or it would become too large | rotated; the next batch goes to a new file |
//! | `medusa reopen`, SIGUSR1 | opened anew between two batches |
//! | renamed, replaced or deleted by others | noticed within a second of writing, opened anew |
//! | a pipe that nobody reads | waited for a while, then one that fails until somebody does |
//! | truncated by others (`copytruncate`) | every write goes to the end, wherever that is |
//! | its directory is gone | made anew |
//!
//! **Invariant: the file changes between two lines only**, and if another cannot be had, the old one is written to.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Target;
use super::clock::Clock;
use super::open::{self, Make, Opened};
use super::options::{Fsync, Mode, Options};
use super::rotate::{Place, Tag, is_at};
use super::schedule::Schedule;
use super::shared::FileShared;

/// Target of a writer.
pub(super) trait Output: Write {
    /// Called between lines, before `coming` bytes are written: goes over to another file if there is cause. `mid_line`
    /// says that the lines to come begin with the rest of one. True if what is written from now on goes to another file.
    fn renew(&mut self, coming: usize, mid_line: bool) -> bool;

    /// Room in bytes before [`renew`](Self::renew) should be called again; `None` if for any number.
    fn room(&self) -> Option<usize> {
        None
    }

    /// Brings what is written to the disk, if that is due. An error is told once: what it was about is given up.
    fn sync(&mut self) -> io::Result<()>;

    /// Time until the next call of [`renew`](Self::renew) and [`sync`](Self::sync) although there is nothing to write.
    fn due_in(&self) -> Option<Duration>;
}

/// Between two looks at whether the file is still in its place: a system call for some thousand records at full load.
const LOOK: Duration = Duration::from_secs(1);

/// Time that a pipe or a terminal may stay full before it counts as one that fails. It is also the time that it may
/// keep its writer when the sink is gone.
const STALLED: Duration = Duration::from_secs(5);

/// The file of a sink.
#[derive(Debug)]
pub(super) struct LogFile {
    name: String,
    target: Target,
    mode: Option<Mode>,
    fsync: Fsync,
    clock: Clock,
    shared: Arc<FileShared>,
    file: File,
    /// What it was when it was opened.
    meta: Metadata,
    /// Bytes in it: ours exactly, those of others once a second.
    size: u64,
    looked: Instant,
    /// When the oldest bytes were written that may not be on the disk yet.
    unsynced: Option<Instant>,
    /// Whether it was waited for room in vain.
    stalled: bool,
    /// Of a file that rotates.
    schedule: Option<Schedule>,
}

impl LogFile {
    pub(super) fn new(
        target: &Target,
        options: &Options,
        clock: Clock,
        shared: Arc<FileShared>,
        opened: Opened,
    ) -> Self {
        let now = Instant::now();
        let regular = matches!(target, Target::Path(_)) && opened.meta.is_file();
        let rotation = options.rotation.clone().filter(|_| regular);
        let schedule =
            rotation.map(|rotation| Schedule::new(Arc::clone(shared.tidy_for(&rotation)), rotation));
        let mut this = Self {
            name: target.to_string(),
            target: target.clone(),
            mode: options.mode,
            fsync: options.fsync,
            clock,
            shared,
            size: 0,
            looked: now,
            unsynced: None,
            stalled: false,
            schedule,
            file: opened.file,
            meta: opened.meta,
        };
        this.begin(opened.torn);
        this
    }

    /// Goes over to a file.
    fn adopt(&mut self, opened: Opened) {
        self.sync_now();
        (self.file, self.meta) = (opened.file, opened.meta);
        self.begin(opened.torn);
    }

    fn begin(&mut self, torn: bool) {
        self.size = self.meta.len();
        self.looked = Instant::now();
        if let Some(schedule) = &mut self.schedule {
            schedule.begin(&self.meta, &self.clock);
        }
        if torn {
            // Ends the line that a killed writer has left unfinished. If that fails, so will what follows, which is told.
            let _: io::Result<()> = self.write_all(b"\n");
        }
    }

    /// The path, if it is one with a file of its own at its end.
    fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Path(path) if self.meta.is_file() => Some(path),
            _ => None,
        }
    }

    /// Once a second: whether others have moved or deleted the file.
    fn look(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let Some(path) = self.path() else { return false };
        if !is_at(path, &self.meta) {
            return self.open_anew();
        }
        if let Ok(meta) = self.file.metadata() {
            self.size = meta.len();
        }
        false
    }

    /// Opens what is in the file's place now, or makes it.
    fn open_anew(&mut self) -> bool {
        let now = self.file.metadata();
        let make = Make { mode: self.mode, like: Some(now.as_ref().unwrap_or(&self.meta)) };
        match open::open(&self.target, make) {
            Ok(opened) => {
                self.shared.missing(&self.name, None);
                self.adopt(opened);
                true
            }
            Err(error) => {
                self.shared.missing(&self.name, Some(&error));
                false
            }
        }
    }

    /// Rotates the file if it is time to, and looks after those that have been.
    fn keep_schedule(&mut self, coming: usize, mid_line: bool) -> bool {
        let Some(schedule) = &mut self.schedule else { return false };
        if !schedule.is_begun(coming) {
            return false;
        }
        let Some(tag) = schedule.is_due(&self.clock, self.size, coming as u64) else {
            if schedule.is_tidy_due() {
                self.tidy();
            }
            return false;
        };
        if mid_line {
            // A line that has been begun is finished first, in its file.
            schedule.put_off();
            return false;
        }
        let rotated = self.rotate(tag);
        self.note_rotation(rotated.as_ref());
        rotated.unwrap_or(false)
    }

    /// Notes what came of an attempt to rotate. The first failure in a row is told, and so is the recovery.
    fn note_rotation(&mut self, rotated: Result<&bool, &io::Error>) {
        let Some(schedule) = &mut self.schedule else { return };
        if !rotated.is_ok_and(|changed| *changed) {
            schedule.put_off();
        }
        let before = std::mem::replace(&mut schedule.failing, rotated.is_err());
        match rotated {
            Err(error) => {
                self.shared.file_failed(error.to_string());
                if !before {
                    tracing::warn!(log = self.name, %error, "cannot rotate the log, will go on trying and writing to it");
                }
            }
            Ok(_) if before => tracing::info!(log = self.name, "the log can be rotated again"),
            Ok(_) => {}
        }
    }

    /// Rotates the file and opens a new one, or only that if another writer has been faster. False: there is none to be had.
    fn rotate(&mut self, tag: Tag) -> io::Result<bool> {
        let Some(path) = self.path() else { return Ok(false) };
        if !is_at(path, &self.meta) {
            return Ok(self.open_anew());
        }
        let place = Place::of(path)?;
        if !place.rename(&self.meta, tag)? {
            return Ok(self.open_anew());
        }
        self.shared.rotated(self.clock.now(), &self.clock);
        // If there is no new one to be had, lines go on into the rotated file, which nobody compresses while we have
        // it, and `look` tries again.
        let changed = self.open_anew();
        if self.fsync != Fsync::Never
            && let Err(error) = place.sync()
        {
            self.shared.file_failed(error.to_string());
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.tidy(Some(place), &self.name);
        }
        Ok(changed)
    }

    /// Finishes what was interrupted or postponed.
    fn tidy(&mut self) {
        let place = self.path().and_then(|path| Place::of(path).ok());
        if let Some(schedule) = &mut self.schedule {
            schedule.tidy(place, &self.name);
        }
    }

    /// Waits until a pipe or a terminal has room; not at all if that was in vain before.
    fn wait_for_room(&mut self) -> io::Result<()> {
        let wait = if self.stalled { Duration::ZERO } else { STALLED };
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let ready = match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&wait)) {
            Err(Errno::INTR) => return Err(ErrorKind::Interrupted.into()),
            ready => ready? > 0,
        };
        self.stalled = !ready;
        let told = || io::Error::new(ErrorKind::TimedOut, "nobody reads it");
        if ready { Ok(()) } else { Err(told()) }
    }

    /// The old file is about to be let go of.
    fn sync_now(&mut self) {
        if self.unsynced.take().is_some()
            && self.fsync != Fsync::Never
            && let Err(error) = self.file.sync_data()
        {
            tracing::warn!(log = self.name, %error, "the end of the old log file may not be on the disk");
        }
    }

    fn sync_due_in(&self) -> Option<Duration> {
        match self.fsync {
            Fsync::Never => None,
            Fsync::Always => self.unsynced.map(|_| Duration::ZERO),
            Fsync::Every(interval) => self.unsynced.map(|since| interval.saturating_sub(since.elapsed())),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for_room()?,
                other => break other?,
            }
        };
        self.size += count as u64;
        if self.fsync != Fsync::Never {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.written(&self.clock);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for LogFile {
    fn renew(&mut self, coming: usize, mid_line: bool) -> bool {
        let fresh = self.shared.take_fresh();
        let mut changed = fresh.is_some();
        if let Some(opened) = fresh {
            self.adopt(opened);
            // It may have been rotated since it was opened.
            if self.path().is_some_and(|path| !is_at(path, &self.meta)) {
                self.open_anew();
            }
        }
        changed |= self.look();
        changed |= self.keep_schedule(coming, mid_line && !changed);
        changed
    }

    fn room(&self) -> Option<usize> {
        self.schedule.as_ref()?.room(self.size)
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.sync_due_in().is_some_and(|due| due.is_zero()) {
            return Ok(());
        }
        // A second attempt would succeed without having done anything (Linux forgets what it could not write).
        self.unsynced = None;
        self.file.sync_data().map_err(|error| {
            io::Error::new(error.kind(), format!("written, but perhaps not to the disk: {error}"))
        })
    }

    fn due_in(&self) -> Option<Duration> {
        let schedule = self.schedule.as_ref().and_then(|schedule| schedule.due_in(&self.clock, self.size));
        [self.sync_due_in(), schedule].into_iter().flatten().min()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.sync_now();
    }
}

#[cfg(test)]
mod tests;
