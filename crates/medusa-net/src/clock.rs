//! A coarse clock: seconds since this worker's clock was first read, kept in a `Cell`.
//!
//! Invariant: [`now`] never goes back, and is behind the real time by at most a second while a connection is open (the
//! [`registry`](crate::registry) refreshes it then). Deadlines are compared with `>`, so that none passes early.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    static NOW: Cell<u32> = const { Cell::new(0) };
}

/// Seconds by this worker's coarse clock. Costs one memory read. Not comparable between workers.
#[must_use]
pub fn now() -> u32 {
    NOW.get()
}

/// Reads the real clock, and returns the new coarse time.
pub(crate) fn refresh() -> u32 {
    let real = Instant::now();
    let start = START.get().unwrap_or(real);
    START.set(Some(start));
    // 136 years of uptime, after which deadlines no longer pass.
    let seconds = u32::try_from(real.saturating_duration_since(start).as_secs()).unwrap_or(u32::MAX);
    NOW.set(seconds.max(NOW.get()));
    NOW.get()
}
