//! Events: what the server itself has to say, as against what was asked of it.
//!
//! Like an [access record](crate::access::Record), an [`Event`] borrows its text, and that text is *untrusted*: names and
//! messages of peers find their way into it.

use std::fmt;
use std::str::FromStr;

use crate::access::Timestamp;

/// Something that happened in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The time when it happened.
    pub time: Timestamp,
    /// Its level.
    pub level: Level,
    /// The part of the server it happened in: `http`, `script`.
    pub part: &'a str,
    /// The message for a person; its details behind it as `name=value`.
    pub message: &'a str,
    /// The id of the request it happened to, if it was one.
    pub request: Option<&'a str>,
}

/// The level of an event, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something failed that should not.
    Error,
    /// Something will fail, or looks like it.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    /// All of them, the most important first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name in scripts and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of a response of `status`: a fault of ours (5xx), of the client (4xx), or none.
    pub const fn of_status(status: u16) -> Self {
        match status {
            500.. => Self::Error,
            400..500 => Self::Warn,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A level's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown level {0:?}: use \"error\", \"warn\", \"info\", \"debug\" or \"trace\"")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| UnknownLevel(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("warning".parse::<Level>(), Err(UnknownLevel("warning".to_owned())));
    }

    #[test]
    fn the_class_of_a_status_is_its_level() {
        for (status, level) in [
            (200, Level::Info),
            (399, Level::Info),
            (404, Level::Warn),
            (499, Level::Warn),
            (503, Level::Error),
        ] {
            assert_eq!(Level::of_status(status), level, "{status}");
        }
    }
}
