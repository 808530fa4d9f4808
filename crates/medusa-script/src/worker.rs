//! Handlers given as a file: loaded into the VM of every worker, run on the request's own core.
//!
//! **Invariant:** a [`ScriptHandler`] that was prepared is loaded in every worker, from the same text. Its function in
//! each VM goes when the handler does, after the last request that uses it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use medusa_http::{
    BodyError, Handler, HandlerError, HandlerFuture, PrepareFuture, Request, Response, Sessions,
};
use medusa_net::Workers;
use medusa_proto::status::Status;
use mlua::{Function, Value};
use parking_lot::Mutex;
use tokio::task::spawn_local;

use futures_util::StreamExt;
use http::Method;

use crate::bindings::everywhere;
use crate::budget::{Budget, TaskError};
use crate::call::{self, call, handler_error, vm_error};
use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::producer::Producer;
use crate::request::Requests;
use crate::require::{Modules, ScriptRoot, Sources};
use crate::respond::ReplyBody;
use crate::vm::Vm;
use crate::websocket::PendingSession;

/// The VM of this thread, for handler files.
pub(crate) struct WorkerVm {
    vm: Rc<Vm>,
    requests: Requests,
    handlers: RefCell<HashMap<u64, LoadedHandler>>,
}

/// A handler file's function, for as long as its [`ScriptHandler`] lives.
struct LoadedHandler {
    function: Function,
    alive: Weak<()>,
}

thread_local! {
    static WORKER: OnceCell<Rc<WorkerVm>> = const { OnceCell::new() };
}

impl WorkerVm {
    /// The VM of this thread; made at first use.
    fn here(engine: &Arc<EngineContext>) -> mlua::Result<Rc<Self>> {
        WORKER.with(|worker| {
            if let Some(worker) = worker.get() {
                return Ok(Rc::clone(worker));
            }
            let vm = Vm::new(|lua, globals| everywhere::install_in_worker(lua, globals, engine))?;
            let requests = Requests::new(vm.lua())?;
            let made = Rc::new(Self { vm, requests, handlers: RefCell::default() });
            Ok(Rc::clone(worker.get_or_init(|| made)))
        })
    }

    async fn load(&self, file: &File) -> Result<(), ScriptError> {
        self.sweep();
        let lua = self.vm.lua();
        let path = &file.path;
        lua.set_app_data(ScriptRoot(file.sources.root().into()));
        let modules = Modules::new(Arc::clone(&file.sources), lua.globals());
        let loading = async {
            let value = modules.compile(lua, path)?.call_async::<Value>(()).await?;
            let Value::Function(handler) = value else {
                let message = format!(
                    "{}:1: a handler file must return a function(req), not a {}",
                    path.display(),
                    value.type_name()
                );
                return Err(mlua::Error::runtime(message));
            };
            self.requests.wrap(&handler)
        };
        let handler = self.vm.run(Budget::STATEMENT, loading).await;
        let handler = handler.map_err(|error| ScriptError::from_task(&error))?;
        // Whoever wanted it may have given up meanwhile.
        if file.alive.strong_count() > 0 {
            let loaded = LoadedHandler { function: handler, alive: Weak::clone(&file.alive) };
            self.handlers.borrow_mut().insert(file.id, loaded);
        }
        Ok(())
    }

    /// Lets go of the functions whose handlers are gone.
    fn sweep(&self) {
        let mut handlers = self.handlers.borrow_mut();
        let before = handlers.len();
        handlers.retain(|_, loaded| loaded.alive.strong_count() > 0);
        let gone = before - handlers.len();
        drop(handlers);
        if gone > 0 {
            self.vm.collect();
        }
    }

    async fn answer(
        &self,
        ScriptHandler { id, path, sessions, .. }: &ScriptHandler,
        request: Request,
    ) -> Result<Response, HandlerError> {
        let function = self.handlers.borrow().get(id).map(|loaded| loaded.function.clone());
        let Some(function) = function else {
            return Err(HandlerError::internal("this handler is not loaded on this worker"));
        };
        let handler = call::Handler { function: &function, place: &path.display() };
        let wants_body = request.head.method != Method::HEAD;
        let (reply, open) = call(&self.vm, &self.requests, &handler, request).await?;
        let response = Response { status: reply.status, headers: reply.headers, ..Response::default() };
        Ok(match reply.body {
            ReplyBody::Bytes(bytes) => response.body(bytes),
            ReplyBody::Producer(function) => {
                let mut producer = Producer::new(&self.vm, function, open).map_err(vm_error)?;
                if wants_body {
                    producer = producer.begin().await.map_err(|error| handler_error(&error))?;
                }
                response.stream(Box::pin(producer.map(|chunk| chunk.map_err(producer_error))), sessions)
            }
            ReplyBody::WebSocket(start) => {
                let PendingSession { accepted, session } = *start;
                spawn_local(session.run(Rc::clone(&self.vm), open.head(), open));
                accepted.into_response(sessions)
            }
        })
    }
}

fn producer_error(error: TaskError) -> BodyError {
    BodyError::Producer(ScriptError::from_task(&error).with_traceback().into())
}

/// A handler given as a file.
pub(crate) struct ScriptHandler {
    id: u64,
    path: PathBuf,
    sources: Arc<Sources>,
    engine: Arc<EngineContext>,
    /// None where nothing is served, only checked: then the file is loaded on the checking thread.
    workers: Option<Workers>,
    loaded: AtomicBool,
    /// What the workers tell by whether this handler still lives.
    alive: Option<Arc<()>>,
    sessions: Sessions,
}

/// What a worker needs to load a handler file. Does not keep the handler alive.
#[derive(Debug, Clone)]
struct File {
    id: u64,
    path: PathBuf,
    sources: Arc<Sources>,
    engine: Arc<EngineContext>,
    alive: Weak<()>,
}

impl fmt::Debug for ScriptHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptHandler")
            .field("path", &self.path)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl ScriptHandler {
    async fn load(&self) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let shown = |error: ScriptError| error.showing(&self.sources).render();
        let file = File {
            id: self.id,
            path: self.path.clone(),
            sources: Arc::clone(&self.sources),
            engine: Arc::clone(&self.engine),
            alive: self.alive.as_ref().map(Arc::downgrade).unwrap_or_default(),
        };
        let Some(workers) = &self.workers else { return Ok(load_here(file).await.map_err(shown)?) };
        for loaded in workers.run_on_each(move |_| load_here(file.clone())).await {
            loaded?.map_err(shown)?;
        }
        Ok(())
    }
}

async fn load_here(file: File) -> Result<(), ScriptError> {
    let worker = WorkerVm::here(&file.engine).map_err(|error| ScriptError::from_lua(&error))?;
    worker.load(&file).await
}

fn sweep_here() {
    WORKER.with(|worker| worker.get().inspect(|worker| worker.sweep()).is_some());
}

/// What each worker's VM holds; none for a worker that has no VM yet.
pub(crate) async fn status(workers: &Workers) -> Vec<Status> {
    let described = workers.run_on_each(async |index| {
        let worker = WORKER.with(|worker| worker.get().cloned())?;
        let status = worker.vm.describe(Status::new("vm.worker", index.to_string()));
        let status = status
            .gauge("handler_files", worker.handlers.borrow().len())
            .gauge("requests", worker.requests.count());
        Some(status)
    });
    described.await.into_iter().filter_map(|described| described.ok().flatten()).collect()
}

impl Handler for ScriptHandler {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let Some(worker) = WORKER.with(|worker| worker.get().cloned()) else {
                return Err(HandlerError::internal("this thread has no script VM"));
            };
            worker.answer(self, request).await
        })
    }

    fn prepare(&self) -> PrepareFuture<'_> {
        Box::pin(async move {
            self.sessions.resume();
            if !self.loaded.load(Relaxed) {
                self.load().await?;
                self.loaded.store(true, Relaxed);
            }
            Ok(())
        })
    }

    fn retire(&self) {
        self.sessions.end();
    }

    fn status(&self) -> Status {
        self.sessions.describe(Status::new("script", self.path.display().to_string()))
    }
}

impl Drop for ScriptHandler {
    fn drop(&mut self) {
        // First, for the workers look at it.
        self.alive = None;
        match &self.workers {
            // Where the message is lost, the next load sweeps.
            Some(workers) => workers.post_each(sweep_here),
            None => sweep_here(),
        }
    }
}

/// The handler files in use, so that a file whose text has not changed stays the same handler.
#[derive(Debug)]
pub(crate) struct Scripts {
    workers: Option<Workers>,
    engine: Arc<EngineContext>,
    known: Mutex<Vec<Weak<ScriptHandler>>>,
}

impl Scripts {
    pub(crate) fn new(workers: Option<Workers>, engine: Arc<EngineContext>) -> Self {
        Self { workers, engine, known: Mutex::default() }
    }

    pub(crate) fn engine(&self) -> &Arc<EngineContext> {
        &self.engine
    }

    /// The handler of the file `path` below the root of `sources`; `sources` are those of the running load.
    pub(crate) fn handler(
        &self,
        sources: &Arc<Sources>,
        path: PathBuf,
    ) -> Result<Arc<ScriptHandler>, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut known = self.known.lock();
        known.retain(|handler| handler.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|handler| {
            handler.path == path && handler.sources.root() == sources.root() && handler.sources.unchanged()
        });
        if let Some(same) = same {
            return Ok(same);
        }
        // Said here already, where the script's own line can be named.
        sources.read(&path)?;
        let handler = Arc::new(ScriptHandler {
            id: NEXT.fetch_add(1, Relaxed),
            path,
            sources: Arc::new(Sources::new(sources.root().to_owned())),
            engine: Arc::clone(&self.engine),
            workers: self.workers.clone(),
            loaded: AtomicBool::new(false),
            alive: Some(Arc::default()),
            sessions: Sessions::default(),
        });
        known.push(Arc::downgrade(&handler));
        Ok(handler)
    }
}
