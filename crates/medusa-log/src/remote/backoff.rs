//! Waits between attempts: short at first, then less and less often, and never in step with others.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait: what a target that comes back has to wait for us at most.
const LONGEST: Duration = Duration::from_secs(10);

/// Time that a connection must have lasted to count as one that works.
pub(super) const LASTED: Duration = Duration::from_secs(3);

/// Between attempts to connect.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// The wait after the next failure; zero means none.
    wait: Duration,
    connected: Option<Instant>,
}

impl Backoff {
    /// A connection stands, but whether it will last is yet to be seen.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// Tells whether the connection has lasted.
    pub(super) fn has_lasted(&self, now: Instant) -> bool {
        self.connected.is_some_and(|at| now.saturating_duration_since(at) >= LASTED)
    }

    /// The connection broke, or there was none: how long to wait before the next attempt. Not at all, after one that had
    /// lasted.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        if self.has_lasted(now) {
            *self = Self::default();
            return Duration::ZERO;
        }
        self.connected = None;
        self.wait = (self.wait * 2).clamp(FIRST, LONGEST);
        jittered(self.wait)
    }
}

/// Between half of `time` and all of it, so that many senders do not come back as one.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) as u32;
    time / 2 + (time / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_until_a_connection_lasts() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        for expected in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let expected = Duration::from_millis(expected);
            let wait = backoff.failed(start);
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} of {expected:?}");
        }
        backoff.connected(start);
        assert!(backoff.failed(start + LASTED / 2) > FIRST, "it did not last");
        backoff.connected(start);
        assert_eq!(backoff.failed(start + LASTED), Duration::ZERO);
        assert!(backoff.failed(start + LASTED) <= FIRST, "and then from the start");
    }
}
