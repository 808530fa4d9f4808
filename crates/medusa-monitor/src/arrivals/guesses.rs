//! Guesses of passwords, counted for each caller: they cost more and more time, and then have to wait.
//!
//! **Invariant:** the table has an end ([`Failures`]); keys are never counted, so nobody can lock out who has one.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use medusa_auth::Failures;
use tokio::time::sleep_until;

use super::Caller;

/// The most wrong passwords of a caller in a row.
const BUDGET: u32 = 10;

/// The time until it may send one more.
const REFILL: Duration = Duration::from_mins(1);

/// The least that a wrong password takes, and what each of those before adds.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_FOR_EACH: Duration = Duration::from_millis(500);

/// The reason why a password lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// It is wrong.
    #[error("a login by a password failed")]
    Password,
    /// There were too many before it, so it was not looked at.
    #[error("a login by a password, one of too many from there, failed")]
    OneOfTooMany,
}

/// The guesses of all callers, by whatever protocol: a guess by one is one by all.
pub(crate) static GUESSES: LazyLock<Guesses> = LazyLock::new(Guesses::new);

/// The guesses of all callers.
#[derive(Debug)]
pub(crate) struct Guesses(Failures<Caller>);

impl Guesses {
    fn new() -> Self {
        Self(Failures::new(REFILL, BUDGET))
    }

    /// Has a password looked at that came from there, unless it is one of too many. A wrong one takes its time.
    pub(crate) async fn attempt<T>(
        &self,
        caller: Caller,
        check: impl Future<Output = Option<T>>,
    ) -> Result<T, Wrong> {
        let begun = Instant::now();
        let Some(delay) = self.delay(caller, begun) else {
            sleep_until((begun + DELAY).into()).await;
            return Err(Wrong::OneOfTooMany);
        };
        // It counts as wrong until it is right, lest many are sent at a time.
        self.0.add(caller, begun);
        if let Some(checked) = check.await {
            self.0.forget(caller, Instant::now());
            return Ok(checked);
        }
        sleep_until((begun + delay).into()).await;
        Err(Wrong::Password)
    }

    /// The time that a wrong password from there takes; none if it may send none for now.
    fn delay(&self, caller: Caller, now: Instant) -> Option<Duration> {
        let wrong = self.0.count(caller, now);
        (wrong < BUDGET).then(|| DELAY + DELAY_FOR_EACH * wrong)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn guesses_take_longer_and_longer_and_then_wait() {
        let (guesses, start) = (Guesses::new(), Instant::now());
        let [me, you] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|at| Caller::from(IpAddr::from(at)));
        assert_eq!(guesses.delay(me, start), Some(DELAY));
        for _ in 0..BUDGET {
            guesses.0.add(me, start);
        }
        assert_eq!(guesses.delay(me, start), None);
        assert_eq!(guesses.delay(you, start), Some(DELAY));
        assert!(guesses.delay(me, start + REFILL).is_some());
        guesses.0.forget(me, start);
        assert_eq!(guesses.delay(me, start), Some(DELAY));
    }
}
