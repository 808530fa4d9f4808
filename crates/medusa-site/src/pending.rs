//! Changes that are to be confirmed: published on trial, and taken back unless somebody confirms them in time. What has to be on disk
//! meanwhile is `medusa-script`'s (`trial_record`).

use std::sync::Arc;
use std::time::Duration;

use medusa_proto::author::Author;
use medusa_proto::shown::ShortNumber;
use medusa_proto::status::{Status, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::guard::Guard;

/// The longest time a change may be on trial: a day. Until it is confirmed nobody can change anything else.
pub const LONGEST_TRIAL: Duration = Duration::from_hours(24);

/// The longest reason of a change, in bytes: it is remembered for long.
pub const LONGEST_REASON: usize = 1024;

/// A reason, as people give it.
///
/// # Errors
///
/// It is longer than [`LONGEST_REASON`]: the message for whoever gave it.
pub fn reason_of(text: String) -> Result<Arc<str>, String> {
    if text.len() <= LONGEST_REASON {
        Ok(text.into())
    } else {
        Err(format!("a reason may have {LONGEST_REASON} bytes"))
    }
}

/// The time of a trial, from seconds as people give them.
///
/// # Errors
///
/// It is not 1 second to [`LONGEST_TRIAL`]: the message for whoever gave it.
pub fn trial_of(seconds: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(seconds).ok();
    time.filter(|time| (Duration::from_secs(1)..=LONGEST_TRIAL).contains(time)).ok_or_else(|| {
        let (longest, given) = (LONGEST_TRIAL.as_secs(), ShortNumber(seconds));
        format!("the time to confirm must be 1 to {longest} seconds, not {given}")
    })
}

/// How a change is put on trial.
#[derive(Debug, Clone)]
pub struct TrialTerms {
    /// How long.
    pub time: Duration,
    /// What it is taken back for before that.
    pub guard: Option<Arc<Guard>>,
    /// Why a process that is killed meanwhile does not leave what is gone back to; none: it does.
    pub unkept: Option<Arc<str>>,
}

impl From<Duration> for TrialTerms {
    fn from(time: Duration) -> Self {
        Self { time, guard: None, unkept: None }
    }
}

/// A change on trial.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The generation it has published.
    pub generation: u64,
    /// The generation that is published again if nobody confirms it.
    pub back_to: u64,
    /// Its author.
    pub by: Author,
    /// The time at which it is taken back.
    pub deadline: Instant,
    /// What it is taken back for before that.
    pub guard: Option<Arc<Guard>>,
    /// Why what is before it would be lost with the process.
    pub(crate) unkept: Option<Arc<str>>,
    /// Whether it is being taken back already.
    reverting: bool,
}

impl Pending {
    /// How long there is left to confirm it.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The same, being taken back.
    pub(crate) fn reverting(self) -> Self {
        Self { reverting: true, ..self }
    }

    /// The same, with so much time from now on.
    pub(crate) fn extended(self, time: Duration) -> Self {
        Self { deadline: Instant::now() + time.min(LONGEST_TRIAL), ..self }
    }

    /// It as a document.
    pub(crate) fn status(&self) -> Status {
        Status::new("unconfirmed", format!("generation {}", self.generation))
            .field("by", self.by.to_string())
            .field("reverts_to", self.back_to)
            .gauge("reverts_in", Value::Seconds(self.left().as_secs_f64()))
    }
}

/// A change is on trial: another has to wait until it is confirmed or taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "generation {generation} by {by} is not confirmed yet, and goes back to {back_to} in {} s: `confirm()` or `cancel()` it \
     first",
    left.as_secs()
)]
pub struct Unconfirmed {
    /// The generation on trial.
    pub generation: u64,
    /// The one before it.
    pub back_to: u64,
    /// Its author.
    pub by: Arc<str>,
    /// How long it has left.
    pub left: Duration,
}

/// Why nothing was confirmed or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// No change is on trial.
    #[error(
        "no change is on trial: the last was published for good, or has been confirmed or taken back already"
    )]
    None,
    /// Another one is.
    #[error("generation {asked} is not on trial, generation {pending} is")]
    Other {
        /// The one that was asked for.
        asked: u64,
        /// The one on trial.
        pending: u64,
    },
    /// It is being taken back at this moment.
    #[error("generation {0} is being taken back already")]
    Reverting(u64),
}

/// The change on trial, if there is one.
#[derive(Debug)]
pub(crate) struct Trial(watch::Sender<Option<Pending>>);

impl Default for Trial {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Trial {
    /// The change on trial.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.0.borrow().clone()
    }

    /// Tells of each change of it.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Pending>> {
        self.0.subscribe()
    }

    /// Whether another change may be published.
    pub(crate) fn check(&self) -> Result<(), Unconfirmed> {
        let Some(pending) = self.pending() else { return Ok(()) };
        Err(Unconfirmed {
            generation: pending.generation,
            back_to: pending.back_to,
            left: pending.left(),
            by: pending.by.to_string().into(),
        })
    }

    /// Puts what was published on trial.
    pub(crate) fn begin(&self, generation: u64, back_to: u64, by: Author, terms: &TrialTerms) {
        let deadline = Instant::now() + terms.time.min(LONGEST_TRIAL);
        let TrialTerms { guard, unkept, .. } = terms.clone();
        let pending = Pending { generation, back_to, by, deadline, guard, unkept, reverting: false };
        self.0.send_replace(Some(pending));
    }

    /// Has what is on trial be what `next` makes of it, or end, if it is the one that was `asked` for and nobody takes it back.
    /// Returns what it is now, or was.
    pub(crate) fn update(
        &self,
        asked: Option<u64>,
        next: impl FnOnce(Pending) -> Option<Pending>,
    ) -> Result<Pending, TrialError> {
        let mut result = Err(TrialError::None);
        self.0.send_if_modified(|pending| {
            result = match pending {
                None => Err(TrialError::None),
                Some(known) if known.reverting => Err(TrialError::Reverting(known.generation)),
                Some(Pending { generation, .. }) if asked.is_some_and(|asked| asked != *generation) => {
                    Err(TrialError::Other { asked: asked.unwrap_or(0), pending: *generation })
                }
                Some(known) => {
                    let known = known.clone();
                    *pending = next(known.clone());
                    Ok(pending.clone().unwrap_or(known))
                }
            };
            result.is_ok()
        });
        result
    }

    /// It was taken back; or it could not be, and is to be tried again after `again`.
    pub(crate) fn reverted(&self, again: Option<Duration>) {
        self.0.send_modify(|pending| match again {
            None => *pending = None,
            Some(again) => {
                if let Some(pending) = pending {
                    pending.reverting = false;
                    pending.deadline = Instant::now() + again;
                }
            }
        });
    }
}
