//! Records that were sent and may not have arrived.
//!
//! A stream without acknowledgements of its own (syslog over TCP has none) takes a record long before its receiver has
//! read it: first it is in our kernel, then in the receiver's. If the connection breaks, both forget it. So a batch is
//! kept here until its bytes are certainly in the receiver's own hands, as far as can be told from outside:
//!
//! - its kernel has acknowledged them, [`GRACE`] ago or longer, and
//! - for that long the connection has not been held up, which would mean that the receiver does not read, or
//! - more than [`SENT`] bytes were taken behind them: no receive buffer is that large.
//!
//! With acknowledgements (RELP) a record is kept until the receiver has said that it has it; no more of them are on their way
//! than [`ResendWindow::has_room`] allows.
//!
//! On a broken connection all that is kept is sent again. **Invariant: what is sent twice is at most [`SENT`] bytes and
//! the batch in hand, or with RELP [`WINDOW`] records**; and no more than [`MEMORY`] is held, whatever the records look like.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::relp::WINDOW;
use crate::mailbox::Load;
use crate::queue::{Records, load};

/// Time that a receiver may take to read what its kernel has acknowledged.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Bytes behind which a batch is out of any receiver's buffer: Linux allows 6 MiB (`tcp_rmem`) unless told otherwise.
pub(super) const SENT: u64 = 8 * 1024 * 1024;

/// The most memory of batches that are kept. For records shorter on the wire than in memory this is reached first.
const MEMORY: usize = 32 * 1024 * 1024;

/// Records sent on one connection that may have to be sent again.
#[derive(Debug)]
pub(super) struct ResendWindow {
    sent: VecDeque<SentItem>,
    /// The records of those that are not acknowledged, which are the youngest. Kept, as there may be thousands of small
    /// ones, and it is asked after each.
    open: u64,
    memory: usize,
    /// When the connection was last held up.
    held_up: Option<Instant>,
    /// Whether the receiver acknowledges records; else its kernel does with bytes.
    knows: bool,
    /// How many of these it has.
    position: u64,
}

#[derive(Debug)]
struct SentItem {
    what: Records,
    /// What was sent on the connection when this was the last of it: bytes, or records where those are acknowledged.
    end: u64,
    /// When it was first seen acknowledged.
    taken: Option<Instant>,
}

impl ResendWindow {
    /// The window of a connection whose receiver acknowledges records, or does not.
    pub(super) fn new(knows: bool) -> Self {
        Self { sent: VecDeque::new(), open: 0, memory: 0, held_up: None, knows, position: 0 }
    }

    /// Tells whether `what` may be sent. Where the receiver acknowledges, it has to do so first if too much is on its way.
    pub(super) fn has_room(&self, what: &Records) -> bool {
        let Load { records, bytes } = load(what);
        !self.knows || self.is_empty() || (self.open + records <= WINDOW && self.memory + bytes <= MEMORY)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// `what` was sent; the connection has taken `end` bytes by now, or records where those are acknowledged.
    pub(super) fn push(&mut self, what: Records, end: u64) {
        let Load { records, bytes } = load(&what);
        self.memory += bytes;
        self.open += records;
        self.sent.push_back(SentItem { what, end, taken: None });
        self.shrink();
    }

    /// The connection could not take more at once.
    pub(super) fn held_up(&mut self, now: Instant) {
        self.held_up = Some(now);
    }

    /// The other end has acknowledged so many bytes of the connection, or records: forgets what is certainly there.
    pub(super) fn acknowledged(&mut self, position: u64, now: Instant) {
        self.position = position;
        let taken = self.sent.partition_point(|sent| sent.taken.is_some());
        for sent in self.sent.range_mut(taken..).take_while(|sent| sent.end <= position) {
            sent.taken = Some(now);
            self.open -= load(&sent.what).records;
        }
        let held_up = self.held_up;
        while let Some(taken) = self.sent.front().and_then(|sent| sent.taken) {
            let calm = held_up.map_or(taken, |at| at.max(taken));
            if !self.knows && now.saturating_duration_since(calm) < GRACE {
                break;
            }
            self.pop();
        }
    }

    /// Tells whether the receiver acknowledges records, so that it is known which it has.
    pub(super) const fn knows(&self) -> bool {
        self.knows
    }

    /// Tells whether all was acknowledged when it was last looked at.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.sent.back().is_none_or(|sent| sent.taken.is_some())
    }

    /// Records that have not been acknowledged.
    pub(super) const fn unacknowledged(&self) -> u64 {
        self.open
    }

    /// The connection is gone: all that is left, in order, each with how many of its first records need not be sent again.
    pub(super) fn take(&mut self) -> Vec<(Records, usize)> {
        let Self { sent, knows, position, .. } = std::mem::replace(self, Self::new(self.knows));
        let again = sent.into_iter().map(|SentItem { what, end, .. }| {
            let open = if knows { end - position } else { u64::MAX };
            let arrived = load(&what).records.saturating_sub(open);
            (what, arrived as usize)
        });
        again.collect()
    }

    fn shrink(&mut self) {
        if self.knows {
            return;
        }
        let end = self.sent.back().map_or(0, |sent| sent.end);
        while self.sent.front().is_some_and(|sent| end - sent.end > SENT) || self.memory > MEMORY {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(sent) = self.sent.pop_front() {
            let Load { records, bytes } = load(&sent.what);
            self.memory -= bytes;
            self.open -= if sent.taken.is_none() { records } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{batch, first_target};
    use medusa_proto::access::{Loss, Timestamp};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn left(window: &mut ResendWindow) -> Vec<String> {
        let batches = window.take().into_iter().filter_map(|(what, _)| what.ok());
        batches.map(|batch| first_target(&batch).to_owned()).collect()
    }

    fn window(ends: &[u64]) -> ResendWindow {
        let mut window = ResendWindow::new(false);
        for end in ends {
            window.push(Ok(batch([end.to_string()])), *end);
        }
        window
    }

    #[test]
    fn acknowledged_and_a_while_ago_is_forgotten() {
        let (mut window, start) = (window(&[100, 200, 300]), Instant::now());
        window.acknowledged(250, start);
        assert_eq!((window.is_acknowledged(), window.unacknowledged()), (false, 1));
        window.acknowledged(250, start + GRACE.mul_f64(0.999));
        assert_eq!(window.sent.len(), 3, "acknowledged, but not for long");
        window.acknowledged(250, start + GRACE);
        assert_eq!(left(&mut window), ["300"]);
    }

    #[test]
    fn a_held_up_connection_proves_nothing() {
        let (mut window, start) = (window(&[100]), Instant::now());
        window.acknowledged(100, start);
        window.held_up(start + GRACE);
        window.acknowledged(100, start + GRACE);
        assert!(!window.is_empty());
        window.acknowledged(100, start + 2 * GRACE);
        assert!(window.is_empty());
    }

    #[test]
    fn what_no_buffer_can_hold_is_forgotten() {
        let mut window = window(&[1, 2, SENT + 1]);
        assert_eq!(left(&mut window), ["1", "2", &(SENT + 1).to_string()]);
        window = self::window(&[1, 2, SENT + 2]);
        assert_eq!(left(&mut window), ["2", &(SENT + 2).to_string()]);
    }

    #[test]
    fn memory_has_a_limit_of_its_own() {
        let mut window = ResendWindow::new(false);
        let large = batch(["x".repeat(16 * 1024)]);
        for end in 0..4096 {
            window.push(Ok(Arc::clone(&large)), end);
        }
        assert!(window.memory <= MEMORY && window.memory > MEMORY / 2);
    }

    proptest! {
        /// Whatever happens: nothing is forgotten that was not acknowledged, unless too much is behind it; in order.
        #[test]
        fn only_what_has_arrived_is_forgotten(steps in proptest::collection::vec((0..3_u8, 0..4_000_000_u64, 0..2000_u64), 0..60)) {
            let (mut window, mut now) = (ResendWindow::new(false), Instant::now());
            let (mut ends, mut acknowledged) = (Vec::new(), 0);
            for (step, bytes, ms) in steps {
                now += Duration::from_millis(ms);
                let sent = ends.last().copied().unwrap_or(0);
                match step {
                    0 => {
                        ends.push(sent + bytes);
                        window.push(Ok(batch(["/"])), sent + bytes);
                    }
                    1 => {
                        acknowledged = sent.min(acknowledged + bytes);
                        window.acknowledged(acknowledged, now);
                    }
                    _ => window.held_up(now),
                }
                let sent = ends.last().copied().unwrap_or(0);
                let kept: Vec<u64> = window.sent.iter().map(|sent| sent.end).collect();
                prop_assert!(kept.iter().all(|end| sent - end <= SENT));
                let open: Vec<u64> =
                    ends.iter().copied().filter(|end| *end > acknowledged && sent - end <= SENT).collect();
                prop_assert!(kept.ends_with(&open), "{kept:?} of {open:?}");
                prop_assert_eq!(window.unacknowledged(), open.len() as u64);
            }
        }
    }

    #[test]
    fn what_the_receiver_has_acknowledged_is_not_sent_again() {
        let mut window = ResendWindow::new(true);
        for first in [0, 3, 6] {
            let batch = batch((first..first + 3).map(|number| number.to_string()));
            window.push(Ok(batch), first + 3);
        }
        window.acknowledged(4, Instant::now());
        assert_eq!((window.unacknowledged(), window.is_acknowledged()), (6, false));
        let again = window.take();
        let done: Vec<usize> = again.iter().map(|(_, done)| *done).collect();
        assert_eq!(done, [1, 0]);
        // The next connection counts from its own beginning.
        window.push(Ok(batch(["x"])), 1);
        window.acknowledged(1, Instant::now());
        assert!(window.is_empty() && window.is_acknowledged() && window.memory == 0);
    }

    #[test]
    fn no_more_is_on_its_way_than_the_window_allows() {
        let what = || Ok(batch((0..200).map(|number| number.to_string())));
        let (mut acknowledged, mut plain) = (ResendWindow::new(true), ResendWindow::new(false));
        let mut end = 0;
        while acknowledged.has_room(&what()) {
            end += 200;
            acknowledged.push(what(), end);
            plain.push(what(), end);
            assert!(end <= WINDOW);
        }
        assert!(end + 200 > WINDOW && plain.has_room(&what()));
        acknowledged.acknowledged(200, Instant::now());
        assert!(acknowledged.has_room(&what()));
    }

    #[test]
    fn losses_are_told_again_as_well() {
        let mut window = window(&[10]);
        let loss = Loss { records: 3, from: Timestamp::from_micros(5), to: Timestamp::from_micros(6) };
        window.push(Err(loss), 20);
        window.push(Err(loss), 30);
        let again = window.take();
        let losses = again.iter().filter_map(|(what, _)| what.as_ref().err());
        assert_eq!((again.len(), losses.map(|loss| loss.records).sum()), (3, 6));
        assert!(window.is_empty());
    }
}
