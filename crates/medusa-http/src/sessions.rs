//! The part of a handler that goes on for as long as its clients stay: how much of it is open, and how it ends when the handler
//! does.

use medusa_proto::status::Status;
use tokio::sync::watch;

/// The open `WebSocket`s and event streams of one handler.
#[derive(Debug)]
pub struct Sessions {
    websockets: watch::Sender<bool>,
    event_streams: watch::Sender<bool>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { websockets: watch::Sender::new(false), event_streams: watch::Sender::new(false) }
    }
}

impl Sessions {
    /// Ends them all, and those that are opened from now on: their handler is no longer part of the site.
    pub fn end(&self) {
        self.websockets.send_replace(true);
        self.event_streams.send_replace(true);
    }

    /// Takes [`end`](Self::end) back: the handler is to be part of the site again.
    pub fn resume(&self) {
        for sessions in [&self.websockets, &self.event_streams] {
            sessions.send_if_modified(|ended| std::mem::replace(ended, false));
        }
    }

    /// Adds how many are open to a status.
    pub fn describe(&self, status: Status) -> Status {
        status
            .gauge("websockets", self.websockets.receiver_count() as u64)
            .gauge("event_streams", self.event_streams.receiver_count() as u64)
    }

    pub(crate) fn join_websocket(&self) -> Membership {
        Membership(self.websockets.subscribe())
    }

    pub(crate) fn join_event_stream(&self) -> Membership {
        Membership(self.event_streams.subscribe())
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Membership(watch::Receiver<bool>);

impl Membership {
    /// Waits until all are to end.
    pub(crate) async fn ended(&mut self) {
        if self.0.wait_for(|ended| *ended).await.is_err() {
            // The handler is gone without a word, as when everything ends: so does the connection.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn all_end_together_until_they_may_go_on() {
        let sessions = Sessions::default();
        let (mut one, mut two) = (sessions.join_websocket(), sessions.join_event_stream());
        let third = sessions.join_event_stream();
        let expect = |websockets: u64, event_streams: u64| {
            let status = sessions.describe(Status::new("handler", ""));
            assert_eq!(status.get("websockets"), Some(&websockets.into()));
            assert_eq!(status.get("event_streams"), Some(&event_streams.into()));
        };
        expect(1, 2);
        sessions.end();
        one.ended().await;
        two.ended().await;
        sessions.join_event_stream().ended().await;
        drop((one, third));
        expect(0, 1);
        sessions.resume();
        let mut four = sessions.join_websocket();
        tokio::select! {
            biased;
            () = four.ended() => panic!("it may go on"),
            () = std::future::ready(()) => {}
        }
    }
}
