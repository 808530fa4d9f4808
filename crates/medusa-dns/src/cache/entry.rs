//! One answer, its times, and what it is worth at a given time.

use std::sync::Arc;
use std::time::Duration;

use super::millis;
use crate::{Data, LookupError};

/// The value that is kept: records, or why there are none.
pub(crate) type Value = Result<Arc<[Data]>, LookupError>;

/// The number of times an answer must have been used before it is worth being asked for again by itself.
const HOT: u32 = 3;

/// The part of an answer's time, at its end, in which it is asked for again if it is in use.
const LAST: u64 = 10;

/// The cache's knowledge of a question.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// Nothing.
    Miss,
    /// An answer that holds for `ttl` more. It is in use and nearly over: ask again, without waiting, if `prefetch`.
    Fresh {
        /// The answer.
        value: Value,
        /// For how long it holds.
        ttl: Duration,
        /// Whether to ask again. Said once for each answer.
        prefetch: bool,
    },
    /// An answer that holds no longer, and may be given only if there is no other.
    Stale {
        /// The answer.
        records: Arc<[Data]>,
        /// Whether it is time to ask for a better one; if not, the servers have just failed to give one.
        ask: bool,
    },
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Records that hold.
    Fresh,
    /// Records that hold no longer, kept for when the servers fail.
    Stale,
    /// There is no such name, or no such record.
    Negative,
    /// The servers failed; they are not asked again for a moment.
    Failure,
}

impl State {
    /// Its name: `fresh`, `stale`, `negative`, `failure`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Negative => "negative",
            Self::Failure => "failure",
        }
    }
}

/// Times of an entry, by the cache's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From then on it is worth asking again, if it is in use.
    prefetch: u64,
    /// From then on it holds no longer.
    expires: u64,
    /// From then on it is worth nothing.
    ends: u64,
}

impl Times {
    pub(super) fn new(now: u64, ttl: Duration, stale: Duration) -> Self {
        let ttl = millis(ttl);
        let expires = now.saturating_add(ttl);
        Self { prefetch: expires - ttl / LAST, expires, ends: expires.saturating_add(millis(stale)) }
    }
}

/// An answer in the cache.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Arc<[u8]>,
    pub(super) value: Value,
    pub(super) hits: u32,
    /// Whether it was used since the hand of the clock last passed.
    pub(super) used: bool,
    times: Times,
    /// Whether it is being asked for again.
    refreshing: bool,
    /// Not to be asked for again before.
    retry: u64,
}

impl Entry {
    pub(super) fn new(key: Arc<[u8]>, value: Value, times: Times) -> Self {
        Self { key, value, hits: 0, used: false, times, refreshing: false, retry: 0 }
    }

    /// Returns the entry if it is worth something now. Counts as a use, unless it is worth nothing.
    pub(super) fn find(&mut self, now: u64, prefetch: bool) -> Found {
        if now < self.times.expires {
            self.touch();
            let ttl = Duration::from_millis(self.times.expires - now);
            return Found::Fresh {
                value: self.value.clone(),
                ttl,
                prefetch: prefetch && self.wants_refresh(now),
            };
        }
        match self.stale(now) {
            Some(records) => {
                self.touch();
                Found::Stale { records, ask: now >= self.retry }
            }
            None => Found::Miss,
        }
    }

    fn touch(&mut self) {
        self.used = true;
        self.hits = self.hits.saturating_add(1);
    }

    fn wants_refresh(&mut self, now: u64) -> bool {
        let wants = now >= self.times.prefetch
            && now >= self.retry
            && self.hits >= HOT
            && !self.refreshing
            && self.value.is_ok();
        self.refreshing |= wants;
        wants
    }

    /// Its records, if they may be given when there is nothing better.
    pub(super) fn stale(&self, now: u64) -> Option<Arc<[Data]>> {
        self.value.as_ref().ok().filter(|_| now < self.times.ends).cloned()
    }

    /// Asking for it has failed: it stays, and is not asked for again for a while.
    pub(super) fn keep(&mut self, now: u64, retry_stale: u64, retry_fresh: u64) {
        let is_stale = now >= self.times.expires;
        self.refreshing = false;
        self.retry = now.saturating_add(if is_stale { retry_stale } else { retry_fresh });
    }

    pub(super) fn state(&self, now: u64) -> State {
        match &self.value {
            Ok(_) if now < self.times.expires => State::Fresh,
            Ok(_) => State::Stale,
            Err(error) if error.is_negative() => State::Negative,
            Err(_) => State::Failure,
        }
    }

    /// Whether it is worth nothing any more.
    pub(super) const fn is_over(&self, now: u64) -> bool {
        now >= self.times.ends
    }

    /// For how long it holds.
    pub(super) const fn ttl(&self, now: u64) -> Duration {
        Duration::from_millis(self.times.expires.saturating_sub(now))
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let inside = match &self.value {
            Ok(records) => records.iter().map(Data::weight).sum(),
            Err(error) => error.weight(),
        };
        size_of::<Self>() + 2 * size_of::<usize>() + self.key.len() + inside
    }
}
