//! Generations that run again: as they are kept, or made of the files and statements that they were made of.
//!
//! **Invariant:** nobody who goes back gets another site than the generation was, as far as it is known what made that: one whose
//! recipe has gaps is refused.

use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_proto::with_causes;
use medusa_site::{Generation, HistoryError};
use tokio::sync::mpsc;

use super::EngineThread;
use crate::error::ScriptError;
use crate::inline::Call;
use crate::main_vm::{MainVm, ReplayedSessions};
use crate::recipe::{Gaps, Recipe, Statement};
use crate::require::Sources;
use crate::transaction::{Block, ProgressSender, Transaction, tells};

/// How many are told in a message.
const MOST_TOLD: usize = 3;

/// The statement that gives up what those before it have edited.
pub(super) const ABORT: &str = "abort()";

impl EngineThread {
    /// Has a generation run again: the one that is kept, or what is made again of its files and statements.
    pub(super) async fn go_back(
        &self,
        number: u64,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
    ) -> Result<Option<Generation>, ScriptError> {
        let failed = |error: &dyn std::error::Error| ScriptError::new(with_causes(error));
        let known = self.live.generation(number).map_err(|error| failed(&error))?;
        let recipe = self.recipes.of(number);
        if !known.whole {
            // All of it is run anew, before it could be known what that changes.
            if let Some(scope) = &author.scope {
                return Err(ScriptError::new(format!(
                    "generation {number} is to be made again, which concerns the whole server, and your rights end at {scope}"
                )));
            }
            let recipe = recipe.as_ref().ok_or_else(|| failed(&HistoryError::NotWhole(number)))?;
            self.refuse_gaps(number, recipe)?;
            return self.make_again(recipe, author, reason, events).await;
        }
        let change = self.live.begin_rollback(number, author, tells(events)).await;
        let mut change = change.map_err(|error| failed(&error))?;
        change.reason = reason;
        let published = self.live.publish(change).await.map_err(|error| failed(&error))?;
        self.vms.follow();
        self.recipes.note(self.live.site().generation, recipe);
        Ok(published.generation)
    }

    /// Has what a recipe makes run. What is missing in it, is missing.
    pub(super) async fn make_again(
        &self,
        recipe: &Recipe,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
    ) -> Result<Option<Generation>, ScriptError> {
        let ((vm, calls), transaction) = self.run_again(recipe, author, events).await?;
        transaction.edit_change(|change| change.reason = reason);
        self.publish_load(&transaction, vm, calls).await?;
        self.recipes.note(self.live.site().generation, Some(recipe.clone()));
        Ok(transaction.published())
    }

    /// Runs what a recipe has, under a transaction that makes the site anew.
    async fn run_again(
        &self,
        recipe: &Recipe,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<((Rc<MainVm>, mpsc::Sender<Call>), Rc<Transaction>), ScriptError> {
        let sources = Sources::recorded(self.program.root.clone(), recipe.files());
        let ((vm, calls), transaction) = self.run(author, events, sources).await?;
        let mut sessions = ReplayedSessions::default();
        for Statement { name, session, source, files } in recipe.statements() {
            transaction.replay(files);
            let session = sessions.get(&vm, session)?;
            let again = vm.run_statement(&transaction, &session, &format!("={name}"), &source).await;
            again.map_err(|error| error.showing(vm.sources()))?;
        }
        Ok(((vm, calls), transaction))
    }

    /// Refuses to save statements that do not run again, or would make another site: the next load would fail, or have that.
    pub(super) async fn check_saved(&self, recipe: &Recipe, author: &Author) -> Result<(), ScriptError> {
        if let Some(undone) = recipe.gaps().undone {
            return Err(ScriptError::new(format!(
                "what a statement had published was taken back while it ran on ({}), and would not be if it ran again, so nothing is \
                 saved: put what is to stay into the script",
                self.told_gap(undone)
            )));
        }
        let lost = self.told_gaps(recipe.gaps());
        let lost = lost.map(|lost| format!(" without what is in none of them ({lost})")).unwrap_or_default();
        // What it prints was printed when it ran first.
        let (nobody, _) = mpsc::channel(1);
        let made = self.run_again(recipe, author.clone(), Some(nobody)).await;
        made.map(drop).map_err(|error| {
            let why = error.render();
            ScriptError::new(format!("the statements do not run again{lost}, so nothing is saved: {why}"))
        })
    }

    /// Notes the statements of a session, now that none is open any more: what they have `published`, or that they were given up.
    /// They were begun on generation `base`, if the last was not all of them.
    ///
    /// Those that were given up may have left something all the same, as global names. Run again, they edit what they edited then,
    /// and give it up; where it is not that any more, they are forgotten.
    pub(super) fn note_made(&self, block: &Block, base: Option<u64>, published: &[u64]) {
        let running = self.live.site().generation;
        let mut statements = block.statements.lock();
        let can_run_again = statements.leave_anything() && base.is_none_or(|base| base == running);
        if published.is_empty() && !can_run_again {
            statements.clear();
        }
        if !statements.is_empty() {
            let generation = published.last().copied().unwrap_or(running);
            self.recipes.add(generation, published, statements.take());
        }
    }

    /// Refuses to make a generation again of a recipe that is not all of it: it would be another site.
    fn refuse_gaps(&self, number: u64, recipe: &Recipe) -> Result<(), ScriptError> {
        let Some(told) = self.told_gaps(recipe.gaps()) else { return Ok(()) };
        let last = self.recipes.last_without_gaps(number);
        let last = last.map(|last| format!("; generation {last} can be")).unwrap_or_default();
        Err(ScriptError::new(format!(
            "generation {number} cannot be made again, for this is in none of the files and statements that made it: {told}{last}"
        )))
    }

    /// What else has made a generation, in a line; none if nothing has.
    pub(super) fn told_gaps(&self, gaps: &Gaps) -> Option<String> {
        let told: Vec<_> = gaps.told.iter().take(MOST_TOLD).map(|gap| self.told_gap(*gap)).collect();
        let more = gaps.told.len().saturating_sub(MOST_TOLD) as u64 + gaps.more;
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        (!gaps.is_empty()).then(|| format!("{}{more}", told.join(", ")))
    }

    /// `generation 7, by the timer at site.luau:40: + /made`
    pub(super) fn told_gap(&self, gap: u64) -> String {
        match self.live.generation(gap) {
            Ok(Generation { author, changes, .. }) => format!("generation {gap}, by the {author}: {changes}"),
            Err(_forgotten) => format!("generation {gap}, of which nothing is known any more"),
        }
    }
}
