//! The budget for what a client may send that is no message: pings and pongs, fragments of nothing. They cost the server
//! about what messages do, and the handler never hears of them, so that nothing holds their sender back.
//!
//! Every byte that comes is a debt; a message pays for itself, and time for a little. Time is an argument.

use tokio::time::Instant;

/// Bytes that are free beyond a message's: pings for days.
const FREE: u64 = 64 * 1024;

/// Bytes that are free in a second: eight of the longest pings, or a hundred of the shortest.
const FREE_PER_SECOND: u64 = 1024;

/// The allowance of a message beyond its own length: the frames it comes in, if those are not much shorter than 64
/// bytes.
fn paid_by(length: u64) -> u64 {
    length + length / 4 + 32
}

/// The account of one session.
#[derive(Debug)]
pub(super) struct OverheadBudget {
    /// Bytes that came and nobody has paid for.
    debt: u64,
    /// What messages have paid in advance: they are taken before what came is counted.
    paid: u64,
    /// The instant at which time has paid last.
    at: Instant,
    most: u64,
}

impl OverheadBudget {
    /// A message that is on its way has paid nothing yet, hence `max_message`.
    pub(super) fn new(max_message: usize, now: Instant) -> Self {
        Self { debt: 0, paid: 0, at: now, most: paid_by(max_message as u64) + FREE }
    }

    /// A message of so many bytes has come.
    pub(super) fn message(&mut self, length: u64) {
        self.paid += paid_by(length);
    }

    /// So many bytes were read, messages included.
    pub(super) fn received(&mut self, bytes: u64, now: Instant) {
        let seconds = now.duration_since(self.at).as_secs();
        if seconds > 0 {
            self.debt = self.debt.saturating_sub(seconds.saturating_mul(FREE_PER_SECOND));
            self.at = now;
        }
        self.debt = (self.debt + bytes).saturating_sub(std::mem::take(&mut self.paid));
    }

    /// Whether too much of it was no message.
    pub(super) fn is_exceeded(&self) -> bool {
        self.debt > self.most
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_pay_for_themselves_and_pings_with_time() {
        let begun = Instant::now();
        let mut overhead = OverheadBudget::new(1000, begun);
        for _ in 0..100_000 {
            overhead.message(1000);
            overhead.received(1014, begun);
            overhead.message(0);
            overhead.received(6, begun);
        }
        assert!(!overhead.is_exceeded());
        for second in 0..10_000 {
            overhead.received(7 * 131, begun + Duration::from_secs(second));
        }
        assert!(!overhead.is_exceeded(), "seven pings a second, for hours");
        overhead.received(FREE, begun);
        assert!(!overhead.is_exceeded(), "a burst");
        overhead.received(2000, begun);
        assert!(overhead.is_exceeded());
    }

    #[test]
    fn fragments_of_nothing_are_no_message() {
        let begun = Instant::now();
        let mut overhead = OverheadBudget::new(1000, begun);
        for _ in 0..15_000 {
            overhead.received(6, begun);
        }
        assert!(overhead.is_exceeded());
    }
}
