//! A server started for a while: its readiness, its last words, and its certain end.
//!
//! Invariant: no process started here outlives its [`Server`]. Dropping one (an error on the way, a panic) ends the
//! process and its children as [`Server::stop`] does. Nothing here sleeps or polls: readiness is a line on stderr, the
//! end is a pidfd that becomes readable.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::error::{Error, Result};
use crate::{cmd::Cmd, process_tree};

/// How many of the last lines of stderr are kept for the report of a failure.
const KEPT_LINES: usize = 40;
/// The longest line of stderr that is kept whole, in bytes.
const LONGEST_LINE: u64 = 4096;
/// How long a server may take to end after SIGTERM when nobody asked how it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    said: Arc<Said>,
    /// It was asked to end and did not: asking again would only wait again.
    deaf: bool,
}

impl Server {
    /// Starts `cmd`, to be called `name` in messages. Its stdout goes nowhere, its stderr is read and kept.
    pub(crate) fn start(name: &'static str, cmd: &Cmd) -> Result<Self> {
        let mut command: Command = cmd.to_command();
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|source| Error::Start { command: cmd.to_string(), source })?;
        let said = Arc::new(Said::default());
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || said.listen(stderr));
        }
        Ok(Self { name, child, said, deaf: false })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `find` makes something of a line of stderr. Fails, with the last lines, when the server ends first
    /// or `within` passes.
    pub(crate) fn wait_for<T>(&self, within: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + within;
        self.said.find(deadline, find).ok_or_else(|| {
            let report = self.said.report();
            let what = if self.said.lock().closed {
                "ended before it was ready".to_owned()
            } else {
                format!("was not ready within {within:?}")
            };
            Error::Found(format!("{} {what}; its last lines:\n{report}", self.name))
        })
    }

    /// Waits for the first line that holds an `http://` or `https://` address, as the product announces it.
    pub(crate) fn wait_for_address(&self, within: Duration) -> Result<SocketAddr> {
        self.wait_for(within, address_in)
    }

    /// Sends SIGTERM and waits for the end, `within` at most.
    pub(crate) fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        let status = self.terminate(within)?;
        status.ok_or_else(|| {
            let report = self.said.report();
            Error::Found(format!(
                "{} did not end within {within:?} of SIGTERM; its last lines:\n{report}",
                self.name
            ))
        })
    }

    /// What it said last on stderr.
    pub(crate) fn last_lines(&self) -> String {
        self.said.report()
    }

    /// Asks it to end; `None` when it has not ended `within`.
    fn terminate(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        let ended = |source| Error::Io { what: format!("stop {}", self.name), source };
        if let Some(status) = self.child.try_wait().map_err(ended)? {
            return Ok(Some(status));
        }
        let errno = |errno: rustix::io::Errno| ended(errno.into());
        let pid = Pid::from_child(&self.child);
        // Opened before the signal: the process is unreaped, so the id is still its own.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(errno)?;
        kill_process(pid, Signal::TERM).map_err(errno)?;
        let timeout = Timespec::try_from(within).ok();
        let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref()).map_err(errno)?;
        if ready == 0 {
            self.deaf = true;
            return Ok(None);
        }
        self.child.wait().map(Some).map_err(ended)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let children = process_tree::descendants(self.pid());
        if !self.deaf && matches!(self.terminate(PATIENCE), Ok(Some(_))) {
            return;
        }
        // The parent first, so that it starts no new children; errors mean that a process is already gone.
        let _gone = self.child.kill();
        for child in children.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _gone = kill_process(child, Signal::KILL);
        }
        let _gone = self.child.wait();
    }
}

/// How an exit status reads in a message.
pub(crate) fn spoken_status(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The lines of stderr, shared between the thread that reads and the one that waits.
#[derive(Debug, Default)]
struct Said {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    /// The last [`KEPT_LINES`].
    kept: VecDeque<String>,
    /// How many there were in all.
    count: usize,
    /// The other end is closed: there will be no more.
    closed: bool,
}

impl Said {
    /// Reads to the end. Runs on its own thread, which ends with the server (and whoever inherited its stderr).
    fn listen(&self, stderr: ChildStderr) {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line), Ok(1..)) {
            self.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn push(&self, line: String) {
        let mut lines = self.lock();
        if lines.kept.len() == KEPT_LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
        lines.count += 1;
        drop(lines);
        self.changed.notify_all();
    }

    /// The first thing `find` makes of a line that is kept or still comes.
    fn find<T>(&self, deadline: Instant, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let mut seen = 0;
        let mut lines = self.lock();
        loop {
            let unseen = (lines.count - seen).min(lines.kept.len());
            let first_unseen = lines.kept.len() - unseen;
            if let Some(found) = lines.kept.range(first_unseen..).find_map(|line| find(line)) {
                return Some(found);
            }
            seen = lines.count;
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.closed || left.is_zero() {
                return None;
            }
            let woken = self.changed.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn report(&self) -> String {
        let lines = self.lock();
        if lines.kept.is_empty() {
            return "  (it said nothing)".to_owned();
        }
        lines.kept.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        // A panic while a line was pushed leaves whole lines behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address in the first `http://ADDRESS:PORT` or `https://ADDRESS:PORT` of a line.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://").or_else(|| line.split_once("https://"))?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || "[].:".contains(c))).unwrap_or(rest.len());
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Server {
        Server::start("the shell", &Cmd::new("sh").args(["-c", script])).expect("sh starts")
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn an_address_is_found_in_a_sentence() {
        let found = |line| address_in(line).map(|address| address.to_string());
        assert_eq!(found("ready: http://127.0.0.1:8080/ (2 workers)").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(found("open http://[::1]:80.").as_deref(), Some("[::1]:80"));
        assert_eq!(found("ready at https://127.0.0.1:8443/").as_deref(), Some("127.0.0.1:8443"));
        assert_eq!(found("see https://example.org"), None);
        assert_eq!(found("no address"), None);
    }

    #[test]
    fn readiness_is_a_line_even_among_many() {
        let server = shell(
            "i=0; while [ $i -lt 500 ]; do echo line $i >&2; i=$((i+1)); done; echo http://127.0.0.1:81 >&2; exec cat /dev/zero",
        );
        let address = server.wait_for_address(SOON).expect("the address");
        assert_eq!(address.port(), 81);
    }

    #[test]
    fn a_server_that_ends_early_is_told_from_a_slow_one() {
        let error = shell("echo port in use >&2; exit 1").wait_for_address(SOON).expect_err("never ready");
        assert_eq!(error.to_string(), "the shell ended before it was ready; its last lines:\n  port in use");
        let error = shell("exec sleep 1000").wait_for_address(Duration::from_millis(20)).expect_err("slow");
        assert!(error.to_string().contains("was not ready within 20ms"), "{error}");
    }

    #[test]
    fn stop_reports_how_it_ended() {
        let mut server = shell("trap 'exit 7' TERM; echo ready >&2; while :; do :; done");
        server.wait_for(SOON, |line| (line == "ready").then_some(())).expect("ready");
        let status = server.stop(SOON).expect("it ends");
        assert_eq!(spoken_status(status), "exit code 7");
    }

    #[test]
    fn stop_gives_up_on_a_deaf_server_and_drop_still_ends_it() {
        let mut server = shell("trap '' TERM; echo ready >&2; exec sleep 1000");
        server.wait_for(SOON, |line| (line == "ready").then_some(())).expect("ready");
        let pid = Pid::from_child(&server.child);
        let error = server.stop(Duration::from_millis(50)).expect_err("it is deaf");
        assert!(error.to_string().contains("did not end"), "{error}");
        drop(server);
        assert!(rustix::process::test_kill_process(pid).is_err(), "the process lives on");
    }
}
