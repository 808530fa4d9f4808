//! Commands of a session that concern the whole engine: what the bindings ask of it.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_site::Generation;

use crate::error::ScriptError;
use crate::transaction::ProgressSender;

/// What a command comes to: the generation it has published; none in a rehearsal.
pub(crate) type Commanded = Pin<Box<dyn Future<Output = Result<Option<Generation>, ScriptError>>>>;

/// What [`Commands::note_trial`] returns.
pub(crate) type Noted = Pin<Box<dyn Future<Output = Result<Option<Arc<str>>, ScriptError>>>>;

/// What a command that publishes nothing comes to, for a person.
pub(crate) type Told = Pin<Box<dyn Future<Output = Result<String, ScriptError>>>>;

/// The engine, for the commands of sessions.
pub(crate) trait Commands: fmt::Debug {
    /// Has generation `number` run again.
    fn rollback(
        self: Rc<Self>,
        number: u64,
        author: Author,
        reason: Option<Arc<str>>,
        events: Option<ProgressSender>,
    ) -> Commanded;

    /// Sees to it that a server which is killed from now on starts with what is running, and not with what `author` is about to
    /// publish on trial; returns why it will not.
    fn note_trial(self: Rc<Self>, author: Author) -> Noted;

    /// Confirms the change on trial, if it is the one that published generation `number`; which it was.
    fn confirm(&self, number: Option<u64>, author: &Author) -> Result<u64, ScriptError>;

    /// Writes what statements have changed to a file beside the script.
    fn save(self: Rc<Self>, reason: Arc<str>, author: Author) -> Told;

    /// Says what is different between what runs and what is written.
    fn drift(self: Rc<Self>) -> Told;

    /// Takes [`note_trial`](Self::note_trial) back: nothing was published.
    fn forget_trial(&self);

    /// Takes the change on trial back, if it is the one that published generation `number`.
    fn cancel(self: Rc<Self>, number: Option<u64>, author: Author) -> Commanded;
}
