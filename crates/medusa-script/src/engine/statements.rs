//! The statements of sessions, and what they have begun.

use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_site::{ApprovalError, Proposal};

use super::again::ABORT;
use super::{Engine, EngineThread, Evaluated, SessionHandle};
use crate::error::ScriptError;
use crate::main_vm::Ran;
use crate::print;
use crate::recipe::{Files, Statement};
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
        let (names, base) = (vm.session(block)?, block.base());
        if base.is_none() {
            // Of a statement that was dropped, and could not be told of its end.
            block.statements.lock().clear();
        }
        let name = block.name_statement(&author);
        let transaction =
            Transaction::of_statement(Arc::clone(&self.live), author, events, Arc::clone(block));
        let load = self.live.site().loaded;
        block.tell_end(&self.session_ended);
        let run = vm.run_statement(&transaction, &names, &format!("={name}"), source).await;
        let mut given_up = None;
        if run.is_err() && base.is_some() && !block.is_open() {
            // What was begun could not be committed.
            given_up = block.statements.lock().as_one();
            let (name, files) = (Arc::clone(&name), Files::default());
            let abort = Statement { name, session: None, source: ABORT.into(), files };
            block.statements.lock().push(abort, false);
            self.note_made(block, base, &[]);
        }
        let (published, made) = (transaction.all_published(), transaction.made());
        let ran = match run {
            Ok(ran) => ran,
            Err(error) => {
                return Err(error.showing(vm.sources()).of_own(&name).telling(published, given_up));
            }
        };
        self.vms.follow();
        let is_part = base.is_some() || !made.is_empty() || block.is_open();
        let statement =
            Statement { name, session: None, source: source.into(), files: transaction.files_read() };
        remember(block, load, statement, &ran, is_part);
        if !block.is_open() {
            self.note_made(block, base, &made);
        }
        Ok(Evaluated { value: transaction.afterwards(|| print::values(&ran.values)), published })
    }
}

/// Remembers a statement, for when its generation is made again: with those that make it if it `is_part` of a change, or has changed
/// anything, and else for those that may need what it has left.
fn remember(block: &Block, load: u64, statement: Statement, ran: &Ran, is_part: bool) {
    let has_value = ran.values.get(1).is_some_and(|value| !value.is_nil());
    let session = (ran.uses || ran.leaves || has_value).then(|| block.label());
    let statement = Statement { session, ..statement };
    let mut needed = block.needed.lock();
    if !is_part && !ran.assigned {
        if ran.leaves || has_value {
            needed.note(load, statement, ran.leaves, ran.uses);
        }
        return;
    }
    let mut statements = block.statements.lock();
    if ran.uses {
        for statement in needed.take(load) {
            statements.push(statement, true);
        }
    } else if has_value {
        needed.forget_values(false);
    }
    statements.push(statement, ran.assigned || ran.leaves);
}
