//! Rate limits of events.
//!
//! Most of what goes wrong can be caused by a client, as often as it likes. So of each *kind* of event (the place in our
//! code or a library's, and the mount or log it is about) the first is written at once, what repeats it word for word
//! within a second is counted, and so is what comes faster than the kind's allowance, or faster than that of all kinds
//! together. What was counted is told a second later.
//!
//! **Invariant:** every event is either written or in a count that will be told.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use medusa_proto::event::Level;
use medusa_proto::shown::push_cut;
use tracing::callsite::Identifier;

/// So many at once, and so many a second from then on.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    burst: u32,
    each_second: u32,
}

/// Warnings and errors of one kind: 68 a minute at most. Eight that differ are enough to see what differs.
const GRAVE: Allowance = Allowance { burst: 8, each_second: 1 };

/// Warnings and errors of all kinds: 400 a minute, more than anybody reads.
const ALL_GRAVE: Allowance = Allowance { burst: 100, each_second: 5 };

/// Those which are the first of their kind for a while pass by the others' flood: 260 a minute.
const FIRSTS: Allowance = Allowance { burst: 200, each_second: 1 };

/// The allowance for what is said to inform, from one place: a script may print a table at its start, and not a line
/// for each request.
const PLAIN: Allowance = Allowance { burst: 500, each_second: 5 };

/// The same from all places: 1,600 a minute.
const ALL_PLAIN: Allowance = Allowance { burst: 1000, each_second: 10 };

/// Kinds that are kept apart. A site with more failing mounts within [`FORGET`] has them share one.
const MAX_KINDS: usize = 512;

/// A kind of which nothing was heard for so long is a new one.
const FORGET: Duration = Duration::from_mins(1);

/// The time that counts are kept before they are told, and for how long a message counts as repeated.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Lines with counts each [`EVERY`]; what is not told then is told the next time.
const MAX_SUMMARIES: usize = 5;

/// The length of a message that its count repeats, in bytes.
const MAX_REMINDER: usize = 120;

/// An event, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurrence<'a> {
    pub(super) callsite: &'a Identifier,
    pub(super) place: &'a str,
    pub(super) message: &'a str,
    pub(super) level: Level,
    pub(super) part: &'a str,
}

/// The verdict on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written.
    Write,
    /// It is counted.
    Count,
}

/// A count that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) level: Level,
    pub(super) part: String,
    pub(super) message: String,
}

/// The rate limiter of one output.
#[derive(Debug)]
pub(super) struct RateLimit {
    hasher: RandomState,
    kinds: HashMap<u64, EventKind>,
    grave: Bucket,
    firsts: Bucket,
    plain: Bucket,
}

#[derive(Debug)]
struct EventKind {
    own: Bucket,
    /// The hashes of messages written in the second that began at `second`.
    second: Instant,
    written: Vec<u64>,
    last: Instant,
    counted: Option<Repeats>,
}

#[derive(Debug)]
struct Repeats {
    since: Instant,
    times: u64,
    level: Level,
    part: String,
    reminder: String,
}

impl RateLimit {
    pub(super) fn new(now: Instant) -> Self {
        let bucket = |allowance| Bucket::new(allowance, now);
        Self {
            hasher: RandomState::new(),
            kinds: HashMap::new(),
            grave: bucket(ALL_GRAVE),
            firsts: bucket(FIRSTS),
            plain: bucket(ALL_PLAIN),
        }
    }

    /// Whether to write an event. What developers asked for (`debug`, `trace`) is not theirs to miss.
    pub(super) fn judge(&mut self, occurrence: &Occurrence<'_>, now: Instant) -> Verdict {
        let is_grave = match occurrence.level {
            Level::Error | Level::Warn => true,
            Level::Info => false,
            Level::Debug | Level::Trace => return Verdict::Write,
        };
        let message = self.hasher.hash_one(occurrence.message);
        let key = self.key(occurrence, now);
        let is_known = |kind: &EventKind| now.duration_since(kind.last) < FORGET;
        let is_first = !self.kinds.get(&key).is_some_and(is_known);
        let kind = self.kinds.entry(key).or_insert_with(|| EventKind::new(is_grave, now));
        kind.last = now;
        if now.duration_since(kind.second) >= EVERY {
            kind.second = now;
            kind.written.clear();
        }
        let repeats = is_grave && kind.written.contains(&message);
        let (own, firsts) = (&mut kind.own, &mut self.firsts);
        let all = if is_grave { &mut self.grave } else { &mut self.plain };
        let admitted = !repeats && own.take(now) && (is_first && firsts.take(now) || all.take(now));
        if !admitted {
            kind.count(occurrence, now);
            return Verdict::Count;
        }
        if is_grave {
            kind.written.push(message);
        }
        Verdict::Write
    }

    /// The counts that are due, those that wait longest first; all there are, if it is the last time.
    pub(super) fn report(&mut self, now: Instant, is_last: bool) -> Vec<Summary> {
        let since = |kind: &&mut EventKind| kind.counted.as_ref().map(|counted| counted.since);
        let due = |since: Instant| is_last || now.duration_since(since) >= EVERY;
        let mut kinds: Vec<&mut EventKind> =
            self.kinds.values_mut().filter(|kind| since(kind).is_some_and(due)).collect();
        kinds.sort_unstable_by_key(since);
        let most = if is_last { usize::MAX } else { MAX_SUMMARIES };
        kinds
            .into_iter()
            .take(most)
            .filter_map(|kind| kind.counted.take())
            .map(|counted| counted.summary(now))
            .collect()
    }

    /// Whether something is counted that has not been told.
    pub(super) fn has_unreported(&self) -> bool {
        self.kinds.values().any(|kind| kind.counted.is_some())
    }

    fn key(&mut self, occurrence: &Occurrence<'_>, now: Instant) -> u64 {
        let key = self.hasher.hash_one((occurrence.callsite, occurrence.place, occurrence.level as u8));
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&key) {
            return key;
        }
        self.kinds.retain(|_, kind| kind.counted.is_some() || now.duration_since(kind.last) < FORGET);
        if self.kinds.len() < MAX_KINDS { key } else { u64::from(occurrence.level as u8) }
    }
}

impl EventKind {
    fn new(is_grave: bool, now: Instant) -> Self {
        let own = Bucket::new(if is_grave { GRAVE } else { PLAIN }, now);
        Self { own, second: now, written: Vec::new(), last: now, counted: None }
    }

    fn count(&mut self, occurrence: &Occurrence<'_>, now: Instant) {
        let counted = self.counted.get_or_insert_with(|| {
            let mut reminder = String::new();
            let first = occurrence.message.lines().next().unwrap_or_default();
            push_cut(&mut reminder, MAX_REMINDER, format_args!("{first}"));
            reminder.push_str(occurrence.place);
            Repeats {
                since: now,
                times: 0,
                level: occurrence.level,
                part: occurrence.part.to_owned(),
                reminder,
            }
        });
        counted.times += 1;
    }
}

impl Repeats {
    fn summary(self, now: Instant) -> Summary {
        let Self { since, times, level, part, reminder } = self;
        let seconds = now.duration_since(since).as_secs_f64();
        Summary {
            level,
            part,
            message: format!("{times} more of this kind in {seconds:.1} s, one of them: {reminder}"),
        }
    }
}

/// Allows what its [`Allowance`] says.
#[derive(Debug)]
struct Bucket {
    allowance: Allowance,
    left: u32,
    filled: Instant,
}

impl Bucket {
    const fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, left: allowance.burst, filled: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let seconds = now.duration_since(self.filled).as_secs();
        if seconds > 0 {
            let new = u64::from(self.allowance.each_second).saturating_mul(seconds);
            let left = new.saturating_add(u64::from(self.left)).min(u64::from(self.allowance.burst));
            self.left = left as u32;
            self.filled += Duration::from_secs(seconds);
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite;
    use tracing::subscriber::Interest;

    use super::*;

    #[derive(Debug)]
    struct Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            panic!("nobody asks")
        }
    }

    static HERE: Identifier = Identifier(&Place);

    fn occurrence<'a>(level: Level, place: &'a str, message: &'a str) -> Occurrence<'a> {
        Occurrence { callsite: &HERE, place, message, level, part: "http" }
    }

    /// The lines written of one event after the other, and of those told in the end.
    fn run(
        seconds: u64,
        each_second: u32,
        event: impl Fn(u64) -> (Level, String, String),
    ) -> (usize, Vec<Summary>) {
        let start = Instant::now();
        let mut rate = RateLimit::new(start);
        let (mut written, mut summaries) = (0, Vec::new());
        for n in 0..seconds * u64::from(each_second) {
            let now = start + Duration::from_secs(1) * n as u32 / each_second;
            let (level, place, message) = event(n);
            written += usize::from(rate.judge(&occurrence(level, &place, &message), now) == Verdict::Write);
            if n % u64::from(each_second) == 0 {
                summaries.extend(rate.report(now, false));
            }
        }
        summaries.extend(rate.report(start + Duration::from_secs(seconds + 1), true));
        assert!(!rate.has_unreported());
        (written, summaries)
    }

    fn counted(summaries: &[Summary]) -> usize {
        let times =
            |summary: &Summary| summary.message.split(' ').next().and_then(|n| n.parse::<usize>().ok());
        summaries.iter().map(|summary| times(summary).expect("a number")).sum()
    }

    #[test]
    fn what_repeats_is_written_once_a_second_and_counted() {
        let (written, summaries) =
            run(3, 1000, |_| (Level::Warn, " mount=/x".into(), "it failed\nhere".into()));
        assert_eq!((written, counted(&summaries)), (3, 2997));
        assert!(summaries.len() <= 4, "{summaries:?}");
        assert!(summaries[0].message.ends_with(" s, one of them: it failed mount=/x"), "{summaries:?}");
        assert_eq!((summaries[0].level, &*summaries[0].part), (Level::Warn, "http"));
    }

    #[test]
    fn what_differs_is_written_as_far_as_its_kind_may() {
        let (written, summaries) = run(60, 100, |n| (Level::Error, " mount=/x".into(), n.to_string()));
        assert_eq!(written + counted(&summaries), 6000);
        let Allowance { burst, each_second } = GRAVE;
        assert!(written <= (burst + 60 * each_second) as usize, "{written}");
    }

    #[test]
    fn all_kinds_together_may_not_do_more_and_a_new_one_is_heard() {
        let flood = |n: u64| (Level::Warn, format!(" mount={}", n % 150), n.to_string());
        let (written, summaries) = run(60, 400, flood);
        assert_eq!(written + counted(&summaries), 24_000);
        assert!(written <= 660, "{written} in a minute");

        let start = Instant::now();
        let mut rate = RateLimit::new(start);
        for n in 0..10_000 {
            let (level, place, message) = flood(n);
            let _ = rate.judge(&occurrence(level, &place, &message), start);
        }
        assert_eq!(rate.judge(&occurrence(Level::Error, " log=a", "disk full"), start), Verdict::Write);
    }

    #[test]
    fn under_a_flood_of_many_kinds_each_is_told_in_its_turn() {
        let start = Instant::now();
        let mut rate = RateLimit::new(start);
        let mut heard = std::collections::BTreeSet::new();
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            for n in 0..4000 {
                let place = format!(" mount={}", n % 40);
                let _ = rate.judge(&occurrence(Level::Warn, &place, "x"), now);
            }
            heard.extend(
                rate.report(now, false)
                    .into_iter()
                    .map(|summary| summary.message.split(" one of them: ").nth(1).map(str::to_owned)),
            );
        }
        assert_eq!(heard.len(), 40, "{heard:?}");
    }

    #[test]
    fn kinds_are_bounded_and_what_has_no_place_shares_one() {
        let (written, summaries) = run(2, 10_000, |n| (Level::Warn, format!(" mount={n}"), "x".into()));
        assert_eq!(written + counted(&summaries), 20_000);
        let start = Instant::now();
        let mut rate = RateLimit::new(start);
        for n in 0..3 * MAX_KINDS {
            let _ = rate.judge(&occurrence(Level::Warn, &n.to_string(), "x"), start);
        }
        assert!(rate.kinds.len() <= MAX_KINDS + 2, "{}", rate.kinds.len());
        let later = start + FORGET;
        let _ = rate.report(later, true);
        assert_eq!(rate.judge(&occurrence(Level::Warn, "new", "x"), later), Verdict::Write);
        assert_eq!(rate.kinds.len(), 1, "those of which nothing was heard are forgotten");
    }

    #[test]
    fn a_script_may_print_the_same_again_and_a_developer_gets_every_step() {
        let (written, _) = run(1, 400, |_| (Level::Info, " origin=a:1".into(), "tick".into()));
        assert_eq!(written, 400);
        let (written, summaries) = run(60, 1000, |_| (Level::Info, " origin=a:1".into(), "tick".into()));
        assert!(written <= 800, "{written}");
        assert_eq!(written + counted(&summaries), 60_000);
        assert_eq!(run(1, 5000, |_| (Level::Debug, String::new(), "step".into())).0, 5000);
    }
}
