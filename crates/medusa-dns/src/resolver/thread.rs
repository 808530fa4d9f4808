//! The resolver's thread: it owns all sockets, and looks whether the files have changed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::Outcome;
use super::settings::Files;
use super::shared::Shared;
use crate::LookupError;
use crate::name::Key;

/// Questions on the wire at once. Each over UDP has one socket, or up to three while it is repeated.
pub(crate) const MAX_ON_WIRE: usize = 256;

/// How long someone waits for a fresh answer when there is an old one (RFC 8767 §5).
const STALE_AFTER: Duration = Duration::from_millis(1800);

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A question to be asked.
pub(super) struct Job {
    key: Key,
    since: Instant,
}

impl Job {
    pub(super) fn new(key: Key) -> Self {
        Self { key, since: Instant::now() }
    }
}

/// Starts the thread. It ends when there can be no more jobs.
pub(super) fn start(shared: Arc<Shared>, files: Files, jobs: Receiver<Job>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        let end = End(Arc::clone(&shared));
        runtime.block_on(serve(&shared, files, jobs));
        drop(runtime); // with it end the tasks that still ask
        drop(end);
    };
    std::thread::Builder::new().name("medusa-dns".to_owned()).spawn(run).map(drop)
}

/// Tells everyone who waits that there will be no answer, however the thread ends.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.flights.close();
    }
}

async fn serve(shared: &Arc<Shared>, mut files: Files, mut jobs: Receiver<Job>) {
    let mut on_wire = JoinSet::new();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            job = jobs.recv(), if on_wire.len() < MAX_ON_WIRE => match job {
                Some(job) => drop(on_wire.spawn(fly(Arc::clone(shared), job))),
                None => return,
            },
            Some(_) = on_wire.join_next() => {}
            _ = look.tick(), if !files.is_empty() => files.look(shared),
        }
    }
}

/// One flight: asks, and gives everyone the answer.
async fn fly(shared: Arc<Shared>, job: Job) {
    let mut flight = Flight { shared: &shared, key: &job.key, outcome: Err(LookupError::Closed) };
    flight.outcome = ask(&shared, &job).await;
}

async fn ask(shared: &Shared, job: &Job) -> Outcome {
    let key = &job.key;
    let servers = shared.servers.load_full();
    if job.since.elapsed() > servers.patience() {
        return Err(LookupError::Busy); // it has waited for its place on the wire for so long that no one needs it
    }
    let flushes = shared.flushes();
    let mut asking = std::pin::pin!(servers.ask(key));
    let reply = tokio::select! {
        reply = &mut asking => reply,
        () = tokio::time::sleep(STALE_AFTER) => {
            shared.relieve(key);
            asking.await
        }
    };
    shared.learn(key, reply, flushes)
}

/// A flight that lands however it ends: also by a panic, or with the thread.
struct Flight<'a> {
    shared: &'a Shared,
    key: &'a Key,
    outcome: Outcome,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.shared.land(self.key, &self.outcome);
    }
}
