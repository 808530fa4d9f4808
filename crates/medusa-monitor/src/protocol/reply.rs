//! What a request is answered: lines while it is done, and what came of it.

use std::fmt;

use medusa_proto::top::TopSample;
use serde::{Deserialize, Serialize};

use super::line;
use crate::news::TrialInfo;
use crate::runs::RunList;
use crate::sessions::SessionInfo;
use crate::terminal::Candidate;

/// How many digits are shown of what names a change, and are enough to name it: to have another named so takes some 2^48
/// requests, as each has a random number in it.
pub const SHOWN_OF_CHANGE: usize = 12;

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
    /// Somebody did something. No reply: who [watches](super::Op::Watch) is told so between others, and when nothing is asked.
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
    /// What it had published before that, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<PublishedInfo>,
    /// Whether the session has begun a change that is not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// The answer to [`Op::Generations`](super::Op::Generations).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generations: Option<Vec<GenerationInfo>>,
    /// The answer to [`Op::Preview`](super::Op::Preview).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Box<ChangeInfo>>,
    /// The answer to [`Op::Handlers`](super::Op::Handlers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handlers: Option<Vec<HandlerInfo>>,
    /// The answer to [`Op::Timers`](super::Op::Timers).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers: Option<Vec<TimerInfo>>,
    /// The answer to [`Op::Complete`](super::Op::Complete).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<Box<Completion>>,
    /// The answer to [`Op::Status`](super::Op::Status).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<Report>>,
    /// The answer to [`Op::Sessions`](super::Op::Sessions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Vec<SessionInfo>>,
    /// The answer to [`Op::Ps`](super::Op::Ps).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Box<RunList>>,
}

/// A generation that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedInfo {
    /// Its number.
    pub generation: u64,
    /// What it changed: `generation 8: + /hello  (2 of 2 workers, 41 µs)`.
    pub report: String,
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
        match &self.changes[..] {
            [] => f.write_str(": no difference")?,
            changes => write!(f, ": {}", changes.join("  "))?,
        }
        if self.more > 0 { write!(f, "  and {} more", self.more) } else { Ok(()) }
    }
}

/// A change that was begun, as it is to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeInfo {
    /// What names exactly this: its SHA-256.
    pub change: String,
    /// Its author: `eval by uid 0 (pid 4711)`.
    pub author: String,
    /// The generation that it was begun on.
    pub base: u64,
    /// The statements that have made it, in their order.
    pub statements: Vec<String>,
    /// What they change: `+ /hello`.
    pub changes: Vec<String>,
    /// How many more they change that are not told apart.
    pub more: usize,
    /// Who has approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

impl fmt::Display for ChangeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { change, author, base, statements, changes, more, approved_by } = self;
        let short = change.get(..SHOWN_OF_CHANGE).unwrap_or(change);
        write!(f, "change {short} of generation {base}, {author}")?;
        for statement in statements {
            write!(f, "\n> {}", statement.trim_end().replace('\n', "\n| "))?;
        }
        for difference in changes {
            write!(f, "\n{difference}")?;
        }
        if changes.is_empty() {
            f.write_str("\nno difference")?;
        }
        if *more > 0 {
            write!(f, "\nand {more} more")?;
        }
        match approved_by {
            Some(who) => write!(f, "\napproved by {who}"),
            None => write!(f, "\nnot approved: `approve(\"{short}\")` does that"),
        }
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

/// A timer, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimerInfo {
    /// The place in the script that made it: `site.luau:40`.
    pub place: String,
    /// The seconds from one run to the next.
    pub every: f64,
    /// The seconds until its next run; none: it is paused, in a generation that can be gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
    /// Its runs so far.
    pub runs: u64,
    /// Those of them that have failed.
    pub failed: u64,
}

impl fmt::Display for TimerInfo {
    /// `site.luau:40  every 60 s  next in 12.4 s  9 runs, 1 failed`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, every, next, runs, failed } = self;
        write!(f, "{place}  every {every} s  ")?;
        match next {
            Some(next) => write!(f, "next in {next:.1} s")?,
            None => f.write_str("paused")?,
        }
        write!(f, "  {runs} run{}, {failed} failed", if *runs == 1 { "" } else { "s" })
    }
}

impl Done {
    /// What it changed, where that is to be told beside the value: what `commit` is worth is that.
    pub fn reports_beside_value(&self) -> impl Iterator<Item = &str> {
        let all = self.earlier.iter().map(|earlier| &*earlier.report).chain(self.report.as_deref());
        all.filter(|report| self.value.as_deref() != Some(*report))
    }

    /// The same of a command that was asked for as a statement: as its value, the result in words.
    #[must_use]
    pub(crate) fn with_text(self) -> Self {
        let report = self.status.as_ref().map(|report| report.tree.trim_end().to_owned());
        let sessions = self.sessions.as_ref().map(|sessions| lines(sessions));
        let generations = self.generations.as_ref().map(|generations| lines(generations));
        let preview = self.preview.as_ref().map(ToString::to_string);
        let handlers = self.handlers.as_ref().map(|handlers| lines(handlers));
        let timers = self.timers.as_ref().map(|timers| lines(timers));
        let runs = self.runs.as_ref().map(ToString::to_string);
        let value = self.value.or(report).or(sessions).or(generations).or(preview);
        let value = value.or(handlers).or(timers).or(runs).or(self.report);
        Self {
            value,
            report: None,
            status: None,
            sessions: None,
            generations: None,
            preview: None,
            handlers: None,
            timers: None,
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
    /// Whether the session has begun a change that is not committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// The generation that was published before it failed, the last if there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// What it had published before that, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<PublishedInfo>,
    /// The statements of a change that was begun, and is given up as it could not be committed: as one, to be run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<String>,
}

impl Failure {
    /// A failure that more lines would not cure.
    pub fn new(message: impl Into<String>) -> Self {
        let (incomplete, open, generation, report, earlier, statements) = Default::default();
        Self { message: message.into(), incomplete, open, generation, report, earlier, statements }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Reply::Failed(Failure {
                incomplete: true,
                open: true,
                generation: Some(7),
                report: Some("+ /hello".into()),
                ..Failure::new("site.luau:1: no")
            }),
        ] {
            let line = reply.encode().expect("JSON");
            assert_eq!(serde_json::from_slice::<Reply>(&line).expect("what we wrote"), reply);
        }
        assert_eq!(Reply::Done(Done::default()).encode().expect("JSON"), b"{\"reply\":\"done\"}\n");
    }
}
