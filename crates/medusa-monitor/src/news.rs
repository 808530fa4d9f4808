//! What open sessions are told without asking: what others do to the server, and when what is on trial changes.
//!
//! **Invariant:** nobody waits for a session to hear of it. What one has not heard when [`MAX_NEWS`] more have come is lost to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medusa_proto::author::Author;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// The news that may wait for a session.
const MAX_NEWS: usize = 64;

/// Until how long before its end the time of a trial is told in seconds.
const IN_SECONDS: Duration = Duration::from_mins(2);

/// Something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Somebody did something.
    Said {
        /// What, in a line.
        text: Arc<str>,
        /// The session that did it, which knows.
        by: Option<u64>,
    },
    /// Something is on trial, or is not any more.
    Trial,
}

/// The way of news to sessions.
#[derive(Debug)]
pub struct NewsRoom(broadcast::Sender<News>);

impl Default for NewsRoom {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_NEWS))
    }
}

impl NewsRoom {
    /// Tells all sessions but that of the author, if it is one.
    pub fn say(&self, text: &str, author: &Author) {
        self.send(News::Said { text: text.into(), by: author.session });
    }

    /// Tells all sessions that something is on trial, or is not any more.
    pub fn trial_changed(&self) {
        self.send(News::Trial);
    }

    fn send(&self, news: News) {
        // An error: nobody listens.
        let _nobody = self.0.send(news);
    }

    /// The news for a session from now on.
    pub(crate) fn subscribe(&self, session: u64) -> Subscription {
        Subscription { news: self.0.subscribe(), session }
    }
}

/// The news for one session.
#[derive(Debug)]
pub(crate) struct Subscription {
    news: broadcast::Receiver<News>,
    session: u64,
}

impl Subscription {
    /// The next that is news to it. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            match self.news.recv().await {
                Ok(News::Said { by, .. }) if by == Some(self.session) => {}
                Ok(news) => return news,
                // Whatever it was, what is on trial is to be looked at.
                Err(RecvError::Lagged(_)) => return News::Trial,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// A change on trial, as it is told over a distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialInfo {
    /// The generation that it has published.
    pub generation: u64,
    /// The generation that it goes back to.
    pub back_to: u64,
    /// How long it has left, in seconds.
    pub seconds: f64,
}

/// A change on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnTrial {
    /// The generation that it has published.
    pub generation: u64,
    /// The generation that it goes back to.
    pub back_to: u64,
    /// When it does.
    pub until: Instant,
}

impl OnTrial {
    /// The one that was told just now.
    pub fn told(info: TrialInfo) -> Self {
        let left = Duration::try_from_secs_f64(info.seconds).unwrap_or_default();
        let now = Instant::now();
        let until = now.checked_add(left).unwrap_or(now);
        Self { generation: info.generation, back_to: info.back_to, until }
    }

    pub(crate) fn info(&self) -> TrialInfo {
        let seconds = self.until.saturating_duration_since(Instant::now()).as_secs_f64();
        TrialInfo { generation: self.generation, back_to: self.back_to, seconds }
    }
}

/// What a prompt says before it asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct PromptState {
    /// Whether the session has begun a change that it has not committed.
    pub is_open: bool,
    /// What is on trial.
    pub trial: Option<OnTrial>,
}

impl PromptState {
    /// The prompt: `> `, `gen 9 reverts in 52 s> `, `begun> `.
    pub fn text(&self, now: Instant) -> String {
        let begun = self.is_open.then(|| "begun".to_owned());
        let trial = self.trial.map(|trial| {
            let left = trial.until.saturating_duration_since(now);
            let (count, unit) = match left {
                left if left <= IN_SECONDS => (seconds(left), "s"),
                left if left <= 60 * IN_SECONDS => (seconds(left).div_ceil(60), "min"),
                left => (seconds(left) / 3600, "h"),
            };
            format!("gen {} reverts in {count} {unit}", trial.generation)
        });
        let said: Vec<_> = begun.into_iter().chain(trial).collect();
        format!("{}> ", said.join(", "))
    }

    /// When the prompt is to be drawn again by itself, though nothing is typed: each time that it would say something else in
    /// the last ten seconds, every ten seconds before that, every minute while it tells no seconds. More often it would
    /// take the mark from who marks something with the mouse; with each key it is drawn anyway, and says what is so then.
    pub fn next_drawing(&self, now: Instant) -> Option<Instant> {
        let trial = self.trial?;
        let left = trial.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let step = match left {
            left if left <= Duration::from_secs(10) => 1,
            left if left <= IN_SECONDS => 10,
            _ => 60,
        };
        // Just below the next multiple, so that it is that number of seconds, rounded up.
        let above = (seconds(left) - 1) / step * step;
        trial.until.checked_sub(Duration::from_secs(above)).filter(|at| *at > now)
    }
}

/// Whole seconds, of which the last has begun.
fn seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use medusa_proto::author::Via;

    use super::*;

    #[test]
    fn the_prompt_says_what_is_on_trial() {
        let now = Instant::now();
        let state = |left: u64| PromptState {
            is_open: false,
            trial: Some(OnTrial { generation: 9, back_to: 8, until: now + Duration::from_millis(left) }),
        };
        for (left, text) in [
            (52_000, "gen 9 reverts in 52 s> "),
            (51_001, "gen 9 reverts in 52 s> "),
            (120_000, "gen 9 reverts in 120 s> "),
            (121_000, "gen 9 reverts in 3 min> "),
            (7_200_000, "gen 9 reverts in 120 min> "),
            (86_400_000, "gen 9 reverts in 24 h> "),
            (0, "gen 9 reverts in 0 s> "),
        ] {
            assert_eq!(state(left).text(now), text, "{left}");
        }
        assert_eq!(PromptState::default().text(now), "> ");
        assert_eq!(PromptState { is_open: true, ..state(1) }.text(now), "begun, gen 9 reverts in 1 s> ");
    }

    #[test]
    fn the_prompt_is_drawn_again_before_it_is_wrong_for_long() {
        let now = Instant::now();
        let mut at = now;
        let state = PromptState {
            is_open: false,
            trial: Some(OnTrial { generation: 9, back_to: 8, until: now + Duration::from_millis(305_500) }),
        };
        let mut said = Vec::new();
        while let Some(next) = state.next_drawing(at) {
            assert!(next > at);
            at = next;
            said.push(
                state.text(at).trim_start_matches("gen 9 reverts in ").trim_end_matches("> ").to_owned(),
            );
        }
        let expected = ["5 min", "4 min", "3 min", "120 s", "110 s", "100 s", "90 s"];
        assert_eq!(said[..7], expected);
        assert_eq!(
            said[13..],
            ["20 s", "10 s", "9 s", "8 s", "7 s", "6 s", "5 s", "4 s", "3 s", "2 s", "1 s", "0 s"]
        );
        assert_eq!(PromptState::default().next_drawing(now), None);
    }

    #[tokio::test]
    async fn who_does_something_is_not_told_of_it() {
        let room = NewsRoom::default();
        let (mut ann, mut bob) = (room.subscribe(1), room.subscribe(2));
        let author = Author::new(Via::Control, "confirm").in_session(1);
        room.say("confirmed", &author);
        room.trial_changed();
        assert_eq!(ann.next().await, News::Trial);
        assert_eq!(bob.next().await, News::Said { text: "confirmed".into(), by: Some(1) });
        (0..1000).for_each(|_| room.say("more", &author));
        assert_eq!(bob.next().await, News::Trial, "something was lost");
    }
}
