//! The VM of each worker: it loads handler files, and runs them on the request's own core.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use http::Method;
use medusa_http::{BodyError, HandlerError, Request, Response, Sessions};
use medusa_net::Workers;
use medusa_proto::status::Status;
use mlua::{Function, Value};
use tokio::task::spawn_local;

use crate::bindings::everywhere;
use crate::budget::{Budget, TaskError};
use crate::call::{self, call, handler_error, vm_error};
use crate::chunk::ScriptFiles;
use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::handover::Handover;
use crate::passage::{Outcome, WayOn};
use crate::probe::{self, Point, ProbedLines};
use crate::producer::Producer;
use crate::request::Requests;
use crate::require::{ModuleValues, Modules, ScriptRoot, Sources};
use crate::respond::{Reply, ReplyBody};
use crate::runs::RunNote;
use crate::vm::Vm;
use crate::websocket::PendingSession;

/// The VM of this thread, for handler files.
pub(crate) struct WorkerVm {
    vm: Rc<Vm>,
    requests: Requests,
    handlers: RefCell<HashMap<u64, LoadedHandler>>,
}

/// A handler file's function, for as long as its [`ScriptHandler`](crate::handler_files::ScriptHandler) lives.
struct LoadedHandler {
    function: Function,
    /// It and its modules.
    chunks: ScriptFiles,
    _modules: ModuleValues,
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

    /// The VM of this thread, if there is one.
    pub(crate) fn of_this_thread() -> Option<Rc<Self>> {
        WORKER.with(|worker| worker.get().cloned())
    }

    async fn load(&self, file: &HandlerFile) -> Result<(), ScriptError> {
        self.sweep();
        let lua = self.vm.lua();
        let path = &file.path;
        lua.set_app_data(ScriptRoot(file.sources.root().into()));
        let (chunks, values) = (ScriptFiles::default(), ModuleValues::default());
        let handover = file.takes_over.map(|before| self.handover(before)).transpose();
        let handover = handover.map_err(|error| ScriptError::from_lua(&error))?;
        let modules = Modules::new(Arc::clone(&file.sources), lua.globals(), &values, &chunks)
            .taking_over(handover.as_ref());
        let loading = async {
            let chunk = modules.compile(lua, path)?;
            let value = chunk.call_async::<Value>(()).await?;
            modules.note(path, &chunk);
            let Value::Function(handler) = value else {
                let message = format!(
                    "{}:1: a handler file must return a function(req), not a {}",
                    path.display(),
                    value.type_name()
                );
                return Err(mlua::Error::runtime(message));
            };
            modules.take_over(path, &chunk).await?;
            self.requests.wrap(&handler)
        };
        let note = || RunNote::of_file(&path.to_string_lossy());
        let handler = self.vm.run(note, Budget::STATEMENT, loading).await;
        let handler = handler.map_err(|error| ScriptError::from_task(&error))?;
        // Whoever wanted it may have given up meanwhile.
        if file.alive.strong_count() > 0 {
            let alive = Weak::clone(&file.alive);
            let loaded = LoadedHandler { function: handler, chunks, _modules: values, alive };
            self.handlers.borrow_mut().insert(file.id, loaded);
        }
        Ok(())
    }

    /// What the handler file `before` leaves to the one that takes its place: nothing if it was never loaded here.
    fn handover(&self, before: u64) -> mlua::Result<Rc<Handover>> {
        let files = self.handlers.borrow().get(&before).map(|loaded| loaded.chunks.clone());
        Handover::begin(self.vm.lua(), files.unwrap_or_default())
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

    /// Answers a request by the handler file `id`, which was loaded from `path`; one of a wrapper has a way on.
    pub(crate) async fn answer(
        &self,
        id: u64,
        path: &Path,
        sessions: &Sessions,
        request: Request,
        way: Option<WayOn>,
    ) -> Result<Outcome, HandlerError> {
        let function = self.handlers.borrow().get(&id).map(|loaded| loaded.function.clone());
        let Some(function) = function else {
            return Err(HandlerError::internal("this handler is not loaded on this worker"));
        };
        let handler = call::Handler { function: &function, place: &path.display() };
        let wants_body = request.head.method != Method::HEAD;
        let (reply, open) = call(&self.vm, &self.requests, &handler, request, way).await?;
        let Reply { status, headers, body } = reply;
        let response = |headers| Response { status, headers, ..Response::default() };
        Ok(match body {
            ReplyBody::Bytes(bytes) => Outcome::Own(response(headers).body(bytes)),
            ReplyBody::Producer(source) => {
                let keep = source.keep();
                let mut producer = Producer::new(&self.vm, source, open.head(), open).map_err(vm_error)?;
                if wants_body {
                    producer = producer.begin().await.map_err(|error| handler_error(&error))?;
                }
                let chunks = producer.map(|chunk| chunk.map_err(producer_error));
                Outcome::Own(response(headers).stream(Box::pin(chunks), sessions, keep))
            }
            ReplyBody::WebSocket(start) => {
                let PendingSession { accepted, session } = *start;
                spawn_local(session.run(Rc::clone(&self.vm), open.head(), open));
                Outcome::Own(accepted.into_response(sessions))
            }
            ReplyBody::Passed => Outcome::Passed(status, headers),
        })
    }
}

fn producer_error(error: TaskError) -> BodyError {
    BodyError::Producer(ScriptError::from_task(&error).with_traceback().into())
}

/// A handler file, as a worker loads it. Does not keep the handler alive.
#[derive(Debug, Clone)]
pub(crate) struct HandlerFile {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) sources: Arc<Sources>,
    pub(crate) engine: Arc<EngineContext>,
    /// The one whose place it takes, if it is loaded in the place of another.
    pub(crate) takes_over: Option<u64>,
    pub(crate) alive: Weak<()>,
}

/// Loads a handler file on this thread.
pub(crate) async fn load(file: HandlerFile) -> Result<(), ScriptError> {
    let worker = WorkerVm::here(&file.engine).map_err(|error| ScriptError::from_lua(&error))?;
    worker.load(&file).await
}

/// Sets a probe in the handler files of this thread, or only looks where it could be set.
pub(crate) fn set_probe(point: &Arc<Point>, looks: bool) -> Result<ProbedLines, String> {
    let Some(worker) = WorkerVm::of_this_thread() else { return Ok(ProbedLines::default()) };
    worker.sweep();
    let mut found = ProbedLines::default();
    let all: Vec<ScriptFiles> =
        worker.handlers.borrow().values().map(|loaded| loaded.chunks.clone()).collect();
    for chunks in all {
        found.add(if looks {
            probe::look(&chunks, point)
        } else {
            probe::set(worker.vm.lua(), &chunks, Some(&worker.requests), point)?
        });
    }
    Ok(found)
}

/// Lets go of the functions of this thread whose handlers are gone.
pub(crate) fn sweep() {
    WORKER.with(|worker| worker.get().inspect(|worker| worker.sweep()).is_some());
}

/// The memory that each worker's VM holds; none for a worker that has no VM yet.
pub(crate) async fn status(workers: &Workers) -> Vec<Status> {
    let described = workers.run_on_each(async |index| {
        let worker = WorkerVm::of_this_thread()?;
        let status = worker.vm.describe(Status::new("vm.worker", index.to_string()));
        let status = status
            .gauge("handler_files", worker.handlers.borrow().len())
            .gauge("requests", worker.requests.count());
        Some(status)
    });
    described.await.into_iter().filter_map(|described| described.ok().flatten()).collect()
}
