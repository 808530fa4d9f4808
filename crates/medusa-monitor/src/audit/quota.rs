//! How much of the log each person may fill: what is new pushes out what is old, and nobody may choose what is forgotten.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many bytes an hour. Two statements of 300 characters a second, or one of the longest every two minutes.
pub(super) const SHARE: u64 = 32 << 20;

/// The share of all who have not logged in, together: six hundred refusals, so that they need months to fill a log.
pub(super) const STRANGERS: u64 = 256 << 10;

const HOUR: Duration = Duration::from_hours(1);

/// How many persons are told apart in an hour. Those beyond are one.
const MAX_PERSONS: usize = 1024;

/// What was written for whom.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    spent: HashMap<String, Spent>,
}

#[derive(Debug)]
struct Spent {
    since: Instant,
    bytes: u64,
}

impl Quotas {
    /// Counts `bytes` for a person who has `share` of them an hour. Whether they may be written.
    pub(super) fn take(&mut self, person: String, bytes: u64, share: u64, now: Instant) -> bool {
        let spent = self.of(person, now);
        let fits = spent.bytes + bytes <= share;
        if fits {
            spent.bytes += bytes;
        }
        fits
    }

    /// Counts what is written in any case.
    pub(super) fn charge(&mut self, person: String, bytes: u64, now: Instant) {
        self.of(person, now).bytes += bytes;
    }

    fn of(&mut self, person: String, now: Instant) -> &mut Spent {
        let is_over = |spent: &Spent| now.duration_since(spent.since) >= HOUR;
        if self.spent.len() >= MAX_PERSONS && !self.spent.contains_key(&person) {
            self.spent.retain(|_, spent| !is_over(spent));
        }
        let is_known = self.spent.contains_key(&person) || self.spent.len() < MAX_PERSONS;
        let spent = self.spent.entry(if is_known { person } else { String::new() });
        let spent = spent.or_insert(Spent { since: now, bytes: 0 });
        if is_over(spent) {
            *spent = Spent { since: now, bytes: 0 };
        }
        spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_of_their_own_and_a_new_one_every_hour() {
        let (mut quotas, start) = (Quotas::default(), Instant::now());
        let mut take = |who: &str, bytes, seconds| {
            quotas.take(who.to_owned(), bytes, SHARE, start + Duration::from_secs(seconds))
        };
        assert!(take("a", SHARE - 1, 0) && take("a", 1, 1));
        assert!(!take("a", 1, 3599));
        assert!(take("b", SHARE, 3599), "another's share is their own");
        assert!(take("a", SHARE, 3600));
    }

    #[test]
    fn persons_without_number_take_no_memory_without_limit() {
        let (mut quotas, now) = (Quotas::default(), Instant::now());
        for number in 0..3 * MAX_PERSONS {
            assert!(quotas.take(format!("key {number}"), 1, SHARE, now));
        }
        assert!(quotas.spent.len() <= MAX_PERSONS + 1);
        quotas.charge("key 0".into(), SHARE, now);
        assert!(!quotas.take("key 0".into(), 1, SHARE, now));
    }
}
