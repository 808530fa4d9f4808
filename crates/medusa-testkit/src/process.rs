//! A child process: what it says is kept, its end is waited for.
//!
//! **Invariant:** neither it nor a child of its own outlives its [`Process`]. It is signalled and reaped by nobody else, so its id stays its own.

use std::fs;
use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{Lines, PATIENCE};

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// As messages show it.
    command: String,
    stdout: Lines,
    stderr: Lines,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Finished {
    /// As it was called.
    pub command: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// The text it wrote to standard output.
    pub stdout: String,
    /// The text it wrote to standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command` with nothing to read.
    ///
    /// # Panics
    ///
    /// There is no such program, or the system refuses.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts `command` and has it read `input`.
    #[track_caller]
    pub(crate) fn start_reading(command: &mut Command, input: &[u8]) -> Self {
        let mut process = Self::start_with(command, Stdio::piped());
        let input = input.to_vec();
        if let Some(mut stdin) = process.child.stdin.take() {
            // A thread of its own, as a pipe holds 64 KiB. A child that reads no more is not our concern.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        process
    }

    #[track_caller]
    fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let shown = show(command);
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
        let stdout = Lines::read(child.stdout.take().expect("it is piped"));
        let stderr = Lines::read(child.stderr.take().expect("it is piped"));
        Self { child, command: shown, stdout, stderr }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The text it writes to standard output.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// The text it writes to standard error.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// It has ended.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        let ended = self.child.try_wait().expect("our own child");
        assert!(ended.is_none(), "`{}` has ended already:\n{}", self.command, self.stderr.text());
        kill_process(Pid::from_child(&self.child), signal).expect("our own child");
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// It goes on for more than [`PATIENCE`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.expect_end(PATIENCE)
    }

    #[track_caller]
    fn expect_end(&mut self, limit: Duration) -> ExitStatus {
        self.wait_within(limit).unwrap_or_else(|| {
            panic!(
                "`{}` did not end within {limit:?}; it said:\n{}{}",
                self.command,
                self.stdout.text(),
                self.stderr.text()
            )
        })
    }

    /// Waits for its end; `None` if it goes on for longer than `limit`.
    #[track_caller]
    pub fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        if let Some(status) = self.child.try_wait().expect("our own child") {
            return Some(status);
        }
        self.poll(limit).expect("a pidfd can be waited for");
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end and for the last of what it says.
    ///
    /// # Panics
    ///
    /// It goes on for more than three times [`PATIENCE`]: what runs to its end has work to do, or a server for it, such as
    /// a script that uses up its budget of CPU time.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let status = self.expect_end(3 * PATIENCE);
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Finished { command: std::mem::take(&mut self.command), status, stdout, stderr }
    }

    /// Waits for its end as [`wait`](Self::wait) does, and calls `meanwhile` every 50 milliseconds until then.
    ///
    /// # Panics
    ///
    /// It goes on for more than [`PATIENCE`].
    #[track_caller]
    pub fn finish_while(mut self, mut meanwhile: impl FnMut()) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        while self.wait_within(Duration::from_millis(50)).is_none() && Instant::now() < deadline {
            meanwhile();
        }
        self.finish()
    }

    fn poll(&self, limit: Duration) -> io::Result<()> {
        // The child has not been reaped, so the id is still its own.
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let children = children(self.pid());
        // The parent first, so that it starts no others.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        for child in children.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            // One that has ended by itself is as well.
            let _ended = kill_process(child, Signal::KILL);
        }
    }
}

/// The children of a process: the workers of a server that has some.
pub fn children(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |child: &u32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // The parent is the second field behind the name, in which anything may be (`proc_pid_stat(5)`).
        let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse().ok());
        parent == Some(pid)
    };
    processes.filter(is_child).collect()
}

/// Whether a process goes on: it has not ended, nor waits for a parent to look.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

impl Finished {
    /// Standard output, of a command that must have succeeded.
    ///
    /// # Panics
    ///
    /// It did not.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!(self.status.code(), Some(0), "{self}");
        self.stdout
    }

    /// Standard output of a command that must have succeeded, without the end of its last line.
    ///
    /// # Panics
    ///
    /// It did not.
    #[track_caller]
    pub fn said(self) -> String {
        self.success().trim_end_matches('\n').to_owned()
    }

    /// Standard error, of a command that must have failed with the exit code `code`.
    ///
    /// # Panics
    ///
    /// It did not.
    #[track_caller]
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self.stderr
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "`{command}` ended with {status}\nstdout:\n{stdout}stderr:\n{stderr}")
    }
}

/// The command line, for messages.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_end_is_reported_with_what_was_said() {
        let finished = Process::start(&mut shell("echo out; echo err >&2; exit 3")).finish();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.failure(3), "err\n");
    }

    #[test]
    fn input_is_read_to_its_end() {
        let input = "line\n".repeat(100_000);
        let finished = Process::start_reading(&mut shell("wc -l"), input.as_bytes()).finish();
        assert_eq!(finished.success().trim(), "100000");
    }

    #[test]
    fn a_signal_arrives() {
        let mut process = Process::start(&mut shell("trap 'exit 7' TERM; echo ready; while :; do :; done"));
        process.stdout().wait_for("ready");
        process.signal(Signal::TERM);
        assert_eq!(process.wait().code(), Some(7));
    }

    #[test]
    fn dropping_ends_it() {
        let process = Process::start(&mut shell("trap '' TERM; echo ready; exec sleep 1000"));
        process.stdout().wait_for("ready");
        let pid = Pid::from_child(&process.child);
        assert_eq!(process.stdout().count(), 1);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it lives on");
    }

    #[test]
    fn dropping_ends_its_children_too() {
        let process = Process::start(&mut shell("sleep 1000 & echo ready; wait"));
        process.stdout().wait_for("ready");
        let [child] = children(process.pid())[..] else { panic!("one child") };
        drop(process);
        crate::wait::until("the child has ended", || (!is_running(child)).then_some(()));
    }

    #[test]
    fn one_that_goes_on_is_told_from_one_that_has_ended() {
        let mut process = Process::start(&mut shell("exec sleep 1000"));
        assert_eq!(process.wait_within(Duration::from_millis(20)), None);
    }
}
