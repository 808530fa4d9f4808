//! The thread of a resolving sink: finds the names for batches, and passes these on.
//!
//! A batch waits whole until all names are known that it needs, and in its turn behind those that came before. All wait
//! equally long, so the first is always the one that may wait no longer.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use medusa_proto::access::{Peer, Record};
use medusa_proto::entry::Entry;

use super::hostname::hostname;
use super::window::QuestionWindow;
use super::{Answer, Arrival, Known, ResolvingShared};
use crate::mailbox::{Load, Mail};
use crate::{Batch, Extent};

/// The name of an address, shared by all that want it: not there before there is an answer, and `None` if the address has
/// none, or none that may be logged.
type Name = Rc<OnceCell<Option<Arc<str>>>>;

pub(super) struct NameWorker {
    shared: Arc<ResolvingShared>,
    window: QuestionWindow,
    held: VecDeque<Held>,
    /// The names that have been asked for, and not been answered: often nobody waits for one any more, as a deadline is
    /// shorter than a name server's patience.
    asked: HashMap<IpAddr, Name>,
}

/// A batch that waits.
struct Held {
    batch: Arc<Batch>,
    until: Instant,
    /// `None`: too many were being asked for.
    names: HashMap<IpAddr, Option<Name>>,
}

impl Held {
    /// Tells whether an answer is missing.
    fn waits(&self) -> bool {
        self.names.values().flatten().any(|name| name.get().is_none())
    }
}

impl NameWorker {
    pub(super) fn new(shared: Arc<ResolvingShared>) -> Self {
        let window = QuestionWindow::new(shared.deadline);
        Self { shared, window, held: VecDeque::new(), asked: HashMap::new() }
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
            let passes = |held: &mut Held| none_waits || held.until <= now || !held.waits();
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
        self.held.push_back(Held { batch, until: since + self.shared.deadline, names });
    }

    fn name(&mut self, address: IpAddr) -> Option<Name> {
        match self.shared.names.known(address) {
            Known::Name(name) => return Some(Rc::new(OnceCell::from(loggable(Some(name))))),
            Known::NoName => return Some(Rc::new(OnceCell::from(None))),
            Known::NotYet => {}
        }
        if let Some(asked) = self.asked.get(&address) {
            return Some(Rc::clone(asked));
        }
        if !self.window.has_room(self.asked.len()) {
            return None;
        }
        let name = Rc::clone(self.asked.entry(address).or_default());
        let mailbox = Arc::downgrade(&self.shared.mailbox);
        self.shared.names.ask(address, Answer { address, name: None, mailbox });
        Some(name)
    }

    fn answered(&mut self, address: IpAddr, name: Option<Arc<str>>) {
        let Some(asked) = self.asked.remove(&address) else { return };
        if Rc::strong_count(&asked) > 1 {
            self.window.answered();
        }
        asked.get_or_init(|| loggable(name));
    }

    /// Passes the first batch on, which is held no longer.
    fn pass(&mut self, held: &Held, now: Instant) {
        if held.waits() {
            self.window.missed(now);
        }
        let names = held.names.values().flatten().filter_map(|name| name.get());
        let is_named = names.flatten().next().is_some();
        let mut named = Batch::with_capacity(if is_named { held.batch.extent() } else { Extent::default() });
        let mut tally = self.shared.tally.lock();
        for entry in held.batch.iter() {
            let mut found = None;
            if let Some(name) = nameless(&entry).and_then(|address| held.names.get(&address)) {
                match name.as_ref().map(|name| name.get()) {
                    None => tally.not_asked += 1,
                    Some(None) => tally.late += 1,
                    Some(Some(None)) => tally.nameless += 1,
                    Some(Some(Some(name))) => {
                        tally.named += 1;
                        found = hostname(name);
                    }
                }
            }
            match entry {
                Entry::Access(record) if found.is_some() => named.push(&Record { name: found, ..record }),
                _ if is_named => named.push_entry(&entry),
                _ => {}
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

/// `name`, if it may be logged.
fn loggable(name: Option<Arc<str>>) -> Option<Arc<str>> {
    name.filter(|name| hostname(name).is_some())
}
