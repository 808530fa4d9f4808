//! The gate through which the Site changes: one change at a time.
//!
//! Whoever passes holds the gate until the change is published or dropped. Others wait, and are told for whom; an edit
//! that has been held for longer than [`MOST_HELD`] is then given up, for a handler may wait for its client between its
//! first edit and its end, and the client decides how long that is. A script that is being loaded is not given up: it has
//! a time limit of its own, and neither is a change that is being published.
//!
//! **Invariant:** who changes the Site by hand waits for one change of a handler or timer at most and one of each other login,
//! and never behind a queue of them: those stand in a line of their own, and only its first waits at the gate.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use medusa_proto::author::Author;
use medusa_proto::status::{Status, Value};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

/// The time that an edit may hold the gate while others wait. An edit takes microseconds; who must wait for something
/// does so before the first one.
pub const MOST_HELD: Duration = Duration::from_secs(5);

/// The interval at which who waits looks again: whose change it is by now, and since when.
const LOOK: Duration = Duration::from_millis(500);

/// Somebody else's change is under way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waiting for the change by {holder}, which has been under way for {} s", held.as_secs())]
pub struct Busy {
    /// The name of the holder.
    pub holder: Arc<str>,
    /// For how long.
    pub held: Duration,
}

/// The change was given up, since others waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this change was given up: it had held up others for {} s. Do what takes long (a body, a fetch, a sleep) before the \
     first edit of the site, not after it",
    MOST_HELD.as_secs()
)]
pub struct GivenUp;

/// A line: its first waits for the turn, the others for their place in it.
type Line = tokio::sync::Mutex<()>;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Where the script, and each login, waits for its chance to wait for the turn.
    lines: Mutex<HashMap<Option<Arc<str>>, Weak<Line>>>,
    holder: Mutex<Option<Holder>>,
    waiting: AtomicUsize,
}

/// The holder of the gate.
#[derive(Debug)]
struct Holder {
    by: Arc<str>,
    since: Instant,
    pass: Weak<Pass>,
    may_be_given_up: bool,
}

/// The right to change the Site.
#[derive(Debug)]
pub(crate) struct Pass(Mutex<Option<Held>>);

/// Frees the gate when it is dropped.
pub(crate) struct Held {
    gate: Arc<Gate>,
    _turn: OwnedMutexGuard<()>,
    _line: Option<OwnedMutexGuard<()>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.gate.holder.lock() = None;
    }
}

impl Pass {
    /// Takes the right, so that it cannot be given up any more.
    pub(crate) fn take(&self) -> Result<Held, GivenUp> {
        self.0.lock().take().ok_or(GivenUp)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.lock().is_some()
    }
}

impl Gate {
    /// Waits for the right to change the Site; `told` hears for whom, at first and whenever that is someone else.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        author: &Author,
        may_be_given_up: bool,
        mut told: impl FnMut(Busy),
    ) -> Arc<Pass> {
        let turn = async {
            let line = match self.line(author) {
                Some(line) => Some(line.lock_owned().await),
                None => None,
            };
            (Arc::clone(&self.turn).lock_owned().await, line)
        };
        let mut turn = pin!(turn);
        let _waiting = Waiting::new(&self.waiting);
        let mut known: Option<Arc<str>> = None;
        // Not told before it is known that there is anything to wait for.
        let mut patience = Duration::ZERO;
        let (turn, line) = loop {
            if let Ok(passed) = timeout(patience, turn.as_mut()).await {
                break passed;
            }
            patience = LOOK;
            if let Some(busy) = self.busy()
                && known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &busy.holder))
            {
                known = Some(Arc::clone(&busy.holder));
                told(busy);
            }
            self.give_up_overdue();
        };
        let held = Held { gate: Arc::clone(self), _turn: turn, _line: line };
        let pass = Arc::new(Pass(Mutex::new(Some(held))));
        let holder = Holder {
            by: author.to_string().into(),
            since: Instant::now(),
            pass: Arc::downgrade(&pass),
            may_be_given_up,
        };
        *self.holder.lock() = Some(holder);
        pass
    }

    /// The line of an author; none for signals and their like, which come one at a time.
    fn line(&self, author: &Author) -> Option<Arc<Line>> {
        let whose = if author.is_operator() { Some(author.login.clone()?) } else { None };
        let mut lines = self.lines.lock();
        lines.retain(|_, line| line.strong_count() > 0);
        if let Some(line) = lines.get(&whose).and_then(Weak::upgrade) {
            return Some(line);
        }
        let line = Arc::default();
        lines.insert(whose, Arc::downgrade(&line));
        Some(line)
    }

    /// Takes the right from who has held it for too long.
    fn give_up_overdue(&self) {
        let overdue = {
            let holder = self.holder.lock();
            let overdue = |holder: &&Holder| holder.may_be_given_up && holder.since.elapsed() >= MOST_HELD;
            holder.as_ref().filter(overdue).and_then(|holder| holder.pass.upgrade())
        };
        // Dropped without the holder's lock, which it takes.
        drop(overdue.and_then(|pass| pass.0.lock().take()));
    }

    /// The change that is under way, if any.
    pub(crate) fn busy(&self) -> Option<Busy> {
        let holder = self.holder.lock();
        holder.as_ref().map(|holder| Busy { holder: Arc::clone(&holder.by), held: holder.since.elapsed() })
    }

    /// The change under way, and how many wait for it.
    pub(crate) fn status(&self) -> Option<Status> {
        let Busy { holder, held } = self.busy()?;
        let status = Status::new("change", holder.to_string())
            .gauge("under_way", Value::Seconds(held.as_secs_f64()))
            .gauge("waiting", self.waiting.load(Relaxed));
        Some(status)
    }
}

/// Counts who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use medusa_proto::author::{Approval, Via};

    use super::*;

    fn script(name: &str) -> Author {
        Author::new(Via::Request, name)
    }

    fn operator(name: &str) -> Author {
        Author::new(Via::Control, name)
    }

    /// Lets all that wait go on, as far as that goes without more time.
    async fn settle() {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    type Order = Arc<Mutex<Vec<String>>>;

    /// Waits at the gate; notes its name when it has passed, and frees the gate.
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends with it")]
    fn waits(gate: &Arc<Gate>, author: Author, order: &Order) {
        let (gate, order) = (Arc::clone(gate), Arc::clone(order));
        tokio::spawn(async move {
            let pass = gate.enter(&author, true, |_| {}).await;
            order.lock().push(author.to_string());
            assert!(pass.take().is_ok());
        });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_for_too_long_is_given_up_only_if_somebody_waits() {
        let gate = Arc::new(Gate::default());
        let held = gate.enter(&script("request GET /"), true, |_| {}).await;
        advance(MOST_HELD * 10).await;
        assert!(held.is_held(), "nobody waits");
        let holders = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&holders);
        let pass = gate.enter(&operator("reload"), false, move |busy| tells.lock().push(busy)).await;
        assert!(pass.is_held() && !held.is_held());
        assert!(held.take().unwrap_err().to_string().contains("held up others for 5 s"));
        assert_eq!(holders.lock().len(), 1, "one holder, told once");
        let text = holders.lock()[0].to_string();
        assert!(
            text.starts_with("waiting for the change by request GET /, which has been under way for 5"),
            "{text}"
        );
        drop(held);
        assert_eq!(
            gate.busy().map(|busy| busy.holder),
            Some("reload".into()),
            "who was given up frees nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_and_a_publication_are_not_given_up() {
        let gate = Arc::new(Gate::default());
        let order = Order::default();
        let load = gate.enter(&operator("reload"), false, |_| {}).await;
        waits(&gate, operator("statement"), &order);
        settle().await;
        advance(MOST_HELD * 10).await;
        settle().await;
        assert!(load.is_held() && order.lock().is_empty());
        let publishing = load.take().unwrap();
        advance(MOST_HELD * 10).await;
        settle().await;
        assert!(order.lock().is_empty());
        let status = gate.status().unwrap().to_string();
        assert!(status.contains("reload") && status.contains("waiting"), "{status}");
        drop(publishing);
        settle().await;
        assert_eq!(*order.lock(), ["statement"]);
        assert!(gate.status().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_waits_for_one_change_of_another() {
        let gate = Arc::new(Gate::default());
        let order = Order::default();
        let by = |name: &str, login: &str| operator(name).logged_in(login, Approval::Free);
        let held = gate.enter(&by("shop 0", "shop"), true, |_| {}).await;
        for n in 1..=3 {
            waits(&gate, by(&format!("shop {n}"), "shop"), &order);
        }
        settle().await;
        waits(&gate, by("admin", "admin"), &order);
        settle().await;
        drop(held.take());
        settle().await;
        assert_eq!(*order.lock(), ["admin", "shop 1", "shop 2", "shop 3"]);
        waits(&gate, operator("reload"), &order);
        settle().await;
        assert_eq!(gate.lines.lock().len(), 2, "those of before go when the next comes");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_waits_behind_no_queue_of_requests() {
        let gate = Arc::new(Gate::default());
        let order = Order::default();
        let held = gate.enter(&script("request 0"), true, |_| {}).await;
        for n in 1..=5 {
            waits(&gate, script(&format!("request {n}")), &order);
        }
        settle().await;
        waits(&gate, operator("reload"), &order);
        settle().await;
        drop(held.take());
        settle().await;
        let expected = ["reload", "request 1", "request 2", "request 3", "request 4", "request 5"];
        assert_eq!(*order.lock(), expected);
    }
}
