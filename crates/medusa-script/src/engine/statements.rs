//! The statements of sessions, and what they have begun.

use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_site::{ApprovalError, Proposal};

use super::{Engine, EngineThread, Evaluated, SessionHandle};
use crate::error::ScriptError;
use crate::main_vm::Ran;
use crate::places::STATEMENT;
use crate::print;
use crate::recipe::{Statement, Statements};
use crate::transaction::{Block, ProgressSender, Transaction};

impl SessionHandle {
    /// Whether the session has begun a change that it has not committed.
    pub fn has_begun(&self) -> bool {
        self.0.is_open()
    }
}

impl Engine {
    /// What a session has begun, as others are to see it before it is published.
    ///
    /// # Errors
    ///
    /// It has begun nothing, or too much to be looked at.
    pub fn preview(&self, session: &SessionHandle) -> Result<Arc<Proposal>, ApprovalError> {
        session.0.propose(&self.live)
    }
}

impl EngineThread {
    pub(super) async fn eval(
        &self,
        block: &Arc<Block>,
        source: &str,
        author: Author,
        events: Option<ProgressSender>,
    ) -> Result<Evaluated, ScriptError> {
        let vm = self.vms.current().ok_or_else(|| ScriptError::new("the script is not loaded yet"))?;
        let transaction =
            Transaction::of_statement(Arc::clone(&self.live), author, events, Arc::clone(block));
        let load = self.live.site().loaded;
        block.tell_end(&self.session_ended);
        let run = vm.run_statement(&transaction, &vm.session(block)?, STATEMENT, source).await;
        let ran = run.map_err(|error| error.showing(vm.sources()))?;
        self.vms.follow();
        let published = transaction.published();
        let mut statements = block.statements.lock();
        let has_changed = published.is_some() || ran.assigned || block.is_open();
        remember(block, &mut statements, load, source, &ran, has_changed);
        if !block.is_open() && !statements.is_empty() {
            self.recipes.add(self.live.site().generation, statements.take());
        }
        drop(statements);
        Ok(Evaluated {
            value: transaction.afterwards(|| print::values(&ran.values)),
            generation: published.as_ref().map(|published| published.number),
            report: published.map(|published| self.live.report(&published)),
        })
    }
}

/// Remembers a statement, for when its generation is made again: with those that make it if it has changed anything, and else
/// for those that may need what it has left.
fn remember(
    block: &Block,
    statements: &mut Statements,
    load: u64,
    source: &str,
    ran: &Ran,
    has_changed: bool,
) {
    let has_value = ran.values.get(1).is_some_and(|value| !value.is_nil());
    let mut needed = block.needed.lock();
    if !has_changed {
        if ran.leaves || has_value {
            needed.note(load, source, ran.leaves, ran.uses);
        }
        return;
    }
    if ran.uses {
        for source in needed.take(load) {
            statements.push(Statement { session: Some(block.label()), source });
        }
    } else if has_value {
        needed.forget_values(false);
    }
    let session = (ran.uses || ran.leaves || has_value).then(|| block.label());
    statements.push(Statement { session, source: source.into() });
}
