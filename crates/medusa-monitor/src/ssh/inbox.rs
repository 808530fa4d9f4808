//! The input of a channel, from the protocol to the session.
//!
//! **Invariant:** the protocol never waits for a session: it would read nothing else meanwhile, and no Ctrl-C. So what waits
//! here is bounded by closing the channel of a client that sends more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The most bytes that a client may be ahead: some of the longest requests.
const MAX_AHEAD: usize = 4 * 1024 * 1024;

/// The bytes that anything else counts as.
const COST: usize = 64;

/// Something that came on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Bytes.
    Data(Bytes),
    /// A signal that interrupts.
    Interrupt,
    /// The terminal has so many columns and rows.
    Resize(u16, u16),
    /// There are no more bytes.
    End,
}

impl Input {
    fn cost(&self) -> usize {
        COST + if let Self::Data(bytes) = self { bytes.len() } else { 0 }
    }
}

/// The protocol's end. Dropped when the channel is closed.
#[derive(Debug)]
pub(super) struct Sender {
    sender: mpsc::Sender<Input>,
    ahead: Arc<AtomicUsize>,
}

/// The session's end. Dropped before the channel is closed, so that a client which is told so may open another.
#[derive(Debug)]
pub(super) struct Inbox {
    receiver: mpsc::Receiver<Input>,
    ahead: Arc<AtomicUsize>,
}

/// Both ends.
pub(super) fn inbox() -> (Sender, Inbox) {
    let (sender, receiver) = mpsc::channel(MAX_AHEAD / COST);
    let ahead = Arc::<AtomicUsize>::default();
    (Sender { sender, ahead: Arc::clone(&ahead) }, Inbox { receiver, ahead })
}

impl Sender {
    /// Hands over. False if too much waits.
    pub(super) fn push(&self, input: Input) -> bool {
        let cost = input.cost();
        if self.ahead.fetch_add(cost, Relaxed) + cost > MAX_AHEAD {
            return false;
        }
        // A session that has ended wants no more.
        !matches!(self.sender.try_send(input), Err(TrySendError::Full(_)))
    }

    /// Whether the session has ended.
    pub(super) fn is_done(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Inbox {
    /// The next input; none when the client has left.
    pub(super) async fn next(&mut self) -> Option<Input> {
        let input = self.receiver.recv().await?;
        self.ahead.fetch_sub(input.cost(), Relaxed);
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_too_far_ahead_is_told() {
        let (sender, mut inbox) = inbox();
        let data = Input::Data(vec![0; MAX_AHEAD / 2].into());
        assert!(sender.push(data.clone()) && sender.push(Input::Interrupt) && !sender.push(data.clone()));
        assert_eq!(inbox.next().await, Some(data));
        assert_eq!(inbox.next().await, Some(Input::Interrupt));
        drop(sender);
        assert_eq!(inbox.next().await, None);
    }
}
