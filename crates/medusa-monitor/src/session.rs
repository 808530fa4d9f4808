//! A session: somebody who has operations done one after the other, by whatever way they come.
//!
//! **Invariant:** every operation of every front end goes through [`Session::run`], which asks whether it is allowed, lets
//! others see it, and ends it when the session is ended.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use tokio::sync::mpsc;

use crate::authorize::authorize;
use crate::identity::Identity;
use crate::protocol::{Done, Failure, Op, Report};
use crate::sessions::{Full, Seat, SessionInfo, Sessions};

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

    /// Runs the script anew.
    fn reload(
        &self,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> impl Future<Output = Result<Done, Failure>>;

    /// Describes the server.
    fn status(&self) -> impl Future<Output = Status>;

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
}

impl<C> Clone for Monitor<C> {
    fn clone(&self) -> Self {
        Self { control: Rc::clone(&self.control), sessions: Arc::clone(&self.sessions) }
    }
}

impl<C: Control> Monitor<C> {
    /// Sessions on `control`, listed in `sessions`.
    pub fn new(control: Rc<C>, sessions: Arc<Sessions>) -> Self {
        Self { control, sessions }
    }

    /// Opens a session. With `reserve`, it may be a short one if there is no room for others.
    pub(crate) fn open(&self, identity: Identity, reserve: bool) -> Result<Session<C>, Full> {
        let seat = self.sessions.open(&identity, reserve)?;
        let state = self.control.open(seat.number(), &identity);
        Ok(Session { monitor: self.clone(), identity, seat, state, stops: Cell::new(false) })
    }
}

/// A session.
pub(crate) struct Session<C: Control> {
    monitor: Monitor<C>,
    identity: Identity,
    seat: Seat,
    state: C::Session,
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
        match op {
            Op::Eval { source } => match Op::from_text(&source) {
                Some(op) => self.run_one(op, events).await.map(Done::with_text),
                None => self.run_one(Op::Eval { source }, events).await,
            },
            op => self.run_one(op, events).await,
        }
    }

    async fn run_one(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        authorize(&self.identity, &op).map_err(|refusal| Failure::new(refusal.to_string()))?;
        if matches!(op, Op::Eval { .. }) && self.seat.is_short() {
            return Err(Failure::new(Full::All.to_string()));
        }
        let _shown = self.seat.running(match &op {
            Op::Eval { source } => source,
            op => op.name(),
        });
        tokio::select! {
            biased;
            who = self.seat.ended() => Err(Failure::new(format!("the session was ended by {who}"))),
            result = self.perform(op, events) => result,
        }
    }

    async fn perform(&self, op: Op, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        let author = self.identity.doing(op.name());
        let Monitor { control, sessions } = &self.monitor;
        match op {
            Op::Ping => Ok(Done::default()),
            Op::Status => described(&control.status().await),
            Op::Reopen => control.reopen().map(|()| Done::default()),
            Op::Eval { source } => control.eval(&self.state, source, author, events).await,
            Op::Reload => control.reload(author, events).await,
            Op::Stop => {
                self.stops.set(true);
                Ok(Done::default())
            }
            Op::Sessions => Ok(listed(sessions.list())),
            Op::Kill { session } if sessions.kill(session, &author) => Ok(Done::default()),
            Op::Kill { session } => {
                Err(Failure::new(format!("there is no session {session}: `sessions()` lists them")))
            }
        }
    }

    /// The client has been told the result of what was [run](Self::run) last. If that was to stop the server, it begins to:
    /// afterwards there may be nobody left to tell it.
    pub(crate) fn told(&self) {
        if self.stops.take() {
            self.monitor.control.stop(&self.identity.doing("stop"));
        }
    }
}

fn described(status: &Status) -> Result<Done, Failure> {
    let report = serde_json::to_value(status).map(|json| Report { json, tree: status.to_string() });
    match report {
        Ok(report) => Ok(Done { status: Some(report), ..Done::default() }),
        Err(error) => Err(Failure::new(format!("the status has no form in JSON: {error}"))),
    }
}

fn listed(sessions: Vec<SessionInfo>) -> Done {
    Done { sessions: Some(sessions), ..Done::default() }
}
