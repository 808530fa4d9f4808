//! Work on several threads at once. A panic of one of them is one of whoever waits for it.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// Does `work` with each of `items` at once, a thread each, and returns what came of them, in their order.
pub(crate) fn together<I: Send, T: Send>(
    items: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        // Collected first: all of them have started before the first is waited for.
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(joined).collect()
    })
}

/// Does `work` on a thread beside what `measure` does here. When that has ended, `work` is told that it is over, and waited
/// for.
pub(crate) fn beside<W: Send, T>(
    work: impl FnOnce(&AtomicBool) -> W + Send,
    measure: impl FnOnce() -> T,
) -> (W, T) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let thread = scope.spawn(|| work(&over));
        let measured = measure();
        over.store(true, Ordering::Relaxed);
        (joined(thread), measured)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
