//! The rate that a client has to send its body at.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::error::RequestBodyError;
use crate::limits::{Limits, time};

/// The rate that a client has to send its body at: it has an account of time, which bytes fill and waiting for them empties.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    /// Bytes per second; 0: any.
    rate: u32,
    /// What is left of the account. The time that a handler takes for itself does not count.
    credit: Duration,
}

/// The credit in the account at first: connections begin slowly.
const GRACE: Duration = Duration::from_secs(10);
/// The most that can be in it: a burst at the beginning does not pay for an hour of trickling.
const MOST_CREDIT: Duration = Duration::from_mins(1);

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { idle: time(limits.body_idle), rate: limits.body_rate, credit: GRACE }
    }

    /// Bytes have come.
    pub(super) fn earn(&mut self, bytes: u64) {
        if self.rate > 0 {
            let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / u64::from(self.rate));
            self.credit = MOST_CREDIT.min(self.credit.saturating_add(earned));
        }
    }

    /// Waits for `more`, as long as the client keeps the pace. What is there already needs no clock.
    pub(super) async fn keep<T>(&mut self, more: impl Future<Output = T>) -> Result<T, RequestBodyError> {
        let mut more = std::pin::pin!(more);
        if let Poll::Ready(more) = poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx))).await {
            return Ok(more);
        }
        let patience = self.patience();
        if patience == Duration::MAX {
            return Ok(more.await);
        }
        let begun = Instant::now();
        let kept = tokio::time::timeout(patience, more).await;
        self.credit = self.credit.saturating_sub(begun.elapsed());
        kept.map_err(|_elapsed| {
            if patience < self.idle {
                RequestBodyError::Slow { rate: self.rate }
            } else {
                RequestBodyError::Stalled(self.idle)
            }
        })
    }

    /// The time to wait for the next bytes.
    fn patience(&self) -> Duration {
        if self.rate == 0 { self.idle } else { self.idle.min(self.credit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_keep_its_pace_while_it_is_waited_for() {
        let mut pace = Pace::new(&Limits { body_idle: 30, body_rate: 100, ..Limits::default() });
        assert_eq!(pace.patience(), GRACE, "no faster is asked for than after the grace");
        pace.earn(200);
        assert_eq!(pace.patience(), GRACE + Duration::from_secs(2), "what has come earns time");
        pace.earn(1_000_000);
        assert_eq!(pace.patience(), Duration::from_secs(30), "but no longer a pause");
        assert_eq!(pace.credit, MOST_CREDIT, "nor for ever");
        pace.rate = 0;
        pace.credit = Duration::ZERO;
        assert_eq!(pace.patience(), Duration::from_secs(30));
    }
}
