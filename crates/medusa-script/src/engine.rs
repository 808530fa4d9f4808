//! The engine: the thread on which main VMs live, and the handle through which everyone else asks it for something.
//!
//! One thing at a time changes the site, but many run: a statement that waits, a slow reload and a hundred requests share
//! this thread slice by slice.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_net::{ListenAddr, Workers};
use medusa_proto::author::{Author, Via};
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_site::{HttpServer, Live, PublishError};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::handler_files::Scripts;
use crate::inline::Call;
use crate::main_vm::{EntryScript, MainVm};
use crate::print;
use crate::require::Sources;
use crate::transaction::{MAX_OUTPUT, ProgressSender, Transaction};
use crate::worker;

/// The number of requests to the engine that may wait.
const QUEUED_JOBS: usize = 64;

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
    /// The addresses the site listens on.
    pub addresses: Vec<Address>,
}

/// The outcome of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// Its value, for a person; none if it has none.
    pub value: Option<String>,
    /// The generation it published, if it changed the site.
    pub generation: Option<u64>,
}

type JobAnswer<T> = oneshot::Sender<Result<T, ScriptError>>;

enum Job {
    Load { author: Author, events: Option<ProgressSender>, answer: JobAnswer<Loaded> },
    Eval { source: String, author: Author, events: Option<ProgressSender>, answer: JobAnswer<Evaluated> },
    Status { answer: JobAnswer<Status> },
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
    pub async fn load(&self, author: Author, events: Option<ProgressSender>) -> Result<Loaded, ScriptError> {
        self.ask(|answer| Job::Load { author, events, answer }).await
    }

    /// Runs one statement in the main VM, as one transaction. Dropping the future stops the statement.
    ///
    /// # Errors
    ///
    /// What is wrong with the statement; it has then changed nothing.
    pub async fn eval(
        &self,
        source: String,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<Evaluated, ScriptError> {
        self.ask(|answer| Job::Eval { source, author, events, answer }).await
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
    let ((vm, _calls), transaction) = engine.run(Author::new(Via::Start, "check"), Some(events)).await?;
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
    live: Arc<Live>,
    scripts: Arc<Scripts>,
    current: RefCell<Option<Current>>,
    /// Replaced, and not yet gone.
    replaced: RefCell<Vec<Weak<MainVm>>>,
}

/// The VM that statements run in.
struct Current {
    vm: Rc<MainVm>,
    /// Keeps it taking calls as long as it is current.
    _calls: mpsc::Sender<Call>,
}

impl EngineThread {
    fn new(program: Program, live: Arc<Live>) -> Rc<Self> {
        let engine = EngineContext::new(&live, program.state.as_deref());
        let scripts = Scripts::new(live.workers().cloned(), engine);
        Rc::new(Self {
            program,
            live,
            scripts: Arc::new(scripts),
            current: RefCell::default(),
            replaced: RefCell::default(),
        })
    }

    async fn take_jobs(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let engine = Rc::clone(&self);
            spawn_local(async move {
                match job {
                    Job::Load { author, events, answer } => {
                        respond(answer, engine.load(author, events)).await;
                    }
                    Job::Eval { source, author, events, answer } => {
                        respond(answer, engine.eval(&source, author, events)).await;
                    }
                    Job::Status { answer } => respond(answer, async { Ok(engine.status().await) }).await,
                }
            });
        }
    }

    async fn load(&self, author: Author, events: Option<ProgressSender>) -> Result<Loaded, ScriptError> {
        let ((vm, calls), transaction) = self.run(author, events).await?;
        self.listen_elsewhere(&transaction)?;
        let committed = transaction.commit().await;
        let site = committed.map_err(|error| publish_error(&error).showing(vm.sources()))?;
        let site = site.unwrap_or_else(|| self.live.site());
        let old = self.current.replace(Some(Current { vm, _calls: calls }));
        if let Some(old) = old {
            old.vm.retire();
            let mut replaced = self.replaced.borrow_mut();
            replaced.retain(|vm| vm.strong_count() > 0);
            replaced.push(Rc::downgrade(&old.vm));
        }
        let addresses = site.listeners.iter().filter_map(|bound| {
            let server = site.parts.find::<HttpServer>(&bound.part)?;
            let listen = server.definition.listen.get(bound.at);
            Some(Address {
                addr: bound.listener.local_addr().clone(),
                encrypted: listen.is_some_and(|listen| listen.tls.is_some()),
            })
        });
        let addresses = addresses.collect();
        Ok(Loaded { generation: site.generation, addresses })
    }

    /// Runs the script in a VM of its own, under a transaction that makes the site anew.
    async fn run(
        &self,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<((Rc<MainVm>, mpsc::Sender<Call>), Rc<Transaction>), ScriptError> {
        let transaction = Transaction::fresh(Arc::clone(&self.live), author, events).await;
        let sources = Arc::new(Sources::new(self.program.root.clone()));
        let started = MainVm::start(&self.live, &self.scripts, &sources, self.program.state.as_deref());
        let (vm, calls) = started.map_err(|error| ScriptError::from_lua(&error))?;
        let source = match &self.program.source {
            ProgramSource::Text(text) => text.as_str().into(),
            ProgramSource::File => sources.read(Path::new(&self.program.name)).map_err(ScriptError::new)?,
        };
        let entry = EntryScript { name: &self.program.name, source: &source };
        vm.run_script(&transaction, &entry).await.map_err(|error| error.showing(&sources))?;
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

    async fn eval(
        &self,
        source: &str,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<Evaluated, ScriptError> {
        let vm = self.current.borrow().as_ref().map(|current| Rc::clone(&current.vm));
        let vm = vm.ok_or_else(|| ScriptError::new("the script is not loaded yet"))?;
        let transaction = Transaction::lazy(Arc::clone(&self.live), author, events);
        let run = vm.run_statement(&transaction, source).await;
        let (values, generation) = run.map_err(|error| error.showing(vm.sources()))?;
        Ok(Evaluated { value: print::values(&values), generation })
    }

    async fn status(&self) -> Status {
        let mut status = self.live.status();
        let vm = self.current.borrow().as_ref().map(|current| Rc::clone(&current.vm));
        if let Some(vm) = vm {
            status = status.child(vm.status());
        }
        let replaced: Vec<_> = self.replaced.borrow().iter().filter_map(Weak::upgrade).collect();
        status = status.children(replaced.iter().map(|vm| vm.status_replaced()));
        status = status.children(self.scripts.engine().dictionaries.status());
        status = status.children(self.scripts.engine().client.status());
        match self.live.workers() {
            Some(workers) => status.children(worker::status(workers).await),
            None => status,
        }
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
