//! The thread of a resolving sink: finds the names for batches, and passes these on.
//!
//! A batch waits whole until all names are known that it needs, and in its turn behind those that came before. All wait
//! equally long, so the first is always the one that may wait no longer.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use medusa_proto::access::{Peer, Record};
use medusa_proto::entry::Entry;

use super::hostname::hostname;
use super::window::QuestionWindow;
use super::{Answer, Arrival, Known, ResolvingShared};
use crate::mailbox::{Load, Mail};
use crate::{Batch, Extent};

pub(super) struct NameWorker {
    shared: Arc<ResolvingShared>,
    window: QuestionWindow,
    held: VecDeque<Held>,
    /// The number of the first batch in `held`.
    first: u64,
    /// Addresses that have been asked for and not been answered, with the numbers of the batches that wait for them: often
    /// none any more, as a deadline is shorter than a name server's patience.
    asked: HashMap<IpAddr, VecDeque<u64>>,
}

/// A batch that waits.
struct Held {
    batch: Arc<Batch>,
    until: Instant,
    names: HashMap<IpAddr, Name>,
    /// How many of these are missing.
    missing: usize,
}

/// State of an address's name, in a batch.
enum Name {
    Found(Arc<str>),
    /// There is none, or none that may be logged.
    Nameless,
    /// It has been asked for.
    Missing,
    /// Too many are being asked for.
    NotAsked,
}

impl Name {
    fn of(name: Option<Arc<str>>) -> Self {
        match name {
            Some(name) if hostname(&name).is_some() => Self::Found(name),
            _ => Self::Nameless,
        }
    }
}

impl NameWorker {
    pub(super) fn new(shared: Arc<ResolvingShared>) -> Self {
        let window = QuestionWindow::new(shared.deadline);
        Self { shared, window, held: VecDeque::new(), first: 0, asked: HashMap::new() }
    }

    /// Works until the sink is gone and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(mail) = self.shared.mailbox.take(self.held.front().map(|held| held.until)) {
            let Mail { items, halfway, .. } = mail;
            for item in items {
                match item {
                    Arrival::Batch(batch, since) => self.hold(batch, since),
                    Arrival::Answer(address, name) => self.answered(address, name),
                }
            }
            let now = Instant::now();
            let none_waits = halfway.is_some_and(|halfway| halfway <= now);
            let passes = |held: &mut Held| held.missing == 0 || none_waits || held.until <= now;
            while let Some(held) = self.held.pop_front_if(passes) {
                self.pass(&held, now);
            }
            self.shared.tally.lock().asked = self.asked.len();
        }
    }

    /// Asks for the names that `batch` needs.
    fn hold(&mut self, batch: Arc<Batch>, since: Instant) {
        let mut names = HashMap::new();
        for address in batch.iter().filter_map(|entry| nameless(&entry)) {
            names.entry(address).or_insert_with(|| self.name(address));
        }
        let missing = names.values().filter(|name| matches!(name, Name::Missing)).count();
        self.held.push_back(Held { batch, until: since + self.shared.deadline, names, missing });
    }

    /// Finds out the name for the batch that is about to be held.
    fn name(&mut self, address: IpAddr) -> Name {
        match self.shared.names.known(address) {
            Known::Name(name) => return Name::of(Some(name)),
            Known::NoName => return Name::Nameless,
            Known::NotYet => {}
        }
        let number = self.first + self.held.len() as u64;
        let is_new = !self.asked.contains_key(&address);
        if is_new && !self.window.has_room(self.asked.len()) {
            return Name::NotAsked;
        }
        self.asked.entry(address).or_default().push_back(number);
        if is_new {
            let mailbox = Arc::downgrade(&self.shared.mailbox);
            self.shared.names.ask(address, Answer { address, name: None, mailbox });
        }
        Name::Missing
    }

    fn answered(&mut self, address: IpAddr, name: Option<Arc<str>>) {
        let waiting = self.asked.remove(&address).unwrap_or_default();
        if !waiting.is_empty() {
            self.window.answered();
        }
        for number in waiting {
            let Some(held) = self.held.get_mut((number - self.first) as usize) else { continue };
            held.names.insert(address, Name::of(name.clone()));
            held.missing -= 1;
        }
    }

    /// Passes the first batch on, which is held no longer.
    fn pass(&mut self, held: &Held, now: Instant) {
        let missing = held.names.iter().filter(|(_, name)| matches!(name, Name::Missing));
        for (address, _) in missing {
            self.window.missed(now);
            // They are in order, so that of this batch comes first.
            self.asked.get_mut(address).map(VecDeque::pop_front);
        }
        self.first += 1;
        let is_named = held.names.values().any(|name| matches!(name, Name::Found(_)));
        let mut named = Batch::with_capacity(if is_named { held.batch.extent() } else { Extent::default() });
        let mut tally = self.shared.tally.lock();
        for entry in held.batch.iter() {
            match (nameless(&entry).and_then(|address| held.names.get(&address)), &entry) {
                (Some(Name::Found(name)), Entry::Access(record)) => {
                    tally.named += 1;
                    named.push(&Record { name: hostname(name), ..*record });
                    continue;
                }
                (Some(Name::Nameless), _) => tally.nameless += 1,
                (Some(Name::Missing), _) => tally.late += 1,
                (Some(Name::NotAsked), _) => tally.not_asked += 1,
                _ => {}
            }
            if is_named {
                named.push_entry(&entry);
            }
        }
        drop(tally);
        self.shared.sink.submit(&if is_named { named.seal() } else { Arc::clone(&held.batch) });
        self.shared.mailbox.settle(Load::of(&held.batch));
    }
}

/// The address whose name `entry` needs.
fn nameless(entry: &Entry<'_>) -> Option<IpAddr> {
    match entry {
        Entry::Access(Record { peer: Peer::Ip(address), name: None, .. }) => Some(*address),
        _ => None,
    }
}
