//! Handlers given as a file, and which of them are in use.
//!
//! **Invariant:** a [`ScriptHandler`] that was prepared is loaded in every worker, from the same text. Its function in
//! each VM goes when the handler does, after the last request that uses it.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use medusa_http::{Handler, HandlerError, HandlerFuture, PrepareFuture, Request, Sessions};
use medusa_net::Workers;
use medusa_proto::status::Status;
use parking_lot::Mutex;

use crate::engine_context::EngineContext;
use crate::error::ScriptError;
use crate::probe::{self, Point, ProbedLines};
use crate::require::Sources;
use crate::worker::{self, HandlerFile, WorkerVm};

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
        let file = HandlerFile {
            id: self.id,
            path: self.path.clone(),
            sources: Arc::clone(&self.sources),
            engine: Arc::clone(&self.engine),
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
        Box::pin(async move {
            let worker = WorkerVm::of_this_thread()
                .ok_or_else(|| HandlerError::internal("this thread has no script VM"))?;
            worker.answer(self.id, &self.path, &self.sessions, request).await
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
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut known = self.known.lock();
        known.retain(|handler| handler.strong_count() > 0);
        let mut same = known.iter().filter_map(Weak::upgrade);
        let same = same.find(|handler| handler.path == path && handler.sources.same_for(sources));
        if let Some(same) = same {
            sources.note_handler(&same.sources);
            return Ok(same);
        }
        // Said here already, where the script's own line can be named.
        sources.read(&path)?;
        let handler = Arc::new(ScriptHandler {
            id: NEXT.fetch_add(1, Relaxed),
            path,
            sources: Arc::new(sources.for_handler()),
            engine: Arc::clone(&self.engine),
            workers: self.workers.clone(),
            loaded: AtomicBool::new(false),
            alive: Some(Arc::default()),
            sessions: Sessions::default(),
        });
        known.push(Arc::downgrade(&handler));
        sources.note_handler(&handler.sources);
        Ok(handler)
    }
}
