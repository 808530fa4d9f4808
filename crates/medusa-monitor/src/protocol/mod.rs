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

mod reply;

use std::fmt::Write as _;

use medusa_proto::shown::push_cut;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::reply::{
    ChangeInfo, Completion, Done, Failure, GenerationInfo, HandlerInfo, PublishedInfo, Reply, Report,
    SHOWN_OF_CHANGE, TimerInfo,
};
use crate::identity::Role;
use crate::runs::RunId;

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
    /// Tell what the reference says of a name.
    Help {
        /// The name; none: where to begin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<String>,
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
    /// Show what the session has begun, or somebody else has: as it is to be published, and what names exactly that.
    Preview {
        /// What names it, or its first [`SHOWN_OF_CHANGE`] digits or more; none: the session's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<String>,
    },
    /// Let somebody else publish exactly what was previewed so, once.
    Approve {
        /// What names it, or its first [`SHOWN_OF_CHANGE`] digits or more.
        change: String,
    },
    /// Publish what the session has begun.
    Commit {
        /// Only if it is exactly what was previewed so; none: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<String>,
        /// The seconds within which it has to be confirmed; none: it is there for good.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<f64>,
        /// The reason, for the history.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
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
    /// List the timers.
    Timers,
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
    /// Say what the session is for, which the audit log has then. Some have to before anything else.
    Hello {
        /// What, in 1 to 500 bytes.
        reason: String,
    },
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
#[serde(untagged, try_from = "KilledFields")]
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

/// What a request says of it.
#[derive(Deserialize)]
struct KilledFields {
    #[serde(default)]
    session: Option<u64>,
    #[serde(default)]
    run: Option<RunId>,
}

impl TryFrom<KilledFields> for Killed {
    type Error = &'static str;

    fn try_from(fields: KilledFields) -> Result<Self, &'static str> {
        match fields {
            KilledFields { session: Some(session), run: None } => Ok(Self::Session { session }),
            KilledFields { session: None, run: Some(run) } => Ok(Self::Run { run }),
            KilledFields { session: Some(_), run: Some(_) } => {
                Err("`kill` has a `session` or a `run`, not both")
            }
            KilledFields { session: None, run: None } => Err("`kill` needs a `session` or a `run`"),
        }
    }
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
}

impl Op {
    /// The least role that may have it done.
    pub const fn needs(&self) -> Role {
        match self {
            Self::Status
            | Self::Ping
            | Self::Hello { .. }
            | Self::Interrupt
            | Self::Watch
            | Self::Sessions
            | Self::Ps
            | Self::Top { .. }
            | Self::Generations
            | Self::Diff { .. }
            | Self::Help { .. }
            | Self::Explain { .. }
            | Self::Preview { .. }
            | Self::Drift
            | Self::Trace { .. }
            | Self::Handlers
            | Self::Timers => Role::View,
            Self::Reopen
            | Self::Reload { .. }
            | Self::Stop
            | Self::Kill(_)
            | Self::Rollback { .. }
            | Self::Confirm { .. }
            | Self::Cancel { .. }
            | Self::Save { .. }
            | Self::Drain { .. } => Role::Operate,
            // What is approved and committed was made by statements.
            Self::Eval { .. } | Self::Complete { .. } | Self::Approve { .. } | Self::Commit { .. } => {
                Role::Program
            }
        }
    }

    /// Whether it does something to the whole server, and not to what somebody may be limited to.
    pub(crate) const fn concerns_all(&self) -> bool {
        matches!(
            self,
            Self::Reload { .. }
                | Self::Reopen
                | Self::Stop
                | Self::Kill(Killed::Session { .. })
                | Self::Save { .. }
        )
    }

    /// Whether it ends what is under way. Who is limited ends what is on their mounts.
    pub(crate) const fn ends_requests(&self) -> bool {
        matches!(self, Self::Kill(Killed::Run { .. }) | Self::Drain { .. })
    }

    /// Whether it is nothing for those who have come in when all places were taken.
    pub(crate) const fn may_take_long(&self) -> bool {
        matches!(self, Self::Eval { .. } | Self::Commit { .. } | Self::Top { .. })
    }

    /// Whether it may take its time, so that it is ended with a client that does not wait for it.
    pub(crate) const fn may_go_on(&self) -> bool {
        matches!(
            self,
            Self::Eval { .. }
                | Self::Reload { .. }
                | Self::Rollback { .. }
                | Self::Commit { .. }
                | Self::Complete { .. }
                | Self::Trace { .. }
                | Self::Drain { .. }
                | Self::Top { .. }
        )
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
            Self::Help { .. } => "help",
            Self::Explain { .. } => "explain",
            Self::Rollback { .. } => "rollback",
            Self::Confirm { .. } => "confirm",
            Self::Cancel { .. } => "cancel",
            Self::Preview { .. } => "preview",
            Self::Approve { .. } => "approve",
            Self::Commit { .. } => "commit",
            Self::Save { .. } => "save",
            Self::Drift => "drift",
            Self::Trace { .. } => "trace",
            Self::Handlers => "handlers",
            Self::Timers => "timers",
            Self::Drain { .. } => "drain",
            Self::Complete { .. } => "complete",
            Self::Interrupt => "interrupt",
            Self::Watch => "watch",
            Self::Status => "status",
            Self::Reopen => "reopen",
            Self::Stop => "stop",
            Self::Ping => "ping",
            Self::Hello { .. } => "hello",
            Self::Sessions => "sessions",
            Self::Ps => "ps",
            Self::Top { .. } => "top",
            Self::Kill(_) => "kill",
        }
    }
}

#[derive(Serialize)]
struct Outgoing<'a> {
    version: u32,
    #[serde(flatten)]
    op: &'a Op,
}

/// The first field of a request that its operation has not, if there is one: it may be a slip in a name, and without it something else
/// would be done than was meant.
fn unknown_field(fields: Map<String, Value>, op: &Op) -> Option<String> {
    let known = serde_json::to_value(op).unwrap_or_default();
    // Null is as if it were not there.
    let is_unknown =
        |(name, value): &(String, Value)| name != "version" && !value.is_null() && known.get(name).is_none();
    fields.into_iter().find(is_unknown).map(|(name, _)| name)
}

/// The most fields of a request of which it is looked for the one that is wrong. No operation has as many.
const MOST_FIELDS: usize = 16;

/// The longest name or text of a request that is told as it is, in bytes.
const MOST_TOLD: usize = 64;

/// What is wrong with a request that is of no operation, or not as its operation has it: with the field, where it is one.
fn wrong_field(fields: &Map<String, Value>) -> Option<String> {
    if fields.len() > MOST_FIELDS {
        return None;
    }
    // What is long or deep is no better than what is not, and would be told in full.
    let short = |value: &Value| match value {
        Value::String(text) if text.len() > MOST_TOLD => Value::from("..."),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
        value => value.clone(),
    };
    let fields: Map<_, _> = fields.iter().map(|(name, value)| (name.clone(), short(value))).collect();
    let why_not =
        |fields: Map<String, Value>| Op::deserialize(Value::Object(fields)).err().map(|why| why.to_string());
    let why = why_not(fields.clone())?;
    // The one without which something else would be wrong, or nothing.
    let is_wrong = |name: &&String| {
        let mut others = fields.clone();
        others.remove(*name);
        why_not(others).as_ref() != Some(&why)
    };
    let mut names = fields.keys().filter(|name| *name != "op" && *name != "version");
    let wrong = names.find(is_wrong).map(|name| format!("`{name}`: {why}"));
    Some(wrong.unwrap_or(why))
}

/// An error of a line of JSON, of which the place in that says nothing.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    shown(text.strip_suffix(&place).unwrap_or(&text))
}

/// A text, as much of it as is told.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    push_cut(&mut shown, 4 * MOST_TOLD, format_args!("{text}"));
    shown
}

/// A mistake in a request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON, or not a request.
    #[error("this is not a request (send one line like {{\"version\":{VERSION},\"op\":\"status\"}}): {0}")]
    Malformed(String),
    /// Of an operation that there is not.
    #[error("there is no operation {0:?}: see the operations in docs/monitor.md")]
    Operation(String),
    /// Not as its operation has it.
    #[error("`{op}`: {why}")]
    Field {
        /// The operation.
        op: String,
        /// What is wrong, with which field.
        why: String,
    },
    /// Of another version.
    #[error(
        "this server speaks version {VERSION} of the control protocol and you speak {0}: use the `medusa` it was started with"
    )]
    Version(u32),
    /// With a field that its operation has not.
    #[error("there is no {0:?} in this request: see the operations in docs/monitor.md")]
    Unknown(String),
    /// Longer than [`MAX_REQUEST`].
    #[error(
        "the request is too long: it may have {MAX_REQUEST} bytes; put long code into a file and `require` it"
    )]
    TooLong,
}

/// A request as a line, with its newline.
///
/// # Errors
///
/// It is longer than [`MAX_REQUEST`].
pub fn encode(op: &Op) -> Result<Vec<u8>, RequestError> {
    let line = line(&Outgoing { version: VERSION, op });
    let line = line.map_err(|error| RequestError::Malformed(error.to_string()))?;
    if line.len() > MAX_REQUEST { Err(RequestError::TooLong) } else { Ok(line) }
}

/// A request from a line, with or without its newline.
///
/// # Errors
///
/// See [`RequestError`]. The version is looked at first, so that whatever else a later one changes is not called a
/// mistake.
pub fn decode(line: &[u8]) -> Result<Op, RequestError> {
    let none = |why: &str| Err(RequestError::Malformed(why.to_owned()));
    let fields: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return none("it is no object"),
        Err(error) => return none(&format!("it is no JSON: {}", without_place(&error))),
    };
    match fields.get("version").map(Value::as_u64) {
        None => return none("it has no `version`"),
        Some(Some(version)) if version == u64::from(VERSION) => {}
        Some(other) => match other.and_then(|other| u32::try_from(other).ok()) {
            Some(other) => return Err(RequestError::Version(other)),
            None => return none("its `version` is no whole number"),
        },
    }
    let Some(Value::String(name)) = fields.get("op") else { return none("it has no `op`, a text") };
    match serde_json::from_slice(line) {
        Ok(op) => {
            unknown_field(fields, &op).map_or(Ok(op), |field| Err(RequestError::Unknown(shown(&field))))
        }
        Err(error) => {
            let why = wrong_field(&fields).unwrap_or_else(|| without_place(&error));
            let op = shown(name);
            let is_unknown = why.starts_with("unknown variant");
            Err(if is_unknown { RequestError::Operation(op) } else { RequestError::Field { op, why } })
        }
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
            Op::Help { about: None },
            Op::Help { about: Some("medusa.http".into()) },
            Op::Explain { method: "GET".into(), url: "/".into() },
            Op::Rollback { generation: 8, reason: Some("why".into()) },
            Op::Confirm { generation: None },
            Op::Cancel { generation: Some(9) },
            Op::Preview { change: None },
            Op::Preview { change: Some("123456789abc".into()) },
            Op::Approve { change: "123456789abc".into() },
            Op::Commit { change: None, confirm: None, reason: None },
            Op::Commit { change: Some("1".into()), confirm: Some(60.0), reason: Some("why".into()) },
            Op::Save { reason: "why".into() },
            Op::Drift,
            Op::Trace { of: TracedBy::default(), n: None, seconds: None },
            Op::Trace {
                of: TracedBy { status: Some("5xx".into()), ..TracedBy::default() },
                n: Some(3),
                seconds: Some(1.5),
            },
            Op::Handlers,
            Op::Timers,
            Op::Drain { generation: 8, seconds: Some(0.0) },
            Op::Complete { source: "web:mo".into(), at: 6 },
            Op::Interrupt,
            Op::Watch,
            Op::Status,
            Op::Reopen,
            Op::Stop,
            Op::Ping,
            Op::Hello { reason: "why".into() },
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
    fn a_request_that_is_none_is_told_what_is_wrong() {
        let message = |line: &str| with_causes(&decode(line.as_bytes()).expect_err("not a request"));
        for (line, why) in [
            ("hello", "): it is no JSON: expected value"),
            ("[]", "): it is no object"),
            (r#"{"op":"stop"}"#, "): it has no `version`"),
            (r#"{"version":"1","op":"stop"}"#, "): its `version` is no whole number"),
            (r#"{"version":1}"#, "): it has no `op`, a text"),
            (r#"{"version":1,"op":3}"#, "): it has no `op`, a text"),
            (
                r#"{"version":1,"op":"dance"}"#,
                "there is no operation \"dance\": see the operations in docs/monitor.md",
            ),
            (r#"{"version":1,"op":"eval"}"#, "`eval`: missing field `source`"),
            (
                r#"{"version":1,"op":"eval","source":3}"#,
                "`eval`: `source`: invalid type: integer `3`, expected a string",
            ),
            (
                r#"{"version":1,"op":"diff","to":"y","from":1}"#,
                "`diff`: `to`: invalid type: string \"y\", expected u64",
            ),
            (
                r#"{"version":1,"op":"rollback","generation":-1}"#,
                "`rollback`: `generation`: invalid value: integer `-1`, expected u64",
            ),
            (
                r#"{"version":1,"op":"trace","n":1.5}"#,
                "`trace`: `n`: invalid type: floating point `1.5`, expected u64",
            ),
        ] {
            let told = message(line);
            assert!(told.ends_with(why) && !told.contains("column"), "{line}: {told}");
        }
        let long = "x".repeat(MAX_REQUEST / 2);
        assert!(message(&format!(r#"{{"version":1,"op":"rollback","generation":"{long}"}}"#)).len() < 200);
        assert!(message(&format!(r#"{{"version":1,"op":"{long}"}}"#)).len() < 500);
        assert!(message(&format!(r#"{{"version":1,"op":"stop","{long}":1}}"#)).len() < 500);
        assert!(
            message("{\"version\":2,\"what\":[]}")
                .contains("version 1 of the control protocol and you speak 2")
        );
        assert!(decode(b"\xff\xfe").is_err());
        for (fields, why) in [
            (r#","session":3,"run":"r17""#, "`kill` has a `session` or a `run`, not both"),
            ("", "`kill` needs a `session` or a `run`"),
            (r#","run":"17""#, "\"17\" is not the number of a run"),
            (r#","session":3,"session":4"#, "duplicate field `session`"),
        ] {
            let told = message(&format!("{{\"version\":1,\"op\":\"kill\"{fields}}}"));
            assert!(told.contains(why), "{fields}: {told}");
        }
        for (request, field) in [
            (r#"{"version":1,"op":"reload","confrim":60}"#, "confrim"),
            (r#"{"version":1,"op":"trace","of":{"path":"/notes"}}"#, "of"),
        ] {
            assert!(message(request).contains(&format!("no \"{field}\" in this request")), "{request}");
        }
        let reload = decode(br#"{"version":1,"op":"reload","confirm":null}"#).expect("a request");
        assert_eq!(reload, Op::Reload { confirm: None });
    }

    #[test]
    fn a_request_may_not_be_longer_than_the_limit() {
        let eval = |length| encode(&Op::Eval { source: "x".repeat(length) });
        let overhead = eval(0).expect("short").len();
        assert_eq!(eval(MAX_REQUEST - overhead).expect("just fits").len(), MAX_REQUEST);
        assert!(matches!(eval(MAX_REQUEST - overhead + 1), Err(RequestError::TooLong)));
    }
}
