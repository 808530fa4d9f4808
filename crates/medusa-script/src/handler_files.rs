//! Handlers given as a file, and which of them are in use.
//!
//! **Invariant:** a [`ScriptHandler`] that was prepared is loaded in every worker, from the same text. Its function in
//! each VM goes when the handler does, after the last request that uses it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use medusa_files::{OwnKind, OwnPath};
use medusa_http::{Handler, HandlerError, HandlerFuture, PrepareFuture, Request, Sessions};
use medusa_net::Workers;
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::passage::{Outcome, WayOn};
use crate::probe::{self, Point, ProbedLines};
use crate::recipe::Files;
use crate::require::Sources;
use crate::worker::{self, HandlerFile, WorkerVm};

/// A handler given as a file.
pub(crate) struct ScriptHandler {
    id: u64,
    pub(crate) path: PathBuf,
    pub(crate) sources: Arc<Sources>,
    /// The one that it is loaded in the place of, if it is.
    takes_over: Option<u64>,
    engine: Arc<EngineContext>,
    /// None where nothing is served, only checked: then the file is loaded on the checking thread.
    workers: Option<Workers>,
    loaded: AtomicBool,
    /// What the workers tell by whether this handler still lives.
    alive: Option<Arc<()>>,
    sessions: Sessions,
    /// Its file.
    _own: OwnPath,
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
    /// The files that it runs; before it is loaded, those that it may run, as far as they are known.
    pub(crate) fn files(&self) -> Files {
        let loaded = self.loaded.load(Relaxed);
        if loaded { Arc::new(self.sources.files()) } else { self.sources.all_files() }
    }

    /// Whether a file is one of them.
    pub(crate) fn uses(&self, path: &Path) -> bool {
        let loaded = self.loaded.load(Relaxed);
        self.sources.known(path).is_some() || (!loaded && self.files().contains_key(path))
    }

    /// Whether a load of `sources` would come to the same: if it is not loaded, all that it will read is read by that load, too.
    fn is_same_for(&self, path: &Path, sources: &Sources) -> bool {
        let same = self.path == path && self.sources.same_for(sources);
        same && (self.loaded.load(Relaxed) || self.sources.reads_as(sources))
    }

    /// Answers a request; a file of a wrapper has a way on.
    pub(crate) async fn run(&self, request: Request, way: Option<WayOn>) -> Result<Outcome, HandlerError> {
        let worker = WorkerVm::of_this_thread()
            .ok_or_else(|| HandlerError::internal("this thread has no script VM"))?;
        worker.answer(self.id, &self.path, &self.sessions, request, way).await
    }

    async fn load(&self) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let shown = |error: ScriptError| error.showing(&self.sources).render();
        let file = HandlerFile {
            id: self.id,
            path: self.path.clone(),
            sources: Arc::clone(&self.sources),
            engine: Arc::clone(&self.engine),
            takes_over: self.takes_over,
            alive: self.alive.as_ref().map(Arc::downgrade).unwrap_or_default(),
        };
        let Some(workers) = &self.workers else { return Ok(worker::load(file).await.map_err(shown)?) };
        for loaded in workers.run_on_each(move |_| worker::load(file.clone())).await {
            loaded?.map_err(shown)?;
        }
        Ok(())
    }
}

impl Handler for ScriptHandler {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move { self.run(request, None).await?.own() })
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

    fn sessions(&self) -> Option<&Sessions> {
        Some(&self.sessions)
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
            Some(workers) => workers.post_each(worker::sweep),
            None => worker::sweep(),
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

    /// Sets a probe in the handler files of all workers, or only looks where it could be set.
    pub(crate) async fn set_probe(&self, point: &Arc<Point>, looks: bool) -> Result<ProbedLines, String> {
        let Some(workers) = &self.workers else { return worker::set_probe(point, looks) };
        let mut found = ProbedLines::default();
        let point = Arc::clone(point);
        let set = workers.run_on_each(move |_| {
            let point = Arc::clone(&point);
            async move { worker::set_probe(&point, looks) }
        });
        for set in set.await {
            found.add(set.map_err(|gone| gone.to_string())??);
        }
        Ok(found)
    }

    /// Takes a probe out of the handler files of all workers.
    pub(crate) fn remove_probe(&self, point: &Arc<Point>) {
        if let Some(workers) = &self.workers {
            let point = Arc::clone(point);
            // Where the message is lost, it is taken out where it is met next.
            workers.post_each(move || probe::remove(&point));
        }
    }

    /// The handler of the file `path` below the root of `sources`; `sources` are those of the running load.
    pub(crate) fn handler(
        &self,
        sources: &Arc<Sources>,
        path: PathBuf,
    ) -> Result<Arc<ScriptHandler>, String> {
        // The latest of them, where one has taken the place of another and its text is that of one before it.
        let all: Vec<_> = self.known.lock().iter().rev().filter_map(Weak::upgrade).collect();
        let same = all.iter().find(|known| known.is_same_for(&path, sources));
        let handler = if let Some(same) = same {
            Arc::clone(same)
        } else {
            let own = sources.for_handler();
            // Said here already, where the script's own line can be named.
            own.read(&path)?;
            self.add(path, own, None)
        };
        sources.note_handler(&handler.sources);
        Ok(handler)
    }

    /// A handler of the same file in the place of `before`, with other `sources`: it is loaded anew in any case, and takes
    /// over what that leaves to it.
    pub(crate) fn in_place_of(&self, before: &ScriptHandler, sources: Sources) -> Arc<ScriptHandler> {
        // One that is not loaded was to take the place of another itself, within the same change.
        let earlier = before.takes_over.filter(|_| !before.loaded.load(Relaxed));
        self.add(before.path.clone(), sources, Some(earlier.unwrap_or(before.id)))
    }

    fn add(&self, path: PathBuf, sources: Sources, takes_over: Option<u64>) -> Arc<ScriptHandler> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let is_named = path.extension().is_some_and(|extension| extension == "luau");
        let kind = if is_named { OwnKind::Module } else { OwnKind::Script };
        let own = OwnPath::new(&sources.root().join(&path), kind);
        let handler = Arc::new(ScriptHandler {
            id: NEXT.fetch_add(1, Relaxed),
            path,
            sources: Arc::new(sources),
            takes_over,
            engine: Arc::clone(&self.engine),
            workers: self.workers.clone(),
            loaded: AtomicBool::new(false),
            alive: Some(Arc::default()),
            sessions: Sessions::default(),
            _own: own,
        });
        let mut known = self.known.lock();
        known.retain(|handler| handler.strong_count() > 0);
        known.push(Arc::downgrade(&handler));
        handler
    }

    /// The handler files among some handlers and those that they stand before, each once.
    pub(crate) fn among<'h>(
        &self,
        handlers: impl IntoIterator<Item = &'h Arc<dyn Handler>>,
    ) -> Vec<Arc<ScriptHandler>> {
        let all = self.known.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>().into_iter();
        let mut all: HashMap<*const (), _> = all.map(|file| (Arc::as_ptr(&file).cast(), file)).collect();
        let (mut found, mut next): (_, Vec<_>) = (Vec::new(), handlers.into_iter().collect());
        while let Some(handler) = next.pop() {
            found.extend(all.remove(&Arc::as_ptr(handler).cast()));
            next.extend(handler.inner());
        }
        found
    }
}
