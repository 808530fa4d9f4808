//! Ending every connection of the process, politely first.
//!
//! Invariant: after [`drain`] no connection that was open is left, whatever its handler does: what has not finished at
//! the deadline is aborted. (A handler that blocks its thread cannot be, and delays its worker's part.)

use std::iter::Sum;
use std::time::Duration;

use crate::registry;
use crate::worker::Workers;

/// How connections ended when they were told to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that finished in time.
    pub finished: usize,
    /// Connections that did not, and were cut off.
    pub aborted: usize,
}

impl Sum for Drained {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            finished: sum.finished + part.finished,
            aborted: sum.aborted + part.aborted,
        })
    }
}

/// Tells every connection on every worker to finish and waits for that, for at most `deadline`; the rest is aborted.
///
/// Close the listeners first, or new connections keep coming; each is told to finish as soon as it is open. Idle
/// connections finish at once, busy ones after their response.
pub async fn drain(workers: &Workers, deadline: Duration) -> Drained {
    let parts = workers.run_on_each(move |_| registry::finish(None, deadline)).await;
    // A worker that is gone has no connections.
    parts.into_iter().flatten().sum()
}
