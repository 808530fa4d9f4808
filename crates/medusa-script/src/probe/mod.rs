//! Probes: the locals of a line of a running script, for somebody who looks on.
//!
//! A probe is a breakpoint of Luau's that stops nothing: where a script comes to it, its locals are copied, within
//! limits, and it goes on. What becomes of the copy is up to who looks on, elsewhere and later.
//!
//! - `breakpoint`: setting, removing and meeting them;
//! - `bytecode`: where none may be set;
//! - `frame`: reading the locals of what runs, without a call that could fail;
//! - `snapshot`: the copy, and the values made of it.
//!
//! **Invariant:** a script does not notice a probe, but by the time it takes. Nothing of a script runs for it, nothing
//! waits for who looks on, and nothing in here raises an error in the script.

mod breakpoint;
mod bytecode;
mod frame;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mlua::Lua;
use tokio::sync::mpsc;

use crate::chunk::ScriptFiles;
use crate::request::Requests;

pub(crate) use breakpoint::{goes_on, remove};
pub(crate) use snapshot::Snapshot;

/// The probes there may be at a time.
pub(crate) const MOST_PROBES: usize = 4;
/// The hits that wait to be looked at, of one probe: 64 KiB each at the most.
const QUEUED: usize = 256;

static PROBES: AtomicUsize = AtomicUsize::new(0);

/// The number of probes that are on.
pub(crate) fn probes() -> u64 {
    PROBES.load(Relaxed) as u64
}

/// A line of a file, as somebody names it: `handlers/api.luau:12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: String,
    pub(crate) number: u32,
}

impl Line {
    /// The line that `text` names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (file, number) = text.rsplit_once(':')?;
        let file = file.strip_prefix("./").unwrap_or(file);
        let number = number.parse().ok().filter(|number| (1..=i32::MAX as u32).contains(number))?;
        (!file.is_empty()).then(|| Self { file: file.to_owned(), number })
    }
}

/// A probe, as the scripts see it that come to it.
#[derive(Debug)]
pub(crate) struct Point {
    line: Line,
    /// How many more hits are wanted.
    left: AtomicU64,
    missed: AtomicU64,
    over: AtomicBool,
    deadline: Instant,
    hits: mpsc::Sender<Hit>,
}

impl Point {
    /// Whether no more hits are wanted.
    fn is_over(&self) -> bool {
        self.over.load(Relaxed) || self.left.load(Relaxed) == 0 || Instant::now() >= self.deadline
    }

    /// Takes a hit, unless nobody wants it or there is no room for it.
    fn take(&self, hit: impl FnOnce() -> Hit) {
        let Ok(room) = self.hits.try_reserve() else {
            self.missed.fetch_add(1, Relaxed);
            return;
        };
        if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            room.send(hit());
        }
    }
}

/// A script came to a probe.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The line: that of the probe, or the next that has code.
    pub(crate) line: u32,
    pub(crate) locals: Arc<Snapshot>,
}

/// The looking on; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Probe {
    point: Arc<Point>,
    hits: mpsc::Receiver<Hit>,
}

impl Probe {
    /// Begins to look on, for `max` hits and so long; it is still to be set. None: there are [`MOST_PROBES`] already.
    pub(crate) fn begin(line: Line, max: u64, time: Duration) -> Option<Self> {
        let more = |probes: usize| (probes < MOST_PROBES).then_some(probes + 1);
        PROBES.fetch_update(Relaxed, Relaxed, more).ok()?;
        let (sender, hits) = mpsc::channel(QUEUED);
        let (left, missed, over) = (AtomicU64::new(max), AtomicU64::default(), AtomicBool::default());
        let deadline = Instant::now() + time;
        Some(Self { point: Arc::new(Point { line, left, missed, over, deadline, hits: sender }), hits })
    }

    /// What is to be set.
    pub(crate) fn point(&self) -> &Arc<Point> {
        &self.point
    }

    /// When it is over at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        self.point.deadline
    }

    /// The next hit. Waits for it.
    pub(crate) async fn next(&mut self) -> Option<Hit> {
        self.hits.recv().await
    }

    /// How many found no room in the queue.
    pub(crate) fn missed(&self) -> u64 {
        self.point.missed.load(Relaxed)
    }
}

impl Drop for Probe {
    /// May be called while its VM collects garbage, and so calls no VM: a breakpoint that is left is removed where it
    /// is met.
    fn drop(&mut self) {
        self.point.over.store(true, Relaxed);
        PROBES.fetch_sub(1, Relaxed);
    }
}

/// What came of setting a probe, in one VM or several.
#[derive(Debug, Default)]
pub(crate) struct ProbedLines {
    /// The lines it was set at.
    pub(crate) lines: BTreeSet<u32>,
    /// How many loaded files have that name.
    pub(crate) files: usize,
    /// How many of them have it not.
    pub(crate) without: usize,
    /// The line begins a loop that cannot have one.
    pub(crate) is_split_loop: bool,
    /// All files that are loaded.
    pub(crate) loaded: BTreeSet<String>,
}

impl ProbedLines {
    pub(crate) fn add(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.files += other.files;
        self.without += other.without;
        self.is_split_loop |= other.is_split_loop;
        self.loaded.extend(other.loaded);
    }
}

/// Sets a probe in what was loaded of its file, in a VM of this thread.
pub(crate) fn set(
    lua: &Lua,
    chunks: &ScriptFiles,
    requests: Option<&Requests>,
    point: &Arc<Point>,
) -> Result<ProbedLines, String> {
    let mut found = ProbedLines { loaded: chunks.names().into_iter().collect(), ..ProbedLines::default() };
    let set = |error: mlua::Error| format!("it could not be set: {error}");
    for chunk in chunks.of(&point.line.file) {
        found.files += 1;
        let Some(line) = breakpoint::line(lua, &chunk.function, point.line.number).map_err(set)? else {
            continue;
        };
        if bytecode::is_split_loop(&chunk.text, line) {
            found.is_split_loop = true;
            continue;
        }
        breakpoint::set(lua, &chunk.function, line, requests, point).map_err(set)?;
        found.lines.insert(line);
    }
    Ok(found)
}

/// Looks in how many loaded files a probe is and is not.
pub(crate) fn look(chunks: &ScriptFiles, point: &Arc<Point>) -> ProbedLines {
    let chunks = chunks.of(&point.line.file);
    let without = chunks.iter().filter(|chunk| !breakpoint::is_set(&chunk.function, point)).count();
    ProbedLines { files: chunks.len(), without, ..ProbedLines::default() }
}
