//! The resolver's thread: it owns all sockets, and looks whether the files have changed.
//!
//! **Invariant: it ends when the resolver does**, whatever it is doing: a server that does not answer would else keep the
//! thread and its sockets of every resolver that a reload has replaced.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Outcome;
use super::pending::{MAX_PENDING, Urgency};
use super::settings::Files;
use super::shared::Shared;
use crate::LookupError;
use crate::name::Key;

/// Questions on the wire at once. Each over UDP has one socket, or up to three while it is repeated.
pub(crate) const MAX_ON_WIRE: usize = 256;

/// The number of these that may be for logs (see `pending`).
const MAX_FOR_LOGS: usize = MAX_ON_WIRE / 4 * 3;

/// The time that someone waits for a fresh answer when there is an old one (RFC 8767 §5).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// The interval at which the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A question to be asked.
struct Job {
    key: Key,
    since: Instant,
}

/// The sending end of the thread's jobs. Dropping it ends the thread.
pub(super) struct Jobs {
    urgent: mpsc::Sender<Job>,
    for_logs: mpsc::Sender<Job>,
    /// Never sent: that it is gone says that the resolver is.
    _life: oneshot::Sender<()>,
}

impl Jobs {
    /// Has a question asked; false if there is no thread any more. There is room for every query.
    pub(super) fn send(&self, key: Key, urgency: Urgency) -> bool {
        let queue = match urgency {
            Urgency::Waits => &self.urgent,
            Urgency::ForLogs => &self.for_logs,
        };
        queue.try_send(Job { key, since: Instant::now() }).is_ok()
    }
}

/// The thread's side of [`Jobs`].
struct JobReceivers {
    urgent: mpsc::Receiver<Job>,
    for_logs: mpsc::Receiver<Job>,
    life: oneshot::Receiver<()>,
}

fn jobs() -> (Jobs, JobReceivers) {
    let (urgent, urgent_inbox) = mpsc::channel(MAX_PENDING);
    let (for_logs, for_logs_inbox) = mpsc::channel(MAX_PENDING);
    let (life, life_inbox) = oneshot::channel();
    let jobs = Jobs { urgent, for_logs, _life: life };
    (jobs, JobReceivers { urgent: urgent_inbox, for_logs: for_logs_inbox, life: life_inbox })
}

/// Starts the thread. It ends when the jobs are dropped.
pub(super) fn start(shared: Arc<Shared>, files: Files) -> io::Result<Jobs> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (jobs, inbox) = jobs();
    let run = move || {
        let end = CloseOnDrop(Arc::clone(&shared));
        runtime.block_on(serve(&shared, files, inbox));
        drop(runtime); // with it end the tasks that still ask
        drop(end);
    };
    std::thread::Builder::new().name("medusa-dns".to_owned()).spawn(run).map(|_detached| jobs)
}

/// Tells every caller that waits that there will be no answer, however the thread ends.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.pending.close();
    }
}

async fn serve(shared: &Arc<Shared>, mut files: Files, mut inbox: JobReceivers) {
    let mut on_wire = JoinSet::new();
    let for_logs = Arc::new(Semaphore::new(MAX_FOR_LOGS));
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let has_room = on_wire.len() < MAX_ON_WIRE;
        tokio::select! {
            biased;
            _ = &mut inbox.life => return,
            Some(_) = on_wire.join_next() => {}
            _ = check.tick(), if !files.is_empty() => files.check(shared),
            Some(job) = inbox.urgent.recv(), if has_room => {
                on_wire.spawn(run_query(Arc::clone(shared), job, None));
            }
            Some(job) = inbox.for_logs.recv(), if has_room && for_logs.available_permits() > 0 => {
                let place = Arc::clone(&for_logs).try_acquire_owned().ok();
                on_wire.spawn(run_query(Arc::clone(shared), job, place));
            }
        }
    }
}

/// One query: asks, and gives everyone the answer; unless it has become urgent, and is under way from the other queue.
async fn run_query(shared: Arc<Shared>, job: Job, _place: Option<OwnedSemaphorePermit>) {
    if shared.pending.start(&job.key) {
        let mut query = FinishOnDrop { shared: &shared, key: &job.key, outcome: Err(LookupError::Closed) };
        query.outcome = ask(&shared, &job).await;
    }
}

async fn ask(shared: &Shared, job: &Job) -> Outcome {
    let key = &job.key;
    let servers = shared.servers.load_full();
    if job.since.elapsed() > servers.longest_query() {
        // It has waited for its place on the wire for so long that no one needs it.
        return shared.without_asking(key, LookupError::Busy);
    }
    let flushes = shared.flushes();
    let mut asking = std::pin::pin!(servers.ask(key));
    let reply = tokio::select! {
        reply = &mut asking => reply,
        () = tokio::time::sleep(STALE_AFTER) => {
            shared.answer_waiters(key);
            asking.await
        }
    };
    shared.learn(key, reply, flushes)
}

/// A query that finishes however it ends: also by a panic, or with the thread.
struct FinishOnDrop<'a> {
    shared: &'a Shared,
    key: &'a Key,
    outcome: Outcome,
}

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        self.shared.finish(self.key, &self.outcome);
    }
}
