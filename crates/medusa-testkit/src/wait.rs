//! Conditions that nobody announces: a counter that must reach a value, a file that must appear.

use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks again and again until there is something to see, and returns that.
///
/// # Panics
///
/// There is nothing for [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        thread::park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_until_there_is_something() {
        let mut looks = 0;
        let seen = until("the third look", || {
            looks += 1;
            (looks == 3).then_some("seen")
        });
        assert_eq!((seen, looks), ("seen", 3));
    }
}
