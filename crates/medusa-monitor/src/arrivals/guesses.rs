//! Guesses of passwords, counted for each caller and for each name: they cost more and more time, and then have to wait.
//!
//! Where a login is known to come from (it did of late), its wrong passwords count for the two together and for nothing else. So
//! neither those who guess its name elsewhere nor those who guess other names there keep it out. From anywhere else a wrong one
//! counts for the caller, whatever names it tries, and for the name, wherever it is tried from; this machine is not held to what others
//! did with a name.
//!
//! **Invariants:** the tables have an end ([`Failures`], [`MAX_KNOWN`]); one password is looked at at a time, so those that are sent at once
//! are no more than those that are sent one after the other; a right one takes nothing back but itself; keys are never counted, so
//! nobody can lock out who has one.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use medusa_auth::Failures;
use parking_lot::Mutex;
use tokio::time::sleep_until;

use super::Caller;

/// The most wrong passwords of a caller.
const BUDGET: u32 = 10;

/// The most wrong ones for a name from where it is not known: more, as several people may have to do with it.
const NAME_BUDGET: u32 = 30;

/// The time until there may be one more.
const REFILL: Duration = Duration::from_mins(1);

/// The least that a wrong password takes, and what each of those before adds.
const DELAY: Duration = Duration::from_secs(1);
const DELAY_FOR_EACH: Duration = Duration::from_millis(500);

/// The logins of which it is known where they come from, of one name, and the time for which they are: of one name there are few, so that
/// whoever has a password cannot have others forgotten.
const MAX_KNOWN: usize = 256;
const MAX_KNOWN_OF_ONE: usize = 8;
const KNOWN: Duration = Duration::from_hours(24 * 7);

/// The reason why a password lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// It is wrong.
    #[error("a login by a password failed")]
    Password,
    /// There were too many before it, so it was not looked at.
    #[error("a login by a password, one of too many from there, failed")]
    OneOfTooMany,
    /// There were too many for that name, from wherever it is not known, so it was not looked at.
    #[error("a login by a password, one of too many for that name, failed")]
    OneOfTooManyForName,
}

/// The guesses of all callers, by whatever protocol: a guess by one is one by all.
pub(crate) static GUESSES: LazyLock<Guesses> = LazyLock::new(Guesses::new);

/// The guesses of all callers.
#[derive(Debug)]
pub(crate) struct Guesses {
    failures: Failures<Guessed>,
    /// The name of a login, as it is kept: nobody can foresee two that are the same.
    hasher: RandomState,
    known: Mutex<VecDeque<KnownLogin>>,
    /// Whose turn it is to have a password looked at.
    turn: tokio::sync::Mutex<()>,
}

/// What a wrong password counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Guessed {
    From(Caller),
    Name(u64),
    Known(Caller, u64),
}

#[derive(Debug)]
struct KnownLogin {
    caller: Caller,
    name: u64,
    at: Instant,
}

impl Guessed {
    const fn budget(self) -> u32 {
        match self {
            Self::From(_) | Self::Known(..) => BUDGET,
            Self::Name(_) => NAME_BUDGET,
        }
    }
}

impl Guesses {
    fn new() -> Self {
        Self {
            failures: Failures::new(REFILL, NAME_BUDGET),
            hasher: RandomState::new(),
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Has a password looked at that came from there, for that name if the protocol has names, unless it is one of too many. A wrong one
    /// takes its time.
    pub(crate) async fn attempt<T>(
        &self,
        caller: Caller,
        name: Option<&str>,
        check: impl Future<Output = Option<T>>,
    ) -> Result<T, Wrong> {
        match self.look(caller, name, check).await {
            Ok(checked) => Ok(checked),
            Err((wrong, at)) => {
                sleep_until(at.into()).await;
                Err(wrong)
            }
        }
    }

    /// The same, with the time until which a wrong one waits.
    async fn look<T>(
        &self,
        caller: Caller,
        name: Option<&str>,
        check: impl Future<Output = Option<T>>,
    ) -> Result<T, (Wrong, Instant)> {
        let _turn = self.turn.lock().await;
        let begun = Instant::now();
        let name = name.map(|name| self.hasher.hash_one(name));
        let counted = self.counted(caller, name, begun);
        let delay = self.delay(&counted, begun).map_err(|wrong| (wrong, begun + DELAY))?;
        // It counts as wrong until it is right, lest it be given up before that is known, again and again.
        for guessed in &counted {
            self.failures.add(*guessed, begun);
        }
        let checked = check.await.ok_or((Wrong::Password, begun + delay))?;
        let now = Instant::now();
        for guessed in counted {
            self.failures.take_back(guessed, now);
        }
        if let Some(name) = name {
            self.learn(caller, name, now);
        }
        Ok(checked)
    }

    /// What a wrong password counts for.
    fn counted(&self, caller: Caller, name: Option<u64>, now: Instant) -> Vec<Guessed> {
        let Some(name) = name else { return vec![Guessed::From(caller)] };
        let known = self.known.lock();
        if known.iter().any(|login| login.is(caller, name) && now.saturating_duration_since(login.at) < KNOWN)
        {
            vec![Guessed::Known(caller, name)]
        } else if caller.is_here() {
            vec![Guessed::From(caller)]
        } else {
            vec![Guessed::From(caller), Guessed::Name(name)]
        }
    }

    /// The time that a wrong password takes that counts for these; an error if there may be none for now.
    fn delay(&self, counted: &[Guessed], now: Instant) -> Result<Duration, Wrong> {
        let mut delay = DELAY;
        for guessed in counted {
            let wrong = self.failures.count(*guessed, now);
            match guessed {
                Guessed::Name(_) if wrong >= guessed.budget() => return Err(Wrong::OneOfTooManyForName),
                Guessed::Name(_) => {}
                _ if wrong >= guessed.budget() => return Err(Wrong::OneOfTooMany),
                Guessed::From(_) | Guessed::Known(..) => delay += DELAY_FOR_EACH * wrong,
            }
        }
        Ok(delay)
    }

    /// Somebody with that name has logged in from there.
    fn learn(&self, caller: Caller, name: u64, now: Instant) {
        let mut known = self.known.lock();
        known.retain(|login| !login.is(caller, name) && now.saturating_duration_since(login.at) < KNOWN);
        let of_one = known.iter().filter(|login| login.name == name).count();
        let oldest = if of_one >= MAX_KNOWN_OF_ONE {
            known.iter().position(|login| login.name == name)
        } else {
            (known.len() >= MAX_KNOWN).then_some(0)
        };
        if let Some(oldest) = oldest {
            known.remove(oldest);
        }
        known.push_back(KnownLogin { caller, name, at: now });
    }
}

impl KnownLogin {
    fn is(&self, caller: Caller, name: u64) -> bool {
        self.caller == caller && self.name == name
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::net::IpAddr;
    use std::sync::Arc;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    fn at(number: usize) -> Caller {
        IpAddr::from([198, 51, (number / 256) as u8, (number % 256) as u8]).into()
    }

    /// What comes of a right password.
    async fn right(guesses: &Guesses, caller: Caller, name: &str) -> Result<(), Wrong> {
        guesses.look(caller, Some(name), ready(Some(()))).await.map_err(|(wrong, _)| wrong)
    }

    /// What comes of a wrong one.
    async fn wrong(guesses: &Guesses, caller: Caller, name: &str) -> Wrong {
        guesses.look(caller, Some(name), ready(None::<()>)).await.expect_err("it is wrong").0
    }

    #[tokio::test]
    async fn guesses_take_longer_and_longer_and_then_wait() {
        let guesses = Guesses::new();
        let [me, you] = [at(1), at(2)];
        let delay = |caller, later| guesses.delay(&[Guessed::From(caller)], Instant::now() + later);
        for before in 0..BUDGET {
            assert_eq!(delay(me, Duration::ZERO), Ok(DELAY + DELAY_FOR_EACH * before));
            assert_eq!(wrong(&guesses, me, &format!("name {before}")).await, Wrong::Password);
        }
        assert_eq!(delay(me, Duration::ZERO), Err(Wrong::OneOfTooMany));
        assert_eq!(right(&guesses, me, "me").await, Err(Wrong::OneOfTooMany));
        assert_eq!(delay(you, Duration::ZERO), Ok(DELAY));
        assert!(delay(me, REFILL).is_ok());
        // The time does pass.
        let begun = Instant::now();
        let refused = guesses.attempt(me, None, ready(Some(()))).await;
        assert_eq!(refused, Err(Wrong::OneOfTooMany));
        assert!(begun.elapsed() >= DELAY);
    }

    #[tokio::test]
    async fn whoever_has_a_password_guesses_anothers_no_faster() {
        let guesses = Guesses::new();
        let mut looked_at = 0;
        for _ in 0..3 * BUDGET {
            assert_eq!(right(&guesses, at(1), "own").await, Ok(()));
            looked_at += u32::from(wrong(&guesses, at(1), "other").await == Wrong::Password);
        }
        assert_eq!(looked_at, BUDGET);
    }

    #[tokio::test]
    async fn a_name_is_guessed_no_faster_from_many_addresses_and_its_owner_gets_in() {
        let guesses = Guesses::new();
        let here = Caller::from(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(right(&guesses, at(1), "ada").await, Ok(()));
        let mut looked_at = 0;
        for number in 0..2 * NAME_BUDGET as usize {
            looked_at += u32::from(wrong(&guesses, at(100 + number), "ada").await == Wrong::Password);
        }
        assert_eq!(looked_at, NAME_BUDGET);
        assert_eq!(right(&guesses, at(2), "ada").await, Err(Wrong::OneOfTooManyForName));
        assert_eq!(right(&guesses, at(1), "ada").await, Ok(()), "from where she was before");
        assert_eq!(right(&guesses, here, "ada").await, Ok(()), "from this machine");
        assert_eq!(right(&guesses, at(2), "bob").await, Ok(()), "another name");
        // Nor do those keep her out who guess others' names where she is.
        for number in 0..=BUDGET {
            let expected = if number < BUDGET { Wrong::Password } else { Wrong::OneOfTooMany };
            assert_eq!(wrong(&guesses, at(1), &format!("name {number}")).await, expected);
        }
        assert_eq!(right(&guesses, at(1), "ada").await, Ok(()));
        for number in 0..=BUDGET {
            let expected = if number < BUDGET { Wrong::Password } else { Wrong::OneOfTooMany };
            assert_eq!(wrong(&guesses, at(1), "ada").await, expected);
        }
    }

    #[tokio::test]
    async fn those_that_are_sent_at_once_are_no_more() {
        let guesses = Arc::new(Guesses::new());
        let at_once = async |checked: Option<()>| {
            let mut attempts = JoinSet::new();
            for _ in 0..2 * BUDGET {
                let guesses = Arc::clone(&guesses);
                attempts.spawn(async move {
                    let check = async {
                        yield_now().await;
                        checked
                    };
                    guesses.look(at(1), None, check).await.map_err(|(wrong, _)| wrong)
                });
            }
            attempts.join_all().await
        };
        assert!(at_once(Some(())).await.iter().all(Result::is_ok), "all are right");
        let wrong = at_once(None).await;
        assert_eq!(wrong.iter().filter(|wrong| **wrong == Err(Wrong::Password)).count(), BUDGET as usize);
    }

    #[tokio::test]
    async fn one_that_is_given_up_counts_and_holds_up_nobody() {
        let guesses = Guesses::new();
        for _ in 0..BUDGET {
            let given_up = guesses.look(at(1), None, pending::<Option<()>>());
            tokio::select! {
                biased;
                _ = given_up => panic!("it takes a while"),
                () = ready(()) => {}
            }
        }
        assert_eq!(right(&guesses, at(1), "ada").await, Err(Wrong::OneOfTooMany));
        assert_eq!(right(&guesses, at(2), "ada").await, Ok(()));
    }

    #[tokio::test]
    async fn who_logs_in_from_everywhere_has_no_others_forgotten() {
        let guesses = Guesses::new();
        assert_eq!(right(&guesses, at(1), "ada").await, Ok(()));
        for number in 0..2 * MAX_KNOWN {
            assert_eq!(right(&guesses, at(number), "eve").await, Ok(()));
        }
        let known = || guesses.known.lock().len();
        assert_eq!(known(), 1 + MAX_KNOWN_OF_ONE);
        for number in 0..2 * MAX_KNOWN {
            assert_eq!(right(&guesses, at(1), &format!("name {number}")).await, Ok(()));
        }
        assert_eq!(known(), MAX_KNOWN);
    }
}
