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

use jiff::{SignedDuration, Timestamp, Zoned};
use medusa_proto::with_causes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Target;
use super::open::{self, Make, Opened};
use super::options::{Fsync, Mode, Options};
use super::rotate::{Place, Rotation, Span, Tag, is_at, tidy};
use super::shared::FileShared;
use crate::local;

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

/// Wait after a rotation that failed: what cannot be done now is put off, or its writer would spin.
const RETRY: Duration = Duration::from_secs(1);

/// Wait before another attempt at what could not be compressed because another writer still had it.
const TIDY_AGAIN: Duration = Duration::from_secs(30);

/// Time for which, or until its first line, a sink may still be one of a draft that is dropped, which must not rotate or
/// delete anything.
const DRAFT: Duration = Duration::from_secs(5);

/// The longest sleep towards the end of a period: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_mins(15);

/// A clock that is set back by more than this makes the file one of the earlier period.
const SET_BACK: SignedDuration = SignedDuration::from_mins(5);

/// The time and its zone: the machine's own, or a test's.
pub(super) type Clock = Box<dyn Fn() -> Zoned + Send>;

/// The file of a sink.
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
    /// When the oldest bytes were written that may not be on the disk yet, if that matters.
    unsynced: Option<Instant>,
    /// Whether it was waited for room in vain.
    stalled: bool,
    rotation: Rotation,
    /// No rotation before, unless there is something to write. None: it has begun.
    idle_until: Option<Instant>,
    /// When rotated files were last looked after. None: not yet, although a server before may have left some.
    tidied: Option<Instant>,
    /// The period that the file belongs to: that of its first line. None: it is empty, or not rotated by time.
    span: Option<Span>,
    /// No attempt to rotate before.
    not_before: Option<Instant>,
    /// Whether the last attempt failed.
    rotation_fails: bool,
    /// Whether the file is not in its place, and the last attempt to open another failed.
    is_missing: bool,
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
        let idle_until = rotation.is_some().then(|| now + DRAFT);
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
            rotation: rotation.unwrap_or_default(),
            idle_until,
            tidied: None,
            span: None,
            not_before: None,
            rotation_fails: false,
            is_missing: false,
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
        (self.not_before, self.span) = (None, None);
        if self.size > 0 {
            // It belongs to the period of its last line.
            let now = (self.clock)();
            let written = self.meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
            self.begin_span(
                &written.map_or(now.clone(), |time| time.to_zoned(now.time_zone().clone()).min(now)),
            );
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
                self.note_missing(None);
                self.adopt(opened);
                true
            }
            Err(error) => {
                self.note_missing(Some(with_causes(&error)));
                false
            }
        }
    }

    /// The file is not in its place any more, and no other could be opened; or now one could.
    fn note_missing(&mut self, error: Option<String>) {
        let told = [
            "the log file is not in its place, and no new one can be opened: lines go on into the old one",
            "the log file is in its place again",
        ];
        self.shared.note(&self.name, &mut self.is_missing, error, told);
    }

    fn begin_span(&mut self, at: &Zoned) {
        self.span = self.rotation.every.map(|period| Span::around(period, at));
    }

    /// Rotates the file if it is time to, and looks after those that have been.
    fn keep_schedule(&mut self, coming: usize, mid_line: bool) -> bool {
        if self.idle_until.is_some_and(|until| coming == 0 && Instant::now() < until) {
            return false;
        }
        self.idle_until = None;
        let Some(tag) = self.is_due(coming as u64) else {
            if self.tidy_due_in().is_some_and(|due| due.is_zero()) {
                let place = self.path().and_then(|path| Place::of(path).ok());
                self.tidy(place);
            }
            return false;
        };
        if mid_line {
            // A line that has been begun is finished first, in its file.
            self.not_before = Some(Instant::now() + RETRY);
            return false;
        }
        let rotated = self.rotate(tag);
        if !matches!(rotated, Ok(true)) {
            self.not_before = Some(Instant::now() + RETRY);
        }
        let error = rotated.as_ref().err().map(ToString::to_string);
        let told =
            ["cannot rotate the log, will go on trying and writing to it", "the log can be rotated again"];
        self.shared.note(&self.name, &mut self.rotation_fails, error, told);
        rotated.unwrap_or(false)
    }

    /// The period to name the file after, if it is to be rotated before `coming` more bytes.
    fn is_due(&mut self, coming: u64) -> Option<Tag> {
        let full = self.rotation.size.is_some_and(|limit| coming > 0 && self.size + coming > limit);
        if self.size == 0 || !(full || self.span.is_some()) || self.is_put_off() {
            return None;
        }
        let now = (self.clock)();
        if self.span.is_some_and(|span| span.start.duration_since(now.timestamp()) > SET_BACK) {
            self.begin_span(&now);
        }
        let over = self.span.is_some_and(|span| now.timestamp() >= span.end);
        (full || over).then(|| self.span.map_or_else(|| Tag::day(&now), |span| span.tag))
    }

    fn is_put_off(&self) -> bool {
        self.not_before.is_some_and(|at| Instant::now() < at)
    }

    /// Rotates the file and opens a new one, or only that if another writer has been faster. False: there is none to be had.
    fn rotate(&mut self, tag: Tag) -> io::Result<bool> {
        let Some(path) = self.path() else { return Ok(false) };
        let place = match Place::of(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.open_anew()),
            place => place?,
        };
        if !place.rename(&self.meta, tag)? {
            return Ok(self.open_anew());
        }
        let now = local::shown(&(self.clock)());
        {
            let mut past = self.shared.past.lock();
            past.rotations += 1;
            past.last_rotation = Some(now);
        }
        // If there is no new one to be had, lines go on into the rotated file, which nobody compresses while we have
        // it, and `look` tries again.
        let changed = self.open_anew();
        if self.fsync != Fsync::Never
            && let Err(error) = place.sync()
        {
            self.shared.past.lock().failed(&error.to_string());
        }
        self.tidy(Some(place));
        Ok(changed)
    }

    /// Has the files of `place` looked after: also what was interrupted or postponed.
    fn tidy(&mut self, place: Option<Place>) {
        self.tidied = Some(Instant::now());
        if let Some(place) = place.filter(|_| self.looks_after()) {
            tidy::start(&self.shared, &self.rotation, place, &self.name);
        }
    }

    /// Tells whether anything becomes of rotated files.
    const fn looks_after(&self) -> bool {
        self.rotation.keep.is_some() || self.rotation.compress
    }

    fn tidy_due_in(&self) -> Option<Duration> {
        if !self.looks_after() {
            return None;
        }
        let Some(at) = self.tidied else { return Some(Duration::ZERO) };
        let past = self.shared.past.lock();
        (past.is_postponed && !past.is_tidying).then(|| TIDY_AGAIN.saturating_sub(at.elapsed()))
    }

    /// Time until there may be something to rotate or to look after.
    fn schedule_due_in(&self) -> Option<Duration> {
        let now = Instant::now();
        if let Some(until) = self.idle_until {
            return Some(until.saturating_duration_since(now));
        }
        let rotation = self.span.filter(|_| self.size > 0).map(|span| {
            let left = span.end.duration_since((self.clock)().timestamp());
            let wait = self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            Duration::try_from(left).unwrap_or_default().min(LONGEST_SLEEP).max(wait)
        });
        [rotation, self.tidy_due_in()].into_iter().flatten().min()
    }

    /// Waits until a pipe or a terminal has room; not at all if that was in vain before.
    fn wait_for_room(&mut self) -> io::Result<()> {
        let wait = if self.stalled { Duration::ZERO } else { STALLED };
        let wait = Timespec::try_from(wait).ok();
        self.stalled = poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], wait.as_ref())? == 0;
        if self.stalled { Err(io::Error::new(ErrorKind::TimedOut, "nobody reads it")) } else { Ok(()) }
    }

    /// The old file is about to be let go of.
    fn sync_now(&mut self) {
        if self.unsynced.take().is_some()
            && let Err(error) = self.file.sync_data()
        {
            tracing::warn!(log = self.name, %error, "the end of the old log file may not be on the disk");
        }
    }

    fn sync_due_in(&self) -> Option<Duration> {
        let since = self.unsynced?;
        Some(match self.fsync {
            Fsync::Every(interval) => interval.saturating_sub(since.elapsed()),
            Fsync::Never | Fsync::Always => Duration::ZERO,
        })
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
        if self.span.is_none() && self.rotation.every.is_some() {
            self.begin_span(&(self.clock)());
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for LogFile {
    fn renew(&mut self, coming: usize, mid_line: bool) -> bool {
        let fresh = self.shared.fresh.lock().take();
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
        let limit = self.rotation.size.filter(|_| !self.is_put_off())?;
        usize::try_from(limit.saturating_sub(self.size)).ok()
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
        [self.sync_due_in(), self.schedule_due_in()].into_iter().flatten().min()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.sync_now();
    }
}

#[cfg(test)]
mod tests;
