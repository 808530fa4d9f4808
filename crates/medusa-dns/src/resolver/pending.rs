//! Questions under way, and the callers that wait for them.
//!
//! **Invariant: a caller that joins a query is called exactly once**, with the answer or with why there is none.
//!
//! Clients decide which addresses a log asks the names of, and whoever owns these decides that no server answers. So what
//! is asked for a log never has all the room: else a client could keep everyone else from asking anything.

use std::collections::HashMap;
use std::fmt;

use parking_lot::Mutex;

use super::Outcome;
use crate::LookupError;
use crate::name::Key;

/// Questions under way. Most of them wait for a place on the wire, so that a burst of new names is answered rather than
/// refused; each takes some 300 bytes.
pub(crate) const MAX_PENDING: usize = 8192;

/// The number of these that may be for logs before no more are begun for one.
const MAX_FOR_LOGS: usize = MAX_PENDING / 4 * 3;

/// Callers that wait. Each takes some 100 bytes here, and whatever it is itself.
pub(crate) const MAX_WAITERS: usize = 65_536;

/// A callback for the answer.
pub(crate) type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// The urgency of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A caller whose work waits for the answer.
    Waits,
    /// A log, which does without a name; or no one yet.
    ForLogs,
}

/// The result of joining.
pub(crate) enum Joined {
    /// The query is new, or has only become urgent and has not begun: someone has to ask.
    First,
    /// It waits, or has its answer already.
    Done,
    /// There is no room, or will be no answer. The caller has not been told.
    Refused(Option<Waiter>, LookupError),
}

/// Questions under way.
#[derive(Default)]
pub(crate) struct PendingQueries {
    inner: Mutex<Inner>,
}

/// A question under way.
struct PendingQuery {
    waiters: Vec<Waiter>,
    urgency: Urgency,
    /// Whether it is being asked; until then it waits for its place on the wire.
    started: bool,
}

#[derive(Default)]
struct Inner {
    queries: HashMap<Box<[u8]>, PendingQuery>,
    waiting: usize,
    closed: bool,
}

impl PendingQueries {
    /// Joins the query for `key`, or begins one, unless by now `known` has the answer.
    ///
    /// A query puts its answer into the cache before it ends, so a caller that finds neither is the first.
    pub(crate) fn join(
        &self,
        key: &Key,
        waiter: Option<Waiter>,
        urgency: Urgency,
        known: impl FnOnce() -> Option<Outcome>,
    ) -> Joined {
        let mut inner = self.inner.lock();
        if let Some(error) = inner.refusal(key, waiter.is_some(), urgency) {
            return Joined::Refused(waiter, error);
        }
        let waits = usize::from(waiter.is_some());
        if let Some(query) = inner.queries.get_mut(key.bytes()) {
            let joined = query.join(waiter, urgency);
            inner.waiting += waits;
            return joined;
        }
        if let Some(outcome) = known() {
            drop(inner);
            call(waiter, outcome);
            return Joined::Done;
        }
        inner.waiting += waits;
        let query = PendingQuery { waiters: waiter.into_iter().collect(), urgency, started: false };
        inner.queries.insert(key.bytes().into(), query);
        Joined::First
    }

    /// Whether the query for `key` is to be asked now: not if it is being asked already, or has ended.
    pub(crate) fn start(&self, key: &Key) -> bool {
        let mut inner = self.inner.lock();
        let query = inner.queries.get_mut(key.bytes());
        query.is_some_and(|query| !std::mem::replace(&mut query.started, true))
    }

    /// Ends a query: gives every waiting caller the answer.
    pub(crate) fn finish(&self, key: &Key, outcome: &Outcome) {
        let waiters = {
            let mut inner = self.inner.lock();
            let waiters = inner.queries.remove(key.bytes()).map(|query| query.waiters).unwrap_or_default();
            inner.waiting -= waiters.len();
            waiters
        };
        for waiter in waiters {
            waiter(outcome.clone());
        }
    }

    /// Gives every waiting caller an answer, without ending the query.
    pub(crate) fn answer_waiters(&self, key: &Key, outcome: &Outcome) {
        let waiters = {
            let mut inner = self.inner.lock();
            let query = inner.queries.get_mut(key.bytes());
            let waiters = query.map(|query| std::mem::take(&mut query.waiters)).unwrap_or_default();
            inner.waiting -= waiters.len();
            waiters
        };
        for waiter in waiters {
            waiter(outcome.clone());
        }
    }

    /// Ends all queries: there will be no answers any more.
    pub(crate) fn close(&self) {
        let queries = {
            let mut inner = self.inner.lock();
            inner.closed = true;
            inner.waiting = 0;
            std::mem::take(&mut inner.queries)
        };
        for waiter in queries.into_values().flat_map(|query| query.waiters) {
            waiter(Err(LookupError::Closed));
        }
    }

    /// The number of queries, and of callers that wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.queries.len(), inner.waiting)
    }
}

impl PendingQuery {
    fn join(&mut self, waiter: Option<Waiter>, urgency: Urgency) -> Joined {
        self.waiters.extend(waiter);
        if urgency == Urgency::ForLogs || self.urgency == Urgency::Waits || self.started {
            return Joined::Done;
        }
        self.urgency = Urgency::Waits;
        Joined::First
    }
}

impl Inner {
    fn refusal(&self, key: &Key, waits: bool, urgency: Urgency) -> Option<LookupError> {
        if self.closed {
            return Some(LookupError::Closed);
        }
        let most = match urgency {
            Urgency::Waits => MAX_PENDING,
            Urgency::ForLogs => MAX_FOR_LOGS,
        };
        let too_many_queries = self.queries.len() >= most && !self.queries.contains_key(key.bytes());
        let too_many_waiters = waits && self.waiting >= MAX_WAITERS;
        (too_many_queries || too_many_waiters).then_some(LookupError::Busy)
    }
}

/// Gives the answer to the waiting caller, if there is one.
pub(crate) fn call(waiter: Option<Waiter>, outcome: Outcome) {
    if let Some(waiter) = waiter {
        waiter(outcome);
    }
}

impl fmt::Debug for PendingQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queries, waiting) = self.counts();
        f.debug_struct("PendingQueries").field("queries", &queries).field("waiting", &waiting).finish()
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
        let queries = PendingQueries::default();
        let waits: Vec<_> = (0..10)
            .map(|number| {
                let (waiter, wait) = waiter();
                let joined = queries.join(&key("a"), waiter, Urgency::Waits, || None);
                assert_eq!(matches!(joined, Joined::First), number == 0);
                wait
            })
            .collect();
        assert_eq!(queries.counts(), (1, 10));
        queries.finish(&key("a"), &timeout());
        assert_eq!(queries.counts(), (0, 0));
        for wait in waits {
            assert_eq!(wait.try_recv(), Ok(timeout()));
        }
    }

    #[test]
    fn who_comes_late_finds_the_answer() {
        let queries = PendingQueries::default();
        let (late, wait) = waiter();
        assert!(matches!(queries.join(&key("a"), late, Urgency::Waits, || Some(timeout())), Joined::Done));
        assert_eq!(wait.try_recv(), Ok(timeout()));
        assert_eq!(queries.counts(), (0, 0));
    }

    #[test]
    fn who_was_answered_early_is_not_called_again() {
        let queries = PendingQueries::default();
        let (early, wait) = waiter();
        queries.join(&key("a"), early, Urgency::Waits, || None);
        queries.answer_waiters(&key("a"), &timeout());
        assert_eq!(wait.try_recv(), Ok(timeout()));
        assert_eq!(queries.counts(), (1, 0));
        let (late, wait) = waiter();
        assert!(
            matches!(queries.join(&key("a"), late, Urgency::Waits, || None), Joined::Done),
            "it is still under way"
        );
        queries.finish(&key("a"), &timeout());
        assert_eq!(wait.try_recv(), Ok(timeout()));
    }

    #[test]
    fn too_many_are_refused() {
        let queries = PendingQueries::default();
        for number in 0..MAX_PENDING {
            assert!(matches!(
                queries.join(&key(&number.to_string()), None, Urgency::Waits, || None),
                Joined::First
            ));
        }
        let (one_more, wait) = waiter();
        let joined = queries.join(&key("more"), one_more, Urgency::Waits, || None);
        assert!(matches!(joined, Joined::Refused(Some(_), LookupError::Busy)));
        drop(joined);
        assert!(wait.try_recv().is_err(), "it has not been told");
        let (late, wait) = waiter();
        queries.join(&key("7"), late, Urgency::Waits, || None);
        assert!(wait.try_recv().is_err(), "a query that is under way takes more");

        queries.close();
        assert_eq!(wait.try_recv(), Ok(Err(LookupError::Closed)));
        let joined = queries.join(&key("a"), None, Urgency::Waits, || None);
        assert!(matches!(joined, Joined::Refused(None, LookupError::Closed)));
    }

    #[test]
    fn logs_do_not_have_all_the_room() {
        let queries = PendingQueries::default();
        let join = |name: &str, urgency| queries.join(&key(name), None, urgency, || None);
        for number in 0..MAX_FOR_LOGS {
            assert!(matches!(join(&number.to_string(), Urgency::ForLogs), Joined::First));
        }
        assert!(matches!(join("more", Urgency::ForLogs), Joined::Refused(None, LookupError::Busy)));
        assert!(matches!(join("more", Urgency::Waits), Joined::First));
        assert!(matches!(join("more", Urgency::ForLogs), Joined::Done), "it is under way");
    }

    #[test]
    fn a_query_becomes_urgent_once_and_starts_once() {
        let queries = PendingQueries::default();
        let join = |urgency| queries.join(&key("a"), None, urgency, || None);
        assert!(matches!(join(Urgency::ForLogs), Joined::First));
        assert!(matches!(join(Urgency::ForLogs), Joined::Done));
        assert!(matches!(join(Urgency::Waits), Joined::First));
        assert!(matches!(join(Urgency::Waits), Joined::Done));
        assert!(queries.start(&key("a")));
        assert!(!queries.start(&key("a")), "it has already");
        queries.finish(&key("a"), &timeout());
        assert!(!queries.start(&key("a")), "it has ended");

        assert!(matches!(join(Urgency::ForLogs), Joined::First));
        assert!(queries.start(&key("a")));
        assert!(matches!(join(Urgency::Waits), Joined::Done), "it is being asked");
    }
}
