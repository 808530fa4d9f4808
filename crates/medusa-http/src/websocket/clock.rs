//! The times at which a session's client is asked whether it is still there, and when it has been silent for too long. Time is an
//! argument.

use std::time::Duration;

use tokio::time::Instant;

/// The time that the client has to answer a close.
const CLOSING: Duration = Duration::from_secs(5);

/// The clocks of one session.
#[derive(Debug)]
pub(super) struct SessionClock {
    /// Silence after which a ping is due, and after that the end; zero: never.
    ping: Duration,
    /// Time without a message after which the session is to end; zero: never.
    idle: Duration,
    heard: Instant,
    message: Instant,
    pinged: Option<Instant>,
    closing: Option<Instant>,
    /// The client is not taking what is sent. That has a deadline of its own, the connection's.
    blocked: bool,
}

/// A thing to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask whether the client is there.
    Ping,
    /// End the session: it has not been used for too long.
    Idle,
    /// The client is gone: it has answered neither a ping nor a close.
    Gone,
}

impl SessionClock {
    pub(super) fn new(ping: Duration, idle: Duration, now: Instant) -> Self {
        Self { ping, idle, heard: now, message: now, pinged: None, closing: None, blocked: false }
    }

    /// The client has said something, or could not have.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// A message has come or is going.
    pub(super) fn message(&mut self, now: Instant) {
        self.message = now;
    }

    /// Our close is out.
    pub(super) fn closing(&mut self, now: Instant) {
        self.closing = Some(now);
    }

    /// Whether the client takes what is sent. As long as it does not, it cannot answer.
    pub(super) fn blocked(&mut self, blocked: bool, now: Instant) {
        if blocked || self.blocked {
            self.heard(now);
            self.closing = self.closing.map(|_| now);
        }
        self.blocked = blocked;
    }

    /// The event due at `now`, told once.
    pub(super) fn check(&mut self, now: Instant) -> Option<Due> {
        if let Some(since) = self.closing {
            return (!self.blocked && now >= since + CLOSING).then_some(Due::Gone);
        }
        if !self.idle.is_zero() && now >= self.message + self.idle {
            self.message = now;
            return Some(Due::Idle);
        }
        if self.ping.is_zero() || self.blocked {
            return None;
        }
        match self.pinged {
            Some(pinged) => (now >= pinged + self.ping).then_some(Due::Gone),
            None if now >= self.heard + self.ping => {
                self.pinged = Some(now);
                Some(Due::Ping)
            }
            None => None,
        }
    }

    /// The time of the next check; sooner does no harm.
    pub(super) fn next(&self) -> Option<Instant> {
        if let Some(since) = self.closing {
            return (!self.blocked).then(|| since + CLOSING);
        }
        let idle = (!self.idle.is_zero()).then(|| self.message + self.idle);
        let ping =
            (!self.ping.is_zero() && !self.blocked).then(|| self.pinged.unwrap_or(self.heard) + self.ping);
        [idle, ping].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(ping: u32, idle: u32) -> (SessionClock, Instant) {
        let now = Instant::now();
        (SessionClock::new(SECOND * ping, SECOND * idle, now), now)
    }

    #[test]
    fn a_silent_client_is_asked_once_and_then_gone() {
        let (mut clock, t) = clock(30, 0);
        assert_eq!(clock.next(), Some(t + SECOND * 30));
        assert_eq!(clock.check(t + SECOND * 29), None);
        assert_eq!(clock.check(t + SECOND * 31), Some(Due::Ping));
        assert_eq!(clock.check(t + SECOND * 31), None);
        assert_eq!(clock.next(), Some(t + SECOND * 61));
        assert_eq!(clock.check(t + SECOND * 61), Some(Due::Gone));
    }

    #[test]
    fn a_client_that_answers_is_not_gone() {
        let (mut clock, t) = clock(30, 0);
        assert_eq!(clock.check(t + SECOND * 30), Some(Due::Ping));
        clock.heard(t + SECOND * 59);
        assert_eq!(clock.check(t + SECOND * 61), None);
        assert_eq!(clock.check(t + SECOND * 89), Some(Due::Ping));
    }

    #[test]
    fn a_client_that_cannot_answer_is_not_gone() {
        let (mut clock, t) = clock(30, 0);
        assert_eq!(clock.check(t + SECOND * 30), Some(Due::Ping));
        clock.blocked(true, t + SECOND * 31);
        assert_eq!(clock.next(), None, "the write deadline counts");
        assert_eq!(clock.check(t + SECOND * 300), None);
        clock.blocked(false, t + SECOND * 300);
        assert_eq!(clock.check(t + SECOND * 329), None);
        assert_eq!(clock.check(t + SECOND * 330), Some(Due::Ping));
    }

    #[test]
    fn pings_do_not_keep_a_session_that_is_not_used() {
        let (mut clock, t) = clock(30, 45);
        assert_eq!(clock.check(t + SECOND * 30), Some(Due::Ping));
        clock.heard(t + SECOND * 31);
        assert_eq!(clock.next(), Some(t + SECOND * 45));
        assert_eq!(clock.check(t + SECOND * 45), Some(Due::Idle));
        let (mut used, t) = self::clock(0, 45);
        used.message(t + SECOND * 44);
        assert_eq!(used.check(t + SECOND * 88), None);
        assert_eq!(used.next(), Some(t + SECOND * 89));
    }

    #[test]
    fn a_close_is_to_be_answered_soon() {
        let (mut clock, t) = clock(30, 0);
        clock.closing(t + SECOND);
        assert_eq!(clock.check(t + SECOND * 5), None);
        assert_eq!(clock.check(t + SECOND * 6), Some(Due::Gone));
        // But not before it can have been read.
        clock.blocked(true, t + SECOND * 5);
        assert_eq!(clock.check(t + SECOND * 7), None);
        clock.blocked(false, t + SECOND * 7);
        assert_eq!(clock.next(), Some(t + SECOND * 12));
    }

    #[test]
    fn without_limits_there_is_nothing_to_wait_for() {
        let (mut clock, t) = clock(0, 0);
        assert_eq!(clock.next(), None);
        assert_eq!(clock.check(t + SECOND * 1_000_000), None);
    }
}
