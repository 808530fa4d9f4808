//! Guesses of passwords, counted for each caller: they cost more and more time, and then have to wait.
//!
//! **Invariant:** the table has at most [`MAX_CALLERS`] callers; keys are never counted, so nobody can lock out who has
//! one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::Caller;

/// The most wrong passwords of a caller in a row.
const BUDGET: u32 = 10;

/// The time until it may send one more.
const REFILL: Duration = Duration::from_mins(1);

/// The most callers that are remembered. Of more, the one that guessed the longest time ago is forgotten.
const MAX_CALLERS: usize = 4096;

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
pub(crate) static GUESSES: Guesses = Guesses::new();

/// The guesses of all callers.
#[derive(Debug)]
pub(crate) struct Guesses(Mutex<VecDeque<(Caller, u32, Instant)>>);

impl Guesses {
    const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
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
        self.begin(caller, begun);
        if let Some(checked) = check.await {
            self.right(caller);
            return Ok(checked);
        }
        sleep_until((begun + delay).into()).await;
        Err(Wrong::Password)
    }

    /// The time that a wrong password from there takes; none if it may send none for now.
    fn delay(&self, caller: Caller, now: Instant) -> Option<Duration> {
        let wrong =
            self.0.lock().iter().find(|(known, ..)| *known == caller).map_or(0, |known| left(known, now));
        (wrong < BUDGET).then(|| DELAY + DELAY_FOR_EACH * wrong)
    }

    /// A password from there is looked at: it counts as wrong until it is [right](Self::right), lest many are sent at a time.
    fn begin(&self, caller: Caller, now: Instant) {
        let mut table = self.0.lock();
        let known = table.iter().position(|(known, ..)| *known == caller).and_then(|at| table.remove(at));
        let wrong = known.map_or(0, |known| left(&known, now));
        if table.len() >= MAX_CALLERS {
            table.pop_front();
        }
        table.push_back((caller, wrong + 1, now));
    }

    /// It was right: the caller has guessed nothing.
    fn right(&self, caller: Caller) {
        self.0.lock().retain(|(known, ..)| *known != caller);
    }
}

/// The number of a caller's wrong passwords that still count.
fn left((_, wrong, at): &(Caller, u32, Instant), now: Instant) -> u32 {
    let forgiven = now.duration_since(*at).as_secs() / REFILL.as_secs();
    wrong.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
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
            guesses.begin(me, start);
        }
        assert_eq!(guesses.delay(me, start), None);
        assert_eq!(guesses.delay(you, start), Some(DELAY));
        assert!(guesses.delay(me, start + REFILL).is_some());
        guesses.right(me);
        assert_eq!(guesses.delay(me, start), Some(DELAY));
        for at in 0..MAX_CALLERS + 10 {
            guesses.begin(IpAddr::from((at as u32).to_be_bytes()).into(), start);
        }
        assert_eq!(guesses.0.lock().len(), MAX_CALLERS);
    }
}
