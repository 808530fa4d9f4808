//! What was sent and may not have arrived.
//!
//! A stream without acknowledgements of its own (syslog over TCP has none) takes a record long before its receiver has
//! read it: first it is in our kernel, then in the receiver's. If the connection breaks, both forget it. So a batch is
//! kept here until its bytes are certainly in the receiver's own hands, as far as can be told from outside:
//!
//! - its kernel has acknowledged them, [`GRACE`] ago or longer, and
//! - for that long the connection has not been held up, which would mean that the receiver does not read, or
//! - more than [`SENT`] bytes were taken behind them: no receive buffer is that large.
//!
//! On a broken connection all that is kept is sent again. **Invariant: what is sent twice is at most [`SENT`] bytes and
//! the batch in hand**; and no more than [`MEMORY`] is held, whatever the records look like.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;

use crate::Batch;

/// How long a receiver may take to read what its kernel has acknowledged.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Bytes behind which a batch is out of any receiver's buffer: Linux allows 6 MiB (`tcp_rmem`) unless told otherwise.
pub(super) const SENT: u64 = 8 * 1024 * 1024;

/// The most memory of batches that are kept. For records shorter on the wire than in memory this is reached first.
const MEMORY: usize = 32 * 1024 * 1024;

/// What was sent on one connection and may have to be sent again.
#[derive(Debug)]
pub(super) struct Window {
    sent: VecDeque<Sent>,
    memory: usize,
    /// When the connection was last held up.
    held_up: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    what: What,
    /// Bytes sent on the connection when this was the last of them.
    end: u64,
    /// When it was first seen acknowledged.
    taken: Option<Instant>,
}

#[derive(Debug)]
enum What {
    Batch(Arc<Batch>),
    Loss(Loss),
}

/// What has to be sent again.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) batches: Vec<Arc<Batch>>,
    pub(super) loss: Option<Loss>,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { sent: VecDeque::new(), memory: 0, held_up: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// A batch was sent; the connection has taken `end` bytes by now.
    pub(super) fn push(&mut self, batch: Arc<Batch>, end: u64) {
        self.memory += batch.footprint();
        self.sent.push_back(Sent { what: What::Batch(batch), end, taken: None });
        self.shrink();
    }

    /// The stream was told of a loss.
    pub(super) fn push_loss(&mut self, loss: Loss, end: u64) {
        self.sent.push_back(Sent { what: What::Loss(loss), end, taken: None });
        self.shrink();
    }

    /// The connection could not take more at once.
    pub(super) fn held_up(&mut self, now: Instant) {
        self.held_up = Some(now);
    }

    /// The other end has acknowledged `acknowledged` bytes of the connection: forgets what is certainly there.
    pub(super) fn acknowledged(&mut self, acknowledged: u64, now: Instant) {
        for sent in self.sent.iter_mut().take_while(|sent| sent.end <= acknowledged) {
            sent.taken.get_or_insert(now);
        }
        let held_up = self.held_up;
        while let Some(taken) = self.sent.front().and_then(|sent| sent.taken) {
            let calm = held_up.map_or(taken, |at| at.max(taken));
            if now.saturating_duration_since(calm) < GRACE {
                break;
            }
            self.pop();
        }
    }

    /// Whether all was acknowledged when it was last looked at.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.sent.back().is_none_or(|sent| sent.taken.is_some())
    }

    /// Records that have not been acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        let open = self.sent.iter().filter(|sent| sent.taken.is_none());
        open.map(|sent| if let What::Batch(batch) = &sent.what { batch.len() as u64 } else { 0 }).sum()
    }

    /// The connection is gone: all that is left, in order.
    pub(super) fn take(&mut self) -> Again {
        let mut again = Again::default();
        for sent in std::mem::replace(self, Self::new()).sent {
            match sent.what {
                What::Batch(batch) => again.batches.push(batch),
                What::Loss(loss) => again.loss = Some(again.loss.map_or(loss, |known| known.merge(loss))),
            }
        }
        again
    }

    fn shrink(&mut self) {
        let end = self.sent.back().map_or(0, |sent| sent.end);
        while self.sent.front().is_some_and(|sent| end - sent.end > SENT) || self.memory > MEMORY {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(Sent { what: What::Batch(batch), .. }) = self.sent.pop_front() {
            self.memory -= batch.footprint();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{batch, first_target};
    use medusa_proto::access::Timestamp;

    fn left(window: &mut Window) -> Vec<String> {
        window.take().batches.iter().map(|batch| first_target(batch).to_owned()).collect()
    }

    fn window(ends: &[u64]) -> Window {
        let mut window = Window::new();
        for end in ends {
            window.push(batch([end.to_string()]), *end);
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
        let mut window = Window::new();
        let large = batch(["x".repeat(16 * 1024)]);
        for end in 0..4096 {
            window.push(Arc::clone(&large), end);
        }
        assert!(window.memory <= MEMORY && window.memory > MEMORY / 2);
    }

    #[test]
    fn losses_are_told_again_as_well() {
        let mut window = window(&[10]);
        let loss = Loss { records: 3, from: Timestamp::from_micros(5), to: Timestamp::from_micros(6) };
        window.push_loss(loss, 20);
        window.push_loss(loss, 30);
        let again = window.take();
        assert_eq!((again.batches.len(), again.loss.map(|loss| loss.records)), (1, Some(6)));
        assert!(window.is_empty());
    }
}
