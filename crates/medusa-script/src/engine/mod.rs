//! The engine: the thread on which main VMs live, and the handle through which everyone else asks it for something.
//!
//! One thing at a time changes the site, but many run: a statement that waits, a slow reload and a hundred requests share
//! this thread slice by slice.

mod again;
mod history;
mod live_edits;
mod running;
mod statements;
mod trials;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use medusa_files::{OwnKind, OwnPath};
use medusa_monitor::Completion;
use medusa_monitor::protocol::PublishedInfo;
use medusa_net::{ListenAddr, Workers};
use medusa_proto::author::{Author, Via};
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_site::{Generation, HttpServer, Live, PublishError, TrialTerms};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinSet, spawn_local};

use self::running::RunningJob;
use crate::commands::{Commanded, Commands, Noted, Told};
use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::handler_files::Scripts;
use crate::history_file::HistoryFile;
use crate::inline::Call;
use crate::main_vm::{EntryScript, MainVm};
use crate::main_vms::MainVms;
use crate::recipe::{Files, Recipe, Recipes};
use crate::require::Sources;
use crate::rust_handlers::RustHandlers;
use crate::transaction::{Block, MAX_OUTPUT, ProgressSender, Transaction};
use crate::trial_record::{TrialNote, TrialRecord};
use crate::{probe, worker};

/// The number of requests to the engine that may wait.
const QUEUED_JOBS: usize = 64;

/// Why a server that is killed meanwhile does not start with what was before a trial.
const UNKNOWN: &str = "since the script was loaded there were too many statements to know them all, so a server that is killed now \
                       starts without them; put what is to stay into the script, and reload() first";

/// The script that the server is driven by.
#[derive(Debug, Clone)]
pub struct Program {
    /// The script's directory, canonical: relative paths and modules are below it.
    pub root: PathBuf,
    /// The script's name in messages: its file name.
    pub name: String,
    /// The source of its text.
    pub source: ProgramSource,
    /// The addresses to listen on instead of the script's; empty: the script's.
    pub listen: Vec<ListenAddr>,
    /// The state directory, for what is to survive a restart; none: it cannot be kept.
    pub state: Option<PathBuf>,
    /// The handlers that the program brings along.
    pub handlers: RustHandlers,
}

/// The source of a program's text.
#[derive(Debug, Clone)]
pub enum ProgramSource {
    /// The file [`Program::name`] in [`Program::root`], read anew at every load.
    File,
    /// This text.
    Text(String),
}

/// A place where the site listens for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The real address (port 0 resolved).
    pub addr: ListenAddr,
    /// Whether TLS is spoken there.
    pub encrypted: bool,
}

/// The outcome of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The generation.
    pub generation: u64,
    /// What it changed: `generation 8: + /hello  (2 of 2 workers, 41 µs)`.
    pub report: String,
    /// The addresses the site listens on.
    pub addresses: Vec<Address>,
}

/// The outcome of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// Its value, for a person; none if it has none.
    pub value: Option<String>,
    /// What it has published, the first one first.
    pub published: Vec<PublishedInfo>,
}

/// What a session leaves from one of its statements to the next: a change that it has begun. Ends when it is dropped.
#[derive(Debug, Clone, Default)]
pub struct SessionHandle(Arc<Block>);

type JobAnswer<T> = oneshot::Sender<Result<T, ScriptError>>;

enum Job {
    Load {
        author: Author,
        trial: Option<Duration>,
        events: Option<ProgressSender>,
        answer: JobAnswer<Loaded>,
    },
    Eval {
        session: SessionHandle,
        source: String,
        author: Author,
        events: Option<ProgressSender>,
        answer: JobAnswer<Evaluated>,
    },
    Rollback {
        number: u64,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
        answer: JobAnswer<Option<Generation>>,
    },
    Cancel {
        number: Option<u64>,
        author: Author,
        answer: JobAnswer<Option<Generation>>,
    },
    Confirm {
        number: Option<u64>,
        author: Author,
        answer: JobAnswer<u64>,
    },
    Save {
        reason: Arc<str>,
        author: Author,
        answer: JobAnswer<String>,
    },
    Drift {
        answer: JobAnswer<String>,
    },
    Complete {
        session: SessionHandle,
        source: String,
        at: usize,
        answer: JobAnswer<Completion>,
    },
    Status {
        answer: JobAnswer<Status>,
    },
    Running(RunningJob),
}

/// A handle to the engine. The engine ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: mpsc::Sender<Job>,
    live: Arc<Live>,
}

impl Engine {
    /// Starts the engine's thread. Nothing is loaded yet.
    ///
    /// # Errors
    ///
    /// The system refused the thread or its event loop.
    pub fn start(program: Program, workers: Workers) -> io::Result<Self> {
        let live = Live::new(workers);
        let (jobs, incoming) = mpsc::channel(QUEUED_JOBS);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let host_live = Arc::clone(&live);
        std::thread::Builder::new().name("medusa-script".into()).spawn(move || match runtime() {
            Ok(runtime) => {
                drop(ready.send(Ok(())));
                runtime.block_on(EngineThread::new(program, host_live).take_jobs(incoming));
            }
            Err(error) => drop(ready.send(Err(error))),
        })?;
        is_ready
            .recv()
            .unwrap_or_else(|_gone| Err(io::Error::other("the script thread ended before it was ready")))?;
        Ok(Self { jobs, live })
    }

    /// Runs the script in a fresh VM and publishes what it makes: start-up and reload. If anything fails, what is
    /// running goes on.
    ///
    /// # Errors
    ///
    /// What is wrong with the script, or with what it asks for.
    ///
    /// With a `trial` it is taken back unless it is confirmed within that time.
    pub async fn load(
        &self,
        author: Author,
        trial: Option<Duration>,
        events: Option<ProgressSender>,
    ) -> Result<Loaded, ScriptError> {
        self.ask(|answer| Job::Load { author, trial, events, answer }).await
    }

    /// Runs one statement of a session in the main VM, as one transaction or as a part of the one that the session has begun.
    /// Dropping the future stops the statement.
    ///
    /// # Errors
    ///
    /// What is wrong with the statement; it has then changed nothing.
    pub async fn eval(
        &self,
        session: SessionHandle,
        source: String,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<Evaluated, ScriptError> {
        self.ask(|answer| Job::Eval { session, source, author, events, answer }).await
    }

    /// Has generation `number` run again, as a new generation.
    ///
    /// # Errors
    ///
    /// It is not kept whole any more, or cannot be published.
    pub async fn rollback(
        &self,
        number: u64,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
    ) -> Result<Option<Generation>, ScriptError> {
        self.ask(|answer| Job::Rollback { number, author, reason, events, answer }).await
    }

    /// Confirms the change on trial, if it is the one that published generation `number`; which it was.
    ///
    /// # Errors
    ///
    /// There is none, or another.
    pub async fn confirm(&self, number: Option<u64>, author: Author) -> Result<u64, ScriptError> {
        self.ask(|answer| Job::Confirm { number, author, answer }).await
    }

    /// Takes the change on trial back, if it is the one that published generation `number`.
    ///
    /// # Errors
    ///
    /// There is none, or another; or what was before it cannot be published.
    pub async fn cancel(
        &self,
        number: Option<u64>,
        author: Author,
    ) -> Result<Option<Generation>, ScriptError> {
        self.ask(|answer| Job::Cancel { number, author, answer }).await
    }

    /// Writes what statements have changed since the last load to a file beside the script, which runs after it from now on;
    /// says which.
    ///
    /// # Errors
    ///
    /// There is nothing to save, or it cannot be written.
    pub async fn save(&self, reason: Arc<str>, author: Author) -> Result<String, ScriptError> {
        self.ask(|answer| Job::Save { reason, author, answer }).await
    }

    /// Says what is different between what runs and what is written.
    ///
    /// # Errors
    ///
    /// The files cannot be read.
    pub async fn drift(&self) -> Result<String, ScriptError> {
        self.ask(|answer| Job::Drift { answer }).await
    }

    /// What may stand at byte `at` of a statement of a session.
    ///
    /// # Errors
    ///
    /// The engine has ended.
    pub async fn complete(
        &self,
        session: SessionHandle,
        source: String,
        at: usize,
    ) -> Result<Completion, ScriptError> {
        self.ask(|answer| Job::Complete { session, source, at, answer }).await
    }

    /// The site and the VMs, as a document.
    pub async fn status(&self) -> Status {
        let answered = self.ask(|answer| Job::Status { answer }).await;
        answered.unwrap_or_else(|error| self.live.status().field("script", error.to_string()))
    }

    /// The running site.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    async fn ask<T>(&self, job: impl FnOnce(JobAnswer<T>) -> Job) -> Result<T, ScriptError> {
        let gone = || ScriptError::new("the script thread has ended");
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_closed| gone())?;
        answered.await.unwrap_or_else(|_dropped| Err(gone()))
    }
}

/// The event loop that scripts run on: one thread, nothing `Send`.
pub(crate) fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

/// Does everything a load does up to *prepare*: binds nothing, leaves no trace. Blocks. What the script prints is given to
/// `print`, line by line.
///
/// # Errors
///
/// What a load would fail with.
pub fn check(program: Program, mut print: impl FnMut(&str)) -> Result<Status, ScriptError> {
    let runtime = runtime().map_err(|error| ScriptError::new(error.to_string()))?;
    runtime.block_on(async move {
        // Room for every line there may be: a script prints many before anyone else has a turn.
        let (events, mut progress) = mpsc::channel(MAX_OUTPUT + 1);
        let mut told_line = |event| {
            if let TaskProgress::Output(line) = event {
                print(&line);
            }
        };
        let mut rehearsed = pin!(rehearse(program, events));
        let status = loop {
            tokio::select! {
                biased;
                Some(event) = progress.recv() => told_line(event),
                status = &mut rehearsed => break status,
            }
        };
        while let Ok(event) = progress.try_recv() {
            told_line(event);
        }
        status
    })
}

async fn rehearse(program: Program, events: ProgressSender) -> Result<Status, ScriptError> {
    let engine = EngineThread::new(program, Live::rehearsal());
    let sources = Sources::new(engine.program.root.clone());
    let author = Author::new(Via::Start, "check");
    let ((vm, _calls), transaction) = engine.run(author, Some(events), sources).await?;
    let rehearsal = transaction
        .take_change()
        .ok_or_else(|| ScriptError::new("the script's change was taken by someone else"))?;
    let made = engine.live.rehearse(rehearsal).await;
    let made = made.map_err(|error| publish_error(&error).showing(vm.sources()))?;
    Ok(Status { name: engine.program.name.clone(), fields: Vec::new(), ..made.status() })
}

fn publish_error(error: &PublishError) -> ScriptError {
    ScriptError::new(with_causes(error))
}

/// The engine's thread.
struct EngineThread {
    program: Program,
    /// The script's file.
    _own: Option<OwnPath>,
    live: Arc<Live>,
    scripts: Arc<Scripts>,
    vms: Rc<MainVms>,
    recipes: Recipes,
    trial_note: TrialNote,
    history_file: RefCell<HistoryFile>,
    /// Held by who saves.
    saving: tokio::sync::Mutex<()>,
    /// Told by sessions that end.
    session_ended: Arc<Notify>,
    /// This, for the commands of its VMs.
    this: Weak<Self>,
}

impl EngineThread {
    fn new(program: Program, live: Arc<Live>) -> Rc<Self> {
        let engine = EngineContext::new(&live, program.state.as_deref(), program.handlers.clone());
        let scripts = Scripts::new(live.workers().cloned(), engine);
        let vms = MainVms::new(&live);
        let is_file = matches!(program.source, ProgramSource::File);
        let own = is_file.then(|| OwnPath::new(&program.root.join(&program.name), OwnKind::Script));
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            recipes: Recipes::default(),
            trial_note: TrialNote::new(program.state.clone()),
            history_file: RefCell::new(HistoryFile::new(program.state.clone())),
            saving: tokio::sync::Mutex::default(),
            session_ended: Arc::default(),
            program,
            _own: own,
            live,
            scripts: Arc::new(scripts),
            vms,
        })
    }

    async fn take_jobs(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        spawn_local(Rc::clone(&self).end_trials());
        spawn_local(Rc::clone(&self).write_history());
        spawn_local(Rc::clone(&self).forget_sessions());
        while let Some(job) = jobs.recv().await {
            let engine = Rc::clone(&self);
            spawn_local(async move {
                match job {
                    Job::Load { author, trial, events, answer } => {
                        respond(answer, engine.load(author, trial, events)).await;
                    }
                    Job::Confirm { number, author, answer } => {
                        respond(answer, async { engine.confirm(number, &author) }).await;
                    }
                    Job::Eval { session, source, author, events, answer } => {
                        respond(answer, engine.eval(&session.0, &source, author, events)).await;
                    }
                    Job::Rollback { number, author, reason, events, answer } => {
                        respond(answer, engine.rollback(number, author, reason, events)).await;
                    }
                    Job::Cancel { number, author, answer } => {
                        respond(answer, engine.cancel(number, author)).await;
                    }
                    Job::Save { reason, author, answer } => {
                        respond(answer, engine.save(reason, author)).await;
                    }
                    Job::Drift { answer } => respond(answer, engine.drift()).await,
                    Job::Complete { session, source, at, answer } => {
                        let completed = async { Ok(engine.complete(&session.0, &source, at)) };
                        respond(answer, completed).await;
                    }
                    Job::Running(job) => job.done(&engine.live).await,
                    Job::Status { answer } => respond(answer, async { Ok(engine.status().await) }).await,
                }
            });
        }
    }

    async fn load(
        &self,
        author: Author,
        trial: Option<Duration>,
        events: Option<ProgressSender>,
    ) -> Result<Loaded, ScriptError> {
        let is_start = self.live.site().loaded == 0;
        if is_start {
            self.read_history();
        }
        let unconfirmed = if is_start { self.trial_note.unconfirmed(&self.program.root) } else { None };
        let again = match unconfirmed {
            Some(recipe) => {
                let made = self.make_again(&recipe, author.clone(), None, events.clone()).await;
                made.inspect_err(|error| {
                    let why = error.render();
                    tracing::error!(
                        "the last confirmed generation cannot be made again, so the script runs: {why}"
                    );
                })
                .ok()
            }
            None => None,
        };
        let published = match again {
            Some(published) => {
                self.trial_note.taken_back();
                published
            }
            None => self.run_from_disk(author.clone(), trial, events).await?,
        };
        let site = self.live.site();
        let addresses = site.listeners.iter().filter_map(|bound| {
            let server = site.parts.find::<HttpServer>(&bound.part)?;
            let listen = server.definition.listen.get(bound.at);
            Some(Address {
                addr: bound.listener.local_addr().clone(),
                encrypted: listen.is_some_and(|listen| listen.tls.is_some()),
            })
        });
        let addresses = addresses.collect();
        let report = published.map(|generation| self.live.report(&generation));
        if !is_start {
            self.say(&author, &report.clone().unwrap_or_default());
        }
        Ok(Loaded { generation: site.generation, report: report.unwrap_or_default(), addresses })
    }

    /// Runs the script as it is on disk, and publishes what it makes.
    async fn run_from_disk(
        &self,
        author: Author,
        trial: Option<Duration>,
        events: Option<ProgressSender>,
    ) -> Result<Option<Generation>, ScriptError> {
        let sources = Sources::new(self.program.root.clone());
        let ((vm, calls), transaction) = self.run(author, events, sources).await?;
        let on_trial = trial.is_some() && self.live.site().loaded > 0;
        if on_trial {
            let unkept = self.note_base(transaction.author(), Some(vm.sources().all_files())).await?;
            let terms = trial.map(|time| TrialTerms { unkept, ..TrialTerms::from(time) });
            transaction.edit_change(|change| change.trial = terms);
        }
        let published = self.publish_load(&transaction, vm, calls).await;
        match (&published, on_trial) {
            (Ok(()), false) => self.trial_note.remove(),
            (Err(_), true) => self.forget_trial(),
            (Ok(()), true) | (Err(_), false) => {}
        }
        published?;
        Ok(transaction.published())
    }

    /// Tells the log and the sessions what somebody has published.
    fn say_published(&self, author: &Author, what: &str, published: Option<&Generation>) {
        let report = published.map(|generation| self.live.report(generation)).unwrap_or_default();
        tracing::info!(by = %author, report, "{what}");
        self.say(author, &format!("{what}: {report}"));
    }

    /// Tells the sessions what somebody has done.
    fn say(&self, author: &Author, what: &str) {
        self.live.sessions().news().say(&format!("{author}: {what}"), author);
    }

    /// Notes what is running, for a server that is killed while the next generation is on trial: a load of `files`, or an edit.
    /// Returns why it cannot be noted, if it is not known.
    async fn note_base(
        &self,
        author: &Author,
        files: Option<Files>,
    ) -> Result<Option<Arc<str>>, ScriptError> {
        let base = self.live.site().generation;
        let Some(recipe) = self.recipes.of(base) else {
            self.trial_note.leave();
            tracing::warn!(by = %author, "a change on trial is not kept over a crash: {UNKNOWN}");
            return Ok(Some(UNKNOWN.into()));
        };
        // What is on disk is not what runs, where that was taken back.
        let files = files.or_else(|| self.trial_note.taken_back_files()).unwrap_or_else(|| recipe.files());
        let lost = self.told_gaps(recipe.gaps());
        self.trial_note.write(TrialRecord::new(base + 1, author.to_string(), &files, &recipe, lost)).await?;
        Ok(None)
    }

    /// Publishes what a run of the script has made.
    async fn publish_load(
        &self,
        transaction: &Transaction,
        vm: Rc<MainVm>,
        calls: mpsc::Sender<Call>,
    ) -> Result<(), ScriptError> {
        self.listen_elsewhere(transaction)?;
        let committed = transaction.commit().await;
        committed.map_err(|error| publish_error(&error).showing(vm.sources()))?;
        let recipe = Recipe::new(Arc::clone(vm.sources()));
        self.recipes.note(self.live.site().generation, Some(recipe));
        self.vms.add(vm, calls);
        Ok(())
    }

    /// Lets go of what sessions had that have ended.
    async fn forget_sessions(self: Rc<Self>) {
        loop {
            self.session_ended.notified().await;
            self.vms.forget_sessions();
        }
    }

    /// Runs the script in a VM of its own, under a transaction that makes the site anew.
    async fn run(
        &self,
        author: Author,
        events: Option<ProgressSender>,
        sources: Sources,
    ) -> Result<((Rc<MainVm>, mpsc::Sender<Call>), Rc<Transaction>), ScriptError> {
        self.live.check_trial().map_err(|error| ScriptError::new(with_causes(&error)))?;
        let transaction = Transaction::fresh(Arc::clone(&self.live), author, events).await;
        let sources = Arc::new(sources);
        let state = self.program.state.as_deref();
        let this: Weak<dyn Commands> = Weak::<Self>::clone(&self.this);
        let started = MainVm::start(&self.live, &self.scripts, &sources, state, Some(this));
        let (vm, calls) = started.map_err(|error| ScriptError::from_lua(&error))?;
        let source = match &self.program.source {
            ProgramSource::Text(text) => text.as_str().into(),
            ProgramSource::File => sources.read(Path::new(&self.program.name)).map_err(ScriptError::new)?,
        };
        let entry = EntryScript { name: &self.program.name, source: &source };
        transaction.set_replays();
        vm.run_script(&transaction, &entry).await.map_err(|error| error.showing(&sources))?;
        self.run_live_files(&vm, &transaction).await?;
        Ok(((vm, calls), transaction))
    }

    fn listen_elsewhere(&self, transaction: &Transaction) -> Result<(), ScriptError> {
        if self.program.listen.is_empty() {
            return Ok(());
        }
        match transaction.edit_change(|change| change.draft.listen_instead(&self.program.listen)) {
            None | Some(1) => Ok(()),
            Some(count) => Err(ScriptError::new(format!(
                "--listen says where the script's one HTTP server listens, but {} has {count}: change the script instead",
                self.program.name
            ))),
        }
    }

    fn complete(&self, session: &Block, source: &str, at: usize) -> Completion {
        self.vms.current().map(|vm| vm.complete(session, source, at)).unwrap_or_default()
    }

    async fn status(&self) -> Status {
        let mut status = self.live.status().gauge("probes", probe::probes());
        status = status.children(self.vms.status());
        status = status.children(self.scripts.engine().dictionaries.status());
        status = status.children(self.scripts.engine().client.status());
        match self.live.workers() {
            Some(workers) => status.children(worker::status(workers).await),
            None => status,
        }
    }
}

impl Commands for EngineThread {
    fn rollback(
        self: Rc<Self>,
        number: u64,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
    ) -> Commanded {
        Box::pin(in_task(async move {
            let back = self.go_back(number, author.clone(), reason, events).await?;
            self.say_published(&author, "went back", back.as_ref());
            Ok(back)
        }))
    }

    fn note_trial(self: Rc<Self>, author: Author) -> Noted {
        Box::pin(async move {
            self.live.check_trial().map_err(|error| ScriptError::new(with_causes(&error)))?;
            self.note_base(&author, None).await
        })
    }

    fn confirm(&self, number: Option<u64>, author: &Author) -> Result<u64, ScriptError> {
        let confirmed = self.live.confirm(number, author);
        let confirmed = confirmed.map_err(|error| ScriptError::new(with_causes(&error)))?;
        match self.recipes.of(self.live.site().generation) {
            Some(running) => self.trial_note.confirm(&running, self.told_gaps(running.gaps())),
            None => self.trial_note.remove(),
        }
        tracing::info!(by = %author, generation = confirmed, "confirmed");
        self.say(author, &format!("generation {confirmed} is confirmed"));
        Ok(confirmed)
    }

    fn save(self: Rc<Self>, reason: Arc<str>, author: Author) -> Told {
        Box::pin(in_task(async move { Self::save(&self, reason, author).await }))
    }

    fn drift(self: Rc<Self>) -> Told {
        Box::pin(async move { Self::drift(&self).await })
    }

    fn forget_trial(&self) {
        if self.live.pending().is_none() {
            self.trial_note.take_off();
        }
    }

    fn cancel(self: Rc<Self>, number: Option<u64>, author: Author) -> Commanded {
        Box::pin(async move {
            let reverted = self.take_back(number, author.clone()).await;
            let reverted = reverted.map_err(|error| ScriptError::new(with_causes(&error)))?;
            self.say_published(&author, "cancelled", reverted.as_ref());
            Ok(reverted)
        })
    }
}

impl fmt::Debug for EngineThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineThread").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Does what may run scripts, in a task of its own: one within the slice of another would wait for the slow lane while that has it.
/// Dropped, it ends.
async fn in_task<T: 'static>(
    work: impl Future<Output = Result<T, ScriptError>> + 'static,
) -> Result<T, ScriptError> {
    let mut task = JoinSet::new();
    task.spawn_local(work);
    match task.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(failed)) => Err(ScriptError::new(format!("it has failed: {failed}"))),
        None => Err(ScriptError::new("it has ended")),
    }
}

/// Answers, unless nobody waits for the answer any more: then the work is dropped where it is.
async fn respond<T>(mut answer: JobAnswer<T>, work: impl Future<Output = Result<T, ScriptError>>) {
    let done = tokio::select! {
        done = work => done,
        () = answer.closed() => return,
    };
    // The one who asked may have left in this very moment.
    drop(answer.send(done));
}
