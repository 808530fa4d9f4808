//! Differences between two sets of parts, as people are told of a change: `+ /hello  ~ log`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::part::{Part, Parts};

/// How many differences are told apart; of more there is only the number. A reload may change ten thousand mounts, and a
/// generation is kept for long.
const MOST_TOLD: usize = 64;

/// The longest name of what has changed, in bytes: a thousand generations with the most of the longest have 13 MB.
const LONGEST_NAME: usize = 200;

/// How many differences are shown in a line.
const MOST_SHOWN: usize = 12;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Whether it came, went or was changed.
    pub sign: Sign,
    /// Its name: `/hello`, `log`, `timer at site.luau:40`.
    pub what: String,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another, or has other settings.
    Changed,
}

impl Difference {
    /// What is new.
    pub fn added(what: impl Into<String>) -> Self {
        Self::new(Sign::Added, what.into())
    }

    /// What is gone.
    pub fn removed(what: impl Into<String>) -> Self {
        Self::new(Sign::Removed, what.into())
    }

    /// What is not what it was.
    pub fn changed(what: impl Into<String>) -> Self {
        Self::new(Sign::Changed, what.into())
    }

    fn new(sign: Sign, mut what: String) -> Self {
        if what.len() > LONGEST_NAME {
            what.truncate(what.floor_char_boundary(LONGEST_NAME - '…'.len_utf8()));
            what.push('…');
        }
        Self { sign, what }
    }
}

impl fmt::Display for Difference {
    /// `+ /hello`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Removed => '-',
            Sign::Changed => '~',
        };
        write!(f, "{sign} {}", self.what)
    }
}

/// All differences between two Sites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// The first of them.
    pub told: Arc<[Difference]>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for Differences {
    /// `+ /hello  ~ log`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.told.is_empty() {
            return f.write_str("no difference");
        }
        for (at, difference) in self.told.iter().take(MOST_SHOWN).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            write!(f, "{gap}{difference}")?;
        }
        let more = self.more + self.told.len().saturating_sub(MOST_SHOWN);
        if more > 0 { write!(f, "  and {more} more") } else { Ok(()) }
    }
}

/// The differences of `new` from `old`: first what came or was changed, in the order of `new`, then what went.
///
/// Parts whose ids are numbers, as those of timers, are the same if they are called the same: a reload makes them anew.
pub fn differences(old: &Parts, new: &Parts) -> Differences {
    let mut gone: Vec<&Arc<dyn Part>> = old.iter().filter(|part| new.get(part.id()).is_none()).collect();
    let mut all = Vec::new();
    for part in new.iter().filter(|part| !old.has(part)) {
        if let Some(before) = old.get(part.id()) {
            let several =
                |parts: &Parts| parts.iter().filter(|other| other.id().kind == part.id().kind).count() > 1;
            let several = several(old) || several(new);
            all.extend(part.differences(before).into_iter().map(|difference| {
                let what =
                    if several { format!("{} {}", part.id().name, difference.what) } else { difference.what };
                Difference::new(difference.sign, what)
            }));
        } else if let Some(at) = gone.iter().position(|gone| gone.label() == part.label()) {
            gone.remove(at);
            all.push(Difference::changed(part.label()));
        } else {
            all.push(Difference::added(part.label()));
        }
    }
    all.extend(gone.into_iter().map(|part| Difference::removed(part.label())));
    let more = all.len().saturating_sub(MOST_TOLD);
    all.truncate(MOST_TOLD);
    Differences { told: all.into(), more }
}
