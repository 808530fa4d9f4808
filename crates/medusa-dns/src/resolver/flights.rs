//! Questions under way, and who waits for them.
//!
//! **Invariant: whoever joins a flight is called exactly once**, with the answer or with why there is none.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Outcome;
use crate::LookupError;
use crate::name::Key;

/// Questions under way. Most of them wait for a place on the wire, so that a burst of new names is answered rather than
/// refused; each takes some 300 bytes.
pub(crate) const MAX_FLIGHTS: usize = 8192;

/// Callers that wait. Each takes some 100 bytes here, and whatever it is itself.
pub(crate) const MAX_WAITERS: usize = 65_536;

/// What is called with the answer.
pub(crate) type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// What has become of who wanted to join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The flight is new: someone has to ask.
    First,
    /// It waits, or has its answer already.
    Done,
}

/// Questions under way.
#[derive(Default)]
pub(crate) struct Flights {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    flights: HashMap<Box<[u8]>, Vec<Waiter>>,
    waiting: usize,
    closed: bool,
}

impl Flights {
    /// Joins the flight for `key`, or begins one, unless by now `known` has the answer.
    ///
    /// A flight puts its answer into the cache before it ends, so who finds neither is the first.
    pub(crate) fn join(
        &self,
        key: &Key,
        waiter: Option<Waiter>,
        known: impl FnOnce() -> Option<Outcome>,
    ) -> Joined {
        let mut inner = self.lock();
        let refusal = inner.refusal(key, waiter.is_some());
        if let Some(error) = refusal {
            drop(inner);
            refuse(waiter, error);
            return Joined::Done;
        }
        let joined = if inner.flights.contains_key(key.bytes()) {
            Joined::Done
        } else if let Some(outcome) = known() {
            drop(inner);
            call(waiter, outcome);
            return Joined::Done;
        } else {
            Joined::First
        };
        inner.waiting += usize::from(waiter.is_some());
        inner.flights.entry(key.bytes().into()).or_default().extend(waiter);
        joined
    }

    /// Ends a flight: gives everyone who waits the answer.
    pub(crate) fn land(&self, key: &Key, outcome: &Outcome) {
        let waiters = {
            let mut inner = self.lock();
            let waiters = inner.flights.remove(key.bytes()).unwrap_or_default();
            inner.waiting -= waiters.len();
            waiters
        };
        for waiter in waiters {
            waiter(outcome.clone());
        }
    }

    /// Gives everyone who waits an answer, without ending the flight.
    pub(crate) fn relieve(&self, key: &Key, outcome: &Outcome) {
        let waiters = {
            let mut inner = self.lock();
            let waiters = inner.flights.get_mut(key.bytes()).map(std::mem::take).unwrap_or_default();
            inner.waiting -= waiters.len();
            waiters
        };
        for waiter in waiters {
            waiter(outcome.clone());
        }
    }

    /// Ends all flights: there will be no answers any more.
    pub(crate) fn close(&self) {
        let flights = {
            let mut inner = self.lock();
            inner.closed = true;
            inner.waiting = 0;
            std::mem::take(&mut inner.flights)
        };
        for waiter in flights.into_values().flatten() {
            waiter(Err(LookupError::Closed));
        }
    }

    /// How many flights there are, and how many callers wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.flights.len(), inner.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn refusal(&self, key: &Key, waits: bool) -> Option<LookupError> {
        if self.closed {
            return Some(LookupError::Closed);
        }
        let too_many_flights = self.flights.len() >= MAX_FLIGHTS && !self.flights.contains_key(key.bytes());
        let too_many_waiters = waits && self.waiting >= MAX_WAITERS;
        (too_many_flights || too_many_waiters).then_some(LookupError::Busy)
    }
}

/// Tells who waits, if anyone does.
pub(crate) fn refuse(waiter: Option<Waiter>, error: LookupError) {
    call(waiter, Err(error));
}

fn call(waiter: Option<Waiter>, outcome: Outcome) {
    if let Some(waiter) = waiter {
        waiter(outcome);
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flights, waiting) = self.counts();
        f.debug_struct("Flights").field("flights", &flights).field("waiting", &waiting).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::RecordType;

    fn key(name: &str) -> Key {
        Key::new(name, RecordType::A).expect("a name")
    }

    fn waiter() -> (Option<Waiter>, Receiver<Outcome>) {
        let (answer, wait) = sync_channel(1);
        (Some(Box::new(move |outcome| answer.send(outcome).expect("called once"))), wait)
    }

    fn timeout() -> Outcome {
        Err(LookupError::Timeout { name: "a".into() })
    }

    #[test]
    fn the_first_asks_and_all_have_the_answer() {
        let flights = Flights::default();
        let waits: Vec<_> = (0..10)
            .map(|number| {
                let (waiter, wait) = waiter();
                let joined = flights.join(&key("a"), waiter, || None);
                assert_eq!(joined == Joined::First, number == 0);
                wait
            })
            .collect();
        assert_eq!(flights.counts(), (1, 10));
        flights.land(&key("a"), &timeout());
        assert_eq!(flights.counts(), (0, 0));
        for wait in waits {
            assert_eq!(wait.try_recv(), Ok(timeout()));
        }
    }

    #[test]
    fn who_comes_late_finds_the_answer() {
        let flights = Flights::default();
        let (late, wait) = waiter();
        assert_eq!(flights.join(&key("a"), late, || Some(timeout())), Joined::Done);
        assert_eq!(wait.try_recv(), Ok(timeout()));
        assert_eq!(flights.counts(), (0, 0));
    }

    #[test]
    fn who_is_relieved_is_not_called_again() {
        let flights = Flights::default();
        let (early, wait) = waiter();
        flights.join(&key("a"), early, || None);
        flights.relieve(&key("a"), &timeout());
        assert_eq!(wait.try_recv(), Ok(timeout()));
        assert_eq!(flights.counts(), (1, 0));
        let (late, wait) = waiter();
        assert_eq!(flights.join(&key("a"), late, || None), Joined::Done, "it still flies");
        flights.land(&key("a"), &timeout());
        assert_eq!(wait.try_recv(), Ok(timeout()));
    }

    #[test]
    fn too_many_are_refused() {
        let flights = Flights::default();
        for number in 0..MAX_FLIGHTS {
            assert_eq!(flights.join(&key(&number.to_string()), None, || None), Joined::First);
        }
        let (one_more, wait) = waiter();
        assert_eq!(flights.join(&key("more"), one_more, || None), Joined::Done);
        assert_eq!(wait.try_recv(), Ok(Err(LookupError::Busy)));
        let (passenger, wait) = waiter();
        flights.join(&key("7"), passenger, || None);
        assert!(wait.try_recv().is_err(), "a flight that is under way takes more");

        flights.close();
        assert_eq!(wait.try_recv(), Ok(Err(LookupError::Closed)));
        let (after, wait) = waiter();
        assert_eq!(flights.join(&key("a"), after, || None), Joined::Done);
        assert_eq!(wait.try_recv(), Ok(Err(LookupError::Closed)));
    }
}
