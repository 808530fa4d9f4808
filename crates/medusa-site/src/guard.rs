//! Guards of a change on trial: what it is taken back for before its time is over.
//!
//! It is compared with itself: the mounts that a change adds or changes, taken together, as they were before, and since.

use std::sync::Arc;
use std::time::Duration;

use medusa_http::{Counters, Latencies, LatencyWatch};

use crate::part::{Part as _, Parts};
use crate::parts::HttpServer;

/// Of fewer requests than this nothing is concluded.
const LEAST: u64 = 20;
/// So many slow requests are chance: the first of each worker are.
const FEW: u64 = 2;
/// How long is looked on before a change whose `p99` is guarded, at the most.
const LOOKS_BEFORE: Duration = Duration::from_secs(2);
/// How often is looked whether there have been enough requests.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// With so many requests it is known how long they take.
const ENOUGH: u64 = 1000;

/// What a change is taken back for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GuardTerms {
    /// By how much the part of requests that are answered with a 5xx may be larger than before: 0.01 for one of a hundred.
    pub errors: Option<f64>,
    /// How many times as long as before requests may take, but for the slowest of a hundred.
    pub p99: Option<f64>,
}

impl GuardTerms {
    /// Whether they make sense.
    ///
    /// # Errors
    ///
    /// What is to be said to whoever gave them.
    pub fn check(&self) -> Result<(), String> {
        if let Some(errors) = self.errors.filter(|errors| !(0.0..1.0).contains(errors)) {
            return Err(format!(
                "`errors` must be a part of all requests, from 0 to below 1, that may fail beyond those before: 0.01 for one of \
                 a hundred, not {errors}"
            ));
        }
        if let Some(p99) = self.p99.filter(|p99| !(1.0..=1000.0).contains(p99)) {
            return Err(format!(
                "`p99` must be a number of times, from 1 to 1000, that requests may take as long as before, not {p99}"
            ));
        }
        Ok(())
    }
}

/// A guarded mount, by its server's name and its pattern.
type GuardedMount = (Arc<str>, String);

/// The mounts that a change adds or changes, as they were before it.
#[derive(Debug)]
pub struct Guard {
    terms: GuardTerms,
    mounts: Vec<GuardedMount>,
    /// The requests to them, and of those the ones with a 5xx.
    answered: (u64, u64),
    p99: Option<Duration>,
}

impl Guard {
    /// Looks at the mounts that `new` has and `old` has not, or not so. If it is to be known how long their requests take, that
    /// may take two seconds.
    pub async fn look(terms: GuardTerms, old: &Parts, new: &Parts) -> Self {
        let (mut mounts, mut before) = (Vec::new(), Vec::new());
        for server in new.all::<HttpServer>() {
            let known = old.find::<HttpServer>(server.id()).map(|server| &server.definition.mounts);
            for (pattern, mount) in &server.definition.mounts {
                let known = known.and_then(|known| known.get(pattern));
                if !known.is_some_and(|known| Arc::ptr_eq(known, mount)) {
                    mounts.push((Arc::clone(&server.definition.name), pattern.to_string()));
                    before.extend(known.map(|known| Arc::clone(&known.counters)));
                }
            }
        }
        let mut this = Self { terms, mounts, answered: answered(&before), p99: None };
        if terms.p99.is_some() && !before.is_empty() {
            let watch = LatencyWatch::begin(Some(before));
            let deadline = tokio::time::Instant::now() + LOOKS_BEFORE;
            while watch.read().count() < ENOUGH && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(LOOKS_EVERY).await;
            }
            this.p99 =
                Some(watch.read()).filter(|seen| seen.count() >= LEAST).and_then(|seen| seen.quantile(0.99));
        }
        this
    }

    /// Its mounts, to be looked at from now on.
    pub fn begin(self: &Arc<Self>, parts: &Parts) -> Guarding {
        let mut counters = Vec::new();
        for server in parts.all::<HttpServer>() {
            let name = &server.definition.name;
            for (pattern, mount) in &server.definition.mounts {
                let pattern = pattern.to_string();
                if self.mounts.iter().any(|(server, known)| server == name && *known == pattern) {
                    counters.push(Arc::clone(&mount.counters));
                }
            }
        }
        let watch = self.p99.map(|_| LatencyWatch::begin(Some(counters.clone())));
        let from = answered(&counters);
        Guarding { guard: Arc::clone(self), counters, from, watch }
    }

    /// What it may not come to, for people; what cannot be told, too.
    pub fn said(&self) -> String {
        let errors = self.terms.errors.map(|errors| format!("{}% more errors", percent(errors)));
        let p99 = self.terms.p99.map(|times| match self.p99 {
            Some(p99) => format!("a p99 over {times} times {}", millis(p99)),
            None => "no p99, as too few requests came before".to_owned(),
        });
        errors.into_iter().chain(p99).collect::<Vec<_>>().join(" or ")
    }

    fn share_before(&self) -> f64 {
        share(self.answered)
    }
}

/// A guard that looks on; it ends when it is dropped.
#[derive(Debug)]
pub struct Guarding {
    guard: Arc<Guard>,
    counters: Vec<Arc<Counters>>,
    /// What they had counted when it began.
    from: (u64, u64),
    watch: Option<LatencyWatch>,
}

impl Guarding {
    /// Why the change is to be taken back now, if it is.
    pub fn trips(&self) -> Option<String> {
        let latencies = self.watch.as_ref().map(LatencyWatch::read);
        let now = answered(&self.counters);
        self.guard
            .judge((now.0.saturating_sub(self.from.0), now.1.saturating_sub(self.from.1)), latencies.as_ref())
    }
}

impl Guard {
    fn judge(&self, since: (u64, u64), latencies: Option<&Latencies>) -> Option<String> {
        if let Some(errors) = self.terms.errors.filter(|_| since.0 >= LEAST) {
            let (before, now) = (self.share_before(), share(since));
            if now > before + errors {
                return Some(format!(
                    "{}% of the requests to what it changed fail, {}% did before",
                    percent(now),
                    percent(before)
                ));
            }
        }
        let (times, before) = (self.terms.p99?, self.p99?);
        let seen = latencies.filter(|seen| seen.count() >= LEAST)?;
        let but_for_few = 1.0 - (FEW as f64 / seen.count() as f64);
        let now = seen.quantile(but_for_few.min(0.99))?;
        (now.as_secs_f64() > before.as_secs_f64() * times).then(|| {
            format!("the p99 of what it changed is {}, it was {} before", millis(now), millis(before))
        })
    }
}

fn answered(counters: &[Arc<Counters>]) -> (u64, u64) {
    counters
        .iter()
        .map(|counters| counters.answered())
        .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

fn share((requests, errors): (u64, u64)) -> f64 {
    if requests == 0 { 0.0 } else { errors as f64 / requests as f64 }
}

/// With as many digits as matter.
fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_errors_than_before_are_told_from_as_many() {
        let guard = |errors| Guard {
            terms: GuardTerms { errors: Some(errors), p99: None },
            mounts: Vec::new(),
            answered: (1000, 20),
            p99: None,
        };
        assert_eq!(guard(0.01).judge((100, 3), None), None);
        let tripped = guard(0.01).judge((100, 4), None).expect("too many");
        assert_eq!(tripped, "4% of the requests to what it changed fail, 2% did before");
        assert_eq!(guard(0.01).judge((19, 19), None), None, "too few to conclude anything");
        assert_eq!(guard(0.0).said(), "0% more errors");
    }

    #[test]
    fn the_first_requests_of_two_workers_may_be_slow() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_millis(9));
        let guard = Guard {
            terms: GuardTerms { errors: None, p99: Some(2.0) },
            mounts: Vec::new(),
            answered: (0, 0),
            p99: Some(fast),
        };
        let judge = |of: &[(Duration, usize)]| {
            let seen = of.iter().flat_map(|(length, times)| std::iter::repeat_n(*length, *times));
            guard.judge((0, 0), Some(&seen.collect()))
        };
        assert_eq!(judge(&[(fast, 30), (slow, 2)]), None);
        assert!(judge(&[(fast, 30), (slow, 3)]).is_some());
        assert_eq!(judge(&[(fast, 1000), (slow, 9)]), None);
        assert!(judge(&[(fast, 1000), (slow, 12)]).is_some());
    }

    #[test]
    fn terms_that_make_no_sense_are_refused() {
        let check = |errors, p99| GuardTerms { errors, p99 }.check();
        assert_eq!(check(Some(0.0), Some(1.0)), Ok(()));
        for (errors, p99) in [
            (Some(1.0), None),
            (Some(-0.1), None),
            (Some(f64::NAN), None),
            (None, Some(0.5)),
            (None, Some(f64::NAN)),
        ] {
            assert!(check(errors, p99).is_err(), "{errors:?} {p99:?}");
        }
    }
}
