//! The control protocol: one JSON object per line, in both directions.
//!
//! A client sends a [request](encode) and reads [`Reply`]s until the last one, `done` or `failed`; then it may send the
//! next. It may close its sending side as soon as it has sent its last, and is answered all the same; one that closes both is
//! gone, and the statement or reload that is under way is cancelled. [`Op::Interrupt`] does that, too, and the session goes on.
//!
//! ```text
//! → {"version":1,"op":"eval","source":"print(1) return 2"}
//! ← {"reply":"output","text":"1"}
//! ← {"reply":"done","value":"2"}
//! → {"version":1,"op":"reload"}
//! ← {"reply":"waiting","text":"waiting for the change by eval by uid 0 (pid 4711)"}
//! ← {"reply":"failed","message":"site.luau:3: attempt to call a nil value"}
//! ```
//!
//! **Invariant:** nothing is read without a limit: a request has at most [`MAX_REQUEST`] bytes, a reply [`MAX_REPLY`].

use std::fmt::{self, Write as _};

use medusa_proto::top::TopSample;
use serde::{Deserialize, Serialize};

use crate::identity::Role;
use crate::news::TrialInfo;
use crate::runs::{RunId, RunList};
use crate::sessions::SessionInfo;
use crate::terminal::Candidate;

/// The version of the protocol. A server takes requests of its own version alone.
pub const VERSION: u32 = 1;

/// The longest request, in bytes, with its newline. 1 MiB is a long script, and little to hold for each session.
pub const MAX_REQUEST: usize = 1024 * 1024;

/// The longest reply a client takes, in bytes, with its newline. Room for the status of a site with tens of thousands of
/// mounts.
pub const MAX_REPLY: usize = 64 * 1024 * 1024;

/// A request of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// Run one statement, as one change.
    Eval {
        /// The statement, in Luau.
        source: String,
    },
    /// Run the script anew.
    Reload {
        /// The seconds within which that has to be confirmed; none: it is there for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<f64>,
    },
    /// List the generations that are remembered, the last one first.
    Generations,
    /// Compare two generations.
    Diff {
        /// The first.
        from: u64,
        /// The second; none: the running one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<u64>,
    },
    /// Tell how a request would be routed.
    Explain {
        /// Its method.
        method: String,
        /// Its URL, with or without a host.
        url: String,
    },
    /// Go back to a generation.
    Rollback {
        /// Its number.
        generation: u64,
        /// The reason, for the history.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Confirm the change that is on trial.
    Confirm {
        /// Only if it is this generation; none: whichever it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Take the change that is on trial back.
    Cancel {
        /// Only if it is this generation; none: whichever it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u64>,
    },
    /// Write what statements have changed to a file beside the script.
    Save {
        /// The reason, for the file.
        reason: String,
    },
    /// Compare what runs with what is written.
    Drift,
    /// Show the next requests that match, with every handler they pass: each is [output](Reply::Output).
    Trace {
        /// Those that it shows.
        #[serde(flatten)]
        of: TracedBy,
        /// How many; none: 10.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
        /// The seconds after which it ends in any case; none: 60.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// List the handlers of all mounts, and what is under way on each.
    Handlers,
    /// Have what goes on for long on the handlers of a generation end.
    Drain {
        /// The generation that has published them.
        generation: u64,
        /// The seconds after which what is left is cut off; none: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// Say what may stand at a place of a statement. Nothing runs.
    Complete {
        /// The statement, as far as it is typed.
        source: String,
        /// The place, in bytes.
        at: usize,
    },
    /// End what is under way, which fails then. The one request that may come before the last is answered; it is not answered
    /// itself.
    Interrupt,
    /// Describe the server.
    Status,
    /// Open log files anew.
    Reopen,
    /// Shut down. Answered when that begins; the connection then stays open until the server has ended.
    Stop,
    /// Nothing: is anyone there?
    Ping,
    /// Be told from now on, at any time, what others do ([`Reply::News`]) and what is on trial ([`Reply::Trial`]).
    Watch,
    /// List the open sessions.
    Sessions,
    /// Tell of the server in numbers, once a second.
    Top {
        /// For so many seconds; none: until it is interrupted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
    },
    /// List what of scripts is running.
    Ps,
    /// End a session, and what it runs; or one thing that is running.
    Kill(Killed),
}

/// What is ended by [`Op::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Killed {
    /// A session.
    Session {
        /// Its number.
        session: u64,
    },
    /// A run of a script.
    Run {
        /// Its number.
        run: RunId,
    },
}

/// What the requests of a [trace](Op::Trace) have in common: all of these that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedBy {
    /// A mount of this pattern would get them: `/api/`, `/users/{id}`, `example.com/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Their method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The status they are answered with: `500`, or a class, `5xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The address of their clients, or a network, or `unix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The name of their server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

impl TracedBy {
    /// Each that is there, by name.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { path, method, status, ip, server } = self;
        let all = [("path", path), ("method", method), ("status", status), ("ip", ip), ("server", server)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// From what stands between braces: `path = "/api/", status = 500`.
    fn from_text(text: &str) -> Option<Self> {
        let mut by = Self::default();
        for option in arguments(text)? {
            let (name, value) = option.split_once('=')?;
            let value = value.trim();
            let (place, is_status) = match name.trim() {
                "path" => (&mut by.path, false),
                "method" => (&mut by.method, false),
                "status" => (&mut by.status, true),
                "ip" => (&mut by.ip, false),
                "server" => (&mut by.server, false),
                _ => return None,
            };
            let number = || value.parse::<u16>().ok().filter(|_| is_status).map(|_| value.to_owned());
            *place = Some(quoted(value).or_else(number)?);
        }
        Some(by)
    }
}

impl Op {
    /// The least role that may have it done.
    pub const fn needs(&self) -> Role {
        match self {
            Self::Status
            | Self::Ping
            | Self::Interrupt
            | Self::Watch
            | Self::Sessions
            | Self::Ps
            | Self::Top { .. }
            | Self::Generations
            | Self::Diff { .. }
            | Self::Explain { .. }
            | Self::Drift
            | Self::Trace { .. }
            | Self::Handlers => Role::View,
            Self::Reopen
            | Self::Reload { .. }
            | Self::Stop
            | Self::Kill(_)
            | Self::Rollback { .. }
            | Self::Confirm { .. }
            | Self::Cancel { .. }
            | Self::Save { .. }
            | Self::Drain { .. } => Role::Operate,
            Self::Eval { .. } | Self::Complete { .. } => Role::Program,
        }
    }

    /// Whether it does something to the whole server, and not to what somebody may be limited to.
    pub(crate) const fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::Reload { .. }
                | Self::Reopen
                | Self::Stop
                | Self::Kill { .. }
                | Self::Save { .. }
                | Self::Drain { .. }
        )
    }

    /// Whether it may take its time, so that it is ended with a client that does not wait for it.
    pub(crate) const fn may_go_on(&self) -> bool {
        matches!(
            self,
            Self::Eval { .. }
                | Self::Reload { .. }
                | Self::Rollback { .. }
                | Self::Complete { .. }
                | Self::Trace { .. }
                | Self::Drain { .. }
                | Self::Top { .. }
        )
    }

    /// The command that a statement is, if it is one: `status()`, `kill(3)`, with nothing before or behind. No code runs for
    /// it, so that roles have it that may run none.
    pub fn from_text(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once('(')?;
        let arguments = arguments(rest.trim_end().strip_suffix(')')?)?;
        let number = |text: &str| text.parse::<u64>().ok();
        Some(match (name.trim_end(), &*arguments) {
            ("reload", []) => Self::Reload { confirm: None },
            ("reload", [seconds]) => Self::Reload { confirm: Some(seconds.parse().ok()?) },
            ("status", []) => Self::Status,
            ("reopen", []) => Self::Reopen,
            ("stop", []) => Self::Stop,
            ("ping", []) => Self::Ping,
            ("sessions", []) => Self::Sessions,
            ("ps", []) => Self::Ps,
            ("top", []) => Self::Top { n: None },
            ("top", [n]) => Self::Top { n: Some(number(n).filter(|n| *n > 0)?) },
            ("kill", [killed]) => Self::Kill(match number(killed) {
                Some(session) => Killed::Session { session },
                None => Killed::Run { run: quoted(killed)?.parse().ok()? },
            }),
            ("generations", []) => Self::Generations,
            ("diff", [from]) => Self::Diff { from: number(from)?, to: None },
            ("diff", [from, to]) => Self::Diff { from: number(from)?, to: Some(number(to)?) },
            ("explain", [method, url]) => Self::Explain { method: quoted(method)?, url: quoted(url)? },
            ("rollback", [to]) => Self::Rollback { generation: number(to)?, reason: None },
            ("rollback", [to, why]) => Self::Rollback { generation: number(to)?, reason: Some(quoted(why)?) },
            ("save", [why]) => Self::Save { reason: quoted(why)? },
            ("drift", []) => Self::Drift,
            ("trace", rest) if rest.len() <= 3 => {
                let (mut of, mut n, mut seconds) = Default::default();
                if let Some(table) = rest.first().filter(|of| **of != "nil") {
                    of = TracedBy::from_text(table.strip_prefix('{')?.strip_suffix('}')?)?;
                }
                if let Some(given) = rest.get(1) {
                    n = Some(number(given)?);
                }
                if let Some(given) = rest.get(2) {
                    seconds = Some(given.parse().ok()?);
                }
                Self::Trace { of, n, seconds }
            }
            ("handlers", []) => Self::Handlers,
            ("drain", [generation]) => Self::Drain { generation: number(generation)?, seconds: None },
            ("drain", [generation, seconds]) => {
                Self::Drain { generation: number(generation)?, seconds: Some(seconds.parse().ok()?) }
            }
            ("confirm", []) => Self::Confirm { generation: None },
            ("confirm", [generation]) => Self::Confirm { generation: Some(number(generation)?) },
            ("cancel", []) => Self::Cancel { generation: None },
            ("cancel", [generation]) => Self::Cancel { generation: Some(number(generation)?) },
            _ => return None,
        })
    }

    /// The name, and what comes with it: `kill session=3`.
    pub(crate) fn described(&self) -> String {
        let mut text = self.name().to_owned();
        if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) {
            for (field, value) in fields.iter().filter(|(field, value)| *field != "op" && !value.is_null()) {
                let _ = write!(text, " {field}={value}");
            }
        }
        text
    }

    /// As it is called in requests, and as authors are shown to do it: `eval`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Eval { .. } => "eval",
            Self::Reload { .. } => "reload",
            Self::Generations => "generations",
            Self::Diff { .. } => "diff",
            Self::Explain { .. } => "explain",
            Self::Rollback { .. } => "rollback",
            Self::Confirm { .. } => "confirm",
            Self::Cancel { .. } => "cancel",
            Self::Save { .. } => "save",
            Self::Drift => "drift",
            Self::Trace { .. } => "trace",
            Self::Handlers => "handlers",
            Self::Drain { .. } => "drain",
            Self::Complete { .. } => "complete",
            Self::Interrupt => "interrupt",
            Self::Watch => "watch",
            Self::Status => "status",
            Self::Reopen => "reopen",
            Self::Stop => "stop",
            Self::Ping => "ping",
            Self::Sessions => "sessions",
            Self::Ps => "ps",
            Self::Top { .. } => "top",
            Self::Kill(_) => "kill",
        }
    }
}

/// What stands between commas, but for those between quotes and in braces.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let (mut all, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (Some(open), _) => quote = (open != char).then_some(open),
            (None, '"' | '\'') => quote = Some(char),
            (None, '{') => depth += 1,
            (None, '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                all.push(text.get(from..at)?.trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    let last = text.get(from..)?.trim();
    if !(last.is_empty() && all.is_empty()) {
        all.push(last);
    }
    (depth == 0 && quote.is_none()).then_some(all)
}

/// What stands between quotes, if nothing in it needs a language to be understood.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let text = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!text.contains([quote, '\\'])).then(|| text.to_owned())
}

#[derive(Serialize)]
struct Outgoing<'a> {
    version: u32,
    #[serde(flatten)]
    op: &'a Op,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// A mistake in a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON, or not a request.
    #[error("this is not a request (send one line like {{\"version\":{VERSION},\"op\":\"status\"}})")]
    Malformed(#[from] serde_json::Error),
    /// Of another version.
    #[error(
        "this server speaks version {VERSION} of the control protocol and you speak {0}: use the `medusa` it was started with"
    )]
    Version(u32),
    /// Longer than [`MAX_REQUEST`].
    #[error(
        "the request is too long: it may have {MAX_REQUEST} bytes; put long code into a file and `require` it"
    )]
    TooLong,
}

/// The commands that are typed as statements of their own, and the least role that has them.
pub(crate) const COMMANDS: [(&str, Role); 20] = [
    ("cancel", Role::Operate),
    ("confirm", Role::Operate),
    ("diff", Role::View),
    ("drain", Role::Operate),
    ("drift", Role::View),
    ("explain", Role::View),
    ("generations", Role::View),
    ("handlers", Role::View),
    ("kill", Role::Operate),
    ("ping", Role::View),
    ("ps", Role::View),
    ("reload", Role::Operate),
    ("reopen", Role::Operate),
    ("rollback", Role::Operate),
    ("save", Role::Operate),
    ("sessions", Role::View),
    ("status", Role::View),
    ("stop", Role::Operate),
    ("top", Role::View),
    ("trace", Role::View),
];

/// A request as a line, with its newline.
///
/// # Errors
///
/// It is longer than [`MAX_REQUEST`].
pub fn encode(op: &Op) -> Result<Vec<u8>, RequestError> {
    let line = line(&Outgoing { version: VERSION, op })?;
    if line.len() > MAX_REQUEST { Err(RequestError::TooLong) } else { Ok(line) }
}

/// A request from a line, with or without its newline.
///
/// # Errors
///
/// See [`RequestError`]. The version is looked at first, so that whatever else a later one changes is not called a
/// mistake.
pub fn decode(line: &[u8]) -> Result<Op, RequestError> {
    match serde_json::from_slice::<Version>(line)?.version {
        VERSION => Ok(serde_json::from_slice(line)?),
        other => Err(RequestError::Version(other)),
    }
}

/// A reply of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "lowercase")]
pub enum Reply {
    /// The statement or the script printed a line.
    Output {
        /// The line.
        text: String,
    },
    /// Somebody else's change is under way; this one begins after it.
    Waiting {
        /// Whose change it is, and since when.
        text: String,
    },
    /// The server in numbers, over the last second.
    Top(Box<TopSample>),
    /// Somebody did something. No reply: who [watches](Op::Watch) is told so between others, and when nothing is asked.
    News {
        /// What, in a line.
        text: String,
    },
    /// What is on trial has changed. No reply, either.
    Trial {
        /// What is on trial; none: nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trial: Option<TrialInfo>,
    },
    /// It is done. The last reply.
    Done(Done),
    /// It failed, and nothing has changed. The last reply.
    Failed(Failure),
}

impl Reply {
    /// The reply as a line, with its newline.
    ///
    /// # Errors
    ///
    /// It has no form in JSON; nothing that a server says is like that.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        line(self)
    }
}

/// The result of a request, as far as it has one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The statement's value, as text; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The generation that was published; none if the site did not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What that changed: `generation 8: + /hello  (2 of 2 workers, 41 µs)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Whether the session has begun a change that is not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// The answer to [`Op::Generations`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generations: Option<Vec<GenerationInfo>>,
    /// The answer to [`Op::Handlers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handlers: Option<Vec<HandlerInfo>>,
    /// The answer to [`Op::Complete`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Box<Completion>>,
    /// The answer to [`Op::Status`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Report>>,
    /// The answer to [`Op::Sessions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<SessionInfo>>,
    /// The answer to [`Op::Ps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Box<RunList>>,
}

/// What may stand at a place of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The byte from which on a candidate takes the place of what is there.
    pub from: usize,
    /// The candidates, by name.
    pub candidates: Vec<Candidate>,
}

fn lines(all: &[impl fmt::Display]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for GenerationInfo {
    /// `generation 9 (on trial), eval by uid 0 (pid 4711), for "the new api": ~ /api/`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trial = if self.on_trial { " (on trial)" } else { "" };
        write!(f, "generation {}{trial}, {}", self.number, self.author)?;
        if let Some(reason) = &self.reason {
            write!(f, ", for {reason:?}")?;
        }
        write!(f, ": {}", self.changes.join("  "))?;
        if self.more > 0 { write!(f, "  and {} more", self.more) } else { Ok(()) }
    }
}

/// A generation, as it is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationInfo {
    /// Its number.
    pub number: u64,
    /// Its author: `eval by uid 0 (pid 4711)`.
    pub author: String,
    /// The time when it was published, in seconds since 1970 (UTC).
    pub at: f64,
    /// The reason its author gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it changed: `+ /hello`.
    pub changes: Vec<String>,
    /// How many more it changed that are not told apart.
    pub more: usize,
    /// Whether one can go back to it at once.
    pub whole: bool,
    /// Whether it is on trial.
    pub on_trial: bool,
}

/// A handler as one mount has it or had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerInfo {
    /// The mount's pattern.
    pub mount: String,
    /// The name of its server.
    pub server: String,
    /// The handler, after what stands before it.
    pub handler: String,
    /// The place in the script that gave it to the mount.
    pub origin: String,
    /// The generation that published it.
    pub generation: u64,
    /// Whether requests can come to it: `running`, `kept`, `retired`.
    pub state: String,
    /// Requests under way, but for those that have become one of the others.
    pub requests: u64,
    /// Answers that are sent as they come.
    pub streams: u64,
    /// Open `WebSocket`s.
    pub websockets: u64,
    /// All of it in a line, for people.
    pub text: String,
}

impl fmt::Display for HandlerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Done {
    /// The same of a command that was asked for as a statement: as its value, the result in words.
    #[must_use]
    pub(crate) fn with_text(self) -> Self {
        let report = self.status.as_ref().map(|report| report.tree.trim_end().to_owned());
        let sessions = self.sessions.as_ref().map(|sessions| lines(sessions));
        let generations = self.generations.as_ref().map(|generations| lines(generations));
        let handlers = self.handlers.as_ref().map(|handlers| lines(handlers));
        let runs = self.runs.as_ref().map(ToString::to_string);
        let value = self.value.or(report).or(sessions).or(generations).or(handlers).or(runs).or(self.report);
        Self {
            value,
            report: None,
            status: None,
            sessions: None,
            generations: None,
            handlers: None,
            runs: None,
            ..self
        }
    }
}

/// A [`Status`](medusa_proto::status::Status) in both of its forms: the server alone knows how its values are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// For programs.
    pub json: serde_json::Value,
    /// For people: a tree.
    pub tree: String,
}

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For people: the place, the reason, the source line, the traceback.
    pub message: String,
    /// Whether the statement might only want more lines: a prompt then asks for another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

impl Failure {
    /// A failure that more lines would not cure.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), incomplete: false }
    }
}

fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use medusa_proto::with_causes;

    use super::*;

    #[test]
    fn requests_survive_the_way() {
        for op in [
            Op::Eval { source: "a\n\"b\"".into() },
            Op::Reload { confirm: None },
            Op::Reload { confirm: Some(60.0) },
            Op::Generations,
            Op::Diff { from: 8, to: Some(9) },
            Op::Explain { method: "GET".into(), url: "/".into() },
            Op::Rollback { generation: 8, reason: Some("why".into()) },
            Op::Confirm { generation: None },
            Op::Cancel { generation: Some(9) },
            Op::Save { reason: "why".into() },
            Op::Drift,
            Op::Trace { of: TracedBy::default(), n: None, seconds: None },
            Op::Trace {
                of: TracedBy { status: Some("5xx".into()), ..TracedBy::default() },
                n: Some(3),
                seconds: Some(1.5),
            },
            Op::Handlers,
            Op::Drain { generation: 8, seconds: Some(0.0) },
            Op::Complete { source: "web:mo".into(), at: 6 },
            Op::Interrupt,
            Op::Watch,
            Op::Status,
            Op::Reopen,
            Op::Stop,
            Op::Ping,
            Op::Sessions,
            Op::Ps,
            Op::Top { n: None },
            Op::Top { n: Some(5) },
            Op::Kill(Killed::Session { session: 7 }),
            Op::Kill(Killed::Run { run: RunId(7) }),
        ] {
            let line = encode(&op).expect("short");
            assert_eq!(
                line.iter().position(|byte| *byte == b'\n'),
                Some(line.len() - 1),
                "one line: {line:?}"
            );
            assert_eq!(decode(&line).expect("what we wrote"), op);
        }
        assert_eq!(encode(&Op::Stop).expect("short"), b"{\"version\":1,\"op\":\"stop\"}\n");
    }

    #[test]
    fn every_command_has_the_role_that_it_needs() {
        for (name, role) in COMMANDS {
            let calls = ["", "1", "'GET', '/'", "'why'"]
                .map(|arguments| Op::from_text(&format!("{name}({arguments})")));
            let op = calls.into_iter().flatten().next().expect(name);
            assert_eq!((op.name(), op.needs()), (name, role));
        }
    }

    #[test]
    fn a_command_is_told_from_code() {
        assert_eq!(Op::from_text(" status() \n"), Some(Op::Status));
        assert_eq!(Op::from_text("kill( 3 )"), Some(Op::Kill(Killed::Session { session: 3 })));
        assert_eq!(Op::from_text("kill('r3')"), Some(Op::Kill(Killed::Run { run: RunId(3) })));
        assert_eq!(
            decode(b"{\"version\":1,\"op\":\"kill\",\"session\":3}").expect("as before"),
            Op::Kill(Killed::Session { session: 3 })
        );
        for code in [
            "status",
            "status().x",
            "kill(-1)",
            "kill()",
            "kill('3')",
            "kill(r3)",
            "print(status())",
            "status() status()",
            "f()",
            "",
        ] {
            assert_eq!(Op::from_text(code), None, "{code}");
        }
    }

    #[test]
    fn arguments_are_told_apart() {
        let save = |reason: &str| Op::Save { reason: reason.into() };
        assert_eq!(Op::from_text("save(\"a, b)\")"), Some(save("a, b)")));
        assert_eq!(Op::from_text("save('it is {')"), Some(save("it is {")));
        let status =
            TracedBy { status: Some("500".into()), path: Some("/a,b/".into()), ..TracedBy::default() };
        for (text, of, n, seconds) in [
            ("trace()", TracedBy::default(), None, None),
            ("trace(nil, 3)", TracedBy::default(), Some(3), None),
            ("trace({ path = \"/a,b/\", status = 500 }, 3, 0.5)", status, Some(3), Some(0.5)),
            ("trace({})", TracedBy::default(), None, None),
        ] {
            assert_eq!(Op::from_text(text), Some(Op::Trace { of, n, seconds }), "{text}");
        }
        for code in [
            "trace(f)",
            "trace({ path = f })",
            "trace({ path = '/' }",
            "trace({ method = 500 })",
            "trace({ size = 1 })",
            "trace({} })",
            "trace(nil, 1.5)",
            "trace(nil, 1, 2, 3)",
            "save('a)",
            "save('a' .. 'b')",
        ] {
            assert_eq!(Op::from_text(code), None, "{code}");
        }
    }

    #[test]
    fn a_request_that_is_none_is_told_what_is_wrong() {
        let message = |line: &str| with_causes(&decode(line.as_bytes()).expect_err("not a request"));
        assert!(message("hello").contains("not a request"));
        assert!(message("[]").contains("not a request"));
        assert!(message("{\"op\":\"stop\"}").contains("version"));
        assert!(message("{\"version\":1,\"op\":\"dance\"}").contains("dance"));
        assert!(message("{\"version\":1,\"op\":\"eval\"}").contains("source"));
        assert!(
            message("{\"version\":2,\"what\":[]}")
                .contains("version 1 of the control protocol and you speak 2")
        );
        assert!(decode(b"\xff\xfe").is_err());
    }

    #[test]
    fn a_request_may_not_be_longer_than_the_limit() {
        let eval = |length| encode(&Op::Eval { source: "x".repeat(length) });
        let overhead = eval(0).expect("short").len();
        assert_eq!(eval(MAX_REQUEST - overhead).expect("just fits").len(), MAX_REQUEST);
        assert!(matches!(eval(MAX_REQUEST - overhead + 1), Err(RequestError::TooLong)));
    }

    #[test]
    fn replies_survive_the_way() {
        let report = Report { json: serde_json::json!({"kind": "site"}), tree: "site\n".into() };
        for reply in [
            Reply::Output { text: "two\nlines".into() },
            Reply::Waiting { text: "for him".into() },
            Reply::News { text: "he did".into() },
            Reply::Trial { trial: None },
            Reply::Top(Box::default()),
            Reply::Trial { trial: Some(TrialInfo { generation: 9, back_to: 8, seconds: 1.5 }) },
            Reply::Done(Done::default()),
            Reply::Done(Done {
                value: Some("1".into()),
                generation: Some(7),
                status: Some(Box::new(report)),
                sessions: Some(Vec::new()),
                ..Done::default()
            }),
            Reply::Failed(Failure { message: "site.luau:1: no".into(), incomplete: true }),
        ] {
            let line = reply.encode().expect("JSON");
            assert_eq!(serde_json::from_slice::<Reply>(&line).expect("what we wrote"), reply);
        }
        assert_eq!(Reply::Done(Done::default()).encode().expect("JSON"), b"{\"reply\":\"done\"}\n");
    }
}
