//! Number of questions that may be open.
//!
//! A resolver that is asked more than it can answer queues questions, and then every answer comes too late: names are
//! looked up that nobody waits for any more, at the cost of those somebody does wait for. So there is a window, as in
//! TCP: each answer that comes in time widens it by one, and an answer that is late halves it, once in a deadline. It ends
//! up at about twice the answers that come in a deadline, which keeps the resolver busy and its queue short.
//!
//! Some addresses' name servers never answer. They halve the window again and again, and the others widen it again, so it
//! depends on how many answers come, not on how many do not.

use std::time::{Duration, Instant};

/// At first: what a name server nearby answers in half a second.
pub(super) const START: usize = 4 * 1024;

/// At least: no more than a resolver has on the wire at once.
const LEAST: usize = 256;

/// At most: half a second of as many new clients is more than a name server bears.
const MOST: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct QuestionWindow {
    size: usize,
    deadline: Duration,
    /// When it was halved last.
    halved: Option<Instant>,
}

impl QuestionWindow {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { size: START, deadline, halved: None }
    }

    /// Tells whether one more question may be asked while so many are open.
    pub(super) fn has_room(&self, open: usize) -> bool {
        open < self.size
    }

    /// An answer came while somebody waited for it.
    pub(super) fn answered(&mut self) {
        self.size = (self.size + 1).min(MOST);
    }

    /// An answer did not come before the deadline.
    pub(super) fn missed(&mut self, now: Instant) {
        if self.halved.is_none_or(|halved| now >= halved + self.deadline) {
            self.size = (self.size / 2).max(LEAST);
            self.halved = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(500);

    #[test]
    fn it_stays_within_its_bounds() {
        let mut window = QuestionWindow::new(DEADLINE);
        assert!(window.has_room(START - 1) && !window.has_room(START));
        for _ in 0..MOST {
            window.answered();
        }
        assert!(!window.has_room(MOST));
        let now = Instant::now();
        for deadline in 0..20 {
            window.missed(now + deadline * DEADLINE);
        }
        assert!(window.has_room(LEAST - 1) && !window.has_room(LEAST));
    }

    #[test]
    fn many_misses_in_one_deadline_are_one() {
        let mut window = QuestionWindow::new(DEADLINE);
        let now = Instant::now();
        for late in 0..100 {
            window.missed(now + Duration::from_millis(late));
        }
        assert!(!window.has_room(START / 2) && window.has_room(START / 2 - 1));
    }

    #[test]
    fn it_finds_the_pace_of_the_answers() {
        let mut window = QuestionWindow::new(DEADLINE);
        let now = Instant::now();
        for deadline in 0..50 {
            for _ in 0..1_000 {
                window.answered();
            }
            window.missed(now + deadline * DEADLINE);
        }
        assert!((900..=2_100).contains(&window.size), "{}", window.size);
    }
}
