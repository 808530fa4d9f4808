//! The history: which generations there were, who published them and what they changed, and of the last ones all their
//! parts, so that one can be published again.
//!
//! **Invariant:** what a generation keeps whole holds objects alive that no running Site has. They are bounded in number
//! ([`MAX_WHOLE`], and [`MAX_LOADS`] scripts among them), and go with the generation that held them last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medusa_log::Sink;
use medusa_proto::author::Author;

use crate::diff::{Differences, differences};
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
    /// Whether it is kept whole, and can be published again as it was.
    pub whole: bool,
}

/// All that a generation was made of.
#[derive(Debug)]
pub(crate) struct Whole {
    /// See [`Generation::loaded`].
    pub(crate) loaded: u64,
    pub(crate) parts: Parts,
    sinks: Vec<Arc<dyn Sink>>,
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

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In their order.
    all: VecDeque<Generation>,
    /// Those that are kept whole, by their numbers. Nobody else has these: a script that holds what is said of a generation
    /// holds nothing of what it was made of, which may be itself.
    whole: BTreeMap<u64, Whole>,
}

impl History {
    /// Has it begin with what earlier processes have published, in its order.
    pub(crate) fn restore(&mut self, known: impl IntoIterator<Item = Generation>) {
        self.all.extend(known.into_iter().map(|known| Generation { whole: false, ..known }));
        while self.all.len() > MAX_GENERATIONS {
            self.all.pop_front();
        }
    }

    /// Adds the one that was published in place of `old`.
    pub(crate) fn add(&mut self, old: &Site, new: &Arc<Site>, took: Duration, reason: Option<Arc<str>>) {
        if self.all.len() >= MAX_GENERATIONS {
            self.all.pop_front();
        }
        self.all.push_back(Generation {
            number: new.generation,
            loaded: new.loaded,
            author: new.author.clone(),
            at: new.at,
            reason,
            took,
            changes: differences(&old.parts, &new.parts),
            whole: true,
        });
        let (parts, sinks) = (new.parts.clone(), new.sinks().cloned().collect());
        self.whole.insert(new.generation, Whole { loaded: new.loaded, parts, sinks });
    }

    /// The one of this number.
    pub(crate) fn get(&self, number: u64) -> Result<Generation, HistoryError> {
        let at = self.all.partition_point(|generation| generation.number < number);
        let unknown = || {
            let number_of =
                |generation: Option<&Generation>| generation.map_or(0, |generation| generation.number);
            let (first, last) = (number_of(self.all.front()), number_of(self.all.back()));
            HistoryError::Unknown { number, first, last }
        };
        let known = self.all.get(at).filter(|generation| generation.number == number);
        known.map(|known| self.seen(known)).ok_or_else(unknown)
    }

    /// All of them, the last first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Generation> {
        self.all.iter().rev().map(|generation| self.seen(generation))
    }

    fn seen(&self, generation: &Generation) -> Generation {
        Generation { whole: self.whole.contains_key(&generation.number), ..generation.clone() }
    }

    /// What the one of this number was made of.
    pub(crate) fn parts_of(&self, number: u64) -> Result<&Whole, HistoryError> {
        self.get(number)?;
        self.whole.get(&number).ok_or(HistoryError::NotWhole(number))
    }

    /// Those that are kept whole.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Whole> {
        self.whole.values()
    }

    /// Takes those that are not to be kept whole beside the `running` one, but for the one that is `needed`. They are to be
    /// dropped where nothing is locked.
    pub(crate) fn trim(&mut self, running: &Site, needed: Option<u64>) -> Vec<Whole> {
        let (mut count, mut loads) = (0, vec![running.loaded]);
        let gone = self.whole.iter().rev().filter(|(number, whole)| {
            let keeps = [Some(running.generation), needed].contains(&Some(**number));
            let known = loads.contains(&whole.loaded);
            let fits = keeps || (count < MAX_WHOLE && (known || loads.len() <= MAX_LOADS));
            if fits && !known {
                loads.push(whole.loaded);
            }
            count += usize::from(fits);
            !keeps && (!fits || in_the_way(whole, running))
        });
        let gone = gone.map(|(number, _)| *number).collect();
        self.take(gone)
    }

    /// Takes those that are of this load, or all, but for the `running` one and the one that is `needed`.
    pub(crate) fn forget(&mut self, running: &Site, needed: Option<u64>, load: Option<u64>) -> Vec<Whole> {
        let gone = self.whole.iter().filter(|(number, whole)| {
            let keeps = [Some(running.generation), needed].contains(&Some(**number));
            !keeps && load.is_none_or(|load| whole.loaded == load)
        });
        let gone = gone.map(|(number, _)| *number).collect();
        self.take(gone)
    }

    fn take(&mut self, numbers: Vec<u64>) -> Vec<Whole> {
        numbers.into_iter().filter_map(|number| self.whole.remove(&number)).collect()
    }
}

/// Whether one has a log whose target the running Site has another log for: both would write one file.
fn in_the_way(whole: &Whole, running: &Site) -> bool {
    let is_used = |old: &Arc<dyn Sink>| running.sinks().any(|new| Arc::ptr_eq(old, new));
    let name = |sink: &Arc<dyn Sink>| {
        let status = sink.status();
        (status.kind, status.name)
    };
    let mut unused = whole.sinks.iter().filter(|old| !is_used(old)).map(name);
    unused.any(|old| running.sinks().any(|new| name(new) == old))
}
