//! What of scripts is running, as sessions are told: statements, timers, requests, sessions of clients, hooks.
//!
//! **Invariant:** a list has at most [`MOST_RUNS`], those that have used the most CPU time, and says how many more there are.

use std::cmp::Reverse;
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most that are listed.
pub const MOST_RUNS: usize = 100;

/// The number of a run, unlike that of any other of this process: `r17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(pub u64);

impl RunId {
    /// What who wants to end it is told if nothing has this number.
    pub fn is_gone(self) -> String {
        format!("nothing of the number {self} is running: `ps()` lists what is")
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A text is not the number of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the number of a run, which is like \"r17\"")]
pub struct NoRunId(String);

impl FromStr for RunId {
    type Err = NoRunId;

    fn from_str(text: &str) -> Result<Self, NoRunId> {
        let digits = text.strip_prefix('r').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.map(str::parse).and_then(|number: Result<u64, ParseIntError>| number.ok());
        number.map(Self).ok_or_else(|| NoRunId(text.to_owned()))
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = NoRunId;

    fn try_from(text: String) -> Result<Self, NoRunId> {
        text.parse()
    }
}

/// A run of a script that has given way at least once: it waits for something, or for its next slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its number.
    pub id: RunId,
    /// `statement`, `timer`, `request`, `websocket`...
    pub kind: String,
    /// What it is: the first line of a statement, the method and path of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The script's place where it is from: `site.luau:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The one it is for: a person, the address of a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The session that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// The line at which it was made to give way, if it could go on; none: it waits for something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// For how long it has run, in milliseconds.
    pub wall_ms: u64,
    /// The CPU time it has used since it first gave way, in milliseconds. Of slices that it ends by itself, it is the time for
    /// which they held the thread.
    pub cpu_ms: u64,
}

impl fmt::Display for RunInfo {
    /// `r17  request  2.1 s, CPU 0.413 s  GET /slow  (site.luau:5)  by 192.0.2.7  now at site.luau:7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, what, place, who, session, at, wall_ms, cpu_ms } = self;
        let seconds = |ms: &u64| *ms as f64 / 1000.0;
        write!(f, "{id}  {kind}  {:.1} s, CPU {:.3} s", seconds(wall_ms), seconds(cpu_ms))?;
        if let Some(what) = what {
            write!(f, "  {what}")?;
        }
        if let Some(place) = place {
            write!(f, "  ({place})")?;
        }
        if let Some(who) = who {
            write!(f, "  by {who}")?;
        }
        if let Some(session) = session {
            write!(f, " in session {session}")?;
        }
        match at {
            Some(at) => write!(f, "  now at {at}"),
            None => f.write_str("  waits"),
        }
    }
}

/// The runs that have used the most CPU time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunList {
    /// Those that are listed.
    pub runs: Vec<RunInfo>,
    /// How many more there are.
    #[serde(default)]
    pub more: usize,
}

impl RunList {
    /// Adds those of another thread.
    pub fn add(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.more += other.more;
        self.runs.sort_by_key(|run| Reverse((run.cpu_ms, run.wall_ms)));
        self.more += self.runs.len().saturating_sub(MOST_RUNS);
        self.runs.truncate(MOST_RUNS);
    }
}

impl fmt::Display for RunList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.runs.is_empty() {
            return f.write_str("nothing");
        }
        for (at, run) in self.runs.iter().enumerate() {
            write!(f, "{}{run}", if at > 0 { "\n" } else { "" })?;
        }
        if self.more > 0 { write!(f, "\nand {} more", self.more) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: u64, cpu_ms: u64) -> RunInfo {
        let (what, place, who) = (Some("GET /".into()), Some("site.luau:5".into()), Some("192.0.2.7".into()));
        let (session, at) = (None, None);
        RunInfo {
            id: RunId(id),
            kind: "request".into(),
            what,
            place,
            who,
            session,
            at,
            wall_ms: 2100,
            cpu_ms,
        }
    }

    #[test]
    fn a_number_of_a_run_is_no_number_of_a_session() {
        assert_eq!("r17".parse(), Ok(RunId(17)));
        assert_eq!(RunId(17).to_string(), "r17");
        for wrong in ["17", "r", "r-1", "r+1", "r1.5", "R17", "r99999999999999999999", ""] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&RunId(17)).expect("JSON"), "\"r17\"");
        assert!(serde_json::from_str::<RunId>("17").is_err());
    }

    #[test]
    fn a_list_has_those_that_used_the_most_and_tells_how_many_more() {
        let mut list = RunList::default();
        assert_eq!(list.to_string(), "nothing");
        list.add(RunList { runs: (0..80).map(|id| run(id, id)).collect(), more: 3 });
        list.add(RunList { runs: (80..160).map(|id| run(id, id)).collect(), more: 0 });
        assert_eq!((list.runs.len(), list.more), (MOST_RUNS, 63));
        assert_eq!((list.runs[0].id, list.runs[99].id), (RunId(159), RunId(60)));
        let text = list.to_string();
        assert!(text.starts_with(
            "r159  request  2.1 s, CPU 0.159 s  GET /  (site.luau:5)  by 192.0.2.7  waits\nr158  "
        ));
        assert!(text.ends_with("\nand 63 more"), "{text}");
    }
}
