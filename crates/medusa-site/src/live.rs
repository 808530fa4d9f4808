//! The running Site, and how a change of it is published.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use medusa_log::SinkError;
use medusa_log::events::EventSinks;
use medusa_monitor::Sessions;
use medusa_monitor::ssh::SshIntake;
use medusa_net::Workers;
use medusa_proto::author::Author;
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::draft::Draft;
use crate::gate::{Busy, Gate, Pass};
use crate::interner::Interner;
use crate::part::{Environment, Place, Prepare, Running};
use crate::prepare::{PublishError, bind, check_addresses, prepare};
use crate::site::Site;

/// The running Site.
#[derive(Debug)]
pub struct Live {
    current: Arc<ArcSwap<Site>>,
    interner: Interner,
    environment: Environment,
    sessions: Arc<Sessions>,
    gate: Arc<Gate>,
    /// What requests may still hold of parts that were retired.
    retired: Mutex<Vec<Weak<dyn Any + Send + Sync>>>,
}

/// The right to change the Site, and the draft of the change. Dropping it abandons the change.
pub struct Change {
    /// The Site that is to be.
    pub draft: Draft,
    author: Author,
    pass: Arc<Pass>,
}

impl Change {
    /// Whether it was given up meanwhile, because others had waited for too long: then it cannot be published.
    pub fn is_given_up(&self) -> bool {
        !self.pass.is_held()
    }

    fn into_draft(mut self) -> (Draft, Author) {
        let nothing = Draft::fresh(Arc::clone(self.draft.base()));
        (std::mem::replace(&mut self.draft, nothing), self.author.clone())
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        // Who waits may be looking at the pass just now, and must not be who frees the gate.
        drop(self.pass.take());
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("author", &self.author)
            .field("draft", &self.draft)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// An empty Site, served by `workers`.
    pub fn new(workers: Workers) -> Arc<Self> {
        Self::with(Some(workers))
    }

    /// A Site that is never served, only checked: nothing can be published.
    pub fn rehearsal() -> Arc<Self> {
        Self::with(None)
    }

    fn with(workers: Option<Workers>) -> Arc<Self> {
        Arc::new(Self {
            current: Arc::new(ArcSwap::from_pointee(Site::empty())),
            interner: Interner::default(),
            environment: Environment { workers, events: Arc::default(), ssh: Arc::default() },
            sessions: Arc::default(),
            gate: Arc::default(),
            retired: Mutex::default(),
        })
    }

    /// The Site of this instant.
    pub fn site(&self) -> Arc<Site> {
        self.current.load_full()
    }

    /// Handlers, sinks and resolvers by their arguments.
    pub fn interner(&self) -> &Interner {
        &self.interner
    }

    /// Passes the server's own events on to the sinks of the running Site.
    pub fn events(&self) -> &Arc<EventSinks> {
        &self.environment.events
    }

    /// The SSH connections of the monitor, for whoever serves them.
    pub fn ssh(&self) -> &Arc<SshIntake> {
        &self.environment.ssh
    }

    /// The sessions of the monitor that are open.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The workers, unless this is only a rehearsal.
    pub fn workers(&self) -> Option<&Workers> {
        self.environment.workers.as_ref()
    }

    /// Begins a change that edits the Site, once those before it are done. `told` hears whose they are.
    pub async fn begin(&self, author: Author, told: impl FnMut(Busy)) -> Change {
        let pass = self.gate.enter(&author, true, told).await;
        Change { draft: Draft::edit_of(self.site()), author, pass }
    }

    /// Begins a change that makes the Site anew, once those before it are done. `told` hears whose they are.
    pub async fn begin_fresh(&self, author: Author, told: impl FnMut(Busy)) -> Change {
        let pass = self.gate.enter(&author, false, told).await;
        Change { draft: Draft::fresh(self.site()), author, pass }
    }

    /// Prepares a change as far as that leaves no trace, and returns what the Site would be, without listeners.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn rehearse(&self, change: Change) -> Result<Site, PublishError> {
        let (draft, author) = change.into_draft();
        let parts = draft.settle();
        check_addresses(&parts)?;
        let objects = prepare(&parts, &self.site(), Prepare::Trial).await?;
        Ok(Site { author, parts, objects, ..Site::empty() })
    }

    /// Prepares and publishes a change, and retires what it leaves unused. Returns the new Site.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]. The running Site goes on unchanged.
    pub async fn publish(&self, change: Change) -> Result<Arc<Site>, PublishError> {
        let Some(workers) = &self.environment.workers else { return Ok(self.site()) };
        let _held = change.pass.take()?;
        let old = self.site();
        let (draft, author) = change.into_draft();

        let parts = draft.settle();
        check_addresses(&parts)?;
        let objects = prepare(&parts, &old, Prepare::Publish(&self.environment)).await?;
        let listeners = bind(&parts, &old, workers, &self.running()).await?;

        // From here on nothing waits and nothing fails, so whoever asked for the change may leave without leaving half of it.
        let (generation, at) = (old.generation + 1, SystemTime::now());
        let new = Arc::new(Site { generation, author, at, parts, listeners, objects });
        self.current.store(Arc::clone(&new));
        self.open(&old, &new);
        self.retire(&old, &new);
        Ok(new)
    }

    fn running(&self) -> Arc<dyn Running> {
        Arc::<ArcSwap<Site>>::clone(&self.current)
    }

    /// Has what is new in `new` begin.
    fn open(&self, old: &Site, new: &Site) {
        new.parts
            .iter()
            .filter(|part| !old.parts.has(part))
            .for_each(|part| part.publish(&new.parts, &self.environment));
        for bound in &new.listeners {
            if let Some(part) = new.parts.get(&bound.part) {
                bound.door.lead_to(&**part, Place { running: self.running(), listener: bound.listener.id() });
            }
            bound.listener.start();
        }
    }

    /// Lets go of what `new` no longer has: listeners close, their connections end with the request they are at. Requests
    /// under way keep what they started on; a sink that is dropped writes what it holds; parts and objects are told.
    fn retire(&self, old: &Site, new: &Site) {
        for bound in &old.listeners {
            if !new.listeners.iter().any(|kept| Arc::ptr_eq(&kept.listener, &bound.listener)) {
                bound.listener.close();
                bound.listener.drain();
            }
        }
        let mut held = Vec::new();
        for part in old.parts.iter().filter(|part| !new.parts.has(part)) {
            part.retire(&new.parts, &self.environment);
            held.extend(part.held());
        }
        let mut retired = self.retired.lock();
        retired.retain(|part| part.strong_count() > 0);
        retired.extend(held);
        drop(retired);
        let kept: HashSet<_> = new.objects.iter().map(|held| held.object.address()).collect();
        let gone = old.objects.iter().filter(|held| !kept.contains(&held.object.address()));
        gone.for_each(|held| held.object.retire());
    }

    /// Has every sink in use open its target anew, because someone moved the old one away. Returns what failed; the others
    /// are opened all the same.
    pub fn reopen(&self) -> Vec<SinkError> {
        self.site().sinks().filter_map(|sink| sink.reopen().err()).collect()
    }

    /// The running Site as a document, with how many retired parts requests still hold to finish, and with all
    /// resolvers that somebody holds: the Site, a log, a script.
    pub fn status(&self) -> Status {
        let site = self.site().status().gauge("retired_servers_in_use", self.retired_in_use());
        let counts = self.interner.counts().into_iter();
        let site =
            counts.fold(site, |site, (what, count)| site.gauge(what, count)).children(self.gate.status());
        site.children(self.interner.resolvers().iter().map(|resolver| resolver.status()))
    }

    /// The number of retired parts that requests still hold.
    pub fn retired_in_use(&self) -> usize {
        let retired = self.retired.lock();
        retired.iter().filter(|part| part.strong_count() > 0).count()
    }
}
