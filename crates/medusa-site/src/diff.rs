//! Differences between two sets of parts, as people are told of a change: `+ /hello  ~ log`.

use std::fmt;
use std::sync::Arc;

use medusa_proto::shown::Escaped;
use medusa_proto::status::{Field, FieldKind, Status, Value};
use serde::{Deserialize, Serialize};

use crate::part::{Part, Parts};

/// How many differences are told apart; of more there is only the number. A reload may change ten thousand mounts, and a
/// generation is kept for long.
pub(crate) const MOST_TOLD: usize = 64;

/// The longest name of what has changed, in bytes, with what is told of it: a thousand generations with the most of the longest
/// have 13 MB.
const LONGEST_NAME: usize = 200;

/// The longest of what something is now, and was before.
const LONGEST_VALUE: usize = 60;

/// How many settings of one thing are told apart.
const MOST_SETTINGS: usize = 4;

/// How many differences are shown in a line.
const MOST_SHOWN: usize = 12;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Whether it came, went or was changed.
    pub sign: Sign,
    /// Its name: `/hello`, `log`, `timer at site.luau:40`.
    pub what: String,
    /// What about it was changed, as far as that is known: `script b.luau (was script a.luau)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
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
        Self::new(Sign::Added, what.into(), None)
    }

    /// What is gone.
    pub fn removed(what: impl Into<String>) -> Self {
        Self::new(Sign::Removed, what.into(), None)
    }

    /// What is not what it was.
    pub fn changed(what: impl Into<String>) -> Self {
        Self::new(Sign::Changed, what.into(), None)
    }

    /// The same, told how.
    #[must_use]
    pub(crate) fn told(self, how: Option<String>) -> Self {
        Self::new(self.sign, self.what, how)
    }

    fn new(sign: Sign, what: String, how: Option<String>) -> Self {
        let what = cut(what, LONGEST_NAME);
        let room = LONGEST_NAME - what.len();
        let how = how.filter(|_| room > LONGEST_VALUE).map(|how| cut(how, room));
        Self { sign, what, how }
    }
}

impl fmt::Display for Difference {
    /// `+ /hello`, `~ /hello: script b.luau (was script a.luau)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Removed => '-',
            Sign::Changed => '~',
        };
        write!(f, "{sign} {}", self.what)?;
        self.how.as_ref().map_or(Ok(()), |how| write!(f, ": {how}"))
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
                Difference::new(difference.sign, what, difference.how)
            }));
        } else if let Some(at) = gone.iter().position(|gone| gone.label() == part.label()) {
            let before = gone.remove(at);
            all.push(Difference::changed(part.label()).told(changes(&before.status(), &part.status())));
        } else {
            all.push(Difference::added(part.label()));
        }
    }
    all.extend(gone.into_iter().map(|part| Difference::removed(part.label())));
    let more = all.len().saturating_sub(MOST_TOLD);
    all.truncate(MOST_TOLD);
    Differences { told: all.into(), more }
}

/// What the settings of one thing were and are, by its documents: `script b.luau (was script a.luau), body 2.0 KiB (was 1.0 KiB)`;
/// none if they tell of no change.
pub(crate) fn changes(old: &Status, new: &Status) -> Option<String> {
    let mut told = Vec::new();
    compare(old, new, &mut told);
    let (places, settings): (Vec<_>, Vec<_>) = told.into_iter().partition(|(name, _)| *name == PLACE);
    // Where it is from says nothing beside what it is.
    let told = if settings.is_empty() { places } else { settings };
    let more = if told.len() > MOST_SETTINGS { ", …" } else { "" };
    let told: Vec<_> = told.into_iter().take(MOST_SETTINGS).map(|(_, change)| change).collect();
    (!told.is_empty()).then(|| told.join(", ") + more)
}

/// The setting that is a place in the script.
const PLACE: &str = "origin";

/// What is different about one thing and what it holds, with the names of the settings; none of those for the thing itself.
fn compare(old: &Status, new: &Status, told: &mut Vec<(&'static str, String)>) {
    if (old.kind, old.children.len()) != (new.kind, new.children.len()) {
        told.push(("", was(&chain(old), &chain(new))));
        return;
    }
    let is_named_by_inner = new.children.iter().any(|inner| inner.name == new.name);
    if old.name != new.name && !is_named_by_inner {
        told.push(("", was(&named(old), &named(new))));
    }
    old.children.iter().zip(&new.children).for_each(|(old, new)| compare(old, new, told));
    let setting = |of: &Status, name: &str| {
        let is_one = |field: &&Field| field.kind == FieldKind::Info && field.name == name;
        of.fields.iter().find(is_one).map(|field| field.value.clone())
    };
    let only_old = old.fields.iter().filter(|field| new.get(field.name).is_none());
    for Field { name, .. } in new.fields.iter().chain(only_old).filter(|field| field.kind == FieldKind::Info)
    {
        let (old, new) = (setting(old, name), setting(new, name));
        if old != new {
            let shown =
                |value: Option<Value>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            let change = was(&shown(old), &shown(new));
            told.push((*name, if *name == PLACE { change } else { format!("{name} {change}") }));
        }
    }
}

fn was(old: &str, new: &str) -> String {
    let [old, new] = [old, new].map(|text| cut(Escaped::line(text).to_string(), LONGEST_VALUE));
    format!("{new} (was {old})")
}

fn named(of: &Status) -> String {
    format!("{} {}", of.kind, of.name).trim_end().to_owned()
}

/// What stands before others, and those: `handler.compress → script api.luau`.
fn chain(of: &Status) -> String {
    if of.children.is_empty() {
        return named(of);
    }
    let inner = of.children.iter().map(chain);
    std::iter::once(of.kind.to_owned()).chain(inner).collect::<Vec<_>>().join(" → ")
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - '…'.len_utf8()));
        text.push('…');
    }
    text
}
