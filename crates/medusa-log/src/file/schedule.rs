//! The schedule of a file: when it is to be rotated, and when those that have been are to be looked after.
//!
//! **Invariant: what cannot be done now is put off**, never tried again at once: a writer that asks when it should come
//! back does not spin.

use std::fs::Metadata;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::rotate::{Place, Rotation, Span, Tag, Tidy};

/// Wait after a rotation that failed.
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

/// The schedule of a file that rotates.
#[derive(Debug)]
pub(super) struct Schedule {
    rotation: Rotation,
    tidy: Arc<Tidy>,
    /// When rotated files were last looked after. None: not yet, although a server before may have left some.
    tidied: Option<Instant>,
    /// Nothing happens before, unless there is something to write. None: it has begun.
    idle_until: Option<Instant>,
    /// The period that the file belongs to: that of its first line. None: it is empty, or not rotated by time.
    span: Option<Span>,
    /// No attempt before.
    not_before: Option<Instant>,
    /// Whether the last attempt failed.
    pub(super) failing: bool,
}

impl Schedule {
    pub(super) fn new(tidy: Arc<Tidy>, rotation: Rotation) -> Self {
        let now = Instant::now();
        Self {
            rotation,
            tidy,
            tidied: None,
            idle_until: Some(now + DRAFT),
            span: None,
            not_before: None,
            failing: false,
        }
    }

    /// The file is this one now. If it holds lines, it belongs to the period of the last.
    pub(super) fn begin(&mut self, meta: &Metadata, clock: &Clock) {
        let now = clock.now();
        let written = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let at = written.map_or(now, |written| written.min(now));
        self.not_before = None;
        self.span = None;
        if meta.len() > 0 {
            self.begin_span(at, clock);
        }
    }

    /// Something has been written to the file.
    pub(super) fn written(&mut self, clock: &Clock) {
        if self.span.is_none() {
            self.begin_span(clock.now(), clock);
        }
    }

    fn begin_span(&mut self, at: Timestamp, clock: &Clock) {
        self.span = self.rotation.every.map(|period| Span::around(period, at, &clock.zone()));
    }

    /// Tells whether the sink is known to be in use, now that `coming` bytes are to be written.
    pub(super) fn is_begun(&mut self, coming: usize) -> bool {
        if coming > 0 || self.idle_until.is_some_and(|until| Instant::now() >= until) {
            self.idle_until = None;
        }
        self.idle_until.is_none()
    }

    /// The period to name a file of `size` after, if it is to be rotated before `coming` more bytes.
    pub(super) fn is_due(&mut self, clock: &Clock, size: u64, coming: u64) -> Option<Tag> {
        let now = clock.now();
        if self.span.is_some_and(|span| span.start.duration_since(now) > SET_BACK) {
            self.begin_span(now, clock);
        }
        let full = self.rotation.size.is_some_and(|limit| coming > 0 && size + coming > limit);
        let over = self.span.is_some_and(|span| now >= span.end);
        let not_yet = self.not_before.is_some_and(|at| Instant::now() < at);
        let tag = || self.span.map_or_else(|| Tag::day(now, &clock.zone()), |span| span.tag);
        (size > 0 && !not_yet && (full || over)).then(tag)
    }

    /// Bytes that a file of `size` may take before it is rotated; `None` if any number, also because it cannot be
    /// rotated now.
    pub(super) fn room(&self, size: u64) -> Option<usize> {
        let not_yet = self.not_before.is_some_and(|at| Instant::now() < at);
        let limit = self.rotation.size.filter(|_| !not_yet)?;
        usize::try_from(limit.saturating_sub(size)).ok()
    }

    /// It could not be done now.
    pub(super) fn put_off(&mut self) {
        self.not_before = Some(Instant::now() + RETRY);
    }

    /// Tells whether rotated files are to be looked after although there is no new one.
    pub(super) fn is_tidy_due(&self) -> bool {
        self.tidy_due_in().is_some_and(|due| due.is_zero())
    }

    /// Has the files of `place` looked after.
    pub(super) fn tidy(&mut self, place: Option<Place>, name: &str) {
        self.tidied = Some(Instant::now());
        if let Some(place) = place
            && (self.rotation.keep.is_some() || self.rotation.compress)
        {
            self.tidy.start(place, name);
        }
    }

    fn tidy_due_in(&self) -> Option<Duration> {
        match self.tidied {
            None => Some(Duration::ZERO),
            Some(at) => self.tidy.is_postponed().then(|| TIDY_AGAIN.saturating_sub(at.elapsed())),
        }
    }

    /// Time until there may be something to do for a file of `size`.
    pub(super) fn due_in(&self, clock: &Clock, size: u64) -> Option<Duration> {
        let now = Instant::now();
        if let Some(until) = self.idle_until {
            return Some(until.saturating_duration_since(now));
        }
        let end = self.span.filter(|_| size > 0).map(|span| span.end);
        let rotation = end.map(|end| {
            let left = Duration::try_from(end.duration_since(clock.now())).unwrap_or_default();
            let wait = self.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            left.min(LONGEST_SLEEP).max(wait)
        });
        [rotation, self.tidy_due_in()].into_iter().flatten().min()
    }

    #[cfg(test)]
    pub(super) fn try_again(&mut self) {
        self.not_before = None;
    }
}
