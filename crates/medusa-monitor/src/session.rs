//! A session: somebody who has operations done one after the other, by whatever way they come.
//!
//! **Invariant:** every operation of every front end goes through [`Session::run`], which asks whether it is allowed, lets
//! others see it, records it, and ends it when the session is ended.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use tokio::sync::mpsc;

use crate::arrivals::admission::Admission;
use crate::audit::{AuditError, AuditLog, Audited, Auditor, Effect, RecordKind};
use crate::authorize::{Refusal, authorize};
use crate::commands::{self, COMMANDS};
use crate::identity::{Identity, Role};
use crate::news::OnTrial;
use crate::protocol::{Completion, Done, Failure, Killed, Op, Report};
use crate::runs::{RunId, RunList};
use crate::sessions::{Full, MAX_SESSIONS, Seat, SessionInfo, Sessions};
use crate::terminal::Candidate;

/// Lines of output that may wait for a client. Enough for all that a statement may print, 256 KiB, if every line is
/// empty: no output may hold up a statement, so what does not fit here would be dropped.
pub(crate) const QUEUED_EVENTS: usize = 256 * 1024;

/// The server's side of what sessions ask for, and on whose behalf: `eval by uid 0 (pid 4711)`.
///
/// Several sessions call at a time. Dropping a future cancels what it stands for.
pub trait Control: 'static {
    /// The state that the server keeps for a session as long as that is open.
    type Session: 'static;

    /// A session was opened.
    fn open(&self, number: u64, identity: &Identity) -> Self::Session;

    /// Runs one statement as one change. What it prints goes to `events` while it runs.
    fn eval(
        &self,
        session: &Self::Session,
        source: String,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// What is wrong with a statement that only wants more lines; none with any other. Nothing of it is run.
    fn incomplete(&self, source: String) -> impl Future<Output = Option<Failure>>;

    /// Runs the script anew; to be confirmed within so many seconds, if that is given.
    fn reload(
        &self,
        confirm: Option<f64>,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Does what concerns generations, and what goes on in them: [`Op::Generations`], [`Op::Diff`], [`Op::Explain`], [`Op::Help`],
    /// [`Op::Rollback`], [`Op::Confirm`], [`Op::Cancel`], [`Op::Preview`], [`Op::Approve`], [`Op::Save`], [`Op::Drift`],
    /// [`Op::Trace`], [`Op::Handlers`], [`Op::Timers`], [`Op::Drain`].
    fn history(
        &self,
        session: &Self::Session,
        op: Op,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Says what may stand at byte `at` of a statement. Nothing of a script runs, and nothing changes.
    fn complete(
        &self,
        session: &Self::Session,
        source: String,
        at: usize,
    ) -> impl Future<Output = Result<Completion, Failure>>;

    /// Whether the session has begun a change that is not committed.
    fn has_begun(&self, session: &Self::Session) -> bool;

    /// What is on trial.
    fn on_trial(&self) -> Option<OnTrial>;

    /// Describes the server.
    fn status(&self) -> impl Future<Output = Status>;

    /// Lists what of scripts is running.
    fn runs(&self) -> impl Future<Output = Result<RunList, Failure>>;

    /// Tells of the server in numbers, once a second: for `n` seconds, or until the future is dropped.
    fn top(
        &self,
        n: Option<u64>,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Ends one of those. Whether there is one of this number.
    fn end_run(&self, run: RunId, author: Author) -> impl Future<Output = Result<bool, Failure>>;

    /// Opens log files anew.
    fn reopen(&self) -> Result<(), Failure>;

    /// Begins to shut down, and returns at once. Called after the client has been told.
    fn stop(&self, author: &Author);
}

/// The server, as all front ends open their sessions on it.
#[derive(Debug)]
pub struct Monitor<C> {
    control: Rc<C>,
    sessions: Arc<Sessions>,
    audit: AuditLog,
    admission: Admission,
}

impl<C> Clone for Monitor<C> {
    fn clone(&self) -> Self {
        Self {
            control: Rc::clone(&self.control),
            sessions: Arc::clone(&self.sessions),
            audit: self.audit.clone(),
            admission: self.admission.clone(),
        }
    }
}

impl<C: Control> Monitor<C> {
    /// Sessions on `control`, listed in `sessions`, which are recorded in `audit`.
    pub fn new(control: Rc<C>, sessions: Arc<Sessions>, audit: AuditLog) -> Self {
        Self { control, sessions, audit, admission: Admission::default() }
    }

    /// The record of what sessions do.
    pub(crate) fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The connections that nobody has logged in on yet, of all front ends together.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Opens a session. With `reserve`, it may be a short one if there is no room for others.
    pub(crate) fn open(&self, identity: Identity, reserve: bool) -> Result<Session<C>, Full> {
        let seat = self.sessions.open(&identity, reserve).inspect_err(|full| {
            Auditor::refuse_session(&self.audit, &identity, &full.to_string());
        })?;
        let auditor = Auditor::open(&self.audit, seat.number(), &identity);
        let state = self.control.open(seat.number(), &identity);
        Ok(Session { monitor: self.clone(), identity, seat, state, auditor, stops: Cell::new(false) })
    }
}

/// A session.
pub(crate) struct Session<C: Control> {
    monitor: Monitor<C>,
    identity: Identity,
    seat: Seat,
    state: C::Session,
    auditor: Auditor,
    /// The server is to stop when the client has been told.
    stops: Cell<bool>,
}

impl<C: Control> Session<C> {
    /// Its place among those that are open.
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Does what `op` says. What happens meanwhile goes to `events`. Cancelled when it is dropped, or the session ended.
    /// When the client has been told the result, [`told`](Self::told) is called.
    pub(crate) async fn run(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        let result = self.run_as_meant(op, events).await;
        let open = self.monitor.control.has_begun(&self.state);
        result.map(|done| Done { open, ..done }).map_err(|failure| Failure { open, ..failure })
    }

    /// The same; a statement that is a command is that.
    async fn run_as_meant(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        match op {
            Op::Eval { source } => match Op::from_text(&source) {
                Some(op) => {
                    let reloads = matches!(op, Op::Reload { .. });
                    let done = self.run_one(op, events).await?.with_text();
                    let value =
                        done.value.map(|value| if reloads { format!("reloaded: {value}") } else { value });
                    Ok(Done { value, ..done })
                }
                None => self.run_one(Op::Eval { source }, events).await,
            },
            Op::Hello { reason } => self.explain(&reason).map(|()| Done::default()),
            Op::Complete { source, at } => {
                let completion = self.complete(source, at).await?;
                Ok(Done { completion: Some(Box::new(completion)), ..Done::default() })
            }
            op => self.run_one(op, events).await,
        }
    }

    /// Whether it has to be said first what it is for.
    pub(crate) fn wants_reason(&self) -> bool {
        self.identity.wants_reason()
    }

    /// It is said what it is for.
    pub(crate) fn explain(&self, reason: &str) -> Result<(), Failure> {
        self.identity.explain(reason).map_err(Failure::new)?;
        self.auditor.begin(&self.identity);
        Ok(())
    }

    /// What is on trial.
    pub(crate) fn on_trial(&self) -> Option<OnTrial> {
        self.monitor.control.on_trial()
    }

    /// What may stand at byte `at` of a statement; for who may run none, commands. It is nothing that anybody has done, so it is
    /// neither recorded nor shown.
    pub(crate) async fn complete(&self, source: String, at: usize) -> Result<Completion, Failure> {
        if self.wants_reason() {
            return Err(Failure::new(Refusal::Reason.to_string()));
        }
        let role = self.identity.rights.role;
        if role < Role::Program {
            return Ok(commands_at(&source, at, role));
        }
        tokio::select! {
            biased;
            who = self.seat.ended() => Err(Failure::new(format!("the session was ended by {who}"))),
            completion = self.monitor.control.complete(&self.state, source, at) => completion,
        }
    }

    async fn run_one(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        authorize(&self.identity, &op).map_err(|refusal| self.refuse(refusal.to_string()))?;
        if op.may_take_long() && self.seat.is_short() {
            return Err(self.refuse(Full::All(MAX_SESSIONS).to_string()));
        }
        tokio::select! {
            biased;
            who = self.seat.ended() => Err(Failure::new(format!("the session was ended by {who}"))),
            result = self.record(op, events) => result,
        }
    }

    fn refuse(&self, why: String) -> Failure {
        self.auditor.refuse(&why);
        Failure::new(why)
    }

    /// Performs what is recorded. What changes the server is not done if it cannot be. Of a statement that only wants more lines
    /// nothing is done, so there is nothing to record: clients send it again with each line.
    async fn record(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        if let Op::Eval { source } = &op
            && let Some(failure) = self.monitor.control.incomplete(source.clone()).await
        {
            return Err(failure);
        }
        let audited = self.begin(&op).await;
        let audited = audited.map_err(|error| Failure::new(format!("not done: {}", with_causes(&error))))?;
        let _shown = self.seat.running(match &op {
            Op::Eval { source } => source,
            op => op.name(),
        });
        let result = self.perform(op, events).await;
        let (generation, report, earlier) = match &result {
            Ok(done) => (done.generation, &done.report, &done.earlier),
            Err(failure) => (failure.generation, &failure.report, &failure.earlier),
        };
        let effect = generation.map(|generation| {
            let reports = earlier.iter().map(|earlier| &earlier.report).chain(report).cloned();
            let earlier = earlier.iter().map(|earlier| earlier.generation).collect();
            Effect::new(generation, reports.collect()).after(earlier)
        });
        let told = result.as_ref().map(|done| done.value.as_deref().unwrap_or_default());
        if let Some(audited) = audited {
            audited.end(effect, told.map_err(|failure| failure.message.as_str()));
        }
        result
    }

    async fn begin(&self, op: &Op) -> Result<Option<Audited<'_>>, AuditError> {
        let auditor = &self.auditor;
        Ok(match op {
            Op::Ping | Op::Hello { .. } | Op::Interrupt | Op::Watch | Op::Complete { .. } => None,
            Op::Eval { source } => Some(auditor.strict(RecordKind::Statement, source).await?),
            op if op.needs() == Role::View => Some(auditor.lenient(&op.described())),
            // What takes back a bad change, and what keeps a good one, needs no room.
            op if matches!(op.name(), "reopen" | "stop" | "kill" | "confirm" | "cancel") => {
                Some(auditor.lenient(&op.described()))
            }
            op => Some(auditor.strict(RecordKind::Request, &op.described()).await?),
        })
    }

    async fn perform(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        let author = self.identity.doing(op.name()).in_session(self.seat.number());
        let Monitor { control, sessions, .. } = &self.monitor;
        match op {
            Op::Ping | Op::Hello { .. } | Op::Interrupt | Op::Watch | Op::Complete { .. } => {
                Ok(Done::default())
            }
            Op::Status => described(&control.status().await),
            Op::Reopen => control.reopen().map(|()| Done::default()),
            Op::Eval { source } => control.eval(&self.state, source, author, events).await,
            Op::Commit { change, confirm, reason } => {
                let statement = commands::commit(change.as_deref(), confirm, reason.as_deref());
                control.eval(&self.state, statement, author, events).await
            }
            // What was begun could not be committed any more.
            Op::Reload { .. } | Op::Rollback { .. } if control.has_begun(&self.state) => {
                let why = "something is begun: `commit()` or `abort()` it first";
                Err(Failure::new(format!("{}: {why}", op.name())))
            }
            Op::Reload { confirm } => control.reload(confirm, author, events).await,
            op @ (Op::Generations
            | Op::Diff { .. }
            | Op::Help { .. }
            | Op::Explain { .. }
            | Op::Rollback { .. }
            | Op::Confirm { .. }
            | Op::Cancel { .. }
            | Op::Preview { .. }
            | Op::Approve { .. }
            | Op::Save { .. }
            | Op::Drift
            | Op::Trace { .. }
            | Op::Handlers
            | Op::Timers
            | Op::Drain { .. }) => control.history(&self.state, op, author, events).await,
            Op::Stop => {
                self.stops.set(true);
                Ok(Done::default())
            }
            Op::Sessions => Ok(listed(sessions.list())),
            Op::Kill(Killed::Session { session }) if sessions.kill(session, &author) => Ok(Done::default()),
            Op::Kill(Killed::Session { session }) => {
                Err(Failure::new(format!("there is no session {session}: `sessions()` lists them")))
            }
            Op::Top { n } => control.top(n, events).await,
            Op::Ps => Ok(Done { runs: Some(Box::new(control.runs().await?)), ..Done::default() }),
            Op::Kill(Killed::Run { run }) => {
                let there_is_one = control.end_run(run, author).await?;
                if there_is_one { Ok(Done::default()) } else { Err(Failure::new(run.is_gone())) }
            }
        }
    }

    /// Whether what was run last is to stop the server.
    pub(crate) fn stops(&self) -> bool {
        self.stops.get()
    }

    /// The client has been told the result of what was [run](Self::run) last. If that was to stop the server, it begins to:
    /// afterwards there may be nobody left to tell it.
    pub(crate) fn told(&self) {
        if self.stops.take() {
            self.monitor.control.stop(&self.identity.doing("stop").in_session(self.seat.number()));
        }
    }
}

impl<C: Control> Drop for Session<C> {
    /// What was to be done when the client has been told is done, too, if it has left instead.
    fn drop(&mut self) {
        self.told();
    }
}

/// The commands that may stand at byte `at` of a text, for a role.
fn commands_at(text: &str, at: usize, role: Role) -> Completion {
    let prefix = text.get(..text.floor_char_boundary(at)).unwrap_or_default();
    let from = prefix.len() - prefix.trim_start().len();
    let prefix = prefix.trim_start();
    let known = COMMANDS.iter().filter(|(name, needed)| role >= *needed && name.starts_with(prefix));
    let candidate = |(name, _): &(&str, Role)| Candidate { text: (*name).to_owned(), about: String::new() };
    Completion { from, candidates: known.map(candidate).collect() }
}

fn described(status: &Status) -> Result<Done, Failure> {
    let report = serde_json::to_value(status).map(|json| Report { json, tree: status.to_string() });
    match report {
        Ok(report) => Ok(Done { status: Some(Box::new(report)), ..Done::default() }),
        Err(error) => Err(Failure::new(format!("the status has no form in JSON: {error}"))),
    }
}

fn listed(sessions: Vec<SessionInfo>) -> Done {
    Done { sessions: Some(sessions), ..Done::default() }
}
