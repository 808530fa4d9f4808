//! Where workers leave batches, and the resolver leaves answers, for the clerk.
//!
//! **Invariant:** a record that was taken counts as held until the clerk has passed it on. The lock is held for a few
//! pointer moves.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use medusa_proto::entry::Entry;
use parking_lot::{Condvar, Mutex};

use crate::Batch;

#[derive(Debug)]
pub(super) struct Desk {
    /// In bytes.
    limit: usize,
    state: Mutex<State>,
    /// Signalled when there may be something for the clerk to do.
    work: Condvar,
    /// Signalled when the clerk has passed something on.
    passed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: Vec<Taken>,
    /// One for each question that is open, at most.
    answers: Vec<(IpAddr, Option<Arc<str>>)>,
    /// How many wait in [`Desk::flush`], and until when they wait for names.
    flushing: usize,
    give_up: Option<Instant>,
    closed: bool,
    /// Batches ever taken, and the numbers of those that have not been passed on: they pass each other.
    taken: u64,
    open: BTreeSet<u64>,
    counts: Counts,
}

/// A batch, and since when it is here.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// How many were taken before.
    pub(super) number: u64,
    pub(super) batch: Arc<Batch>,
    pub(super) since: Instant,
}

/// What a [`ResolvingSink`](super::ResolvingSink) has to say of its past and its present.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Records in batches that have not been passed on whole, and the memory of these.
    pub(super) held: u64,
    pub(super) held_bytes: usize,
    /// Addresses whose names are being asked for.
    pub(super) asked: usize,
    pub(super) tally: Tally,
}

/// What became of access records that came with an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Their names were found.
    pub(super) named: u64,
    /// Their addresses have no name, or none that may be logged.
    pub(super) nameless: u64,
    /// The answer did not come before the deadline.
    pub(super) late: u64,
    /// There was no room for them to wait, or too many were being asked for.
    pub(super) not_asked: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.named += other.named;
        self.nameless += other.nameless;
        self.late += other.late;
        self.not_asked += other.not_asked;
    }
}

/// What the clerk should look at next.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) batches: Vec<Taken>,
    pub(super) answers: Vec<(IpAddr, Option<Arc<str>>)>,
    /// Somebody waits, or the sink is gone: nothing should linger.
    pub(super) hurry: bool,
    /// From then on nothing should wait for a name, whatever its own deadline.
    pub(super) give_up: Option<Instant>,
}

/// When the clerk has to go on, though nothing comes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Due {
    /// What waits for a name must not wait longer. None if nothing waits.
    pub(super) names: Option<Instant>,
    /// What lingers must not linger longer. None if nothing does.
    pub(super) lingering: Option<Instant>,
}

impl Desk {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default(), work: Condvar::new(), passed: Condvar::new() }
    }

    /// Takes a batch; false if there is no room for it.
    pub(super) fn submit(&self, batch: &Arc<Batch>) -> bool {
        let mut state = self.state.lock();
        let Counts { held, held_bytes, .. } = state.counts;
        if held > 0 && held_bytes + batch.footprint() > self.limit {
            let with_address = batch.iter().filter(|entry| matches!(entry, Entry::Access(_))).count();
            state.counts.tally.not_asked += with_address as u64;
            return false;
        }
        state.counts.held += batch.len() as u64;
        state.counts.held_bytes += batch.footprint();
        let number = state.taken;
        state.taken += 1;
        state.open.insert(number);
        state.batches.push(Taken { number, batch: Arc::clone(batch), since: Instant::now() });
        drop(state);
        self.work.notify_one();
        true
    }

    /// Takes an answer.
    pub(super) fn answer(&self, address: IpAddr, name: Option<Arc<str>>) {
        self.state.lock().answers.push((address, name));
        self.work.notify_one();
    }

    /// Waits until all that is here now has been passed on, or until `deadline`. Returns how many records have not.
    ///
    /// Half of that time is for names: the rest must do for passing on and writing.
    pub(super) fn flush(&self, deadline: Instant) -> u64 {
        let now = Instant::now();
        let give_up = now + deadline.saturating_duration_since(now) / 2;
        let mut state = self.state.lock();
        state.flushing += 1;
        state.give_up = Some(state.give_up.map_or(give_up, |other| other.min(give_up)));
        self.work.notify_one();
        let target = state.taken;
        let is_done = |state: &State| state.open.first().is_none_or(|oldest| *oldest >= target);
        while !is_done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.passed.wait_for(&mut state, left);
        }
        state.flushing -= 1;
        if state.flushing == 0 {
            state.give_up = None;
        }
        if is_done(&state) { 0 } else { state.counts.held }
    }

    #[cfg(test)]
    pub(super) fn is_flushing(&self) -> bool {
        self.state.lock().flushing > 0
    }

    /// Lets the clerk end once all has been passed on.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }

    pub(super) fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// For the clerk: waits for something to do, or until something is due. `None`: nothing is left, and nothing will
    /// come.
    pub(super) fn next(&self, due: Due) -> Option<Round> {
        let mut state = self.state.lock();
        loop {
            let hurry = state.flushing > 0 || state.closed;
            let give_up = state.give_up;
            let due = Due { names: due.names.map(|due| give_up.map_or(due, |by| due.min(by))), ..due };
            let now = Instant::now();
            let passed = |due: Option<Instant>| due.is_some_and(|due| due <= now);
            if !state.batches.is_empty()
                || !state.answers.is_empty()
                || passed(due.names)
                || passed(due.lingering)
                || hurry && due.lingering.is_some()
            {
                let batches = std::mem::take(&mut state.batches);
                let answers = std::mem::take(&mut state.answers);
                return Some(Round { batches, answers, hurry, give_up });
            }
            let next = due.names.into_iter().chain(due.lingering).min();
            match next {
                Some(next) => {
                    self.work.wait_until(&mut state, next);
                }
                None if state.closed => return None,
                None => self.work.wait(&mut state),
            }
        }
    }

    /// For the clerk: these batches have been passed on whole, `asked` questions are open, and that is what became of
    /// some records.
    pub(super) fn pass(&self, batches: &mut VecDeque<Taken>, asked: usize, tally: Tally) {
        let mut state = self.state.lock();
        for Taken { number, batch, .. } in batches.drain(..) {
            state.counts.held -= batch.len() as u64;
            state.counts.held_bytes -= batch.footprint();
            state.open.remove(&number);
        }
        state.counts.asked = asked;
        state.counts.tally.add(tally);
        drop(state);
        self.passed.notify_all();
    }
}
