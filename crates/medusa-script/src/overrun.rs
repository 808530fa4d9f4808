//! Tells who held a thread for longer than a script may: nothing should be able to, so each is a fault, of ours or of a
//! limit. Once a minute at most, with how many there were; the status counts them for each VM.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time between two messages, at the least.
const QUIET: Duration = Duration::from_mins(1);

/// Overruns that have not been told.
struct Unreported {
    last: Option<Instant>,
    count: u64,
}

static UNREPORTED: Mutex<Unreported> = Mutex::new(Unreported { last: None, count: 0 });

/// A script held its thread for so long (CPU time) when it should have given way. Near the line that `place` names, for the
/// native function that did is over by then.
pub(crate) fn report(held: Duration, place: impl FnOnce() -> String) {
    let mut unreported = UNREPORTED.lock();
    unreported.count += 1;
    if unreported.last.is_some_and(|last| last.elapsed() < QUIET) {
        return;
    }
    let overruns = std::mem::take(&mut unreported.count);
    unreported.last = Some(Instant::now());
    drop(unreported);
    let (place, held_ms) = (place(), held.as_millis() as u64);
    tracing::warn!(
        target: "script",
        place,
        held_ms,
        overruns,
        "a native function held its thread: requests on it waited"
    );
}
