//! The history: which generations there were, who published them and what they changed, and of the last ones all their
//! parts, so that one can be published again.
//!
//! **Invariant:** what a generation keeps whole holds objects alive that no running Site has. They are bounded in number
//! ([`MAX_WHOLE`], and [`MAX_LOADS`] scripts among them), and go with the generation that held them last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medusa_log::Sink;
use medusa_proto::author::Author;

use crate::diff::{Difference, Differences, Sign, differences};
use crate::part::Parts;
use crate::site::Site;

/// How many generations are remembered. A person reads the last dozens; a timer that edits the Site once a minute makes
/// a thousand within a day.
pub const MAX_GENERATIONS: usize = 1000;

/// How many of them are kept whole, to be published again at once, the running one included.
pub const MAX_WHOLE: usize = 16;

/// How many loads of the script they may be of, beside the running one: each has a VM of its own.
pub const MAX_LOADS: usize = 3;

/// A generation, as it is remembered.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// The generation whose load of the script this one is of: its own number, if it was the load.
    pub loaded: u64,
    /// Who published it.
    pub author: Author,
    /// When.
    pub at: SystemTime,
    /// The reason its author gave.
    pub reason: Option<Arc<str>>,
    /// How long its publication took: from the first look at the new Site to the last part that was told.
    pub took: Duration,
    /// What it changed.
    pub changes: Differences,
    /// Its parts and the logs they use, as long as it is kept whole.
    pub(crate) whole: Option<Whole>,
}

/// All that a generation was made of.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    pub(crate) parts: Parts,
    sinks: Vec<Arc<dyn Sink>>,
}

impl Generation {
    /// Whether it can be published again as it was.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }
}

/// Why nothing can be said of a generation, or it cannot be published again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// There was none of this number, or it is forgotten.
    #[error("there is no generation {number}: {}", known(*.first, *.last))]
    Unknown {
        /// Its number.
        number: u64,
        /// The first one that is remembered.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Its parts are gone.
    #[error(
        "generation {0} is not kept whole any more (the last {MAX_WHOLE} are, and of scripts that were replaced the last {MAX_LOADS})"
    )]
    NotWhole(u64),
    /// It is the running one.
    #[error("generation {0} is the running one")]
    Running(u64),
}

fn known(first: u64, last: u64) -> String {
    if last == 0 { "nothing was published yet".to_owned() } else { format!("there are {first} to {last}") }
}

/// All that are remembered, in their order.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Generation>);

impl History {
    /// The generation since which what changes call `name` is as it is in the `running` Site: that changed it last, or was
    /// the load.
    pub(crate) fn since(&self, running: &Site, name: &str) -> u64 {
        let is_it = |difference: &Difference| difference.sign != Sign::Removed && difference.what == name;
        let of_load = self.all().take_while(|generation| generation.number >= running.loaded);
        let mut changed = of_load.filter(|generation| generation.changes.told.iter().any(is_it));
        changed.next().map_or(running.loaded, |generation| generation.number)
    }

    /// Adds the one that was published in place of `old`.
    pub(crate) fn add(&mut self, old: &Site, new: &Arc<Site>, took: Duration, reason: Option<Arc<str>>) {
        if self.0.len() >= MAX_GENERATIONS {
            self.0.pop_front();
        }
        self.0.push_back(Generation {
            number: new.generation,
            loaded: new.loaded,
            author: new.author.clone(),
            at: new.at,
            reason,
            took,
            changes: differences(&old.parts, &new.parts),
            whole: Some(Whole { parts: new.parts.clone(), sinks: new.sinks().cloned().collect() }),
        });
    }

    /// The one of this number.
    pub(crate) fn get(&self, number: u64) -> Result<&Generation, HistoryError> {
        let at = self.0.partition_point(|generation| generation.number < number);
        let unknown = || {
            let number_of =
                |generation: Option<&Generation>| generation.map_or(0, |generation| generation.number);
            HistoryError::Unknown { number, first: number_of(self.0.front()), last: number_of(self.0.back()) }
        };
        self.0.get(at).filter(|generation| generation.number == number).ok_or_else(unknown)
    }

    /// All of them, the last first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Generation> {
        self.0.iter().rev()
    }

    /// The parts of those that are kept whole.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Parts> {
        self.0.iter().filter_map(|generation| Some(&generation.whole.as_ref()?.parts))
    }

    /// Takes the parts of those that are not to be kept whole beside the `running` one, but for the one that is `needed`.
    /// They are to be dropped where nothing is locked.
    pub(crate) fn trim(&mut self, running: &Site, needed: Option<u64>) -> Vec<Whole> {
        let (mut whole, mut loads) = (0, vec![running.loaded]);
        self.take(|generation| {
            let keeps = [Some(running.generation), needed].contains(&Some(generation.number));
            let known = loads.contains(&generation.loaded);
            let fits = whole < MAX_WHOLE && (known || loads.len() <= MAX_LOADS);
            if (keeps || fits) && !known {
                loads.push(generation.loaded);
            }
            whole += usize::from(keeps || fits);
            !(keeps || (fits && !in_the_way(generation, running)))
        })
    }

    /// Takes the parts of those that are of this load, or of all, but for the `running` one and the one that is `needed`.
    pub(crate) fn forget(&mut self, running: &Site, needed: Option<u64>, load: Option<u64>) -> Vec<Whole> {
        self.take(|generation| {
            let keeps = [Some(running.generation), needed].contains(&Some(generation.number));
            !keeps && load.is_none_or(|load| generation.loaded == load)
        })
    }

    /// Takes the parts of those of which `go` says so; it is asked from the last one on.
    fn take(&mut self, mut go: impl FnMut(&Generation) -> bool) -> Vec<Whole> {
        let whole = self.0.iter_mut().rev().filter(|generation| generation.is_whole());
        whole.filter_map(|generation| if go(generation) { generation.whole.take() } else { None }).collect()
    }
}

/// Whether it has a log whose target the running Site has another log for: both would write one file.
fn in_the_way(generation: &Generation, running: &Site) -> bool {
    let Some(whole) = &generation.whole else { return false };
    let is_used = |old: &Arc<dyn Sink>| running.sinks().any(|new| Arc::ptr_eq(old, new));
    let name = |sink: &Arc<dyn Sink>| {
        let status = sink.status();
        (status.kind, status.name)
    };
    let mut unused = whole.sinks.iter().filter(|old| !is_used(old)).map(name);
    unused.any(|old| running.sinks().any(|new| name(new) == old))
}
