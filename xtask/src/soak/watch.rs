//! What the server holds, looked at from outside: memory, descriptors, threads; and whether its operator is still heard.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{memory, process};
use serde_json::Value;

use crate::cmd::Cmd;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// Between two questions of an operator.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// The time that an operator waits for an answer, in seconds.
const OPERATOR_WAITS: &str = "20";
/// The time that an operator goes on who is refused: hostile clients may have all the seats of the control socket.
const HEARD_WITHIN: Duration = Duration::from_secs(20);
/// The time until such an operator tries again.
const TRIES_AGAIN: Duration = Duration::from_secs(1);
/// A part of the status that names more than this is told, when memory does not come back.
const LARGE: u64 = 8 << 20;

/// The resources that a process holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Descriptors.
    pub(super) descriptors: usize,
    /// Threads.
    pub(super) threads: usize,
}

impl Held {
    /// Looks at a process; all is 0 when it has gone.
    pub(super) fn by(pid: u32) -> Self {
        let entries = |of: &str| fs::read_dir(format!("/proc/{pid}/{of}")).map_or(0, Iterator::count);
        Self { memory: memory::resident_if_any(pid), descriptors: entries("fd"), threads: entries("task") }
    }

    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

/// The resources seen during the soak.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched {
    /// The most it held of each.
    pub(super) peak: Held,
    /// How often an operator asked for the status.
    pub(super) asked: u32,
    /// How often he got none.
    pub(super) unheard: u32,
    /// The longest he waited.
    pub(super) slowest: Duration,
    /// Since when the server was gone, if it was.
    pub(super) gone: bool,
}

/// The watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) pid: u32,
    pub(super) program: PathBuf,
    pub(super) state: PathBuf,
}

impl Watch {
    /// Looks until `over` is set. As soon as the process has ended, sets `dead` and calls `note`.
    pub(super) fn run(&self, over: &AtomicBool, dead: &AtomicBool, note: impl Fn()) -> Watched {
        let mut watched = Watched::default();
        let mut asked = Instant::now();
        while !over.load(Ordering::Relaxed) {
            if !process::is_running(self.pid) {
                watched.gone = true;
                note();
                dead.store(true, Ordering::Relaxed);
                break;
            }
            watched.peak = watched.peak.most(Held::by(self.pid));
            if asked.elapsed() > ASKED_EVERY {
                self.ask(&mut watched);
                asked = Instant::now();
            }
            thread::park_timeout(EVERY);
        }
        watched
    }

    fn ask(&self, watched: &mut Watched) {
        let begun = Instant::now();
        watched.asked += 1;
        // Who is told to try again later does.
        while self.status(&[]).output().is_err() && process::is_running(self.pid) {
            if begun.elapsed() > HEARD_WITHIN {
                watched.unheard += 1;
                break;
            }
            thread::park_timeout(TRIES_AGAIN);
        }
        watched.slowest = watched.slowest.max(begun.elapsed());
    }

    /// The memory that the status names, of VMs, caches and queues.
    fn named(&self) -> Named {
        let status = self.status(&["--json"]).output().unwrap_or_default();
        let mut named = Named::default();
        if let Ok(status) = serde_json::from_slice(&status) {
            named.add(&status);
        }
        named
    }

    /// The command that asks, by `timeout` of coreutils: it must end also when the server does not answer.
    fn status(&self, options: &[&str]) -> Cmd {
        let asks = [OPERATOR_WAITS.as_ref(), self.program.as_os_str(), "status".as_ref(), "--state".as_ref()];
        Cmd::new("timeout").args(asks).args([&self.state]).args(options.iter().copied())
    }

    /// Waits until the process holds no more than `most` says, of the bytes that its status names, for `within` at most.
    /// Returns what it holds then, and how much of that the status names.
    pub(super) fn until_at_most(&self, most: impl Fn(u64) -> Held, within: Duration) -> (Held, Named) {
        let deadline = Instant::now() + within;
        loop {
            let (held, named) = (Held::by(self.pid), self.named());
            if held.is_within(most(named.bytes))
                || Instant::now() > deadline
                || !process::is_running(self.pid)
            {
                return (held, named);
            }
            thread::park_timeout(EVERY);
        }
    }
}

impl Held {
    /// Whether it is at most `most` of each.
    pub(super) fn is_within(self, most: Self) -> bool {
        self.most(most) == most
    }
}

/// The memory that a status names.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    /// All of it, in bytes.
    pub(super) bytes: u64,
    /// The parts that name more than [`LARGE`], each as it is told.
    pub(super) large: Vec<String>,
}

impl Named {
    /// Adds what a part of the status and its children name.
    fn add(&mut self, part: &Value) {
        let names = match part["kind"].as_str() {
            Some("http.memory") => &["requests", "answers"][..],
            _ => &["memory", "cached", "queue_bytes", "held_bytes", "size"],
        };
        let bytes: u64 = names.iter().filter_map(|name| part[name].as_u64()).sum();
        self.bytes += bytes;
        if bytes > LARGE {
            let told = |field: &str| part[field].as_str().unwrap_or_default().to_owned();
            self.large.push(format!("{} {} {} MiB", told("kind"), told("name"), bytes >> 20));
        }
        part["children"].as_array().into_iter().flatten().for_each(|child| self.add(child));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_something_and_one_that_has_gone_nothing() {
        let held = Held::by(std::process::id());
        assert!(held.memory > 100_000 && held.descriptors >= 3 && held.threads >= 1, "{held:?}");
        assert!(process::is_running(std::process::id()));
        assert_eq!(Held::by(u32::MAX), Held::default());
        assert!(!process::is_running(u32::MAX));
    }

    #[test]
    fn each_number_counts_by_itself() {
        let most = Held { memory: 10, descriptors: 10, threads: 10 };
        assert!(most.is_within(most));
        for more in
            [Held { memory: 11, ..most }, Held { descriptors: 11, ..most }, Held { threads: 11, ..most }]
        {
            assert!(!more.is_within(most), "{more:?}");
        }
    }
}
