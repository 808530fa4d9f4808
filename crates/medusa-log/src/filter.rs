//! Entries that meet conditions, and no others.
//!
//! **Invariant: a filter loses nothing in silence.** What it passes over is counted apart from what is lost: the user
//! asked for it. Time per entry is bounded by the conditions, whatever the entry (see [`Glob`]).

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use medusa_proto::access::Record;
use medusa_proto::entry::Entry;
use medusa_proto::event::Level;
use medusa_proto::glob::Glob;
use medusa_proto::query::decode;
use medusa_proto::status::Status;

use crate::{Choice, OptionError, SelectingSink};

/// Conditions on an entry. It meets them if it meets every one that is there; none are there by default.
///
/// The status, method, path and server are a request's: an event of the server meets no condition on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Whether it is a request or an event.
    pub kind: Option<EntryKind>,
    /// It matters at least as much as this.
    pub level: Option<Level>,
    /// Its status is in one of these.
    pub status: Option<Vec<Statuses>>,
    /// Its method is one of these.
    pub method: Option<Vec<String>>,
    /// Its path (decoded, without the query) matches one of these.
    pub path: Option<Vec<Glob>>,
    /// The server that answered has one of these names.
    pub server: Option<Vec<String>>,
}

/// Kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A request that was answered.
    Access,
    /// An event of the server's own.
    Event,
}

impl EntryKind {
    /// The kind of `entry`.
    pub const fn of(entry: &Entry<'_>) -> Self {
        match entry {
            Entry::Access(_) => Self::Access,
            Entry::Event(_) => Self::Event,
        }
    }

    /// Its name in scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Event => "event",
        }
    }
}

impl FromStr for EntryKind {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        let known = [Self::Access, Self::Event].into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| OptionError(format!("unknown kind {name:?}: use \"access\" or \"event\"")))
    }
}

/// One status or several in a row: `404`, `5xx`, `400-417`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(RangeInclusive<u16>);

impl Statuses {
    /// Those from `first` to `last`.
    ///
    /// # Errors
    ///
    /// There are none, or some are no status.
    pub fn between(first: u16, last: u16) -> Result<Self, OptionError> {
        let there = (100..=599).contains(&first) && (first..=599).contains(&last);
        if there { Ok(Self(first..=last)) } else { Err(no_statuses(&format!("{first}-{last}"))) }
    }
}

fn no_statuses(text: &str) -> OptionError {
    OptionError(format!("{text:?} is no status: use 404, 5xx or 400-417, of 100 to 599"))
}

impl FromStr for Statuses {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        let none = || no_statuses(text);
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_other| none());
        let (first, last) = if let Some(class) = text.trim().strip_suffix("xx") {
            let class = number(class).map_or(0, |class| class.min(10) * 100);
            (class, class + 99)
        } else if let Some((first, last)) = text.split_once('-') {
            (number(first)?, number(last)?)
        } else {
            let only = number(text)?;
            (only, only)
        };
        Self::between(first, last).map_err(|_other| none())
    }
}

impl Conditions {
    fn hold_for(&self, record: &Record<'_>) -> bool {
        fn any<T>(wanted: Option<&Vec<T>>, is: impl Fn(&T) -> bool) -> bool {
            wanted.is_none_or(|wanted| wanted.iter().any(is))
        }
        any(self.status.as_ref(), |wanted| wanted.0.contains(&record.status))
            && any(self.method.as_ref(), |wanted| wanted == record.method)
            && any(self.server.as_ref(), |wanted| wanted == record.server)
            && self.path.as_ref().is_none_or(|globs| {
                let path = path_of(record.target);
                globs.iter().any(|glob| glob.matches(&path))
            })
    }

    const fn are_of_requests(&self) -> bool {
        self.status.is_some() || self.method.is_some() || self.path.is_some() || self.server.is_some()
    }
}

/// The path of a target as a [`Glob`] wants it: decoded, without the query and the slash it begins with.
fn path_of(target: &str) -> Cow<'_, [u8]> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    decode(path.strip_prefix('/').unwrap_or(path).as_bytes())
}

impl fmt::Display for Conditions {
    /// Only which conditions there are, and of what value those that have one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = [
            ("status", self.status.is_some()),
            ("method", self.method.is_some()),
            ("path", self.path.is_some()),
            ("server", self.server.is_some()),
        ];
        let kind = self.kind.map(|kind| format!("kind={}", kind.name()));
        let level = self.level.map(|level| format!("level={level}"));
        let several = several.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned());
        f.write_str(&kind.into_iter().chain(level).chain(several).collect::<Vec<_>>().join(" "))
    }
}

/// Passes on what meets its conditions.
pub type FilterSink = SelectingSink<Conditions>;

impl Choice for Conditions {
    /// Whether it meets them all.
    fn keeps(&self, entry: &Entry<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == EntryKind::of(entry))
            && self.level.is_none_or(|level| entry.level() <= level)
            && match entry {
                Entry::Access(record) => self.hold_for(record),
                Entry::Event(_) => !self.are_of_requests(),
            }
    }

    fn status(&self) -> Status {
        Status::new("log.filter", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use medusa_proto::access::Timestamp;
    use medusa_proto::event::Event;

    use super::*;
    use crate::batch::tests::record;
    use crate::sink::tests::Memory;
    use crate::{Batch, Sink};

    fn statuses(texts: &[&str]) -> Vec<Statuses> {
        texts.iter().map(|text| text.parse().expect("statuses")).collect()
    }

    fn event(level: Level) -> Entry<'static> {
        Event { time: Timestamp::default(), level, part: "http", message: "m", request: None }.into()
    }

    #[test]
    fn statuses_are_read() {
        for (text, first, last) in [("404", 404, 404), ("5xx", 500, 599), ("400-417", 400, 417)] {
            assert_eq!(text.parse(), Ok(Statuses(first..=last)));
        }
        for text in ["", "xx", "6xx", "0xx", "99", "600", "5x", "500-400", "400-", "70000", "99999xx", "-1"] {
            assert_eq!(text.parse::<Statuses>(), Err(no_statuses(text)), "{text}");
        }
    }

    #[test]
    fn every_condition_must_be_met() {
        let failed = Record { status: 503, method: "POST", ..record("/api/a?x=/b", 0) };
        let paths = |path| Some(vec![Glob::parse(path).expect("a pattern")]);
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        let none = Conditions::default;
        for (conditions, expected) in [
            (none(), true),
            (Conditions { status: Some(statuses(&["4xx", "503"])), ..none() }, true),
            (Conditions { status: Some(statuses(&["4xx"])), ..none() }, false),
            (Conditions { level: Some(Level::Error), ..none() }, true),
            (Conditions { kind: Some(EntryKind::Event), ..none() }, false),
            (Conditions { path: paths("/api/*"), ..none() }, true),
            (Conditions { path: paths("/x/*"), ..none() }, false),
            (Conditions { method: names(&["GET", "POST"]), ..none() }, true),
            (Conditions { method: names(&["GET"]), ..none() }, false),
            (Conditions { server: names(&["web"]), ..none() }, true),
            (Conditions { server: names(&["web2"]), ..none() }, false),
            (Conditions { status: Some(statuses(&["5xx"])), method: names(&["GET"]), ..none() }, false),
        ] {
            assert_eq!(conditions.keeps(&failed.into()), expected, "{conditions:?}");
        }
        let api = Conditions { path: paths("/api/*"), ..none() };
        assert!(api.keeps(&record("/%61pi/a", 0).into()), "another spelling is the same path");
        let warnings = Conditions { level: Some(Level::Warn), ..none() };
        assert!(!warnings.keeps(&record("/", 0).into()));
    }

    #[test]
    fn an_event_meets_no_condition_on_requests() {
        let warnings = Conditions { level: Some(Level::Warn), ..Conditions::default() };
        assert!(warnings.keeps(&event(Level::Error)) && warnings.keeps(&event(Level::Warn)));
        assert!(!warnings.keeps(&event(Level::Info)));
        let failed = Conditions { status: Some(statuses(&["1xx", "2xx", "3xx", "4xx", "5xx"])), ..warnings };
        assert!(!failed.keeps(&event(Level::Error)));
    }

    #[test]
    fn what_is_passed_over_is_counted() {
        let memory = Arc::new(Memory::default());
        let conditions = Conditions { status: Some(statuses(&["4xx"])), ..Conditions::default() };
        let sink = FilterSink::new(conditions, Arc::clone(&memory) as _);
        let mut batch = Batch::new();
        for status in [200, 404, 200, 410] {
            batch.push(&Record { status, ..record("/", 0) });
        }
        sink.submit(&batch.seal());
        assert_eq!(memory.batches()[0].len(), 2);
        let status = sink.status();
        assert_eq!(status.get("passed_on"), Some(&2_u64.into()));
        assert_eq!(status.get("passed_over"), Some(&2_u64.into()));
        let described = crate::describe(&[Arc::new(sink) as _]);
        assert_eq!(described[0].children[0].kind, "log.memory");
    }
}
