//! The thread of a resolving sink: puts names to records, and passes these on.
//!
//! A batch in which some records wait is kept whole until the last of them is passed on. All wait equally long, so the
//! batches come to their deadlines in the order in which they came, and so do the places of one address.
//!
//! **Invariant:** each record of a batch is passed on exactly once: with it or before it is dropped from `held`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::{Peer, Record};
use medusa_proto::entry::Entry;

use super::desk::{Desk, Due, Round, Taken, Tally};
use super::hostname::hostname;
use super::window::Window;
use super::{Answer, Known, Names};
use crate::{Batch, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, Sink};

/// How long records that have been named wait for more, so that answers that come one by one do not become writes of one
/// line each.
const LINGER: Duration = Duration::from_millis(20);

pub(super) struct Clerk {
    names: Arc<dyn Names>,
    sink: Arc<dyn Sink>,
    desk: Arc<Desk>,
    deadline: Duration,
    held: VecDeque<Held>,
    /// The number of the first batch in `held`.
    first: u64,
    /// Addresses that have been asked for and not been answered, with the records that wait for them: often none any
    /// more, as a deadline is shorter than a name server's patience.
    asked: HashMap<IpAddr, VecDeque<Place>>,
    window: Window,
    out: Batch,
    /// When the first record came into `out`.
    out_since: Option<Instant>,
    /// Batches all of whose records are in `out` or further.
    done: VecDeque<Taken>,
    tally: Tally,
    /// Kept for its memory.
    fates: Vec<Fate>,
}

/// A batch with records that wait.
struct Held {
    taken: Taken,
    until: Instant,
    /// Which records wait, and how many.
    waits: Vec<bool>,
    left: usize,
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Place {
    /// The number of its batch.
    batch: u64,
    at: usize,
}

/// What happens to an entry.
enum Fate {
    AsItIs,
    Named(Arc<str>),
    Waits(IpAddr),
}

impl Clerk {
    pub(super) fn new(
        names: Arc<dyn Names>,
        sink: Arc<dyn Sink>,
        desk: Arc<Desk>,
        deadline: Duration,
    ) -> Self {
        Self {
            names,
            sink,
            desk,
            deadline,
            held: VecDeque::new(),
            first: 0,
            asked: HashMap::new(),
            window: Window::new(deadline),
            out: Batch::new(),
            out_since: None,
            done: VecDeque::new(),
            tally: Tally::default(),
            fates: Vec::new(),
        }
    }

    /// Works until the sink is gone and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(Round { batches, answers, hurry, give_up }) = self.desk.next(self.due()) {
            // In this order: an answer is also for those who came in the same moment.
            for taken in batches {
                self.take_batch(taken);
            }
            for (address, name) in answers {
                self.take_answer(address, name.as_deref());
            }
            let now = Instant::now();
            self.expire(now, give_up.is_some_and(|by| by <= now));
            if hurry || self.out_since.is_some_and(|since| now >= since + LINGER) {
                self.send();
            }
            self.settle();
        }
    }

    fn due(&self) -> Due {
        Due {
            names: self.held.front().map(|held| held.until),
            lingering: self.out_since.map(|since| since + LINGER),
        }
    }

    /// Sorts the entries of a batch into those that go on now and those that wait.
    fn take_batch(&mut self, taken: Taken) {
        let mut fates = std::mem::take(&mut self.fates);
        fates.extend(taken.batch.iter().map(|entry| self.fate(&entry)));
        if fates.iter().all(|fate| matches!(fate, Fate::AsItIs)) {
            self.send();
            self.sink.submit(&taken.batch);
            self.done.push_back(taken);
        } else {
            self.split(taken, &fates);
        }
        fates.clear();
        self.fates = fates;
    }

    /// Decides about an entry, and asks for its name if need be.
    fn fate(&mut self, entry: &Entry<'_>) -> Fate {
        let &Entry::Access(Record { peer: Peer::Ip(address), name: None, .. }) = entry else {
            return Fate::AsItIs;
        };
        match self.names.known(address) {
            Known::Name(name) if hostname(&name).is_some() => Fate::Named(name),
            Known::Name(_) | Known::NoName => {
                self.tally.nameless += 1;
                Fate::AsItIs
            }
            Known::NotYet if self.ask(address) => Fate::Waits(address),
            Known::NotYet => {
                self.tally.not_asked += 1;
                Fate::AsItIs
            }
        }
    }

    /// Asks for a name, unless that has been done; false if too many are being asked for.
    fn ask(&mut self, address: IpAddr) -> bool {
        if self.asked.contains_key(&address) {
            return true;
        }
        if !self.window.has_room(self.asked.len()) {
            return false;
        }
        self.asked.insert(address, VecDeque::new());
        self.names.ask(address, Answer { address, name: None, desk: Arc::downgrade(&self.desk) });
        true
    }

    fn split(&mut self, taken: Taken, fates: &[Fate]) {
        let batch = &taken.batch;
        let number = self.first + self.held.len() as u64;
        let mut waits = vec![false; batch.len()];
        for (at, (entry, fate)) in batch.iter().zip(fates).enumerate() {
            match fate {
                Fate::AsItIs => self.put(&entry, None),
                Fate::Named(name) => self.put(&entry, Some(name)),
                Fate::Waits(address) => {
                    waits[at] = true;
                    self.asked.entry(*address).or_default().push_back(Place { batch: number, at });
                }
            }
        }
        match waits.iter().filter(|waits| **waits).count() {
            0 => self.done.push_back(taken),
            left => {
                let until = taken.since + self.deadline;
                self.held.push_back(Held { taken, until, waits, left });
            }
        }
    }

    /// Passes on what has waited for this answer.
    fn take_answer(&mut self, address: IpAddr, name: Option<&str>) {
        let waiting = self.asked.remove(&address).unwrap_or_default();
        if !waiting.is_empty() {
            self.window.answered();
        }
        for Place { batch: number, at } in waiting {
            let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
            let Some(held) = index.and_then(|index| self.held.get_mut(index)) else { continue };
            held.waits[at] = false;
            held.left -= 1;
            let batch = Arc::clone(&held.taken.batch);
            if let Some(entry) = batch.get(at) {
                if name.and_then(hostname).is_none() {
                    self.tally.nameless += 1;
                }
                self.put(&entry, name);
            }
        }
    }

    /// Drops batches of which no record waits any more, and passes on what has waited long enough: `all`, if nothing is
    /// to wait any more.
    fn expire(&mut self, now: Instant, all: bool) {
        while let Some(held) = self.held.pop_front_if(|held| all || held.left == 0 || held.until <= now) {
            let number = self.first;
            self.first += 1;
            let waiting = held.taken.batch.iter().zip(&held.waits).filter(|(_, waits)| **waits);
            for (entry, _) in waiting {
                if let Entry::Access(Record { peer: Peer::Ip(address), .. }) = entry
                    && let Some(places) = self.asked.get_mut(&address)
                {
                    // They are in order, so those of this batch come first.
                    while places.pop_front_if(|place| place.batch <= number).is_some() {}
                }
                self.tally.late += 1;
                self.window.missed(now);
                self.put(&entry, None);
            }
            self.done.push_back(held.taken);
        }
    }

    /// Adds an entry to what goes on next, with its name if that may be logged.
    fn put(&mut self, entry: &Entry<'_>, name: Option<&str>) {
        match (entry, name.and_then(hostname)) {
            (Entry::Access(record), Some(name)) => {
                self.tally.named += 1;
                self.out.push(&Record { name: Some(name), ..*record });
            }
            (entry, _) => self.out.push_entry(entry),
        }
        self.out_since.get_or_insert_with(Instant::now);
        if self.out.len() >= MAX_BATCH_RECORDS || self.out.bytes() >= MAX_BATCH_BYTES {
            self.send();
        }
    }

    /// Passes on what is ready.
    fn send(&mut self) {
        if self.out_since.take().is_some() {
            let next = Batch::with_capacity(self.out.extent());
            self.sink.submit(&std::mem::replace(&mut self.out, next).seal());
        }
    }

    /// Accounts for what has been passed on.
    fn settle(&mut self) {
        if self.out_since.is_none() {
            self.desk.pass(&mut self.done, self.asked.len(), std::mem::take(&mut self.tally));
        }
    }
}
