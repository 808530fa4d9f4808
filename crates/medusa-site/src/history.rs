//! The history: which generations there were, who published them and what they changed, and of the last ones all their
//! parts, so that one can be published again.
//!
//! **Invariants:** what a generation keeps whole holds objects alive that no running Site has. They are bounded in number
//! ([`MAX_WHOLE`], and [`MAX_LOADS`] scripts among them), and go with the generation that held them last. Nobody has what is
//! another's forgotten by publishing a lot: where there is no room for all, [`first_to_go`] says whose goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medusa_log::Sink;
use medusa_monitor::GenerationInfo;
use medusa_proto::author::{Author, limited_share};

use crate::diff::{Differences, differences};
use crate::part::Parts;
use crate::site::Site;

/// How many generations are remembered. A person reads the last dozens; a timer that edits the Site once a minute makes
/// a thousand within a day.
pub const MAX_GENERATIONS: usize = 1000;

/// How many of them are kept whole, to be published again at once, the running one included; of those of limited logins half as many.
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

impl Generation {
    /// It, as it is told, on trial or not.
    pub fn info(&self, on_trial: bool) -> GenerationInfo {
        GenerationInfo {
            number: self.number,
            author: self.author.to_string(),
            at: self.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            reason: self.reason.as_deref().map(str::to_owned),
            changes: self.changes.told.iter().map(ToString::to_string).collect(),
            more: self.changes.more,
            whole: self.whole,
            on_trial,
        }
    }
}

/// All that a generation was made of.
#[derive(Debug)]
pub(crate) struct Whole {
    /// See [`Generation::loaded`].
    pub(crate) loaded: u64,
    pub(crate) parts: Parts,
    sinks: Vec<Arc<dyn Sink>>,
    /// Whether a login has published it that may not change everything.
    is_limited: bool,
}

/// Why nothing can be said of a generation, or it cannot be published again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// There was none of this number, or it is forgotten.
    #[error("there is no generation {number}: {}", known(*.number, *.first, *.last))]
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
        "generation {0} is not kept whole any more (the last {MAX_WHOLE} are, of those of logins with limited rights half as many, and \
         of scripts that were replaced the last {MAX_LOADS})"
    )]
    NotWhole(u64),
    /// It is the running one.
    #[error("generation {0} is the running one")]
    Running(u64),
}

fn known(number: u64, first: u64, last: u64) -> String {
    if last == 0 {
        "nothing was published yet".to_owned()
    } else if (first..=last).contains(&number) {
        format!("it is forgotten; of those from {first} to {last}, generations() lists what is remembered")
    } else {
        format!("there are {first} to {last}")
    }
}

/// Which is the first to go where there is no room for all that is `kept`, the oldest first: each with who has it kept, and how
/// much of the `room` it takes. The oldest of whoever has most, so that nobody loses anything to those who publish more; of
/// logins with limited rights, as long as these have more than their share together. None: nothing takes any room.
pub fn first_to_go<'a>(
    kept: impl Iterator<Item = (&'a Author, usize)> + Clone,
    room: usize,
) -> Option<usize> {
    let is_limited = |author: &Author| author.scope.is_some();
    let limited: usize = kept.clone().filter(|(author, _)| is_limited(author)).map(|(_, size)| size).sum();
    let only_limited = limited > limited_share(room);
    // The script is one, with all its timers and requests; so is whoever sends signals.
    let whose = |author: &'a Author| author.is_operator().then_some(author.login.as_deref());
    let mut all: HashMap<_, (usize, Reverse<usize>)> = HashMap::new();
    for (at, (author, size)) in kept.enumerate() {
        if size > 0 && (!only_limited || is_limited(author)) {
            all.entry(whose(author)).or_insert((0, Reverse(at))).0 += size;
        }
    }
    all.into_values().max().map(|(_, Reverse(oldest))| oldest)
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
        known.into_iter().for_each(|known| self.remember(Generation { whole: false, ..known }));
    }

    /// Remembers one more, and forgets another if they are too many.
    fn remember(&mut self, generation: Generation) {
        self.all.push_back(generation);
        if self.all.len() > MAX_GENERATIONS {
            let all = self.all.iter().map(|generation| (&generation.author, 1));
            drop(first_to_go(all, MAX_GENERATIONS).and_then(|gone| self.all.remove(gone)));
        }
    }

    /// Adds the one that was published in place of `old`.
    pub(crate) fn add(&mut self, old: &Site, new: &Arc<Site>, took: Duration, reason: Option<Arc<str>>) {
        self.remember(Generation {
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
        let is_limited = new.author.scope.is_some();
        self.whole.insert(new.generation, Whole { loaded: new.loaded, parts, sinks, is_limited });
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

    /// Their numbers and authors, the first first.
    pub(crate) fn authors(&self) -> impl Iterator<Item = (u64, Author)> {
        self.all.iter().map(|generation| (generation.number, generation.author.clone()))
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
        let (mut count, mut limited, mut loads) = (0, 0, vec![running.loaded]);
        let gone = self.whole.iter().rev().filter(|(number, whole)| {
            let keeps = [Some(running.generation), needed].contains(&Some(**number));
            let known = loads.contains(&whole.loaded);
            let in_share = !whole.is_limited || limited < limited_share(MAX_WHOLE);
            let fits = keeps || (in_share && count < MAX_WHOLE && (known || loads.len() <= MAX_LOADS));
            if fits && !known {
                loads.push(whole.loaded);
            }
            count += usize::from(fits);
            limited += usize::from(fits && whole.is_limited);
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

#[cfg(test)]
mod tests {
    use medusa_proto::author::{Approval, Scope, Via};

    use super::*;

    fn by(login: &str) -> Author {
        Author::new(Via::Control, "eval").logged_in(login, Approval::Free)
    }

    fn limited(login: &str) -> Author {
        by(login).within(Some(Arc::new(Scope { mounts: vec!["/shop/".to_owned()], ..Scope::default() })))
    }

    /// A history, and the Site that it ends with.
    struct Told {
        history: History,
        site: Arc<Site>,
    }

    impl Told {
        fn new() -> Self {
            Self { history: History::default(), site: Arc::new(Site::empty()) }
        }

        /// Publishes something, so many times.
        fn publish(&mut self, author: &Author, times: usize) {
            for _ in 0..times {
                let generation = self.site.generation + 1;
                let new =
                    Arc::new(Site { author: author.clone(), loaded: 1, ..Site::empty_after(generation) });
                self.history.add(&self.site, &new, Duration::ZERO, None);
                self.history.trim(&new, None);
                self.site = new;
            }
        }

        /// How many of an author's are remembered, and how many of those are whole.
        fn of(&self, author: &Author) -> (usize, usize) {
            let all = self.history.all().filter(|known| known.author == *author);
            let whole: Vec<_> = all.map(|known| known.whole).collect();
            (whole.len(), whole.into_iter().filter(|whole| *whole).count())
        }
    }

    #[test]
    fn who_publishes_a_lot_has_nobody_elses_forgotten() {
        let mut told = Told::new();
        let (admin, other, shop) = (by("admin"), by("other"), limited("shop"));
        told.publish(&admin, 30);
        told.publish(&shop, 3 * MAX_GENERATIONS);
        assert_eq!(told.of(&admin), (30, MAX_WHOLE / 2), "and can be gone back to at once");
        assert_eq!(told.of(&shop), (MAX_GENERATIONS - 30, MAX_WHOLE / 2), "nobody else needs the room");
        told.publish(&other, 2 * MAX_GENERATIONS);
        assert_eq!((told.of(&admin).0, told.of(&shop).0), (30, told.of(&other).0));
        told.publish(&Author::new(Via::Timer, "timer"), MAX_GENERATIONS);
        assert_eq!(told.of(&admin).0, 30);
        assert_eq!(told.history.all().count(), MAX_GENERATIONS);
        let forgotten = told.history.get(31).expect_err("of the shop").to_string();
        assert!(
            forgotten.starts_with("there is no generation 31: it is forgotten; of those from 1 to "),
            "{forgotten}"
        );
    }

    #[test]
    fn limited_logins_have_half_however_many_they_are() {
        let mut told = Told::new();
        let admin = by("admin");
        told.publish(&admin, MAX_GENERATIONS);
        let shops: Vec<_> = (0..20).map(|number| limited(&number.to_string())).collect();
        for _ in 0..MAX_GENERATIONS / 10 {
            for shop in &shops {
                told.publish(shop, 1);
            }
        }
        assert_eq!(told.of(&admin).0, MAX_GENERATIONS / 2);
        assert_eq!(told.of(&shops[0]).0, MAX_GENERATIONS / 40);
        // As they are when they are read again.
        let mut again = History::default();
        let known: Vec<_> = told.history.all().collect();
        again.restore(known.iter().rev().cloned());
        let numbers = |history: &History| history.all().map(|known| known.number).collect::<Vec<_>>();
        assert_eq!(numbers(&again), numbers(&told.history));
    }

    #[test]
    fn the_oldest_of_whoever_has_most_is_the_first_to_go() {
        let (admin, shop, other) = (by("admin"), limited("shop"), limited("other"));
        let kept = [(&admin, 10), (&shop, 1), (&other, 3), (&shop, 3), (&admin, 1)];
        assert_eq!(first_to_go(kept.into_iter(), 18), Some(0));
        assert_eq!(first_to_go(kept.into_iter(), 12), Some(1), "limited ones have more than half");
        assert_eq!(first_to_go([(&admin, 1), (&other, 1)].into_iter(), 4), Some(0), "as many: the oldest");
        assert_eq!(first_to_go([(&admin, 0)].into_iter(), 1), None);
    }
}
