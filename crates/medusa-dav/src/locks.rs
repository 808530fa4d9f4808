//! The locks of one directory ([RFC 4918 §6](https://www.rfc-editor.org/rfc/rfc4918#section-6)), by the paths they are on. Times come as
//! arguments.
//!
//! **Invariant:** an exclusive lock and another never cover one path, as far as both have not expired.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_net::clients::ClientPrefix;

/// The most locks of one directory.
const MOST: usize = 4096;
/// The most of one user, or of an address without one.
const MOST_OF_ONE: usize = 512;

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) token: String,
    /// Without a slash at its end.
    pub(crate) path: String,
    /// Whether it is on all that is below the path, too.
    pub(crate) is_deep: bool,
    /// Whether it was taken of a directory.
    pub(crate) is_directory: bool,
    pub(crate) is_exclusive: bool,
    /// What the client says of whose it is, as XML.
    pub(crate) owner: String,
    pub(crate) holder: LockHolder,
    pub(crate) timeout: Duration,
    pub(crate) expires: Instant,
}

/// Who has taken a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockHolder {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) client: Option<ClientPrefix>,
}

impl LockHolder {
    /// Whether a lock of this one may be used by `other`: that of a user by nobody else.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        self.user.is_none() || self.user == other.user
    }

    fn is_same(&self, other: &Self) -> bool {
        self.user == other.user && (self.user.is_some() || self.client == other.client)
    }
}

/// The reason why there can be no such lock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LockRefusal {
    /// Another covers the path: it is on this one.
    Covered { path: String, is_directory: bool },
    /// Another is on this path, which it would cover.
    Below { path: String, is_directory: bool },
    /// Something that it would cover is being changed by who began before.
    Busy,
    /// There are as many as there may be.
    TooMany,
}

/// The locks.
#[derive(Debug, Default)]
pub(crate) struct LockTable {
    by_path: BTreeMap<String, Vec<Lock>>,
    count: usize,
    /// Changes that are under way and found no lock in the way.
    changes: Vec<UnderWayChange>,
    begun: u64,
}

/// A change of what is at a path.
#[derive(Debug)]
struct UnderWayChange {
    number: u64,
    path: String,
    /// Whether it is of all that is below the path, too.
    is_deep: bool,
}

impl LockTable {
    /// The number of locks, some of which may have expired.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The locks that are on a path: its own, and deep ones of what it is in.
    pub(crate) fn covering<'l>(&'l self, path: &'l str, now: Instant) -> impl Iterator<Item = &'l Lock> {
        let above = ancestors(path).flat_map(|above| self.by_path.get(above).into_iter().flatten());
        let own = self.by_path.get(path).into_iter().flatten();
        above.filter(|lock| lock.is_deep).chain(own).filter(move |lock| lock.expires > now)
    }

    /// The locks that were taken of this very path.
    pub(crate) fn on<'l>(&'l self, path: &str, now: Instant) -> impl Iterator<Item = &'l Lock> + use<'l> {
        self.by_path.get(path).into_iter().flatten().filter(move |lock| lock.expires > now)
    }

    /// The locks of what is in a directory, at any depth.
    pub(crate) fn below<'l>(&'l self, path: &str, now: Instant) -> impl Iterator<Item = &'l Lock> + use<'l> {
        self.by_path
            .range(range_below(path))
            .flat_map(|(_, locks)| locks)
            .filter(move |lock| lock.expires > now)
    }

    /// Notes that what is at a path is being changed: until that [ends](Self::end_change), nobody gets a lock on it.
    pub(crate) fn begin_change(&mut self, path: &str, is_deep: bool) -> u64 {
        self.begun += 1;
        self.changes.push(UnderWayChange { number: self.begun, path: path.to_owned(), is_deep });
        self.begun
    }

    /// Notes that a change is done.
    pub(crate) fn end_change(&mut self, number: u64) {
        self.changes.retain(|change| change.number != number);
    }

    /// Finds out whether a lock goes with those that there are.
    pub(crate) fn check(&self, lock: &Lock, now: Instant) -> Result<(), LockRefusal> {
        let excludes = |other: &&Lock| lock.is_exclusive || other.is_exclusive;
        if let Some(Lock { path, is_directory, .. }) = self.covering(&lock.path, now).find(excludes) {
            return Err(LockRefusal::Covered { path: path.clone(), is_directory: *is_directory });
        }
        if lock.is_deep
            && let Some(Lock { path, is_directory, .. }) = self.below(&lock.path, now).find(excludes)
        {
            return Err(LockRefusal::Below { path: path.clone(), is_directory: *is_directory });
        }
        let meets = |change: &UnderWayChange| {
            let above = change.path.rsplit_once('/').map_or("", |(above, _)| above);
            change.path == lock.path
                || above == lock.path
                || (change.is_deep && is_below(&lock.path, &change.path))
                || (lock.is_deep && is_below(&change.path, &lock.path))
        };
        if self.changes.iter().any(meets) { Err(LockRefusal::Busy) } else { Ok(()) }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, lock: Lock, now: Instant) -> Result<(), LockRefusal> {
        self.check(&lock, now)?;
        let of_holder = |table: &Self| {
            table.by_path.values().flatten().filter(|other| other.holder.is_same(&lock.holder)).count()
        };
        if self.count >= MOST || of_holder(self) >= MOST_OF_ONE {
            self.retain(|lock| lock.expires > now);
            if self.count >= MOST || of_holder(self) >= MOST_OF_ONE {
                return Err(LockRefusal::TooMany);
            }
        }
        self.by_path.entry(lock.path.clone()).or_default().push(lock);
        self.count += 1;
        Ok(())
    }

    /// Has the lock on `path` with this token last for `timeout` from now, if `holder` may.
    pub(crate) fn refresh(
        &mut self,
        token: &str,
        path: &str,
        holder: &LockHolder,
        (timeout, now): (Duration, Instant),
    ) -> Option<Lock> {
        let found =
            self.covering(path, now).find(|lock| lock.token == token && lock.holder.may_be(holder))?;
        let on = found.path.clone();
        let lock = self.by_path.get_mut(&on)?.iter_mut().find(|lock| lock.token == token)?;
        (lock.timeout, lock.expires) = (timeout, now + timeout);
        Some(lock.clone())
    }

    /// Removes a lock.
    pub(crate) fn remove(&mut self, token: &str, path: &str) {
        if let Some(locks) = self.by_path.get_mut(path) {
            let before = locks.len();
            locks.retain(|lock| lock.token != token);
            self.count -= before - locks.len();
            if locks.is_empty() {
                self.by_path.remove(path);
            }
        }
    }

    /// Removes all locks of a path and of what is below it, which has gone.
    pub(crate) fn forget(&mut self, path: &str) {
        self.retain(|lock| lock.path != path && !is_below(&lock.path, path));
    }

    /// What is locked of a path and all that is below it.
    pub(crate) fn paths_from(&self, path: &str) -> Vec<String> {
        self.by_path.keys().filter(|locked| *locked == path || is_below(locked, path)).cloned().collect()
    }

    /// Removes all locks of what is below a path.
    pub(crate) fn forget_below(&mut self, path: &str) {
        self.retain(|lock| !is_below(&lock.path, path));
    }

    fn retain(&mut self, stays: impl Fn(&Lock) -> bool) {
        let mut count = 0;
        self.by_path.retain(|_, locks| {
            locks.retain(&stays);
            count += locks.len();
            !locks.is_empty()
        });
        self.count = count;
    }
}

/// Whether a path is below another.
pub(crate) fn is_below(path: &str, above: &str) -> bool {
    match path.strip_prefix(above) {
        Some(rest) if above.is_empty() => !rest.is_empty(),
        Some(rest) => rest.starts_with('/'),
        None => false,
    }
}

/// The directories that a path is in, from the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let root = (!path.is_empty()).then_some("");
    root.into_iter().chain(path.match_indices('/').filter_map(|(at, _)| path.get(..at)))
}

/// All paths below one: `0` comes next to `/`.
fn range_below(path: &str) -> (Bound<String>, Bound<String>) {
    if path.is_empty() {
        return (Bound::Excluded(String::new()), Bound::Unbounded);
    }
    (Bound::Included(format!("{path}/")), Bound::Excluded(format!("{path}0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(user: &str) -> LockHolder {
        LockHolder { user: (!user.is_empty()).then(|| user.into()), client: None }
    }

    fn lock(token: &str, path: &str, is_deep: bool, is_exclusive: bool, now: Instant) -> Lock {
        let timeout = Duration::from_secs(10);
        let (token, path) = (token.to_owned(), path.to_owned());
        let is_directory = false;
        Lock {
            token,
            path,
            is_deep,
            is_directory,
            is_exclusive,
            owner: String::new(),
            holder: holder(""),
            timeout,
            expires: now + timeout,
        }
    }

    fn tokens<'l>(locks: impl Iterator<Item = &'l Lock>) -> Vec<&'l str> {
        locks.map(|lock| lock.token.as_str()).collect()
    }

    fn covered(path: &str) -> LockRefusal {
        LockRefusal::Covered { path: path.to_owned(), is_directory: false }
    }

    #[test]
    fn a_deep_lock_is_on_all_that_is_below() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        table.add(lock("1", "a", true, true, now), now).unwrap();
        table.add(lock("2", "b/c", false, true, now), now).unwrap();
        for path in ["a", "a/b", "a/b/c"] {
            assert_eq!(tokens(table.covering(path, now)), ["1"], "{path}");
        }
        for path in ["", "ab", "a0", "b", "b/c/d"] {
            assert!(tokens(table.covering(path, now)).is_empty(), "{path}");
        }
        assert_eq!(tokens(table.below("", now)), ["1", "2"]);
        assert_eq!(tokens(table.below("b", now)), ["2"]);
        assert!(tokens(table.below("a", now)).is_empty());
    }

    #[test]
    fn an_exclusive_lock_goes_with_no_other() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        table.add(lock("1", "a", false, false, now), now).unwrap();
        table.add(lock("2", "a", false, false, now), now).unwrap();
        let refused = table.add(lock("3", "a", false, true, now), now);
        assert_eq!(refused, Err(covered("a")));
        assert_eq!(
            table.add(lock("3", "", true, true, now), now),
            Err(LockRefusal::Below { path: "a".to_owned(), is_directory: false })
        );
        table.add(lock("3", "", false, true, now), now).unwrap();
        assert_eq!(table.add(lock("4", "", true, false, now), now), Err(covered("")));
        table.remove("3", "");
        table.add(lock("4", "", true, false, now), now).unwrap();
        assert_eq!(tokens(table.covering("a", now)), ["4", "1", "2"]);
    }

    #[test]
    fn a_lock_ends_with_its_time_and_can_be_refreshed() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        table.add(lock("1", "a", true, true, now), now).unwrap();
        let later = now + Duration::from_secs(9);
        let minute = Duration::from_mins(1);
        assert!(table.refresh("2", "a", &holder(""), (minute, later)).is_none());
        assert!(table.refresh("1", "b", &holder(""), (minute, later)).is_none());
        assert!(table.refresh("1", "a/b", &holder("eve"), (minute, later)).is_some(), "it is nobody's");
        let later = now + Duration::from_secs(68);
        assert_eq!(tokens(table.covering("a", later)), ["1"]);
        let later = later + Duration::from_secs(1);
        assert!(tokens(table.covering("a", later)).is_empty());
        assert!(table.refresh("1", "a", &holder(""), (minute, later)).is_none());
        table.add(lock("2", "a", true, true, later), later).unwrap();
    }

    #[test]
    fn a_users_lock_is_nobody_elses() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        table.add(Lock { holder: holder("ada"), ..lock("1", "a", true, true, now) }, now).unwrap();
        let time = (Duration::from_secs(1), now);
        assert!(table.refresh("1", "a", &holder("eve"), time).is_none());
        assert!(table.refresh("1", "a", &holder(""), time).is_none());
        assert!(table.refresh("1", "a", &holder("ada"), time).is_some());
    }

    #[test]
    fn there_are_no_more_than_there_may_be() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        let of = |user: &str, n: usize| Lock {
            holder: holder(user),
            ..lock("t", &format!("{user}/{n}"), false, true, now)
        };
        for n in 0..MOST_OF_ONE {
            table.add(of("ada", n), now).unwrap();
        }
        assert_eq!(table.add(of("ada", MOST_OF_ONE), now), Err(LockRefusal::TooMany));
        for n in 0..MOST - MOST_OF_ONE {
            table.add(of(&format!("u{}", n / 100), n), now).unwrap();
        }
        assert_eq!((table.len(), table.add(of("bob", 0), now)), (MOST, Err(LockRefusal::TooMany)));
        let later = now + Duration::from_secs(10);
        let fresh = Lock { expires: later + Duration::from_secs(1), ..of("ada", MOST_OF_ONE) };
        assert_eq!(table.add(fresh, later), Ok(()), "those that have expired make room");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn what_is_being_changed_gets_no_lock() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        let shallow = table.begin_change("a/b", false);
        for (path, is_deep) in [("a/b", false), ("a", false), ("", true)] {
            assert_eq!(
                table.add(lock("1", path, is_deep, false, now), now),
                Err(LockRefusal::Busy),
                "{path}"
            );
        }
        table.add(lock("1", "a/b/c", true, true, now), now).unwrap();
        table.add(lock("2", "a/c", true, true, now), now).unwrap();
        let deep = table.begin_change("a/b", true);
        table.end_change(shallow);
        assert_eq!(table.add(lock("3", "a/b/d", false, false, now), now), Err(LockRefusal::Busy));
        table.end_change(deep);
        table.add(lock("3", "a/b/d", false, false, now), now).unwrap();
    }

    #[test]
    fn what_has_gone_has_no_locks() {
        let (mut table, now) = (LockTable::default(), Instant::now());
        for (token, path) in [("1", "a"), ("2", "a/b"), ("3", "ab"), ("4", "a0")] {
            table.add(lock(token, path, false, true, now), now).unwrap();
        }
        table.forget_below("a");
        assert_eq!(tokens(table.below("", now)), ["1", "4", "3"]);
        table.forget("a");
        assert_eq!((tokens(table.below("", now)), table.len()), (vec!["4", "3"], 2));
    }
}
