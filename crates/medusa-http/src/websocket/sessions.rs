//! The open sessions of one handler: how many they are, and how they end when it does.

use tokio::sync::watch;

/// The open sessions of one handler.
#[derive(Debug)]
pub struct Sessions(watch::Sender<bool>);

impl Default for Sessions {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Sessions {
    /// How many are open.
    pub fn open(&self) -> u64 {
        self.0.receiver_count() as u64
    }

    /// Ends them all with 1001, and those that are opened from now on: their handler is no longer part of the site.
    pub fn end(&self) {
        self.0.send_replace(true);
    }

    /// Takes [`end`](Self::end) back: the handler is to be part of the site again.
    pub fn resume(&self) {
        self.0.send_if_modified(|ended| std::mem::replace(ended, false));
    }

    pub(super) fn join(&self) -> Membership {
        Membership(self.0.subscribe())
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Membership(watch::Receiver<bool>);

impl Membership {
    /// Waits until all are to end.
    pub(super) async fn ended(&mut self) {
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
        let (mut one, mut two) = (sessions.join(), sessions.join());
        assert_eq!(sessions.open(), 2);
        sessions.end();
        one.ended().await;
        two.ended().await;
        sessions.join().ended().await;
        drop(one);
        assert_eq!(sessions.open(), 1);
        sessions.resume();
        let mut three = sessions.join();
        tokio::select! {
            biased;
            () = three.ended() => panic!("it may go on"),
            () = std::future::ready(()) => {}
        }
    }
}
