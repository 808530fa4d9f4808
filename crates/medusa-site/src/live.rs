//! The running Site, and how a change of it is published.

use std::any::Any;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use medusa_http::{TraceFilter, UnderWay, UseCounts};
use medusa_log::SinkError;
use medusa_log::events::EventSinks;
use medusa_monitor::classic::ClassicIntake;
use medusa_monitor::ssh::SshIntake;
use medusa_monitor::{Sessions, TimerInfo};
use medusa_net::Workers;
use medusa_proto::author::{Approval, Author};
use medusa_proto::status::Status;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::approval::{ApprovalError, Proposal, Proposals};
use crate::diff::{Differences, differences};
use crate::draft::Draft;
use crate::gate::{Busy, Gate, Pass};
use crate::history::{Generation, History, HistoryError};
use crate::in_use::{HandlerState, HandlerUse, HandlerVersion, HandlerVersions};
use crate::interner::Interner;
use crate::part::{Environment, Part, Parts, Place, Prepare, Running};
use crate::parts::{HttpServer, MAX_TIMERS, Timer};
use crate::pending::{Pending, Trial, TrialError, TrialTerms, Unconfirmed};
use crate::prepare::{PublishError, bind, check_addresses, prepare};
use crate::scope::{self, OutOfScope};
use crate::site::Site;

/// The most handlers that are listed: many, and few enough to show.
const MOST_HANDLERS: usize = 1000;

/// How many servers are named in a message.
const MOST_NAMED: usize = 10;

/// The running Site.
#[derive(Debug)]
pub struct Live {
    current: Arc<ArcSwap<Site>>,
    interner: Interner,
    environment: Environment,
    sessions: Arc<Sessions>,
    gate: Arc<Gate>,
    trial: Trial,
    pub(crate) proposals: Proposals,
    history: Mutex<History>,
    /// The number of the generation that this process has published last.
    published: watch::Sender<u64>,
    versions: Mutex<HandlerVersions>,
    /// What requests may still hold of parts that were retired.
    retired: Mutex<Vec<Weak<dyn Any + Send + Sync>>>,
}

/// The draft of a change of the Site, mostly with the right to change it. Dropping it abandons the change.
pub struct Change {
    /// The Site that is to be.
    pub draft: Draft,
    /// The reason, for the history.
    pub reason: Option<Arc<str>>,
    /// How long it is on trial once it is published: it is taken back unless it is confirmed within that time. None: it is
    /// there for good, as is the first one, before which there was nothing.
    pub trial: Option<TrialTerms>,
    pub(crate) author: Author,
    /// As what it was shown last; an approval is of that.
    pub(crate) proposal: Option<Arc<Proposal>>,
    /// The generation whose load of the script its draft is of; none: it is a load itself.
    loaded: Option<u64>,
    /// None: it waits for the right to change the Site only when it is published.
    pass: Option<Arc<Pass>>,
    /// Whether it takes back what is on trial.
    pub(crate) reverts: bool,
}

/// What a change has come to.
#[derive(Debug)]
pub struct Published {
    /// The Site that is running now.
    pub site: Arc<Site>,
    /// What the history says of it; none if this is only a rehearsal.
    pub generation: Option<Generation>,
}

impl Change {
    /// Whether it was given up meanwhile, because others had waited for too long: then it cannot be published.
    pub fn is_given_up(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| !pass.is_held())
    }

    fn new(draft: Draft, author: Author, loaded: Option<u64>, pass: Option<Arc<Pass>>) -> Self {
        let (reason, trial, proposal) = Default::default();
        Self { draft, reason, trial, author, proposal, loaded, pass, reverts: false }
    }

    fn take_draft(&mut self) -> Draft {
        let nothing = Draft::fresh(Arc::clone(self.draft.base()));
        std::mem::replace(&mut self.draft, nothing)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        // Who waits may be looking at the pass just now, and must not be who frees the gate.
        drop(self.pass.as_ref().map(|pass| pass.take()));
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
            environment: Environment {
                workers,
                events: Arc::default(),
                ssh: Arc::default(),
                classic: Arc::default(),
            },
            sessions: Arc::default(),
            gate: Arc::default(),
            trial: Trial::default(),
            proposals: Proposals::default(),
            history: Mutex::default(),
            published: watch::Sender::new(0),
            versions: Mutex::default(),
            retired: Mutex::default(),
        })
    }

    /// Has the history begin with what is known of what earlier processes have published, in its order, before the first load. The
    /// `last` number that they have used is used by none again.
    pub fn restore(&self, known: Vec<Generation>, last: u64) {
        if *self.published.borrow() == 0 {
            let last = known.last().map_or(last, |known| last.max(known.number));
            self.current.store(Arc::new(Site::empty_after(last)));
            self.history.lock().restore(known);
        }
    }

    /// Hears of each publication, once it is in the history, the number of its generation; of several at once the last.
    pub fn watch_published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
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

    /// The connections of the monitor's old clients, for whoever serves them.
    pub fn classic(&self) -> &Arc<ClassicIntake> {
        &self.environment.classic
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
        let base = self.site();
        let loaded = base.loaded;
        Change::new(Draft::edit_of(base), author, Some(loaded), Some(pass))
    }

    /// Begins a change that edits the Site and may take long, for it holds up nobody: should the Site have changed
    /// meanwhile, it is not published.
    pub fn begin_apart(&self, author: Author) -> Change {
        let base = self.site();
        let loaded = base.loaded;
        Change::new(Draft::edit_of(base), author, Some(loaded), None)
    }

    /// Begins a change that makes the Site anew, once those before it are done. `told` hears whose they are.
    pub async fn begin_fresh(&self, author: Author, told: impl FnMut(Busy)) -> Change {
        let pass = self.gate.enter(&author, false, told).await;
        Change::new(Draft::fresh(self.site()), author, None, Some(pass))
    }

    /// Begins a change that has the Site become what generation `number` was, once those before it are done. `told` hears
    /// whose they are.
    ///
    /// # Errors
    ///
    /// See [`HistoryError`].
    pub async fn begin_rollback(
        &self,
        number: u64,
        author: Author,
        told: impl FnMut(Busy),
    ) -> Result<Change, HistoryError> {
        let pass = self.gate.enter(&author, false, told).await;
        let base = self.site();
        let (parts, loaded) = {
            let history = self.history.lock();
            let whole = history.parts_of(number)?;
            if number == base.generation {
                return Err(HistoryError::Running(number));
            }
            (whole.parts.clone(), whole.loaded)
        };
        Ok(Change::new(Draft::back_to(parts, base), author, Some(loaded), Some(pass)))
    }

    /// Prepares a change as far as that leaves no trace, and returns what the Site would be, without listeners.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub async fn rehearse(&self, mut change: Change) -> Result<Site, PublishError> {
        let parts = change.take_draft().settle();
        check_addresses(&parts)?;
        let is_load = change.loaded.is_none();
        let objects = prepare(&parts, &self.site(), is_load, Prepare::Trial).await?;
        Ok(Site { author: change.author.clone(), parts, objects, ..Site::empty() })
    }

    /// Prepares and publishes a change, and retires what it leaves unused.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]. The running Site goes on unchanged.
    pub async fn publish(&self, mut change: Change) -> Result<Published, PublishError> {
        let Some(workers) = &self.environment.workers else {
            return Ok(Published { site: self.site(), generation: None });
        };
        let pass = match &change.pass {
            Some(pass) => Arc::clone(pass),
            None => self.gate.enter(&change.author, false, |_| {}).await,
        };
        let _held = pass.take()?;
        if !change.reverts {
            self.trial.check()?;
        }
        let old = self.site();
        let base = change.draft.base();
        if base.generation != old.generation {
            let changes = differences(&base.parts, &old.parts);
            return Err(PublishError::Stale { base: base.generation, now: old.generation, changes });
        }

        change.author = change.approved()?;
        let parts = change.take_draft().settle();
        let is_same_script = change.loaded == Some(old.loaded);
        scope::check(&change.author, is_same_script, &old.parts, &parts)?;
        check_addresses(&parts)?;
        let how = Prepare::Publish(&self.environment);
        let objects = prepare(&parts, &old, change.loaded.is_none(), how).await?;
        let listeners = bind(&parts, &old, workers, &self.running()).await?;

        // From here on nothing waits and nothing fails, so whoever asked for the change may leave without leaving half of it.
        let (generation, at, begun) = (old.generation + 1, SystemTime::now(), Instant::now());
        let loaded = change.loaded.unwrap_or(generation);
        let author = change.author.clone();
        let new = Arc::new(Site { generation, loaded, author, at, parts, listeners, objects });
        self.current.store(Arc::clone(&new));
        self.open(&old, &new);
        self.retire(&old, &new);
        let generation = self.remember(&old, &new, &change, begun.elapsed());
        Ok(Published { site: new, generation })
    }

    /// Enters what was published into the history.
    fn remember(&self, old: &Site, new: &Arc<Site>, change: &Change, took: Duration) -> Option<Generation> {
        if change.reverts {
            self.trial.reverted(None);
        } else if let Some(terms) = change.trial.as_ref().filter(|_| *self.published.borrow() > 0) {
            self.trial.begin(new.generation, old.generation, change.author.clone(), terms);
        }
        self.versions.lock().note(old, new);
        let mut history = self.history.lock();
        history.add(old, new, took, change.reason.clone());
        let gone = history.trim(new, self.trial.pending().map(|pending| pending.back_to));
        let added = history.get(new.generation).ok();
        drop(history);
        drop(gone);
        self.published.send_replace(new.generation);
        added
    }

    /// A generation that has just been published, for whoever did it: `generation 8: + /hello  (2 of 2 workers, 41 µs)`.
    pub fn report(&self, generation: &Generation) -> String {
        let workers = self.environment.workers.as_ref().map_or(0, Workers::len);
        let Generation { number, changes, took, author, .. } = generation;
        let approved = match &author.approval {
            Approval::By(who) => format!(", approved by {who}"),
            Approval::Free | Approval::Needed => String::new(),
        };
        let report = format!(
            "generation {number}{approved}: {changes}  ({workers} of {workers} workers, {} µs)",
            took.as_micros()
        );
        match self.pending().filter(|pending| pending.generation == *number) {
            Some(pending) => {
                let left = pending.left().as_secs_f64().ceil();
                let guard =
                    pending.guard.map(|guard| format!(", at once at {}", guard.said())).unwrap_or_default();
                let unkept =
                    pending.unkept.map(|why| format!("; not kept over a crash: {why}")).unwrap_or_default();
                format!(
                    "{report}; goes back to {} in {left} s unless confirm(){guard}{unkept}",
                    pending.back_to
                )
            }
            None => report,
        }
    }

    /// The generations whose loads of the script those are of that are kept whole.
    pub fn loads(&self) -> BTreeSet<u64> {
        self.history.lock().whole().map(|whole| whole.loaded).collect()
    }

    /// The generations that are remembered, the last first.
    pub fn generations(&self) -> Vec<Generation> {
        self.history.lock().all().collect()
    }

    /// Those of them that are later than generation `number`.
    pub fn generations_since(&self, number: u64) -> Vec<Generation> {
        self.history.lock().all().take_while(|generation| generation.number > number).collect()
    }

    /// The numbers and authors of the generations that are remembered, the first first.
    pub fn remembered(&self) -> Vec<(u64, Author)> {
        self.history.lock().authors().collect()
    }

    /// What generation `number` was.
    ///
    /// # Errors
    ///
    /// It is not remembered.
    pub fn generation(&self, number: u64) -> Result<Generation, HistoryError> {
        self.history.lock().get(number)
    }

    /// Has a trace take only those requests of which `option` is `value`. See [`TraceFilter::set`].
    ///
    /// # Errors
    ///
    /// What the value must be; the name of a server must be that of one that is there.
    pub fn filter_trace(&self, filter: &mut TraceFilter, option: &str, value: &str) -> Result<(), String> {
        filter.set(option, value)?;
        if option != "server" {
            return Ok(());
        }
        let site = self.site();
        let names: Vec<&str> =
            site.parts.all::<HttpServer>().map(|server| &*server.definition.name).collect();
        if names.contains(&value) {
            return Ok(());
        }
        let more = names.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = names.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
        Err(format!("the name of an HTTP server that there is, not {value:?}; there are: {named}{more}"))
    }

    /// The differences of generation `to` from generation `from`.
    ///
    /// # Errors
    ///
    /// One of them is not known, or not kept whole any more.
    pub fn diff(&self, from: u64, to: u64) -> Result<Differences, HistoryError> {
        let history = self.history.lock();
        Ok(differences(&history.parts_of(from)?.parts, &history.parts_of(to)?.parts))
    }

    /// Has the history let go of all parts that are neither running nor what a change on trial goes back to; or of those
    /// of them that were made by the load of generation `load`. Returns whether there were any.
    pub fn forget(&self, load: Option<u64>) -> bool {
        let needed = self.pending().map(|pending| pending.back_to);
        let gone = self.history.lock().forget(&self.site(), needed, load);
        !gone.is_empty()
    }

    /// The change on trial, if there is one.
    pub fn pending(&self) -> Option<Pending> {
        self.trial.pending()
    }

    /// Tells when a change is put on trial, and when that ends.
    pub fn watch_trial(&self) -> watch::Receiver<Option<Pending>> {
        self.trial.watch()
    }

    /// Whether a change could be published now, as far as another's trial goes.
    ///
    /// # Errors
    ///
    /// One is on trial.
    pub fn check_trial(&self) -> Result<(), Unconfirmed> {
        self.trial.check()
    }

    /// Confirms the change on trial, if it is the one that published generation `number`; which it was.
    ///
    /// # Errors
    ///
    /// See [`ConfirmError`].
    pub fn confirm(&self, number: Option<u64>, author: &Author) -> Result<u64, ConfirmError> {
        self.check_decides(author)?;
        Ok(self.trial.update(number, |_| None)?.generation)
    }

    /// Gives the change on trial `time` more from now on.
    ///
    /// # Errors
    ///
    /// See [`ConfirmError`].
    pub fn extend_trial(&self, time: Duration, author: &Author) -> Result<Pending, ConfirmError> {
        self.check_decides(author)?;
        Ok(self.trial.update(None, |pending| Some(pending.extended(time)))?)
    }

    /// Takes the change on trial back, if it is the one that published generation `number`. Where that fails, it stays on
    /// trial for another `again`.
    ///
    /// # Errors
    ///
    /// See [`TrialError`] and [`PublishError`].
    pub async fn revert(
        &self,
        number: Option<u64>,
        author: Author,
        again: Duration,
    ) -> Result<Published, RevertError> {
        self.check_decides(&author)?;
        // From now on it cannot be confirmed.
        let pending = self.trial.update(number, |pending| Some(pending.reverting()))?;
        let undone = ResumeTrial { trial: &self.trial, again };
        let mut change = self.begin_rollback(pending.back_to, author, |_| {}).await?;
        change.reverts = true;
        let published = self.publish(change).await?;
        std::mem::forget(undone);
        Ok(published)
    }

    /// Whether `author` may decide on the change on trial.
    fn check_decides(&self, author: &Author) -> Result<(), ConfirmError> {
        let Some(pending) = self.pending() else { return Ok(()) };
        // Who approved what is on trial has approved that it stays.
        let is_approved = matches!(pending.by.approval, Approval::By(_)) && pending.by.login == author.login;
        if author.approval == Approval::Needed && !is_approved {
            return Err(ApprovalError::OtherTrial(pending.generation).into());
        }
        let history = self.history.lock();
        // It is kept whole for as long as it may be gone back to.
        let Ok(before) = history.parts_of(pending.back_to) else { return Ok(()) };
        let site = self.site();
        Ok(scope::check(author, before.loaded == site.loaded, &before.parts, &site.parts)?)
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

    /// The handlers of all mounts that are running, kept by the history or still in use: those with something under way first,
    /// then by the generation that published them, the last first; at most 1000.
    pub fn handlers(&self) -> Vec<HandlerUse> {
        let mut all = self.handlers_of(|_| true);
        all.sort_by_key(|one| (!one.counts.any(), std::cmp::Reverse(one.generation)));
        all.truncate(MOST_HANDLERS);
        all
    }

    /// Those of them that are `wanted`, in the order they were published.
    fn handlers_of(&self, wanted: impl Fn(&HandlerVersion) -> bool) -> Vec<HandlerUse> {
        let versions = self.versions.lock().all();
        let (site, history) = (self.site(), self.history.lock());
        let state = |version: &_| {
            if HandlerVersions::is_in(version, &site.parts) {
                HandlerState::Running
            } else if history.whole().any(|whole| HandlerVersions::is_in(version, &whole.parts)) {
                HandlerState::Kept
            } else {
                HandlerState::Retired
            }
        };
        let wanted = versions.iter().filter(|version| wanted(version));
        wanted.filter_map(|version| version.in_use(state(version))).collect()
    }

    /// The timers: those that run, then those that are paused, as they are in generations that can be gone back to; at most
    /// [`MAX_TIMERS`].
    pub fn timers(&self) -> Vec<TimerInfo> {
        let (site, history) = (self.site(), self.history.lock());
        let kept = history.whole().flat_map(|whole| whole.parts.all::<Timer>());
        let mut seen = HashSet::new();
        let all = site.parts.all::<Timer>().chain(kept).filter(|timer| seen.insert(timer.id()));
        all.take(MAX_TIMERS).map(Timer::info).collect()
    }

    /// How much is under way on the handlers that each generation has published, of those on which something is.
    pub fn under_way(&self) -> HashMap<u64, UseCounts> {
        self.versions.lock().by_generation()
    }

    /// What is under way on the handlers that generation `number` has published, of those that are an author's to end.
    ///
    /// # Errors
    ///
    /// There was no such generation.
    pub(crate) fn ended_by(&self, author: &Author, number: u64) -> Result<Vec<Arc<UnderWay>>, HistoryError> {
        let of = self.versions.lock().of(number);
        if of.is_empty() {
            self.generation(number)?;
        }
        let is_own = |version: &&HandlerVersion| scope::covers(author, version.server(), &version.pattern());
        Ok(of.iter().filter(is_own).filter_map(HandlerVersion::under_way).collect())
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
        let site = site.children(self.pending().map(|pending| pending.status()));
        let site = site.gauge("traces", medusa_http::traces());
        let used = self.handlers_of(|version| version.counts().any());
        let gone = used.iter().filter(|one| one.state != HandlerState::Running);
        let site = site.children(gone.map(HandlerUse::status));
        site.children(self.interner.resolvers().iter().map(|resolver| resolver.status()))
    }

    /// The number of retired parts that requests still hold.
    pub fn retired_in_use(&self) -> usize {
        fn held(parts: &Parts) -> impl Iterator<Item = *const ()> {
            parts.iter().filter_map(|part| part.held()).map(|held| held.as_ptr().cast())
        }
        let running: HashSet<*const ()> = held(&self.site().parts).collect();
        // Each is held once by its part, if the history has that.
        let history = self.history.lock();
        let history: HashSet<*const ()> = history.whole().flat_map(|whole| held(&whole.parts)).collect();
        let retired = self.retired.lock();
        let in_use = |part: &&Weak<dyn Any + Send + Sync>| {
            let address = part.as_ptr().cast();
            !running.contains(&address) && part.strong_count() > usize::from(history.contains(&address))
        };
        retired.iter().filter(in_use).count()
    }
}

/// Why a change on trial was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// There is none, or another.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// It has changed what is not its author's.
    #[error(transparent)]
    Scope(#[from] OutOfScope),
    /// It is that of somebody else.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
}

/// Why a change on trial was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    /// There is none, or another.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// It is not its author's to decide.
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
    /// What was before it is not known.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// It cannot be had again.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Has what was not taken back stay on trial.
struct ResumeTrial<'a> {
    trial: &'a Trial,
    again: Duration,
}

impl Drop for ResumeTrial<'_> {
    fn drop(&mut self) {
        self.trial.reverted(Some(self.again));
    }
}
