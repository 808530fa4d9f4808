//! Whether an upstream answers: so many failures in a row and it is down, so many answers and it is up.
//!
//! While it is down and nothing else asks it, one request every while is let through to find out.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The time, in milliseconds since somebody first asked.
pub(crate) fn now() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A change that somebody should hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Up,
    Down,
}

/// The health of one upstream, as all workers know it. Times are milliseconds of one clock.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_down: AtomicBool,
    /// In a row.
    failures: AtomicU32,
    /// In a row, since it is down.
    answers: AtomicU32,
    /// The time from which one request may try a server that is down.
    try_at: AtomicU64,
}

impl Health {
    pub(crate) fn is_down(&self) -> bool {
        self.is_down.load(Relaxed)
    }

    /// Whether a request may be sent there: it is up, or it is time to find out, which the one who is told so does.
    /// None of `pause`: others find out.
    pub(crate) fn may_try(&self, now: u64, pause: Option<u64>) -> bool {
        if !self.is_down() {
            return true;
        }
        let (Some(pause), try_at) = (pause, self.try_at.load(Relaxed)) else { return false };
        let next = now.saturating_add(pause);
        now >= try_at && self.try_at.compare_exchange(try_at, next, Relaxed, Relaxed).is_ok()
    }

    /// It has answered: it is up if it was down and this is the `rise`th time in a row.
    pub(crate) fn answered(&self, rise: u32) -> Option<Change> {
        self.forgive();
        if !self.is_down() || self.answers.fetch_add(1, Relaxed) + 1 < rise {
            return None;
        }
        self.answers.store(0, Relaxed);
        self.is_down.swap(false, Relaxed).then_some(Change::Up)
    }

    /// It has answered, which only breaks a row of failures.
    pub(crate) fn forgive(&self) {
        // Nearly always it is: no other core's cache line is taken for that.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// It has not: it is down if this is the `fall`th time in a row.
    pub(crate) fn failed(&self, fall: u32, now: u64, pause: u64) -> Option<Change> {
        self.answers.store(0, Relaxed);
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < fall {
            return None;
        }
        self.try_at.store(now.saturating_add(pause), Relaxed);
        (!self.is_down.swap(true, Relaxed)).then_some(Change::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: u64 = 10_000;

    #[test]
    fn so_many_failures_in_a_row_are_one_too_many() {
        let health = Health::default();
        for _ in 0..2 {
            assert_eq!(health.failed(3, 0, PAUSE), None);
            assert_eq!(health.failed(3, 0, PAUSE), None);
            assert_eq!(health.answered(1), None, "in a row");
        }
        assert!(health.may_try(0, Some(PAUSE)));
        let failed: Vec<_> = (0..4).map(|_| health.failed(3, 0, PAUSE)).collect();
        assert_eq!(failed, [None, None, Some(Change::Down), None], "said once");
        assert!(health.is_down());
    }

    #[test]
    fn one_request_finds_out_after_a_while() {
        let health = Health::default();
        health.failed(1, 0, PAUSE);
        assert!(!health.may_try(PAUSE - 1, Some(PAUSE)));
        assert!(!health.may_try(PAUSE, None), "others find out");
        assert!(health.may_try(PAUSE, Some(PAUSE)));
        assert!(!health.may_try(PAUSE, Some(PAUSE)), "one");
        assert!(health.may_try(2 * PAUSE, Some(PAUSE)), "and another, if nothing came of the first");
        assert_eq!(health.answered(1), Some(Change::Up));
        assert!(health.may_try(0, None));
        assert_eq!(health.answered(1), None, "said once");
    }

    #[test]
    fn it_takes_so_many_answers_to_be_up() {
        let health = Health::default();
        health.failed(1, 0, PAUSE);
        assert_eq!(health.answered(2), None);
        health.failed(1, 0, PAUSE);
        assert_eq!(health.answered(2), None, "in a row");
        assert_eq!(health.answered(2), Some(Change::Up));
    }
}
