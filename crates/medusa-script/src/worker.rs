//! Handlers given as a file: loaded into the VM of every worker, run on the request's own core.
//!
//! **Invariant:** a [`ScriptHandler`] that was prepared is loaded in every worker, from the same text. Its function in
//! each VM goes when the handler does, after the last request that uses it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use medusa_http::{
    Body, BodyError, Handler, HandlerError, HandlerFuture, PrepareError, PrepareFuture, Request, Response,
};
use medusa_net::Workers;
use medusa_proto::status::Status;
use medusa_proto::status::Value::Bytes;
use mlua::{Function, Value};

use futures_util::StreamExt;

use crate::bindings;
use crate::call::{call, vm_error};
use crate::error::ScriptError;
use crate::producer::Producer;
use crate::request::Requests;
use crate::require::{Modules, Sources};
use crate::respond::ReplyBody;
use crate::shared::Dictionaries;
use crate::task::{Budget, TaskError};
use crate::vm::Vm;

/// The VM of this thread, for handler files.
pub(crate) struct WorkerVm {
    vm: Rc<Vm>,
    requests: Requests,
    handlers: RefCell<HashMap<u64, Function>>,
}

thread_local! {
    static WORKER: OnceCell<Rc<WorkerVm>> = const { OnceCell::new() };
}

impl WorkerVm {
    /// The VM of this thread; made at first use.
    fn here(dictionaries: &Arc<Dictionaries>) -> mlua::Result<Rc<Self>> {
        WORKER.with(|worker| {
            if let Some(worker) = worker.get() {
                return Ok(Rc::clone(worker));
            }
            let vm = Vm::new(|lua, globals| bindings::install_in_worker(lua, globals, dictionaries))?;
            let requests = Requests::new(vm.lua())?;
            let made = Rc::new(Self { vm, requests, handlers: RefCell::default() });
            Ok(Rc::clone(worker.get_or_init(|| made)))
        })
    }

    async fn load(&self, id: u64, sources: Arc<Sources>, path: &Path) -> Result<(), ScriptError> {
        let lua = self.vm.lua();
        let modules = Modules::new(sources, lua.globals());
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
        self.handlers.borrow_mut().insert(id, handler);
        Ok(())
    }

    fn unload(&self, id: u64) {
        if self.handlers.borrow_mut().remove(&id).is_some() {
            self.vm.collect();
        }
    }

    async fn answer(&self, id: u64, request: Request) -> Result<Response, HandlerError> {
        let Some(handler) = self.handlers.borrow().get(&id).cloned() else {
            return Err(HandlerError::internal("this handler is not loaded on this worker"));
        };
        let (reply, open) = call(&self.vm, &self.requests, &handler, request).await?;
        let body = match reply.body {
            ReplyBody::Bytes(bytes) => bytes.into(),
            ReplyBody::Producer(function) => {
                let producer = Producer::new(&self.vm, function, open).map_err(vm_error)?;
                Body::Stream(Box::pin(producer.map(|chunk| chunk.map_err(producer_error))))
            }
        };
        Ok(Response { status: reply.status, headers: reply.headers, body })
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
    dictionaries: Arc<Dictionaries>,
    /// None where nothing is served, only checked: then the file is loaded on the checking thread.
    workers: Option<Workers>,
    loaded: AtomicBool,
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
    async fn load(&self) -> Result<(), PrepareError> {
        let Some(workers) = &self.workers else {
            return load_here(
                self.id,
                Arc::clone(&self.sources),
                self.path.clone(),
                Arc::clone(&self.dictionaries),
            )
            .await
            .map_err(|error| PrepareError(error.render(self.sources.root())));
        };
        let (id, sources, path, dictionaries) =
            (self.id, Arc::clone(&self.sources), self.path.clone(), Arc::clone(&self.dictionaries));
        let loads = workers.run_on_each(move |_| {
            load_here(id, Arc::clone(&sources), path.clone(), Arc::clone(&dictionaries))
        });
        for loaded in loads.await {
            loaded
                .map_err(|gone| PrepareError(gone.to_string()))?
                .map_err(|error| PrepareError(error.render(self.sources.root())))?;
        }
        Ok(())
    }
}

async fn load_here(
    id: u64,
    sources: Arc<Sources>,
    path: PathBuf,
    dictionaries: Arc<Dictionaries>,
) -> Result<(), ScriptError> {
    let worker = WorkerVm::here(&dictionaries).map_err(|error| ScriptError::from_lua(&error))?;
    worker.load(id, sources, &path).await
}

fn unload_here(id: u64) {
    WORKER.with(|worker| worker.get().inspect(|worker| worker.unload(id)).is_some());
}

/// What each worker's VM holds; none for a worker that has no VM yet.
pub(crate) async fn status(workers: &Workers) -> Vec<Status> {
    let described = workers.run_on_each(async |index| {
        let worker = WORKER.with(|worker| worker.get().cloned())?;
        let status = Status::new("vm.worker", index.to_string())
            .field("memory", Bytes(worker.vm.lua().used_memory() as u64))
            .field("handler_files", worker.handlers.borrow().len());
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
            worker.answer(self.id, request).await
        })
    }

    fn prepare(&self) -> PrepareFuture<'_> {
        Box::pin(async move {
            if !self.loaded.load(Relaxed) {
                self.load().await?;
                self.loaded.store(true, Relaxed);
            }
            Ok(())
        })
    }

    fn status(&self) -> Status {
        Status::new("script", self.path.display().to_string())
    }
}

impl Drop for ScriptHandler {
    fn drop(&mut self) {
        let id = self.id;
        match &self.workers {
            // Runs on each worker once it gets to it: behind what uses the handler there now.
            Some(workers) => workers.post_each(move || unload_here(id)),
            None => unload_here(id),
        }
    }
}

/// The handler files in use, so that a file whose text has not changed stays the same handler.
#[derive(Debug)]
pub(crate) struct Scripts {
    workers: Option<Workers>,
    dictionaries: Arc<Dictionaries>,
    known: Mutex<Vec<Weak<ScriptHandler>>>,
}

impl Scripts {
    pub(crate) fn new(workers: Option<Workers>, dictionaries: Arc<Dictionaries>) -> Self {
        Self { workers, dictionaries, known: Mutex::default() }
    }

    pub(crate) fn dictionaries(&self) -> &Arc<Dictionaries> {
        &self.dictionaries
    }

    /// The handler of the file `path` below the root of `sources`; `sources` are those of the running load.
    pub(crate) fn handler(
        &self,
        sources: &Arc<Sources>,
        path: PathBuf,
    ) -> Result<Arc<ScriptHandler>, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
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
            dictionaries: Arc::clone(&self.dictionaries),
            workers: self.workers.clone(),
            loaded: AtomicBool::new(false),
        });
        known.push(Arc::downgrade(&handler));
        Ok(handler)
    }
}
