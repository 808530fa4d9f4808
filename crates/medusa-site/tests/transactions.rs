//! Changes under random operations, beside a model of what they come to: after each, the running Site is the model's, and
//! every part and object was prepared, published and retired as often as the model says.
//!
//! The seed is in the message of a failure; `MEDUSA_SEED=n` runs that one again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medusa_http::{Body, Handler, HandlerFuture, Limits, Listen, PrepareFuture, Request, Response};
use medusa_log::events::Route;
use medusa_log::{Batch, Flushed, Sink, SinkError};
use medusa_net::{ListenAddr, Workers};
use medusa_proto::author::{Author, Via};
use medusa_proto::event::Level;
use medusa_proto::status::Status;
use medusa_site::{
    ConfirmError, Draft, Environment, HistoryError, HttpServer, LONGEST_TRIAL, Live, MAX_LOADS, MAX_WHOLE,
    MountSpec, Object, Part, PartId, PartKind, Parts, Prepare, Preparing, PublishError, Refusal, ServerSpec,
    TrialError, Use,
};

/// The number of seeds that are tried.
const SEEDS: u64 = 6;

/// The number of changes that are made of each.
const CHANGES: usize = 60;

static KIND: PartKind = PartKind { name: "fake", noun: "fake", plural: "fakes", most: 8 };

/// A thing done with a part or an object.
#[derive(Debug, Default)]
struct Done {
    tried: AtomicUsize,
    prepared: AtomicUsize,
    published: AtomicUsize,
    retired: AtomicUsize,
    reopened: AtomicUsize,
}

impl Done {
    fn counts(&self) -> [usize; 5] {
        [&self.tried, &self.prepared, &self.published, &self.retired, &self.reopened].map(|n| n.load(Relaxed))
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Relaxed);
}

#[derive(Debug, thiserror::Error)]
#[error("it was to fail")]
struct ToFail;

/// A part that counts.
#[derive(Debug, Clone)]
struct Fake {
    id: PartId,
    origin: Arc<str>,
    value: u8,
    fails: bool,
    uses: Vec<Object>,
    done: Arc<Done>,
}

impl Part for Fake {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        let any: &dyn std::any::Any = running.as_ref();
        let same = any.downcast_ref::<Self>().is_some_and(|running| running.spec() == self.spec());
        if same { Arc::clone(running) } else { self }
    }

    fn uses(&self) -> Vec<Use> {
        self.uses.iter().map(|object| Use { origin: "uses".into(), object: object.clone() }).collect()
    }

    fn prepare<'a>(&'a self, how: Prepare<'a>) -> Preparing<'a> {
        count(if matches!(how, Prepare::Trial) { &self.done.tried } else { &self.done.prepared });
        let refusal = || Refusal { origin: Arc::clone(&self.origin), source: Box::new(ToFail) };
        Box::pin(std::future::ready(if self.fails { Err(refusal()) } else { Ok(()) }))
    }

    fn publish(&self, _: &Parts, _: &Environment) {
        count(&self.done.published);
    }

    fn retire(&self, _: &Parts, _: &Environment) {
        count(&self.done.retired);
    }

    fn status(&self) -> Status {
        Status::new("fake", "")
    }
}

impl Fake {
    /// The mark that tells it from others of its id.
    fn spec(&self) -> (u8, bool, Vec<*const ()>) {
        (self.value, self.fails, self.uses.iter().map(address).collect())
    }
}

fn address(object: &Object) -> *const () {
    match object {
        Object::Handler(handler) => Arc::as_ptr(handler).cast(),
        Object::Sink(sink) => Arc::as_ptr(sink).cast(),
        Object::Resolver(resolver) => Arc::as_ptr(resolver).cast(),
    }
}

/// A handler or sink that counts, and may stand before others.
#[derive(Debug, Default)]
struct Counting {
    name: &'static str,
    done: Done,
    fails: AtomicBool,
    handlers: Vec<Arc<dyn Handler>>,
    sinks: Vec<Arc<dyn Sink>>,
}

impl Counting {
    fn prepared(&self) -> bool {
        count(&self.done.prepared);
        !self.fails.load(Relaxed)
    }
}

impl Handler for Counting {
    fn handle(&self, _: Request) -> HandlerFuture<'_> {
        let response = Response { body: Body::from(self.name), ..Response::default() };
        Box::pin(std::future::ready(Ok(response)))
    }

    fn prepare(&self) -> PrepareFuture<'_> {
        let done = if self.prepared() { Ok(()) } else { Err("it was to fail".into()) };
        Box::pin(std::future::ready(done))
    }

    fn inner(&self) -> &[Arc<dyn Handler>] {
        &self.handlers
    }

    fn retire(&self) {
        count(&self.done.retired);
    }

    fn status(&self) -> Status {
        Status::new("counting", self.name)
    }
}

impl Sink for Counting {
    fn check(&self) -> Result<(), SinkError> {
        count(&self.done.tried);
        Ok(())
    }

    fn prepare(&self) -> Result<(), SinkError> {
        if self.prepared() { Ok(()) } else { Err(SinkError::new("counting", "be used")) }
    }

    fn submit(&self, _: &Arc<Batch>) {}

    fn flush(&self, _: Instant) -> Flushed {
        Flushed::default()
    }

    fn reopen(&self) -> Result<(), SinkError> {
        count(&self.done.reopened);
        Ok(())
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        &self.sinks
    }

    fn status(&self) -> Status {
        Status::new("counting", self.name)
    }
}

/// Numbers of a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most) as usize
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The objects there are. Of some, one stands before another.
struct Pool {
    all: Vec<(Arc<Counting>, Object)>,
    /// Those that each brings with it, itself last.
    brings: Vec<Vec<usize>>,
}

impl Pool {
    fn new() -> Self {
        let (mut all, mut brings) = (Vec::new(), Vec::new());
        for (at, name) in ["one", "two", "wraps one"].into_iter().enumerate() {
            let handlers =
                if at == 2 { vec![Arc::<Counting>::clone(&all_at(&all, 0)) as _] } else { Vec::new() };
            let made = Arc::new(Counting { name, handlers, ..Counting::default() });
            all.push((Arc::clone(&made), Object::Handler(made)));
            brings.push(if at == 2 { vec![0, 2] } else { vec![at] });
        }
        for (at, name) in ["file", "tail", "multi"].into_iter().enumerate() {
            let sinks = if at == 2 { vec![all_at(&all, 3) as _, all_at(&all, 4) as _] } else { Vec::new() };
            let made = Arc::new(Counting { name, sinks, ..Counting::default() });
            all.push((Arc::clone(&made), Object::Sink(made)));
            brings.push(if at == 2 { vec![3, 4, 5] } else { vec![3 + at] });
        }
        Self { all, brings }
    }

    fn handler(&self, at: usize) -> Arc<dyn Handler> {
        Arc::<Counting>::clone(&self.all[at].0)
    }

    fn sink(&self, at: usize) -> Arc<dyn Sink> {
        Arc::<Counting>::clone(&self.all[at].0)
    }
}

fn all_at(all: &[(Arc<Counting>, Object)], at: usize) -> Arc<Counting> {
    Arc::clone(&all[at].0)
}

/// A part, as the model has it.
#[derive(Clone, Debug)]
enum Slot {
    /// A fake, and what must have been done with it.
    Fake { name: &'static str, spec: (u8, bool, Vec<usize>), done: Arc<Done>, expected: [usize; 5] },
    /// The server: its mounts by their patterns, in their order, and its log.
    Server { mounts: Vec<(&'static str, usize)>, log: Option<usize> },
}

impl Slot {
    fn name(&self) -> &'static str {
        match self {
            Self::Fake { name, .. } => name,
            Self::Server { .. } => "web",
        }
    }

    /// Whether they have one name, and nobody could tell them apart.
    fn same(&self, other: &Self) -> bool {
        self.name() == other.name()
            && match (self, other) {
                (Self::Fake { spec: a, .. }, Self::Fake { spec: b, .. }) => a == b,
                (Self::Server { mounts: a, log: x }, Self::Server { mounts: b, log: y }) => (a, x) == (b, y),
                _ => false,
            }
    }

    fn uses(&self) -> Vec<usize> {
        match self {
            Self::Fake { spec, .. } => spec.2.clone(),
            Self::Server { mounts, log } => mounts.iter().map(|(_, handler)| *handler).chain(*log).collect(),
        }
    }
}

/// The parts of a Site, in their order.
type Slots = Vec<Slot>;

/// A site under test, and its model.
struct Rig {
    live: Arc<Live>,
    pool: Pool,
    running: Slots,
    generation: u64,
    /// Done with objects.
    objects: Vec<[usize; 5]>,
    /// Fakes that are in no Site any more, or never were.
    gone: Slots,
    /// The generations that are to be kept whole, the last one last.
    whole: Vec<Whole>,
    /// The generation on trial, and the one before it.
    pending: Option<(u64, u64)>,
}

/// A generation that can be gone back to.
struct Whole {
    number: u64,
    loaded: u64,
    slots: Slots,
}

/// Where each count stands in [`Done::counts`].
const TRIED: usize = 0;
const PREPARED: usize = 1;
const PUBLISHED: usize = 2;
const RETIRED: usize = 3;
const REOPENED: usize = 4;

const PATTERNS: [&str; 3] = ["/a", "/b", "/c"];

fn fake_id(name: &str) -> PartId {
    PartId { kind: &KIND, name: name.into() }
}

impl Rig {
    fn new(workers: &Workers) -> Self {
        let (live, pool) = (Live::new(workers.clone()), Pool::new());
        let objects = vec![[0; 5]; pool.all.len()];
        let (running, gone, whole) = (Slots::new(), Slots::new(), Vec::new());
        Self { live, pool, running, generation: 0, objects, gone, whole, pending: None }
    }

    async fn step(&mut self, random: &mut Random) {
        for (object, _) in &self.pool.all {
            object.fails.store(random.one_in(12), Relaxed);
        }
        let author = Author::new(Via::Control, "test");
        if let Some((generation, back_to)) = self.pending {
            self.end_trial(generation, back_to, random.below(4)).await;
        } else if random.one_in(5) {
            self.go_back(random.below(self.generation + 2) as u64).await;
        }
        if self.pending.is_some() {
            let refused = self.live.publish(self.live.begin(author, |_| {}).await).await;
            assert!(matches!(refused, Err(PublishError::Unconfirmed(_))), "{refused:?}");
            return;
        }
        let loaded = random.one_in(3).then_some(self.generation + 1);
        let (mut change, mut slots) = if loaded.is_some() {
            (self.live.begin_fresh(author, |_| {}).await, Slots::new())
        } else {
            (self.live.begin(author, |_| {}).await, self.running.clone())
        };
        let on_trial = random.one_in(6) && self.generation > 0;
        change.trial = on_trial.then(|| LONGEST_TRIAL.into());
        for _ in 0..=random.below(6) {
            self.edit(&mut change.draft, &mut slots, random);
        }
        match random.below(8) {
            0 => drop(change),
            1 => {
                let rehearsed = self.live.rehearse(change).await;
                assert_eq!(rehearsed.is_ok(), self.prepare(&mut slots, TRIED, loaded.is_some()));
            }
            _ => {
                let published = self.live.publish(change).await;
                let prepared = self.prepare(&mut slots, PREPARED, loaded.is_some());
                assert_eq!(published.is_ok(), prepared, "{published:?}");
                if published.is_ok() {
                    let before = self.generation;
                    self.pending = on_trial.then_some((before + 1, before));
                    self.publish(&mut slots, loaded);
                }
            }
        }
        self.note_gone(slots);
        if random.one_in(4) {
            assert!(self.live.reopen().is_empty());
            for at in self.held(&self.running).into_iter().filter(|at| *at >= 3) {
                self.objects[at][REOPENED] += 1;
            }
        }
    }

    /// Confirms the change on trial, takes it back, or asks for another.
    async fn end_trial(&mut self, generation: u64, back_to: u64, how: usize) {
        match how {
            0 => {
                let author = Author::new(Via::Control, "test");
                let confirm = |number| self.live.confirm(number, &author);
                assert!(matches!(confirm(Some(back_to)), Err(ConfirmError::Trial(TrialError::Other { .. }))));
                assert_eq!(confirm(None), Ok(generation));
                assert_eq!(confirm(None), Err(ConfirmError::Trial(TrialError::None)));
                self.pending = None;
            }
            1 | 2 => {
                let (mut slots, loaded) = self.slots_of(back_to).expect("what a trial goes back to is kept");
                let author = Author::new(Via::Trial, "test");
                let reverted = self.live.revert(Some(generation), author, LONGEST_TRIAL).await;
                assert_eq!(reverted.is_ok(), self.prepare(&mut slots, PREPARED, false), "{reverted:?}");
                if reverted.is_ok() {
                    self.pending = None;
                    self.publish(&mut slots, Some(loaded));
                }
                self.note_gone(slots);
            }
            _ => {
                let author = Author::new(Via::Control, "test");
                assert!(self.live.extend_trial(LONGEST_TRIAL, &author).is_ok());
            }
        }
    }

    /// Goes back to a generation, if there is one of this number that is whole.
    async fn go_back(&mut self, number: u64) {
        let begun = self.live.begin_rollback(number, Author::new(Via::Control, "test"), |_| {}).await;
        let known = if number == self.generation { None } else { self.slots_of(number) };
        let (Some((mut slots, loaded)), Ok(change)) = (known, begun) else {
            let whole = self.whole.iter().any(|whole| whole.number == number);
            assert!(!whole || number == self.generation, "{number} is whole");
            return;
        };
        let published = self.live.publish(change).await;
        assert_eq!(published.is_ok(), self.prepare(&mut slots, PREPARED, false), "{published:?}");
        if published.is_ok() {
            self.publish(&mut slots, Some(loaded));
        }
        self.note_gone(slots);
    }

    /// Keeps what is known of fakes that a draft had.
    fn note_gone(&mut self, slots: Slots) {
        self.gone.extend(slots.into_iter().filter(|slot| matches!(slot, Slot::Fake { .. })));
    }

    /// What a whole generation was made of, with what has been done with it meanwhile.
    fn slots_of(&self, number: u64) -> Option<(Slots, u64)> {
        let whole = self.whole.iter().find(|whole| whole.number == number)?;
        let mut slots = whole.slots.clone();
        for slot in &mut slots {
            if let Slot::Fake { done, expected, .. } = slot {
                *expected = self.done().get(&Arc::as_ptr(done)).map_or(*expected, |known| known.1);
            }
        }
        Some((slots, whole.loaded))
    }

    /// What must have been done with each fake: what is known of it last.
    fn done(&self) -> BTreeMap<*const Done, (Arc<Done>, [usize; 5])> {
        let mut fakes: BTreeMap<*const Done, (Arc<Done>, [usize; 5])> = BTreeMap::new();
        for slot in self.gone.iter().chain(&self.running) {
            if let Slot::Fake { done, expected, .. } = slot {
                let known = fakes.entry(Arc::as_ptr(done)).or_insert((Arc::clone(done), [0; 5]));
                (0..5).for_each(|at| known.1[at] = known.1[at].max(expected[at]));
            }
        }
        fakes
    }

    /// An edit, of the draft and of the model.
    fn edit(&self, draft: &mut Draft, slots: &mut Slots, random: &mut Random) {
        let find = |slots: &Slots, name: &str| slots.iter().position(|slot| slot.name() == name);
        let at = |slots: &Slots| find(slots, "web");
        let web = HttpServer::id_of("web");
        let (pattern, handler) = (PATTERNS[random.below(3)], random.below(3));
        let mount = draft.parts().find::<HttpServer>(&web).and_then(|server| {
            let mut ids = server.mount_ids();
            ids.find(|id| id.find(draft.parts()).is_some_and(|mount| mount.pattern.to_string() == pattern))
        });
        match random.below(9) {
            0..3 => {
                let name = ["x", "y", "z"][random.below(3)];
                let uses: BTreeSet<_> = (0..random.below(3)).map(|_| random.below(6)).collect();
                let spec = (random.below(2) as u8, random.one_in(10), uses.into_iter().collect::<Vec<_>>());
                let done = Arc::<Done>::default();
                let uses = spec.2.iter().map(|at| self.pool.all[*at].1.clone()).collect();
                let (id, origin) = (fake_id(name), format!("at {name}").into());
                let made = Fake { id, origin, value: spec.0, fails: spec.1, uses, done: Arc::clone(&done) };
                draft.put(made).expect("there is room");
                let slot = Slot::Fake { name, spec, done, expected: [0; 5] };
                match find(slots, name) {
                    Some(at) => slots[at] = slot,
                    None => slots.push(slot),
                }
            }
            3 => {
                let name = ["x", "y", "z"][random.below(3)];
                let there = find(slots, name);
                assert_eq!(draft.remove(&fake_id(name)).is_ok(), there.is_some());
                there.map(|at| slots.remove(at));
            }
            4 if random.one_in(3) => {
                assert_eq!(draft.remove(&web).is_ok(), at(slots).is_some());
                at(slots).map(|at| slots.remove(at));
            }
            4 => {
                assert_eq!(draft.add_server(server()).is_ok(), at(slots).is_none());
                if at(slots).is_none() {
                    slots.push(Slot::Server { mounts: Vec::new(), log: None });
                }
            }
            edit => {
                let origin = || Arc::<str>::from("at mount");
                let spec = MountSpec {
                    pattern: pattern.parse().expect("a pattern"),
                    handler: self.pool.handler(handler),
                    body: None,
                    origin: origin(),
                };
                let log = random.one_in(2).then(|| 3 + random.below(3));
                let edited = match edit {
                    5 | 6 => draft.mount(&web, spec).is_ok(),
                    7 => mount.is_some_and(|mount| draft.unmount(&mount).is_ok()),
                    _ if log.is_none() => mount.is_some_and(|mount| {
                        draft.replace(&mount, self.pool.handler(handler), origin()).is_ok()
                    }),
                    _ => draft.set_log(&web, log.map(|log| self.pool.sink(log)), origin()).is_ok(),
                };
                let Some(Slot::Server { mounts, log: logs }) = at(slots).map(|at| &mut slots[at]) else {
                    assert!(!edited, "there is no server");
                    return;
                };
                let known = mounts.iter().position(|(known, _)| *known == pattern);
                match (edit, known) {
                    (5 | 6, None) => mounts.push((pattern, handler)),
                    (7, Some(known)) => drop(mounts.remove(known)),
                    (8, _) if log.is_some() => *logs = log,
                    (8, Some(known)) => mounts[known].1 = handler,
                    _ => return assert!(!edited, "{edit} {pattern} {mounts:?}"),
                }
                assert!(edited, "{edit} {pattern} {mounts:?}");
            }
        }
    }

    /// The objects that these parts hold, in the order in which they are prepared.
    fn held(&self, slots: &Slots) -> Vec<usize> {
        let mut held = Vec::new();
        for at in slots.iter().flat_map(Slot::uses).flat_map(|at| self.pool.brings[at].iter().copied()) {
            if !held.contains(&at) {
                held.push(at);
            }
        }
        held
    }

    /// The outcome of preparing: whether it succeeds. Those that nothing tells from running ones become those.
    fn prepare(&mut self, slots: &mut Slots, how: usize, is_load: bool) -> bool {
        for slot in slots.iter_mut() {
            if let Some(running) = self.running.iter().find(|running| running.same(slot)) {
                self.gone.push(std::mem::replace(slot, running.clone()));
            }
        }
        self.gone.retain(|slot| matches!(slot, Slot::Fake { .. }));
        for slot in slots.iter_mut() {
            let runs = self.running.iter().any(|running| running.same(slot));
            if let Slot::Fake { spec, expected, .. } = slot
                && (!runs || is_load)
            {
                expected[if runs { TRIED } else { how }] += 1;
                if spec.1 {
                    return false;
                }
            }
        }
        let ready = self.held(&self.running);
        for at in self.held(slots).into_iter().filter(|at| !ready.contains(at)) {
            let is_sink = at >= 3;
            self.objects[at][if is_sink { how } else { PREPARED }] += 1;
            if self.pool.all[at].0.fails.load(Relaxed) && (how == PREPARED || !is_sink) {
                return false;
            }
        }
        true
    }

    /// What publishing comes to.
    fn publish(&mut self, slots: &mut Slots, loaded: Option<u64>) {
        let old = std::mem::take(&mut self.running);
        self.generation += 1;
        let loaded = loaded.or_else(|| self.whole.last().map(|last| last.loaded)).unwrap_or(0);
        for slot in slots.iter_mut() {
            let runs = old.iter().any(|old| old.same(slot));
            if let Slot::Fake { expected, .. } = slot
                && !runs
            {
                expected[PUBLISHED] += 1;
            }
        }
        let (before, after) = (self.held(&old), self.held(slots));
        for at in before.into_iter().filter(|at| *at < 3 && !after.contains(at)) {
            self.objects[at][RETIRED] += 1;
        }
        for mut gone in old {
            if slots.iter().any(|slot| slot.same(&gone)) {
                continue;
            }
            if let Slot::Fake { expected, .. } = &mut gone {
                expected[RETIRED] += 1;
                self.gone.push(gone);
            }
        }
        self.running.clone_from(slots);
        self.whole.push(Whole { number: self.generation, loaded, slots: slots.clone() });
        let mut loads = vec![loaded];
        let mut keeps = Vec::new();
        for whole in self.whole.iter().rev() {
            let is_needed = self.pending.is_some_and(|(_, back_to)| back_to == whole.number);
            let known = loads.contains(&whole.loaded);
            let fits = is_needed || (keeps.len() < MAX_WHOLE && (known || loads.len() <= MAX_LOADS));
            if fits && !known {
                loads.push(whole.loaded);
            }
            keeps.extend(fits.then_some(whole.number));
        }
        self.whole.retain(|whole| keeps.contains(&whole.number));
    }

    /// Compares the Site with the model.
    fn check(&self) {
        let site = self.live.site();
        assert_eq!(site.generation, self.generation);
        let names: Vec<_> = site.parts.iter().map(|part| part.id().name.to_string()).collect();
        assert_eq!(names, self.running.iter().map(Slot::name).collect::<Vec<_>>());
        let kept: Vec<_> = self.live.generations().into_iter().filter(|kept| kept.whole).collect();
        let kept: Vec<_> = kept.iter().rev().map(|kept| (kept.number, kept.loaded)).collect();
        assert_eq!(kept, self.whole.iter().map(|whole| (whole.number, whole.loaded)).collect::<Vec<_>>());
        assert_eq!(self.live.pending().map(|pending| (pending.generation, pending.back_to)), self.pending);
        // A fake may be gone in one draft's copy of the model, and run in another's: the last word is that of what runs.
        for (done, expected) in self.done().into_values() {
            assert_eq!(done.counts(), expected, "tried, prepared, published, retired, reopened");
        }
        for ((object, _), expected) in self.pool.all.iter().zip(&self.objects) {
            assert_eq!(object.done.counts(), *expected, "{}", object.name);
        }
        let server = self.running.iter().find_map(|slot| match slot {
            Slot::Server { mounts, .. } => Some(mounts),
            Slot::Fake { .. } => None,
        });
        assert_eq!(site.listeners.len(), usize::from(server.is_some()));
        if let (Some(mounts), Some(bound)) = (server, site.listeners.first()) {
            let ListenAddr::Tcp(addr) = bound.listener.local_addr() else { panic!("not TCP") };
            for pattern in PATTERNS {
                let handler = mounts.iter().find(|(known, _)| *known == pattern).map(|(_, at)| *at);
                let answer = get(*addr, pattern);
                match handler {
                    Some(at) => assert!(answer.ends_with(self.pool.all[at].0.name), "{pattern}: {answer}"),
                    None => assert!(answer.starts_with("HTTP/1.1 404 "), "{pattern}: {answer}"),
                }
            }
        }
    }
}

fn server() -> ServerSpec {
    ServerSpec {
        name: Some("web".to_owned()),
        listen: vec![Listen::plain("127.0.0.1:0".parse().expect("an address"))],
        log: None,
        limits: Limits::default(),
        trusted_proxies: Arc::default(),
        hsts: None,
        security_headers: Arc::default(),
        origin: "at server".into(),
    }
}

fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// A sink that is ready when it is told so.
#[derive(Debug)]
struct Slow(Mutex<Receiver<()>>);

impl Sink for Slow {
    fn check(&self) -> Result<(), SinkError> {
        let received = self.0.lock().map(|receiver| receiver.recv_timeout(Duration::from_secs(20)));
        if matches!(received, Ok(Ok(()))) { Ok(()) } else { Err(SinkError::new("slow", "be told")) }
    }

    fn prepare(&self) -> Result<(), SinkError> {
        self.check()
    }

    fn submit(&self, _: &Arc<Batch>) {}

    fn flush(&self, _: Instant) -> Flushed {
        Flushed::default()
    }

    fn status(&self) -> Status {
        Status::new("log.slow", "")
    }
}

#[tokio::test]
async fn a_slow_sink_does_not_hold_up_what_else_the_thread_does() {
    let workers = Workers::start(NonZeroUsize::MIN).expect("a thread");
    let live = Live::new(workers);
    for publishes in [true, false] {
        let (ready, receiver) = sync_channel(1);
        let sink = Arc::new(Slow(Mutex::new(receiver)));
        let mut change = live.begin_fresh(Author::new(Via::Control, "test"), |_| {}).await;
        let route = Route { sink, level: Level::Info };
        change.draft.log_events(route, "site.luau:1".into()).expect("the first");
        let done = async {
            if publishes {
                live.publish(change).await.map(drop)
            } else {
                live.rehearse(change).await.map(drop)
            }
        };
        let (done, else_done) = tokio::join!(done, async { ready.send(()).is_ok() });
        done.expect("it was told");
        assert!(else_done);
    }
}

#[test]
fn every_change_comes_to_what_the_model_says() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    #[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
    let given = std::env::var("MEDUSA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = given.map_or_else(|| (0..SEEDS).map(|n| now.wrapping_add(n)).collect(), |seed| vec![seed]);
    let workers = Workers::start(NonZeroUsize::MIN).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for seed in seeds {
        eprintln!("MEDUSA_SEED={seed}");
        let (mut random, mut rig) = (Random(seed), Rig::new(&workers));
        for _ in 0..CHANGES {
            runtime.block_on(rig.step(&mut random));
            rig.check();
        }
        assert!(rig.generation > CHANGES as u64 / 6, "few changes were published: {}", rig.generation);
    }
}

/// What is begun apart holds up nobody, and is not published on what it was not begun on.
#[tokio::test]
async fn a_change_begun_apart_is_refused_when_another_was_faster() {
    let live = Live::new(Workers::start(NonZeroUsize::MIN).expect("a thread"));
    let author = || Author::new(Via::Control, "test");
    let first = live.begin_apart(author());
    let mut faster = live.begin(author(), |_| {}).await;
    faster.draft.add_server(server()).expect("the first");
    let published = live.publish(faster).await.expect("it can be published");
    let refused = live.publish(first).await.expect_err("somebody was faster").to_string();
    assert!(
        refused.contains("begun on generation 0, and 1 is there now (+ HTTP server \"web\")"),
        "{refused}"
    );
    let generation = published.generation.expect("it is remembered");
    assert!(live.report(&generation).starts_with("generation 1: + HTTP server \"web\"  (1 of 1 workers, "));

    let mut second = live.begin_apart(author());
    second.draft.remove(&HttpServer::id_of("web")).expect("it is there");
    second.reason = Some("for good".into());
    let published = live.publish(second).await.expect("nobody was faster");
    let generation = published.generation.expect("it is remembered");
    assert_eq!(generation.changes.to_string(), "- HTTP server \"web\"");
    assert_eq!(generation.reason.as_deref(), Some("for good"));
    assert_eq!(live.diff(2, 1).expect("both are whole").to_string(), "+ HTTP server \"web\"");
    assert!(matches!(live.diff(1, 7), Err(HistoryError::Unknown { number: 7, first: 1, last: 2 })));
}

/// Each keeps its own listener, whatever else changes.
#[test]
fn two_may_listen_on_port_0() {
    let workers = Workers::start(NonZeroUsize::MIN).expect("a thread");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let live = Live::new(workers);
    let publish = |edit: &dyn Fn(&mut Draft)| {
        runtime.block_on(async {
            let mut change = live.begin(Author::new(Via::Control, "test"), |_| {}).await;
            edit(&mut change.draft);
            let site = live.publish(change).await.expect("it can be published").site;
            site.listeners.iter().map(|bound| bound.listener.local_addr().clone()).collect::<Vec<_>>()
        })
    };
    let add = |draft: &mut Draft, name: &str| {
        let port_0 = || Listen::plain("127.0.0.1:0".parse().expect("an address"));
        let listen = vec![port_0(), port_0()];
        draft
            .add_server(ServerSpec { name: Some(name.to_owned()), listen, ..server() })
            .expect("there is room");
    };
    let first = publish(&|draft| ["a", "b"].into_iter().for_each(|name| add(draft, name)));
    assert_eq!(first.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(publish(&|draft| add(draft, "c"))[..4], first);
    let without_a = publish(&|draft| draft.remove(&HttpServer::id_of("a")).expect("it is there"));
    assert_eq!(without_a[..2], first[2..]);
}
