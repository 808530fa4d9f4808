//! Drains: an end for what would go on for hours on the handlers of a generation.

use std::sync::Arc;
use std::time::Duration;

use medusa_http::{EndBy, UnderWay, UseCounts};
use medusa_proto::author::Author;
use medusa_proto::shown::ShortNumber;
use tokio::time::Instant;

use crate::history::HistoryError;
use crate::live::Live;

/// The longest that is waited until what is left is cut off, in seconds.
const LONGEST: f64 = 3600.0;
/// How often it is looked whether anything is left.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Why nothing was drained.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DrainError {
    /// There was no such generation.
    #[error(transparent)]
    Generation(#[from] HistoryError),
    /// So long is not waited.
    #[error("seconds must be a number from 0 to {LONGEST}, not {}", ShortNumber(*.0))]
    Seconds(f64),
}

impl Live {
    /// Has what goes on for long on the handlers that generation `number` has published end: `WebSocket`s and event streams are told to at once; of what is left of
    /// them and of other streams after `seconds` the rest is cut off, if that is given. 0 cuts all off at once. Says what was
    /// done. Dropped, it cuts nothing off. Of an author who is limited, it is what goes on on their mounts.
    ///
    /// # Errors
    ///
    /// There was no such generation, or it would take over an hour.
    pub async fn drain(
        &self,
        number: u64,
        seconds: Option<f64>,
        author: &Author,
    ) -> Result<String, DrainError> {
        if let Some(wrong) = seconds.filter(|seconds| !(0.0..=LONGEST).contains(seconds)) {
            return Err(DrainError::Seconds(wrong));
        }
        let of: Arc<[_]> = self.ended_by(author, number)?.into();
        if seconds == Some(0.0) {
            return Ok(format!("cut off: {}", long_lived(self.end_long_lived(&of, EndBy::Force).await)));
        }
        let told = long_lived(self.end_long_lived(&of, EndBy::Word).await);
        let Some(seconds) = seconds else { return Ok(format!("told to end: {told}")) };
        let left = || {
            let mut counts = of.iter().map(|under_way| under_way.counts());
            counts.any(|counts| counts.streams + counts.websockets > 0)
        };
        let deadline = Instant::now() + Duration::from_secs_f64(seconds);
        while left() && Instant::now() < deadline {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOKS_EVERY)).await;
        }
        let cut = self.end_long_lived(&of, EndBy::Force).await;
        Ok(format!("told to end: {told}; cut off: {}", long_lived(cut)))
    }

    /// Ends the streams and `WebSocket`s that go on there, as they are at this moment. Returns how many heard it for the first
    /// time.
    async fn end_long_lived(&self, of: &Arc<[Arc<UnderWay>]>, ending: EndBy) -> UseCounts {
        let Some(workers) = self.workers() else { return UseCounts::default() };
        let of = Arc::clone(of);
        let ended = workers.run_on_each(move |_| {
            let of = Arc::clone(&of);
            async move { medusa_http::end_long_lived(&of, ending) }
        });
        ended.await.into_iter().flatten().fold(UseCounts::default(), UseCounts::plus)
    }
}

/// What goes on for long, in words.
fn long_lived(counts: UseCounts) -> String {
    let several = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    format!("{}, {}", several(counts.websockets, "WebSocket"), several(counts.streams, "stream"))
}
