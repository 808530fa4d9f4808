//! Whether a request may be sent again.
//!
//! 1. It was not sent: no connection came about, or hyper gives it back. It goes elsewhere, whatever it is.
//! 2. It was sent over a connection that had been used before, which ended before the first byte of an answer: the upstream had
//!    closed it, most likely, before the request came. If its method does no more when it is carried out twice
//!    ([RFC 9110 §9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)) and it has no body, it is sent once more, over
//!    a connection of its own.
//! 3. The same over a new connection: the upstream has died over it, perhaps. If there is another, that is asked, once.
//! 4. In all other cases it is not. Least of all where an answer has begun, or where the time is over: what takes long once
//!    takes long twice.
//!
//! A POST is never sent twice, nor what has a body: it may have been carried out.

use http::Method;

/// Whether this is one of those that may be sent twice. A length of 0 is no body.
pub(crate) fn is_repeatable(method: &Method, has_body: bool, asks_upgrade: bool) -> bool {
    method.is_idempotent() && !has_body && !asks_upgrade
}

/// How a request ended that was sent, and had no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// It is one of those that may be sent twice, and was sent once.
    pub(crate) is_repeatable: bool,
    /// Its connection ended before the first byte of an answer.
    pub(crate) is_unanswered: bool,
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
        match self {
            Self { is_repeatable: true, is_unanswered: true, is_reused: true } => Repeat::Anywhere,
            Self { is_repeatable: true, is_unanswered: true, is_reused: false } => Repeat::Elsewhere,
            _ => Repeat::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_body_or_does_more_the_second_time_is_sent_once() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(is_repeatable(&method, false, false), "{method}");
            assert!(!is_repeatable(&method, true, false), "{method}");
            assert!(!is_repeatable(&method, false, true), "{method}");
        }
        for method in [Method::POST, Method::PATCH, Method::from_bytes(b"LOCK").unwrap()] {
            assert!(!is_repeatable(&method, false, false), "{method}");
        }
    }

    #[test]
    fn nothing_is_repeated_that_may_have_been_answered() {
        for (is_repeatable, is_unanswered, is_reused, repeat) in [
            (true, true, true, Repeat::Anywhere),
            (true, true, false, Repeat::Elsewhere),
            (true, false, true, Repeat::No),
            (true, false, false, Repeat::No),
            (false, true, true, Repeat::No),
            (false, true, false, Repeat::No),
        ] {
            let attempt = Attempt { is_repeatable, is_unanswered, is_reused };
            assert_eq!(attempt.repeat(), repeat, "{attempt:?}");
        }
    }
}
