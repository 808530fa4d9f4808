//! The end of a server: nothing new, what is under way finishes, what was recorded is written.
//!
//! **Invariant:** it ends within a bounded time: [`GRACE`] for requests, less if a second signal says so, and [`FLUSH`]
//! and [`FAREWELL`] for logs.

use std::time::{Duration, Instant};

use medusa_log::Flushed;
use medusa_log::drain::drain_all;
use medusa_net::{Drained, Workers, limits, shutdown::drain};
use tokio::time::timeout;

use super::control::Controls;
use super::manager;
use super::signals::Signals;
use crate::logging::tell_counts;

/// The time that requests under way may take. As long as the script's budget for one, and less than the 90 seconds
/// after which systemd kills.
const GRACE: Duration = Duration::from_secs(30);

/// The time that logs may take to write what they hold.
const FLUSH: Duration = Duration::from_secs(5);

/// The time that logs may take to say goodbye to their targets.
const FAREWELL: Duration = Duration::from_millis(500);

/// Ends the server. Blocks the thread at the end, when nothing else is left to be done on it.
pub(super) async fn shutdown(controls: &Controls, signals: &mut Signals) -> Drained {
    manager::stopping();
    close_listeners(controls);
    let drained = finish(&controls.workers, signals).await;
    // A statement or a handler that was under way may have published since.
    close_listeners(controls);
    write_logs(controls).await;
    controls.workers.stop();
    drained
}

/// Closes the listeners of the running site.
fn close_listeners(controls: &Controls) {
    for bound in &controls.engine.live().site().listeners {
        bound.listener.close();
    }
}

/// Lets connections finish, until a second signal.
async fn finish(workers: &Workers, signals: &mut Signals) -> Drained {
    let open = limits::open();
    if open > 0 {
        tracing::info!(connections = open, "finishing what is under way, for at most {GRACE:?}");
    }
    tokio::select! {
        drained = drain(workers, GRACE) => drained,
        () = signals.stop() => {
            tracing::warn!("a second signal: not waiting any longer");
            let Drained { aborted, .. } = drain(workers, Duration::ZERO).await;
            Drained { finished: open.saturating_sub(aborted), aborted }
        }
    }
}

/// Hands every record and event to its log, and waits until the logs have written them: also those that were replaced a
/// moment ago, and still write.
async fn write_logs(controls: &Controls) {
    let deadline = Instant::now() + FLUSH;
    let handed_over = controls.workers.run_on_each(|_| async { medusa_http::flush_records() });
    if timeout(FLUSH, handed_over).await.is_err() {
        tracing::warn!("a worker is too busy to hand over its last records");
    }
    tell_counts();
    let events = controls.engine.live().events().flush(deadline);
    let Flushed { left, spilled } = events.and(drain_all(deadline));
    if spilled > 0 {
        tracing::warn!("{spilled} log records could not be written yet, and are kept for the next start");
    }
    if left > 0 {
        tracing::error!("{left} log records could not be written within {FLUSH:?} and are lost");
    }
    for sink in controls.engine.live().site().sinks() {
        sink.close();
    }
    // What is left has been told of above.
    let _: Flushed = drain_all(Instant::now() + FAREWELL);
}
