//! The part of a handler that goes on for as long as its clients stay: how much of it is open, and how it ends when the handler
//! does.

use std::time::Duration;

use medusa_proto::status::Status;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What becomes of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// They go on.
    None,
    /// Their handler is no longer part of the site: they end when the time is over that each has been given for that.
    Retired,
    /// They end at once.
    Now,
}

/// The open `WebSocket`s and event streams of one handler.
#[derive(Debug)]
pub struct Sessions {
    websockets: watch::Sender<Ending>,
    event_streams: watch::Sender<Ending>,
}

impl Default for Sessions {
    fn default() -> Self {
        let going_on = || watch::Sender::new(Ending::None);
        Self { websockets: going_on(), event_streams: going_on() }
    }
}

impl Sessions {
    /// Ends them all, and those that are opened from now on: their handler is no longer part of the site. Those that may stay
    /// longer do.
    pub fn end(&self) {
        self.set(Ending::Retired);
    }

    /// Ends them all, also those that might stay.
    pub fn end_now(&self) {
        self.set(Ending::Now);
    }

    /// Takes [`end`](Self::end) back: the handler is to be part of the site again.
    pub fn resume(&self) {
        self.set(Ending::None);
    }

    fn set(&self, ending: Ending) {
        for sessions in [&self.websockets, &self.event_streams] {
            sessions.send_if_modified(|known| std::mem::replace(known, ending) != ending);
        }
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.websockets.receiver_count() + self.event_streams.receiver_count() == 0
    }

    /// Adds how many are open to a status.
    pub fn describe(&self, status: Status) -> Status {
        status
            .gauge("websockets", self.websockets.receiver_count() as u64)
            .gauge("event_streams", self.event_streams.receiver_count() as u64)
    }

    /// A `WebSocket`, or another protocol on a connection, which may stay for `keep` when the handler is gone.
    pub fn join_websocket(&self, keep: Duration) -> Membership {
        Membership { ending: self.websockets.subscribe(), keep }
    }

    /// The same of an event stream.
    pub(crate) fn join_event_stream(&self, keep: Duration) -> Membership {
        Membership { ending: self.event_streams.subscribe(), keep }
    }
}

/// One of them.
#[derive(Debug)]
pub struct Membership {
    ending: watch::Receiver<Ending>,
    keep: Duration,
}

impl Membership {
    /// Waits until it is to end.
    pub async fn ended(&mut self) {
        let mut until = None;
        loop {
            let ending = *self.ending.borrow_and_update();
            match ending {
                Ending::None => until = None,
                Ending::Retired => until = until.or_else(|| Some(Instant::now() + self.keep)),
                Ending::Now => return,
            }
            tokio::select! {
                changed = self.ending.changed() => if changed.is_err() {
                    // The handler is gone. If that was without a word, everything ends, and so does the connection.
                    return over(until).await;
                },
                () = over(until) => return,
            }
        }
    }
}

async fn over(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn all_end_together_until_they_may_go_on() {
        let sessions = Sessions::default();
        let (mut one, mut two) =
            (sessions.join_websocket(Duration::ZERO), sessions.join_event_stream(Duration::ZERO));
        let third = sessions.join_event_stream(Duration::ZERO);
        let expect = |websockets: u64, event_streams: u64| {
            let status = sessions.describe(Status::new("handler", ""));
            assert_eq!(status.get("websockets"), Some(&websockets.into()));
            assert_eq!(status.get("event_streams"), Some(&event_streams.into()));
        };
        expect(1, 2);
        sessions.end();
        one.ended().await;
        two.ended().await;
        sessions.join_event_stream(Duration::ZERO).ended().await;
        drop((one, third));
        expect(0, 1);
        sessions.resume();
        let mut four = sessions.join_websocket(Duration::ZERO);
        tokio::select! {
            biased;
            () = four.ended() => panic!("it may go on"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn some_may_stay_for_a_while() {
        const KEEP: Duration = Duration::from_mins(1);
        let ended = async |member: &mut Membership, within: Duration| {
            tokio::time::timeout(within, member.ended()).await.is_ok()
        };
        let sessions = Sessions::default();
        let (mut one, mut two) = (sessions.join_websocket(KEEP), sessions.join_event_stream(KEEP));
        sessions.end();
        assert!(!ended(&mut one, KEEP / 2).await);
        sessions.resume();
        assert!(!ended(&mut one, 2 * KEEP).await, "it may go on");
        sessions.end();
        assert!(ended(&mut one, 2 * KEEP).await);
        sessions.end_now();
        assert!(ended(&mut two, Duration::from_millis(1)).await);
        let mut three = Sessions::default().join_websocket(KEEP);
        assert!(!ended(&mut three, 2 * KEEP).await, "gone without a word");
        let sessions = Sessions::default();
        let mut four = sessions.join_websocket(KEEP);
        sessions.end();
        assert!(!ended(&mut four, KEEP / 2).await);
        drop(sessions);
        assert!(ended(&mut four, 2 * KEEP).await, "it was retired before");
    }
}
