//! Records that must be written before the process ends, wherever they are.
//!
//! A sink that was replaced is nobody's any more, and still writes what it was given; one that a script holds on to may
//! have been taken out of the Site. Whoever flushes the sinks in use would miss both, and their last records would be gone
//! without a word. So whatever holds records enters itself here when it starts to.
//!
//! **Invariant: what was prepared and still holds records is in the list.** The list keeps nothing alive, and forgets what
//! is gone whenever something new comes.

use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use crate::Flushed;

/// Something that holds records, or what is left of it.
pub trait Drain: Send + Sync {
    /// Waits until all that is held now has been passed on, or counted as lost, or until `deadline`. Blocks.
    fn drain(&self, deadline: Instant) -> Flushed;
}

static ALL: Mutex<Vec<Weak<dyn Drain>>> = Mutex::new(Vec::new());

/// Enters `part`, which passes on to what has been entered before, if to anything. Doing it again does nothing.
pub fn enter<T: Drain + 'static>(part: &Arc<T>) {
    let part: Weak<dyn Drain> = Arc::downgrade(part) as _;
    let mut all = ALL.lock();
    all.retain(|part| part.strong_count() > 0);
    if !all.iter().any(|known| ptr::addr_eq(known.as_ptr(), part.as_ptr())) {
        all.push(part);
    }
}

/// Drains all there is in this process, used or no longer used: for its end.
///
/// One after the other, who passes on before who is passed on to: all work meanwhile, so that waiting for one is waiting
/// for all. A record left in two sinks counts twice.
pub fn drain_all(deadline: Instant) -> Flushed {
    let all = ALL.lock().clone();
    let parts = all.iter().rev().filter_map(Weak::upgrade);
    parts.map(|part| part.drain(deadline)).fold(Flushed::default(), Flushed::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes that it was drained.
    struct Noted(&'static str, Arc<Mutex<Vec<&'static str>>>);

    impl Drain for Noted {
        fn drain(&self, _deadline: Instant) -> Flushed {
            self.1.lock().push(self.0);
            Flushed::default()
        }
    }

    #[test]
    fn who_passes_on_is_drained_first_and_once_and_who_is_gone_not_at_all() {
        let notes = Arc::default();
        let part = |name| Arc::new(Noted(name, Arc::clone(&notes)));
        let (last, gone, first) = (part("last"), part("gone"), part("first"));
        for part in [&last, &gone, &first, &last] {
            enter(part);
        }
        drop(gone);
        let _ = drain_all(Instant::now());
        assert_eq!(*notes.lock(), ["first", "last"]);
    }
}
