//! The actions of signals and control sessions on a running server.
//!
//! **Invariant:** once it has begun to stop, no change is begun any more. (One that was under way may still be published;
//! `shutdown` closes what that opens.)

use std::convert::Infallible;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_http::{Trace, TraceEnd, TraceFilter, TracedRequest};
use medusa_monitor::protocol::{HandlerInfo, PublishedInfo};
use medusa_monitor::{AuditLog, Completion, Control, Done, Failure, Identity, OnTrial, Op, RunId, RunList};
use medusa_net::{Workers, descriptors, limits};
use medusa_proto::author::{Author, Via};
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_script::{
    Engine, Evaluated, Loaded, ProgressSender, ScriptError, SessionHandle, help, incomplete, show_traced,
};
use medusa_site::{Generation, HandlerUse, explain, reason_of, trial_of};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::spawn_blocking;

use super::manager::Reloading;
use crate::target::Target;

/// How many statements are looked at for their end at a time.
const MAX_CHECKS: usize = 2;

/// A running server, for signals and sessions, which tell it what to do.
pub(super) struct Controls {
    pub(super) engine: Engine,
    pub(super) workers: Workers,
    target: Target,
    pub(super) audit: AuditLog,
    started: Instant,
    stopping: watch::Sender<bool>,
    reload: Notify,
    checks: Arc<Semaphore>,
}

impl Controls {
    pub(super) fn new(engine: Engine, workers: Workers, target: Target, audit: AuditLog) -> Self {
        let (stopping, reload) = (watch::Sender::new(false), Notify::new());
        let checks = Arc::new(Semaphore::new(MAX_CHECKS));
        Self { engine, workers, target, audit, started: Instant::now(), stopping, reload, checks }
    }

    /// Runs the script for the first time.
    pub(super) async fn first_load(&self) -> Result<Loaded, Failure> {
        self.engine.load(Author::new(Via::Start, "start"), None, None).await.map_err(|error| failure(&error))
    }

    /// Says that the server is to stop, on behalf of an author, for the log.
    pub(super) fn begin_to_stop(&self, author: &Author) {
        if !self.stopping.send_replace(true) {
            tracing::info!(by = %author, "stopping");
            self.engine.live().sessions().news().say(&format!("{author}: the server is stopping"), author);
        }
    }

    /// Returns when the server is to stop.
    pub(super) async fn stopping(&self) {
        let mut stop = self.stopping.subscribe();
        // An error is impossible: we hold the sender.
        let _stopping = stop.wait_for(|stopping| *stopping).await;
    }

    /// Has the script run anew as soon as may be. Told twice before it begins is told once.
    pub(super) fn request_reload(&self) {
        self.reload.notify_one();
    }

    /// Reloads each time it is told to, one after the other. The results are in the log.
    pub(super) async fn reload_on_request(self: Rc<Self>) {
        loop {
            self.reload.notified().await;
            let _logged = self.load(Author::new(Via::Signal, "reload").by("SIGHUP"), None, None).await;
        }
    }

    async fn load(
        &self,
        author: Author,
        trial: Option<Duration>,
        events: Option<ProgressSender>,
    ) -> Result<Loaded, Failure> {
        self.refuse_while_stopping()?;
        let _reloading = Reloading::begin();
        match self.engine.load(author.clone(), trial, events).await {
            Ok(loaded) => {
                tracing::info!(generation = loaded.generation, by = %author, changes = loaded.report, "reloaded");
                Ok(loaded)
            }
            Err(error) => {
                let failure = failure(&error);
                tracing::error!("{author} failed, and the old site goes on: {failure}");
                Err(failure)
            }
        }
    }

    /// Has every log in use open its file anew. What fails is logged and returned; the others are opened all the same.
    pub(super) fn reopen_logs(&self) -> Result<(), Failure> {
        let failed: Vec<_> = self.engine.live().reopen().iter().map(|error| with_causes(error)).collect();
        for error in &failed {
            tracing::error!("a log goes on in its old file: {error}");
        }
        if failed.is_empty() {
            tracing::info!("logs reopened");
            return Ok(());
        }
        Err(Failure::new(failed.join("\n")))
    }

    fn refuse_while_stopping(&self) -> Result<(), Failure> {
        if *self.stopping.borrow() { Err(Failure::new("the server is stopping")) } else { Ok(()) }
    }
}

fn failure(error: &ScriptError) -> Failure {
    let (generation, report, earlier) = last_of(error.published());
    let statements = error.given_up().map(str::to_owned);
    Failure {
        incomplete: error.is_incomplete(),
        generation,
        report,
        earlier,
        statements,
        ..Failure::new(error.render())
    }
}

/// What was published last, and before.
fn last_of(published: &[PublishedInfo]) -> (Option<u64>, Option<String>, Vec<PublishedInfo>) {
    let Some((last, earlier)) = published.split_last() else { return Default::default() };
    (Some(last.generation), Some(last.report.clone()), earlier.to_vec())
}

fn handler_info(one: &HandlerUse) -> HandlerInfo {
    HandlerInfo {
        mount: one.mount.pattern.clone(),
        server: one.server.to_string(),
        handler: one.mount.handler.clone(),
        origin: one.mount.origin.to_string(),
        generation: one.generation,
        state: one.state.name().to_owned(),
        requests: one.counts.requests,
        streams: one.counts.streams,
        websockets: one.counts.websockets,
        text: one.to_string(),
    }
}

impl Control for Controls {
    type Session = SessionHandle;

    fn open(&self, _number: u64, _identity: &Identity) -> SessionHandle {
        SessionHandle::default()
    }

    async fn eval(
        &self,
        session: &SessionHandle,
        source: String,
        author: Author,
        events: ProgressSender,
    ) -> Result<Done, Failure> {
        self.refuse_while_stopping()?;
        let evaluated = self.engine.eval(session.clone(), source, author.clone(), Some(events)).await;
        let Evaluated { value, published } = evaluated.map_err(|error| failure(&error))?;
        for PublishedInfo { report, .. } in &published {
            tracing::info!(by = %author, report, "changed by a statement");
        }
        let (generation, report, earlier) = last_of(&published);
        Ok(Done { value, generation, report, earlier, ..Done::default() })
    }

    /// On a thread of its own, as a long one takes a while.
    async fn incomplete(&self, source: String) -> Option<Failure> {
        let permit = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        let checked = spawn_blocking(move || {
            let _one_of_few = permit;
            incomplete(&source)
        });
        checked.await.ok().flatten().map(|error| failure(&error))
    }

    async fn reload(
        &self,
        confirm: Option<f64>,
        author: Author,
        events: ProgressSender,
    ) -> Result<Done, Failure> {
        let trial = confirm.map(trial_of).transpose().map_err(Failure::new)?;
        let loaded = self.load(author, trial, Some(events)).await?;
        let Loaded { generation, report, .. } = loaded;
        Ok(Done { generation: Some(generation), report: Some(report), ..Done::default() })
    }

    async fn history(
        &self,
        session: &SessionHandle,
        op: Op,
        author: Author,
        events: ProgressSender,
    ) -> Result<Done, Failure> {
        let live = self.engine.live();
        let text = |value: String| Done { value: Some(value), ..Done::default() };
        let failed = |error: &dyn Error| Failure::new(with_causes(error));
        let published = |published: Option<Generation>| Done {
            generation: published.as_ref().map(|published| published.number),
            report: published.map(|published| live.report(&published)),
            ..Done::default()
        };
        match op {
            Op::Generations => {
                let pending = live.pending().map(|pending| pending.generation);
                let generations = live.generations();
                let generations = generations.iter().map(|known| known.info(pending == Some(known.number)));
                let generations = generations.collect();
                Ok(Done { generations: Some(generations), ..Done::default() })
            }
            Op::Diff { from, to } => {
                let to = to.unwrap_or_else(|| live.site().generation);
                live.diff(from, to)
                    .map(|differences| text(differences.to_string()))
                    .map_err(|error| failed(&error))
            }
            Op::Help { about } => help(about.as_deref()).map(text).map_err(Failure::new),
            Op::Explain { method, url } => {
                let explained = explain(live, &method, &url).map_err(|error| failed(&error))?;
                Ok(text(explained))
            }
            Op::Rollback { generation, reason } => {
                self.refuse_while_stopping()?;
                let reason = reason.map(reason_of).transpose().map_err(Failure::new)?;
                let back = self.engine.rollback(generation, author, reason, Some(events)).await;
                back.map(published).map_err(|error| failure(&error))
            }
            Op::Confirm { generation } => {
                let confirmed = self.engine.confirm(generation, author).await;
                let confirmed = confirmed.map_err(|error| failure(&error))?;
                Ok(text(format!("generation {confirmed} is confirmed")))
            }
            Op::Cancel { generation } => {
                let cancelled = self.engine.cancel(generation, author).await;
                cancelled.map(published).map_err(|error| failure(&error))
            }
            Op::Preview { change } => {
                let proposal = match change {
                    Some(change) => live.proposal(&change),
                    None => self.engine.preview(session),
                };
                let preview = proposal.map_err(|error| failed(&error))?.info();
                Ok(Done { preview: Some(Box::new(preview)), ..Done::default() })
            }
            Op::Approve { change } => {
                live.approve(&change, &author).map(text).map_err(|error| failed(&error))
            }
            Op::Save { reason } => {
                self.refuse_while_stopping()?;
                let reason = reason_of(reason).map_err(Failure::new)?;
                self.engine.save(reason, author).await.map(text).map_err(|error| failure(&error))
            }
            Op::Drift => self.engine.drift().await.map(text).map_err(|error| failure(&error)),
            Op::Trace { of, n, seconds } => {
                let wrong = |must: String| Failure::new(format!("trace: {must}"));
                let mut filter = TraceFilter::default();
                for (option, value) in of.options() {
                    let set = live.filter_trace(&mut filter, option, value);
                    set.map_err(|must_be| wrong(format!("`{option}` must be {must_be}")))?;
                }
                let end = TraceEnd::new(n.map(|n| n as f64), seconds).map_err(wrong)?;
                let trace = Trace::begin(filter, Some(end.requests), author.login.clone());
                let trace = trace.map_err(|error| failed(&error))?;
                let all = async |_: &TracedRequest| Ok::<_, Infallible>(true);
                let Ok(told) = show_traced(trace, end, Some(events), all).await;
                Ok(text(told))
            }
            Op::Handlers => {
                let handlers = live.handlers().iter().map(handler_info).collect();
                Ok(Done { handlers: Some(handlers), ..Done::default() })
            }
            Op::Timers => Ok(Done { timers: Some(live.timers()), ..Done::default() }),
            Op::Drain { generation, seconds } => {
                live.drain(generation, seconds, &author).await.map(text).map_err(|error| failed(&error))
            }
            op => Err(Failure::new(format!("`{}` does not concern generations", op.name()))),
        }
    }

    async fn complete(
        &self,
        session: &SessionHandle,
        source: String,
        at: usize,
    ) -> Result<Completion, Failure> {
        self.engine.complete(session.clone(), source, at).await.map_err(|error| failure(&error))
    }

    fn has_begun(&self, session: &SessionHandle) -> bool {
        session.has_begun()
    }

    fn on_trial(&self) -> Option<OnTrial> {
        let pending = self.engine.live().pending()?;
        let (generation, back_to) = (pending.generation, pending.back_to);
        Some(OnTrial { generation, back_to, until: pending.deadline.into_std() })
    }

    async fn runs(&self) -> Result<RunList, Failure> {
        self.engine.runs().await.map_err(|error| failure(&error))
    }

    async fn top(&self, n: Option<u64>, events: ProgressSender) -> Result<Done, Failure> {
        let shown = self.engine.top(n, events).await;
        shown.map(|()| Done::default()).map_err(|error| failure(&error))
    }

    async fn end_run(&self, run: RunId, author: Author) -> Result<bool, Failure> {
        self.engine.end_run(run, author).await.map_err(|error| failure(&error))
    }

    async fn status(&self) -> Status {
        // Unknown only where `/proc` is hidden.
        let open = descriptors::open().unwrap_or(0);
        let status = Status::new("medusa", env!("CARGO_PKG_VERSION"));
        // Whoever looks because something is wrong sees it first.
        let scarce = descriptors::is_scarce(open).then(|| {
            let limit = descriptors::limit();
            format!("{open} of {limit} descriptors are open: new connections are refused; raise `ulimit -n` or LimitNOFILE=")
        });
        let trouble: Vec<_> = scarce.into_iter().chain(self.audit.trouble()).collect();
        let status = if trouble.is_empty() { status } else { status.field("trouble", trouble.join("; ")) };
        status
            .field("script", self.target.path().display().to_string())
            .field("pid", std::process::id())
            .gauge("uptime", self.started.elapsed())
            .gauge("workers", self.workers.len())
            .gauge("connections", limits::open())
            .gauge("descriptors", open)
            .gauge("descriptors_limit", descriptors::limit())
            .gauge("descriptors_of_files", descriptors::files())
            .child(medusa_http::memory())
            .child(self.engine.status().await)
    }

    fn reopen(&self) -> Result<(), Failure> {
        self.reopen_logs()
    }

    fn stop(&self, author: &Author) {
        self.begin_to_stop(author);
    }
}
