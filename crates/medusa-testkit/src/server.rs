//! The program under test: run to its end, or as a server on a free port.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Client, Finished, Lines, Process, Response};

/// What of the environment would change what the program does.
const CHANGES_IT: [&str; 4] = ["STATE_DIRECTORY", "NOTIFY_SOCKET", "NO_COLOR", "RUST_BACKTRACE"];

/// The program, by its path: `Medusa::new(env!("CARGO_BIN_EXE_medusa"))`.
#[derive(Debug, Clone, Copy)]
pub struct Medusa(&'static str);

impl Medusa {
    /// The program at `path`.
    pub const fn new(path: &'static str) -> Self {
        Self(path)
    }

    /// A command line of it, in an environment that does not matter.
    pub fn command<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(self.0);
        command.args(args);
        for name in CHANGES_IT {
            command.env_remove(name);
        }
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Finished {
        Process::start(&mut self.command(args)).finish()
    }

    /// Runs it in `directory`, to its end.
    #[track_caller]
    pub fn run_in<S: AsRef<OsStr>>(self, directory: &Path, args: impl IntoIterator<Item = S>) -> Finished {
        Process::start(self.command(args).current_dir(directory)).finish()
    }

    /// Runs it with `input` to read, to its end.
    #[track_caller]
    pub fn run_reading<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>, input: &str) -> Finished {
        Process::start_reading(&mut self.command(args), input.as_bytes()).finish()
    }

    /// A server for `path`, to be started, with a state directory of its own.
    #[track_caller]
    pub fn serve(self, path: impl AsRef<OsStr>) -> Serve {
        let own = tempfile::tempdir().expect("a temporary directory");
        let serve = self.serve_with_state(path, own.path());
        Serve { own_state: Some(own), ..serve }
    }

    /// A server for `path`, to be started, that keeps its state where another may have left its own.
    pub fn serve_with_state(self, path: impl AsRef<OsStr>, state: &Path) -> Serve {
        let mut command = self.command([OsStr::new("serve"), path.as_ref()]);
        command.arg("--state").arg(state);
        Serve { medusa: self, command, state: state.to_owned(), own_state: None }
    }
}

/// A server to be started.
#[derive(Debug)]
pub struct Serve {
    medusa: Medusa,
    command: Command,
    state: PathBuf,
    /// Removed with it.
    own_state: Option<TempDir>,
}

impl Serve {
    /// Adds a word to its command line.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Has it listen there instead of where its script says.
    #[must_use]
    pub fn listen(self, address: &str) -> Self {
        self.arg("--listen").arg(address)
    }

    /// Has these words, as of a command that runs another, stand before its command line.
    #[must_use]
    pub fn within<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        let mut words = words.into_iter();
        let Some(first) = words.next() else { return self };
        let mut command = Command::new(first);
        command.args(words).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// It ends first, or says nothing of the kind within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn start(mut self) -> Server {
        let process = Process::start(&mut self.command);
        let ready = process.stderr().wait_for("medusa: ready");
        Server {
            medusa: self.medusa,
            process,
            address: address_in(&ready),
            encrypted: ready.contains("https://"),
            state: self.state,
            _own_state: self.own_state,
        }
    }

    /// Starts one that must not get ready, and waits for its end.
    #[track_caller]
    pub fn fail(mut self) -> Finished {
        Process::start(&mut self.command).finish()
    }
}

/// A running server. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    medusa: Medusa,
    process: Process,
    address: Option<SocketAddr>,
    encrypted: bool,
    state: PathBuf,
    _own_state: Option<TempDir>,
}

impl Server {
    /// The first TCP address it listens on.
    ///
    /// # Panics
    ///
    /// It listens on none.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a server that listens on TCP")
    }

    /// The URL of a path on it.
    #[track_caller]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address())
    }

    /// The address of its listener number `at`, as the script has them, from 0.
    #[track_caller]
    pub fn address_of(&self, at: usize) -> SocketAddr {
        let listeners = self.documents("listener");
        let address = listeners.get(at).and_then(|listener| listener["address"].as_str());
        let address = address.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no listener number {at} on TCP among {listeners:?}"))
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its log, and what it says to people.
    pub fn stderr(&self) -> &Lines {
        self.process.stderr()
    }

    /// Its access log, if its script says so.
    pub fn stdout(&self) -> &Lines {
        self.process.stdout()
    }

    /// A new connection to it.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The answer to a GET for `path`, on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().get(path)
    }

    /// The answer to these bytes, on a connection of its own.
    #[track_caller]
    pub fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect();
        client.send(request);
        client.response()
    }

    /// Runs a command that speaks to it, such as `reload`.
    #[track_caller]
    pub fn command<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Finished {
        let mut all: Vec<&OsStr> = words.into_iter().map(AsRef::as_ref).collect();
        all.extend([OsStr::new("--state"), self.state.as_os_str()]);
        self.medusa.run(all)
    }

    /// Runs a statement that must succeed; returns what it printed, and its value.
    #[track_caller]
    pub fn eval(&self, statement: &str) -> String {
        self.command(["eval", statement]).success().trim_end().to_owned()
    }

    /// Reloads its script, which must succeed.
    #[track_caller]
    pub fn reload(&self) {
        self.command(["reload"]).success();
    }

    /// Its status, as JSON.
    #[track_caller]
    pub fn status(&self) -> Value {
        let text = self.command(["status", "--json"]).success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the status:\n{text}"))
    }

    /// The documents of one kind in its status: its `listener`s, its `mount`s.
    #[track_caller]
    pub fn documents(&self, kind: &str) -> Vec<Value> {
        let mut found = Vec::new();
        collect(&self.status(), kind, &mut found);
        found
    }

    /// The number `field` of its one document of a kind.
    ///
    /// # Panics
    ///
    /// There is no such document, or there are several, or it has no such number.
    #[track_caller]
    pub fn number(&self, kind: &str, field: &str) -> u64 {
        match self.documents(kind).as_slice() {
            [one] => one[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in {one}")),
            all => panic!("one {kind} was expected, there are {}: {all:?}", all.len()),
        }
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Limits how many files and connections it may have open, from now on.
    #[track_caller]
    pub fn limit_open_files(&self, limit: u64) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        prlimit(pid, Resource::Nofile, limit).expect("our own child");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Waits for its end; `None` if it goes on for longer than `limit`.
    #[track_caller]
    pub fn wait_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process.wait_within(limit)
    }

    /// Ends it by SIGTERM, which must be a good end; returns its access log, as far as that went to standard output.
    #[track_caller]
    pub fn terminate(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "SIGTERM ended the server with {status}");
        self.stdout().wait_for_end();
        self.stdout().text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- what the server said ---\n{}---", self.stderr().text());
        }
    }
}

/// Collects what is of one kind in a status and below it.
fn collect(status: &Value, kind: &str, found: &mut Vec<Value>) {
    if status["kind"] == kind {
        found.push(status.clone());
    }
    for child in status["children"].as_array().into_iter().flatten() {
        collect(child, kind, found);
    }
}

/// The address in `ready at http://127.0.0.1:8080/ (...)`, or https.
fn address_in(ready: &str) -> Option<SocketAddr> {
    let (_, url) = ready.split_once("://")?;
    url.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_of_a_status_are_found_at_any_depth() {
        let status = serde_json::json!({"kind": "a", "children": [
            {"kind": "b", "name": "1"}, {"kind": "a", "children": [{"kind": "b", "name": "2"}]},
        ]});
        let mut found = Vec::new();
        collect(&status, "b", &mut found);
        assert_eq!(found.iter().map(|found| &found["name"]).collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn an_address_is_read_from_the_line_that_says_ready() {
        let found = |line| address_in(line).map(|address| address.to_string());
        let line = "medusa: ready at http://127.0.0.1:8080/ (generation 1, 2 workers, pid 7)";
        assert_eq!(found(line).as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(found("medusa: ready at https://[::1]:443/ (...)").as_deref(), Some("[::1]:443"));
        assert_eq!(found("medusa: ready at /run/x.sock (...)"), None);
    }
}
