//! Whether a request may be sent again.
//!
//! 1. It was not sent: no connection came about, or hyper gives it back; or the upstream has said by HTTP/2 that it has not
//!    looked at it (`GOAWAY` with an earlier stream, `REFUSED_STREAM`:
//!    [RFC 9113 §8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)). It goes elsewhere, whatever it is.
//! 2. It was sent over a connection that had been used before, which ended before the first byte of an answer: the upstream had
//!    closed it, most likely, before the request came. If its method does no more when it is carried out twice
//!    ([RFC 9110 §9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), it is sent once more, over a new connection.
//! 3. The same over a new connection: the upstream has died over it, perhaps. If there is another, that is asked, once.
//! 4. In all other cases it is not. Least of all where an answer has begun, or where the time is over: what takes long once
//!    takes long twice.
//!
//! A body must be known from its beginning: either nothing of it was read, or all that was is kept, up to
//! [64 KiB](crate::sent::MOST_KEPT). That it is, makes nothing else repeatable: a POST that an upstream may have looked at is
//! never sent twice.
//!
//! Of all requests, a fifth is sent again at most ([`RepeatBudget`]): upstreams that die over requests are not asked twice as
//! much for that.

use http::Method;
use parking_lot::Mutex;

use crate::error::Progress;
use crate::sent::MOST_KEPT;

/// Whether this is one of those that may be carried out twice. A length of 0 is no body; one that is too long to be kept
/// is, but it would rarely do.
pub(crate) fn is_repeatable(method: &Method, length: Option<u64>, asks_upgrade: bool) -> bool {
    method.is_idempotent() && length.is_none_or(|length| length <= MOST_KEPT as u64) && !asks_upgrade
}

/// How a request ended that was sent, and had no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) progress: Progress,
    /// It is one of those that may be carried out twice, and was sent once.
    pub(crate) is_repeatable: bool,
    /// Its body can be sent from its beginning.
    pub(crate) is_replayable: bool,
    /// Its connection had been used before.
    pub(crate) is_reused: bool,
}

/// Where it goes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Anywhere, over a new connection.
    Anywhere,
    /// To another upstream, over a new connection.
    Elsewhere,
    /// Nowhere.
    No,
}

impl Attempt {
    pub(crate) fn repeat(self) -> Repeat {
        let may = match self.progress {
            Progress::Unseen => true,
            Progress::Unanswered => self.is_repeatable,
            Progress::Answered => false,
        };
        match (may && self.is_replayable, self.is_reused) {
            (true, true) => Repeat::Anywhere,
            (true, false) => Repeat::Elsewhere,
            (false, _) => Repeat::No,
        }
    }
}

/// Requests that may be sent again when others have not been for long, so that few requests have some.
const AT_FIRST: u64 = 10;
/// The most that are saved up: what may be under way at an upstream when it dies.
const MOST_SAVED: u64 = 1000;
/// The requests for one that may be sent again.
const SHARE: u64 = 5;

/// The number of requests that may be sent again: a fifth of all, [`MOST_SAVED`] at once, and one a second.
#[derive(Debug, Default)]
pub(crate) struct RepeatBudget(Mutex<RepeatTally>);

#[derive(Debug)]
struct RepeatTally {
    /// In parts of [`SHARE`].
    left: u64,
    /// Requests when it was last looked at, and the time in milliseconds.
    seen: (u64, u64),
}

impl Default for RepeatTally {
    fn default() -> Self {
        Self { left: AT_FIRST * SHARE, seen: (0, 0) }
    }
}

impl RepeatBudget {
    /// Takes one, if there is one: with so many requests until now, in milliseconds of [`now`](crate::health::now).
    pub(crate) fn take(&self, requests: u64, now: u64) -> bool {
        let mut tally = self.0.lock();
        let (seen, since) = tally.seen;
        let seconds = now.saturating_sub(since) / 1000;
        let earned = requests.saturating_sub(seen).saturating_add(seconds.saturating_mul(SHARE));
        tally.left = tally.left.saturating_add(earned).min(MOST_SAVED * SHARE);
        // What is left of a second counts for the next one.
        tally.seen = (requests.max(seen), since + seconds * 1000);
        let left = tally.left.checked_sub(SHARE);
        tally.left = left.unwrap_or(tally.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_more_the_second_time_is_not_repeatable() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            for length in [None, Some(0), Some(MOST_KEPT as u64)] {
                assert!(is_repeatable(&method, length, false), "{method} {length:?}");
            }
            assert!(!is_repeatable(&method, Some(MOST_KEPT as u64 + 1), false), "{method}");
            assert!(!is_repeatable(&method, Some(0), true), "{method}");
        }
        for method in [Method::POST, Method::PATCH, Method::from_bytes(b"LOCK").unwrap()] {
            assert!(!is_repeatable(&method, Some(0), false), "{method}");
        }
    }

    #[test]
    fn nothing_is_repeated_that_may_have_been_looked_at() {
        use Progress::{Answered, Unanswered, Unseen};
        use Repeat::{Anywhere, Elsewhere, No};
        for (progress, is_repeatable, is_replayable, repeats) in [
            (Unseen, true, true, [Elsewhere, Anywhere]),
            (Unseen, false, true, [Elsewhere, Anywhere]),
            (Unanswered, true, true, [Elsewhere, Anywhere]),
            (Unanswered, false, true, [No, No]),
            (Answered, true, true, [No, No]),
            (Answered, false, true, [No, No]),
            (Unseen, true, false, [No, No]),
            (Unanswered, true, false, [No, No]),
            (Answered, true, false, [No, No]),
        ] {
            for (is_reused, repeat) in [false, true].into_iter().zip(repeats) {
                let attempt = Attempt { progress, is_repeatable, is_replayable, is_reused };
                assert_eq!(attempt.repeat(), repeat, "{attempt:?}");
            }
        }
    }

    #[test]
    fn a_fifth_of_all_requests_is_sent_again_at_most() {
        let budget = RepeatBudget::default();
        let taken = |requests, now, tries| (0..tries).filter(|_| budget.take(requests, now)).count();
        assert_eq!(taken(0, 0, 100), 10, "at first");
        assert_eq!(taken(100, 0, 100), 20);
        assert_eq!(taken(100, 0, 100), 0);
        assert_eq!(taken(103, 999, 100), 0, "three requests are none yet");
        assert_eq!(taken(105, 999, 100), 1);
        assert_eq!(taken(105, 2999, 100), 2, "one a second");
        assert_eq!(taken(u64::MAX, u64::MAX, 5000), 1000, "so many at once");
        assert_eq!(taken(5, u64::MAX, 10), 0, "a count that went back");
    }
}
