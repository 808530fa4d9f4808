//! The running Site, and how a change of it is published.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use medusa_http::{Directory, Handler, HttpAccept, Listen, PinnedServer, Server};
use medusa_log::events::EventSinks;
use medusa_net::{ListenAddr, ListenerId, Workers};
use medusa_proto::status::Status;

use crate::draft::Draft;
use crate::gate::{Busy, Gate, Hand, Pass};
use crate::parts::Parts;
use crate::prepare::{Prepared, PublishError, Rehearsed, prepare, rehearse};
use crate::site::{Bound, Site};

/// The running Site.
#[derive(Debug)]
pub struct Live {
    current: Arc<ArcSwap<Site>>,
    parts: Parts,
    /// What passes the server's own events on.
    events: Arc<EventSinks>,
    /// None where nothing is served, only checked.
    workers: Option<Workers>,
    gate: Arc<Gate>,
    retired: Mutex<Vec<Weak<Server>>>,
}

/// The right to change the Site, and the draft of the change. Dropping it abandons the change.
pub struct Change {
    /// What the Site is to become.
    pub draft: Draft,
    by: Arc<str>,
    pass: Arc<Pass>,
}

impl Change {
    /// Whether it was given up meanwhile, because others had waited for too long: then it cannot be published.
    pub fn is_given_up(&self) -> bool {
        !self.pass.is_held()
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
        f.debug_struct("Change").field("by", &self.by).field("draft", &self.draft).finish_non_exhaustive()
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
            parts: Parts::default(),
            events: Arc::default(),
            workers,
            gate: Arc::default(),
            retired: Mutex::default(),
        })
    }

    /// The Site of this instant.
    pub fn site(&self) -> Arc<Site> {
        self.current.load_full()
    }

    /// Handlers, sinks and resolvers by their arguments.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What passes the server's own events on, to the sinks of the running Site.
    pub fn events(&self) -> &Arc<EventSinks> {
        &self.events
    }

    /// The workers, unless this is only a rehearsal.
    pub fn workers(&self) -> Option<&Workers> {
        self.workers.as_ref()
    }

    /// Begins a change that edits the Site, once those before it are done. `told` hears whose they are.
    pub async fn begin(&self, by: impl Into<Arc<str>>, hand: Hand, told: impl FnMut(Busy)) -> Change {
        let by = by.into();
        let pass = self.gate.enter(&by, hand, true, told).await;
        Change { draft: Draft::edit(self.site()), by, pass }
    }

    /// Begins a change that makes the Site anew, once those before it are done. `told` hears whose they are.
    pub async fn begin_fresh(&self, by: impl Into<Arc<str>>, told: impl FnMut(Busy)) -> Change {
        let by = by.into();
        let pass = self.gate.enter(&by, Hand::Operator, false, told).await;
        Change { draft: Draft::fresh(self.site()), by, pass }
    }

    /// Prepares a draft as far as that leaves no trace, and returns what the Site would be.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn rehearse(&self, change: &Change) -> Result<Rehearsed, PublishError> {
        rehearse(&change.draft).await
    }

    /// Prepares and publishes a change, and retires what it leaves unused. Returns the new Site.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]. The running Site goes on unchanged.
    pub async fn publish(&self, change: Change) -> Result<Arc<Site>, PublishError> {
        let Some(workers) = &self.workers else { return Ok(self.site()) };
        let _held = change.pass.take()?;
        let Prepared { servers, listeners, resolver, opened } = prepare(&change.draft, workers.len()).await?;
        let events = change.draft.events().to_vec();
        if let Some(first) = events.first() {
            let origin = || Arc::clone(&first.origin);
            self.events.start().map_err(|source| PublishError::Sink { origin: origin(), source })?;
        }
        for (bound, server) in &opened {
            self.start(bound, server, workers).await?;
        }
        // From here on nothing waits, so whoever asked for the change may leave without leaving half of it.
        let old = self.site();
        let new = Arc::new(Site {
            generation: old.generation + 1,
            by: Arc::clone(&change.by),
            at: SystemTime::now(),
            servers,
            listeners,
            events,
            resolver,
        });
        self.current.store(Arc::clone(&new));
        self.events.route(new.events.iter().map(|events| events.route.clone()).collect());
        self.retire(&old, &new);
        workers.post_each(|| PINNED.with_borrow_mut(Vec::clear));
        Ok(new)
    }

    async fn start(
        &self,
        bound: &Bound,
        server: &Arc<Server>,
        workers: &Workers,
    ) -> Result<(), PublishError> {
        let (listener, addr) = (&bound.listener, bound.addr.clone());
        let directory = ListenerDirectory {
            current: Arc::clone(&self.current),
            listener: listener.id(),
            addr,
            first: Arc::downgrade(server),
        };
        let accept = Arc::new(HttpAccept::new(Arc::new(directory)));
        let origin = || Arc::clone(&server.parts.origin);
        let started = listener.start(workers, accept).await;
        started.map_err(|source| PublishError::Start { origin: origin(), source })
    }

    /// Lets go of what `new` no longer uses: listeners close, their connections end with the request they are at.
    /// Requests under way keep what they started on; a sink that is dropped writes what it holds; handlers are told.
    fn retire(&self, old: &Site, new: &Site) {
        for bound in &old.listeners {
            if !new.listeners.iter().any(|kept| Arc::ptr_eq(&kept.listener, &bound.listener)) {
                bound.listener.close();
                bound.listener.drain();
            }
        }
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|server| server.strong_count() > 0);
        retired.extend(
            (old.servers.iter())
                .filter(|server| !new.servers.iter().any(|kept| Arc::ptr_eq(kept, server)))
                .map(Arc::downgrade),
        );
        drop(retired);
        let kept: HashSet<*const ()> = handlers(new).map(identity).collect();
        handlers(old).filter(|handler| !kept.contains(&identity(handler))).for_each(|gone| gone.retire());
    }

    /// The running Site as a document, with how many replaced servers still have requests to finish, and with all
    /// resolvers that somebody holds: the Site, a log, a script.
    pub fn status(&self) -> Status {
        let site = self.site().status().gauge("retired_servers_in_use", self.retired_in_use());
        let counts = self.parts.counts().into_iter();
        let site =
            counts.fold(site, |site, (what, count)| site.gauge(what, count)).children(self.gate.status());
        site.children(self.parts.resolvers().iter().map(|resolver| resolver.status()))
    }

    /// How many replaced servers still have requests to finish.
    pub fn retired_in_use(&self) -> usize {
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.iter().filter(|server| server.strong_count() > 0).count()
    }
}

fn identity(handler: &Arc<dyn Handler>) -> *const () {
    Arc::as_ptr(handler).cast()
}

/// The handlers of a Site, and those they wrap; one that is mounted twice comes twice.
fn handlers(site: &Site) -> impl Iterator<Item = &Arc<dyn Handler>> {
    let mounts = site.servers.iter().flat_map(|server| &server.parts.mounts);
    mounts.flat_map(|mount| std::iter::successors(Some(&mount.handler), |handler| handler.wrapped()))
}

/// Answers for one listener out of the running Site.
#[derive(Debug)]
struct ListenerDirectory {
    current: Arc<ArcSwap<Site>>,
    listener: ListenerId,
    /// As the script wrote it.
    addr: ListenAddr,
    /// For who connects between the listener's start and its publication.
    first: Weak<Server>,
}

impl Directory for ListenerDirectory {
    fn listen(&self) -> Option<Listen> {
        if let Some(listen) = self.current.load().listen_on(self.listener) {
            return Some(listen.clone());
        }
        let first = self.first.upgrade()?;
        first.parts.listen.iter().find(|listen| listen.addr == self.addr).cloned()
    }

    fn current(&self) -> Option<PinnedServer> {
        let site = self.current.load();
        PINNED.with_borrow_mut(|pinned| {
            let known = pinned.iter().position(|known| known.listener == self.listener);
            if let Some(at) = known {
                if pinned[at].generation == site.generation {
                    return Some(Rc::clone(&pinned[at].server));
                }
                pinned.swap_remove(at);
            }
            let Some(server) = site.server_on(self.listener) else {
                return self.first.upgrade().map(Rc::new);
            };
            let server = Rc::new(Arc::clone(server));
            pinned.push(Pinned {
                listener: self.listener,
                generation: site.generation,
                server: Rc::clone(&server),
            });
            Some(server)
        })
    }
}

/// A server as this worker last saw it. Forgotten at every publication, so that nothing of an old generation is kept
/// longer than its requests last.
#[derive(Debug)]
struct Pinned {
    listener: ListenerId,
    generation: u64,
    server: PinnedServer,
}

thread_local! {
    static PINNED: RefCell<Vec<Pinned>> = const { RefCell::new(Vec::new()) };
}
