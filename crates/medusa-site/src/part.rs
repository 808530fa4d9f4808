//! The part: what a Site is made of.
//!
//! A kind of part is one file below [`parts`](crate::parts), its edits of a draft included. The Site looks parts up, lists,
//! prepares, publishes and retires them through [`Part`] alone.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use indexmap::IndexMap;
use medusa_http::own_logs;
use medusa_log::Sink;
use medusa_log::events::EventSinks;
use medusa_monitor::classic::ClassicIntake;
use medusa_monitor::ssh::SshIntake;
use medusa_net::{Accept, ListenAddr, ListenerId, Workers};
use medusa_proto::status::Status;

use crate::diff::{Difference, changes};
use crate::object::{BoxError, Object, Use};

/// A kind of part.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKind {
    /// As it is in names: `http.server`.
    pub name: &'static str,
    /// As it is in messages: `HTTP server`.
    pub noun: &'static str,
    /// The same of several: `HTTP servers`.
    pub plural: &'static str,
    /// The number that a Site may have.
    pub most: usize,
}

/// Names a part across generations: `http.server/main` stays itself when everything about it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId {
    /// Its kind.
    pub kind: &'static PartKind,
    /// Its name, unlike that of any other of its kind.
    pub name: Arc<str>,
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name, self.name)
    }
}

/// The future that [`Part::prepare`] returns.
pub type Preparing<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + 'a>>;

/// The reason why a part cannot be published, and where the script asks for what is wrong.
#[derive(Debug)]
pub struct Refusal {
    /// The place in the script.
    pub origin: Arc<str>,
    /// The reason.
    pub source: BoxError,
}

/// The workers and sinks of the process, for all Sites.
#[derive(Debug)]
pub struct Environment {
    /// The workers; none where nothing is served, only checked.
    pub workers: Option<Workers>,
    /// The way of the server's own events to the sinks of the running Site.
    pub events: Arc<EventSinks>,
    /// The way of the monitor's SSH connections to where its sessions are.
    pub ssh: Arc<SshIntake>,
    /// The same of those by the protocol of 1997.
    pub classic: Arc<ClassicIntake>,
}

/// The way a part is prepared.
#[derive(Debug, Clone, Copy)]
pub enum Prepare<'a> {
    /// As far as can be told without leaving a trace: nothing is opened for others to see, or started.
    Trial,
    /// To be published there.
    Publish(&'a Environment),
}

/// The Site that is running at an instant.
pub(crate) trait Running: fmt::Debug + Send + Sync {
    /// Its number.
    fn generation(&self) -> u64;

    /// The part that a listener is for, and the place of its address among those that part listens on.
    fn part_on(&self, listener: ListenerId) -> Option<(Arc<dyn Part>, usize)>;
}

/// The place of a listener: by this, what serves its connections finds the part of the running Site that it serves
/// for.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) running: Arc<dyn Running>,
    pub(crate) listener: ListenerId,
}

impl Place {
    /// The listener.
    pub fn listener(&self) -> ListenerId {
        self.listener
    }

    /// The number of the Site that is running.
    pub fn generation(&self) -> u64 {
        self.running.generation()
    }

    /// The part of the running Site that listens here, and the place of the address among those it listens on.
    pub fn part(&self) -> Option<(Arc<dyn Part>, usize)> {
        self.running.part_on(self.listener)
    }
}

/// A part of a Site. Immutable once it is published: a change puts another in its place, of the same [id](Self::id).
///
/// # Life
///
/// 1. [`settle`](Self::settle): it takes over what it may from the running part of its id, or is found to be that.
/// 2. [`prepare`](Self::prepare): all that can fail. Then the Site prepares what it [uses](Self::uses), and binds where it
///    [listens](Self::listens).
/// 3. [`publish`](Self::publish), once the Site with it is the running one.
/// 4. [`retire`](Self::retire), once no running Site has it any more. It may be published again later.
pub trait Part: Any + fmt::Debug + Send + Sync {
    /// Its name across generations.
    fn id(&self) -> &PartId;

    /// The place in the script: `site.luau:12`.
    fn origin(&self) -> &Arc<str>;

    /// Returns what is published in its place: the running part itself, if nothing about them differs, so that nobody
    /// notices the change; else this one with what carries over (counters, connections).
    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part>;

    /// The objects it holds, and where the script gives it each. The Site prepares, retires and describes each once,
    /// however many hold it.
    fn uses(&self) -> Vec<Use> {
        Vec::new()
    }

    /// The addresses it listens on. The Site binds, keeps and closes the listeners.
    fn listens(&self) -> Vec<ListenAddr> {
        Vec::new()
    }

    /// The place in the script, or elsewhere, that says where it listens: its origin.
    fn listen_origin(&self) -> &Arc<str> {
        self.origin()
    }

    /// Serves the connections of a listener for as long as a part of this kind listens there: which one, it asks the
    /// `place` when it has to know. None for what does not listen.
    fn accept(&self, _place: Place) -> Option<Arc<dyn Accept>> {
        None
    }

    /// The documents that the status of the listener at one of its addresses, `listens()[at]`, has beside the
    /// listener's own.
    fn describe_listener(&self, _at: usize) -> Vec<Status> {
        Vec::new()
    }

    /// Does everything that can fail. Called on every publication that includes a part that is not running yet; after an
    /// error it may be tried again.
    fn prepare<'a>(&'a self, _how: Prepare<'a>) -> Preparing<'a> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Begins what it does: it is one of the running `parts`.
    fn publish(&self, _parts: &Parts, _environment: &Environment) {}

    /// Ends what it does: it is none of the running `parts`.
    fn retire(&self, _parts: &Parts, _environment: &Environment) {}

    /// Its name in lists of changes.
    fn label(&self) -> String {
        self.id().to_string()
    }

    /// What is different from `before`, the part of its id in whose place it is; at least one thing.
    fn differences(&self, before: &Arc<dyn Part>) -> Vec<Difference> {
        vec![Difference::changed(self.label()).told(changes(&before.status(), &self.status()))]
    }

    /// What requests under way hold of it when it has been retired: the status tells how many are held.
    fn held(&self) -> Option<Weak<dyn Any + Send + Sync>> {
        None
    }

    /// Its settings, state and counters.
    fn status(&self) -> Status;
}

/// The parts of a Site or draft, in the order the script made them.
#[derive(Debug, Clone, Default)]
pub struct Parts(IndexMap<PartId, Arc<dyn Part>>);

impl Parts {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Part>> {
        self.0.values()
    }

    /// The part of this id.
    pub fn get(&self, id: &PartId) -> Option<&Arc<dyn Part>> {
        self.0.get(id)
    }

    /// The part of this id, if it is a `P`.
    pub fn find<P: Part>(&self, id: &PartId) -> Option<&P> {
        self.get(id).and_then(downcast)
    }

    /// Those that are `P`s.
    pub fn all<P: Part>(&self) -> impl Iterator<Item = &P> {
        self.iter().filter_map(downcast)
    }

    /// The sinks that they use, themselves or by their handlers, each once; not those that others stand before.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        let mut add = |sink: &Arc<dyn Sink>| {
            if !sinks.iter().any(|known| Arc::ptr_eq(known, sink)) {
                sinks.push(Arc::clone(sink));
            }
        };
        for used in self.iter().flat_map(|part| part.uses()) {
            match &used.object {
                Object::Sink(sink) => add(sink),
                Object::Handler(handler) => own_logs(handler).for_each(&mut add),
                Object::Resolver(_) => {}
            }
        }
        sinks
    }

    /// Adds a part, in place of the one of its id.
    pub(crate) fn put(&mut self, part: Arc<dyn Part>) {
        self.0.insert(part.id().clone(), part);
    }

    /// The part of this id, to be changed: a copy, if anybody else holds it.
    pub(crate) fn edit<P: Part + Clone>(&mut self, id: &PartId) -> Option<&mut P> {
        let part = self.0.get_mut(id)?;
        if Arc::get_mut(part).is_none() {
            *part = Arc::new(downcast::<P>(part)?.clone());
        }
        let part: &mut dyn Any = Arc::get_mut(part)?;
        part.downcast_mut()
    }

    pub(crate) fn remove(&mut self, id: &PartId) -> Option<Arc<dyn Part>> {
        self.0.shift_remove(id)
    }

    /// The same, each part as `change` has it; of the same ids.
    pub(crate) fn map(self, mut change: impl FnMut(Arc<dyn Part>) -> Arc<dyn Part>) -> Self {
        Self(self.0.into_iter().map(|(id, part)| (id, change(part))).collect())
    }

    /// Whether these are the very same, in the same order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().zip(other.iter()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Whether this very part is among them.
    pub(crate) fn has(&self, part: &Arc<dyn Part>) -> bool {
        self.get(part.id()).is_some_and(|known| Arc::ptr_eq(known, part))
    }
}

/// The running part, if it is `same` as `part`; else that one: the end of a [`Part::settle`].
pub(crate) fn unless_same<P: Part>(
    part: Arc<P>,
    running: &Arc<dyn Part>,
    same: impl FnOnce(&P, &P) -> bool,
) -> Arc<dyn Part> {
    let is_same = downcast(running).is_some_and(|running| same(&part, running));
    if is_same { Arc::clone(running) } else { part }
}

/// `part` as what it is, if it is a `P`.
pub(crate) fn downcast<P: Part>(part: &Arc<dyn Part>) -> Option<&P> {
    let part: &dyn Any = part.as_ref();
    part.downcast_ref()
}
