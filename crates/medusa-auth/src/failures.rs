//! How often each client was wrong, of late.
//!
//! Each failure counts for a while, and they are forgiven one after the other. What is kept for a client is the one instant at
//! which all of them will have been.
//!
//! **Invariant:** the table has room for [`SETS`] × [`WAYS`] clients and never more. Where it is full, whoever has failed least
//! is forgotten, so that nobody is for the sake of those who come once from each of a million addresses.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The sets that clients are spread over, by a hash that nobody can foresee, and the room in each.
const SETS: usize = 1024;
const WAYS: usize = 4;

/// The failures of clients.
pub struct Failures<K> {
    hasher: RandomState,
    /// The time for which a failure counts.
    each: Duration,
    /// The most failures of a client that are counted.
    most: u32,
    table: Mutex<Box<[FailureSet<K>]>>,
}

type FailureSet<K> = [Option<Client<K>>; WAYS];

#[derive(Clone, Copy)]
struct Client<K> {
    key: K,
    /// When nothing counts any more.
    forgiven: Instant,
}

impl<K: Copy + Eq + Hash> Failures<K> {
    /// Nobody has failed; a failure counts for the time `each`, and of a client there are at most `most`.
    pub fn new(each: Duration, most: u32) -> Self {
        let table = vec![[const { None }; WAYS]; SETS].into_boxed_slice();
        Self { hasher: RandomState::new(), each, most, table: Mutex::new(table) }
    }

    /// The number of a client's failures that still count.
    pub fn count(&self, key: K, now: Instant) -> u32 {
        let left = self.with(key, now, |client| *client);
        left.map_or(0, |client| self.counted(client.forgiven.saturating_duration_since(now)))
    }

    /// The time until fewer than `allowed` of a client's failures count.
    pub fn until_fewer(&self, key: K, allowed: u32, now: Instant) -> Duration {
        let left = self.with(key, now, |client| client.map(|client| client.forgiven));
        let left = left.map_or(Duration::ZERO, |forgiven| forgiven.saturating_duration_since(now));
        left.saturating_sub(self.each * allowed.saturating_sub(1))
    }

    /// A client has failed once more.
    pub fn add(&self, key: K, now: Instant) {
        let most = now + self.each * self.most;
        self.with(key, now, |client| {
            let forgiven = client.map_or(now, |client| client.forgiven);
            *client = Some(Client { key, forgiven: (forgiven + self.each).min(most) });
        });
    }

    /// What was [added](Self::add) was none.
    pub fn take_back(&self, key: K, now: Instant) {
        self.with(key, now, |client| {
            let left = client.and_then(|client| client.forgiven.checked_sub(self.each));
            *client = left.filter(|forgiven| *forgiven > now).map(|forgiven| Client { key, forgiven });
        });
    }

    /// The number of clients with failures that count.
    pub fn clients(&self, now: Instant) -> usize {
        let table = self.table.lock();
        table.iter().flatten().flatten().filter(|client| client.forgiven > now).count()
    }

    fn counted(&self, left: Duration) -> u32 {
        u32::try_from(left.as_nanos().div_ceil(self.each.as_nanos().max(1))).unwrap_or(u32::MAX)
    }

    /// Has a client's place in the table looked at, or changed: its own, a free one, or that of the one who has failed least.
    fn with<T>(&self, key: K, now: Instant, change: impl FnOnce(&mut Option<Client<K>>) -> T) -> T {
        let set = self.hasher.hash_one(key) as usize % SETS;
        let mut table = self.table.lock();
        let nowhere = &mut [const { None }; WAYS];
        let set = table.get_mut(set).unwrap_or(nowhere);
        for place in set.iter_mut() {
            if place.is_some_and(|client| client.forgiven <= now) {
                *place = None;
            }
        }
        if let Some(own) = set.iter_mut().find(|place| place.is_some_and(|client| client.key == key)) {
            return change(own);
        }
        let mut new = None;
        let changed = change(&mut new);
        if new.is_some()
            && let Some(least) = set.iter_mut().min_by_key(|place| place.map(|client| client.forgiven))
        {
            *least = new;
        }
        changed
    }
}

impl<K> fmt::Debug for Failures<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").field("each", &self.each).field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(10);

    #[test]
    fn failures_add_up_and_are_forgiven_one_by_one() {
        let (failures, start) = (Failures::new(EACH, 5), Instant::now());
        assert_eq!(failures.count(1, start), 0);
        assert_eq!(failures.until_fewer(1, 1, start), Duration::ZERO);
        for added in 1..=3 {
            failures.add(1, start);
            assert_eq!(failures.count(1, start), added);
        }
        assert_eq!(failures.count(2, start), 0);
        assert_eq!(failures.until_fewer(1, 4, start), Duration::ZERO);
        assert_eq!(failures.until_fewer(1, 3, start), EACH);
        assert_eq!(failures.until_fewer(1, 1, start), 3 * EACH);
        assert_eq!(failures.count(1, start + EACH), 2);
        assert_eq!(failures.clients(start), 1);
        assert_eq!(failures.clients(start + 3 * EACH), 0);
        assert_eq!(failures.count(1, start + 3 * EACH), 0);
    }

    #[test]
    fn what_was_none_is_taken_back() {
        let (failures, start) = (Failures::new(EACH, 5), Instant::now());
        failures.add(1, start);
        failures.add(1, start);
        failures.take_back(1, start);
        assert_eq!(failures.count(1, start), 1);
        failures.take_back(1, start);
        failures.take_back(1, start);
        failures.take_back(2, start);
        assert_eq!((failures.count(1, start), failures.clients(start)), (0, 0));
    }

    #[test]
    fn there_is_an_end_to_them() {
        let (failures, start) = (Failures::new(EACH, 5), Instant::now());
        for _ in 0..1000 {
            failures.add(1, start);
        }
        assert_eq!(failures.count(1, start), 5);
        assert_eq!(failures.until_fewer(1, 5, start), EACH);
    }

    #[test]
    fn who_failed_often_is_not_forgotten_for_many_who_failed_once() {
        let (failures, start) = (Failures::new(EACH, 5), Instant::now());
        for _ in 0..3 {
            failures.add(u64::MAX, start);
        }
        for other in 0..100_000_u64 {
            failures.add(other, start);
        }
        assert_eq!(failures.count(u64::MAX, start), 3);
        assert_eq!(failures.clients(start), SETS * WAYS);
    }
}
