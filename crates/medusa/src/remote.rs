//! The commands that speak to a running server: `eval`, `reload`, `reopen`, `status`, `ps`, `kill`, `stop`.
//!
//! What a statement prints and its value go to standard output; everything said about it, to standard error.

use std::io::{self, IsTerminal, Read};
use std::iter;
use std::path::PathBuf;

use medusa_monitor::protocol::MAX_REQUEST;
use medusa_monitor::{CallError, Client, ConnectError, Done, Failure, Killed, Op};
use medusa_proto::progress::TaskProgress;
use medusa_proto::with_causes;

use crate::target::Target;
use crate::term;

/// A running server, as it is sought.
#[derive(Debug)]
pub(crate) struct Remote {
    /// What it serves, if that is how it is sought.
    pub(crate) target: Option<Target>,
    /// Its state directory.
    pub(crate) state: PathBuf,
    /// How this program is called.
    pub(crate) command: String,
    /// What it is wanted for, if that is said.
    pub(crate) reason: Option<String>,
}

impl Remote {
    /// The same, wanted for that, if it is said.
    pub(crate) fn because(self, reason: Option<String>) -> Self {
        Self { reason: reason.or(self.reason), ..self }
    }

    /// Runs a statement, or without one what standard input holds, and prints its value.
    pub(crate) fn eval(&self, statement: Option<String>) -> Result<(), String> {
        let source = match statement {
            Some(statement) if statement != "-" => statement,
            _ => read_statement()?,
        };
        let is_open = tell(self.connect()?.call(&Op::Eval { source }, show))?;
        note_open(is_open);
        Ok(())
    }

    /// Has something done, and prints what it comes to.
    pub(crate) fn answer(&self, op: &Op) -> Result<(), String> {
        let done = self.call(op)?;
        done.report.or(done.value).into_iter().for_each(term::answer);
        Ok(())
    }

    /// Lists the generations, the last first.
    pub(crate) fn generations(&self, json: bool) -> Result<(), String> {
        let generations = self.call(&Op::Generations)?.generations.unwrap_or_default();
        let lines =
            generations.iter().map(|generation| format!("{}  {generation}", shown_time(generation.at)));
        list(lines, json.then(|| serde_json::to_string_pretty(&generations)))
    }

    /// Shows what a session has begun.
    pub(crate) fn preview(&self, change: String, json: bool) -> Result<(), String> {
        let preview = self.call(&Op::Preview { change: Some(change) })?.preview;
        let preview = preview.ok_or("the server's answer holds no change")?;
        list(iter::once(preview.to_string()), json.then(|| serde_json::to_string_pretty(&preview)))
    }

    /// Lists the handlers, those with something under way first.
    pub(crate) fn handlers(&self, json: bool) -> Result<(), String> {
        let handlers = self.call(&Op::Handlers)?.handlers.unwrap_or_default();
        list(handlers.iter().map(ToString::to_string), json.then(|| serde_json::to_string_pretty(&handlers)))
    }

    /// Runs the script anew; to be confirmed within so many seconds, if that is given.
    pub(crate) fn reload(&self, confirm: Option<f64>) -> Result<(), String> {
        if let Some(report) = self.call(&Op::Reload { confirm })?.report {
            term::note(format_args!("reloaded: {report}"));
        }
        Ok(())
    }

    /// Has log files opened anew.
    pub(crate) fn reopen(&self) -> Result<(), String> {
        self.call(&Op::Reopen)?;
        term::note("logs reopened");
        Ok(())
    }

    /// Lists what of scripts is running.
    pub(crate) fn ps(&self, json: bool) -> Result<(), String> {
        let runs = self.call(&Op::Ps)?.runs.ok_or("the server's answer holds no list")?;
        list(iter::once(runs.to_string()), json.then(|| serde_json::to_string_pretty(&runs)))
    }

    /// Ends one thing that is running, or a session.
    pub(crate) fn kill(&self, what: Killed) -> Result<(), String> {
        self.call(&Op::Kill(what)).map(drop)
    }

    /// Prints the server's status.
    pub(crate) fn status(&self, json: bool) -> Result<(), String> {
        let report = self.call(&Op::Status)?.status.ok_or("the server's answer holds no status")?;
        if json {
            let text = serde_json::to_string_pretty(&report.json);
            term::answer(text.map_err(|error| error.to_string())?);
        } else {
            term::answer_tree(&report.tree);
        }
        Ok(())
    }

    /// Stops the server, and waits until it has ended.
    pub(crate) fn stop(&self) -> Result<(), String> {
        let mut client = self.connect()?;
        client.call(&Op::Stop, show).map_err(|error| with_causes(&error))?;
        let pid = client.pid().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
        if term::stderr_is_terminal() {
            term::note(format_args!("stopping{pid}: what is under way may finish"));
        }
        client.wait_for_end();
        term::note(format_args!("stopped{pid}"));
        Ok(())
    }

    fn call(&self, op: &Op) -> Result<Done, String> {
        self.connect()?.call(op, show).map_err(|error: CallError| with_causes(&error))
    }

    /// Begins a session with it.
    pub(crate) fn connect(&self) -> Result<Client, String> {
        let client = Client::connect(&self.state).map_err(|error| match (&self.target, error) {
            (Some(target), ConnectError::NotRunning(state)) => {
                let (path, state, command) = (target.path(), state.display(), &self.command);
                let path = path.display();
                format!(
                    "no server is running for {path} (state directory {state}): start it with `{command} serve {path}`, \
                     or name its state directory with `--state`"
                )
            }
            (_, error) => with_causes(&error),
        });
        let mut client = client?;
        if let Some(reason) = self.reason.clone() {
            client.call(&Op::Hello { reason }, show).map_err(|error| with_causes(&error))?;
        }
        Ok(client)
    }
}

/// Tells what came of a statement: what it published, and its value. Whether it has left anything begun.
pub(crate) fn tell(result: Result<Done, CallError>) -> Result<bool, String> {
    match result {
        Ok(done) => {
            done.reports_beside_value().for_each(term::note);
            done.value.into_iter().for_each(term::answer);
            Ok(done.open)
        }
        Err(error) => {
            if let CallError::Failed(Failure { report: Some(report), .. }) = &error {
                term::note(report);
            }
            Err(with_causes(&error))
        }
    }
}

/// Says what becomes of that when the session is over.
pub(crate) fn note_open(is_open: bool) {
    if is_open {
        term::note("begin() without commit(): what it changed is given up");
    }
}

/// Lists things: as JSON if that is there, or in lines.
fn list(lines: impl Iterator<Item = String>, json: Option<serde_json::Result<String>>) -> Result<(), String> {
    match json {
        Some(json) => term::answer(json.map_err(|error| error.to_string())?),
        None => lines.for_each(term::answer),
    }
    Ok(())
}

/// The time, as it is shown.
pub(crate) fn now_shown() -> String {
    shown_time(jiff::Timestamp::now().as_millisecond() as f64 / 1000.0)
}

/// A time of the server, in the zone of whoever looks.
fn shown_time(seconds: f64) -> String {
    let zone = jiff::tz::TimeZone::system();
    let time = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).unwrap_or_default();
    time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Shows what happens while a request is worked on.
pub(crate) fn show(event: TaskProgress) {
    match event {
        TaskProgress::Output(text) => term::answer(text),
        TaskProgress::Top(sample) => term::answer(sample),
        TaskProgress::Waiting(text) => term::note(text),
    }
}

/// Reads a statement from standard input, no more of it than a server would take.
fn read_statement() -> Result<String, String> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        term::note("type a statement, and end it with Ctrl-D");
    }
    let mut source = String::new();
    let read = stdin.lock().take(MAX_REQUEST as u64 + 1).read_to_string(&mut source);
    read.map_err(|error| format!("cannot read the statement from standard input: {error}"))?;
    Ok(source)
}
