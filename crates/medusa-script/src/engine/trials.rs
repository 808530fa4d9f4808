//! The ends of changes on trial.

use std::rc::Rc;
use std::time::Duration;

use medusa_proto::author::{Author, Via};
use medusa_proto::with_causes;
use medusa_site::{Generation, Guarding, Pending, RevertError};

use super::EngineThread;

/// How often the guards of a change on trial look.
const GUARDS_EVERY: Duration = Duration::from_secs(1);

/// The time until a change that could not be taken back is tried to be again.
const REVERT_AGAIN: Duration = Duration::from_secs(1);

impl EngineThread {
    /// Takes changes on trial back when their time is over.
    pub(super) async fn end_trials(self: Rc<Self>) {
        let mut trial = self.live.watch_trial();
        let mut guarding: Option<(u64, Guarding)> = None;
        loop {
            let pending = trial.borrow_and_update().clone();
            self.live.sessions().news().trial_changed();
            let Some(pending) = pending else {
                guarding = None;
                if trial.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let generation = pending.generation;
            if guarding.as_ref().is_none_or(|(known, _)| *known != generation) {
                let guard = pending.guard.as_ref();
                guarding = guard.map(|guard| (generation, guard.begin(&self.live.site().parts)));
            }
            tokio::select! {
                biased;
                changed = trial.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(pending.deadline) => self.end_trial(&pending, "was not confirmed").await,
                why = tripped(guarding.as_ref()) => {
                    self.end_trial(&pending, &format!("does badly ({why})")).await;
                }
            }
        }
    }

    pub(super) async fn take_back(
        &self,
        number: Option<u64>,
        author: Author,
    ) -> Result<Option<Generation>, RevertError> {
        let back_to = self.live.pending().map(|pending| pending.back_to);
        let reverted = self.live.revert(number, author, REVERT_AGAIN).await?.generation;
        self.vms.follow();
        let recipe = back_to.and_then(|back_to| self.recipes.of(back_to));
        self.recipes.note(self.live.site().generation, recipe);
        self.trial_note.taken_back();
        Ok(reverted)
    }

    async fn end_trial(&self, pending: &Pending, why: &str) {
        let generation = pending.generation;
        let author = Author::new(Via::Trial, format!("the end of the trial of generation {generation}"));
        match self.take_back(Some(generation), author.clone()).await {
            Ok(reverted) => {
                let report = reverted.map(|reverted| self.live.report(&reverted)).unwrap_or_default();
                let told = format!("generation {generation} {why} and is taken back: {report}");
                self.live.sessions().news().say(&told, &author);
                tracing::warn!(by = %pending.by, "generation {generation} {why} and is taken back: {report}");
            }
            // Confirmed in this very moment.
            Err(RevertError::Trial(_)) => {}
            Err(error) => {
                tracing::error!(
                    "generation {generation} {why}, and cannot be taken back yet: {}",
                    with_causes(&error)
                );
            }
        }
    }
}

/// Returns when a guard trips, and why; never, where there is none.
async fn tripped(guarding: Option<&(u64, Guarding)>) -> String {
    let Some((_, guarding)) = guarding else { return std::future::pending().await };
    loop {
        tokio::time::sleep(GUARDS_EVERY).await;
        if let Some(why) = guarding.trips() {
            return why;
        }
    }
}
