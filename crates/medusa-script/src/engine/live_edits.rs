//! Live edits that are kept: they run after the script, and are written beside it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use medusa_proto::author::Author;
use medusa_proto::with_causes;
use medusa_site::HttpServer;

use super::{EngineThread, Program, ProgramSource};
use crate::error::ScriptError;
use crate::live_files::{self, Heading, LiveFiles, SavedStatement};
use crate::main_vm::{MainVm, ReplayedSessions};
use crate::recipe::Recipe;
use crate::transaction::Transaction;

/// What is said where nothing differs. What is within a table is not compared: it may be anything, of any size.
const NO_DRIFT: &str = "none: what runs is what is written (what is within tables is not compared)";

impl EngineThread {
    /// Runs the edits that are kept, as part of a load.
    pub(super) async fn run_live_files(
        &self,
        vm: &MainVm,
        transaction: &Rc<Transaction>,
    ) -> Result<(), ScriptError> {
        if self.live_files().is_none() {
            return Ok(());
        }
        let sources = vm.sources();
        if let Some(told) = sources.strays() {
            tracing::warn!("{told}");
        }
        let mut sessions = ReplayedSessions::default();
        for path in sources.live_files().map_err(ScriptError::new)? {
            let text = sources.read(&path).map_err(ScriptError::new)?;
            let chunk = format!("@{}", path.display());
            for SavedStatement { lines, session, source } in live_files::statements(&text) {
                // So that a message has its line in the file.
                let statement = "\n".repeat(lines) + source;
                let session = sessions.get(vm, session.map(Arc::from))?;
                let run = vm.run_statement(transaction, &session, &chunk, &statement).await;
                run.map_err(|error| error.showing(sources))?;
            }
        }
        Ok(())
    }

    /// Where live edits are kept; none if the script is no file.
    fn live_files(&self) -> Option<LiveFiles> {
        let Program { root, name, source, .. } = &self.program;
        matches!(source, ProgramSource::File).then(|| LiveFiles { root: root.clone(), script: name.clone() })
    }

    /// The recipe of what is running, and where it is or may be written.
    fn written(&self) -> Result<(Recipe, LiveFiles), ScriptError> {
        let files = self.live_files();
        let files =
            files.ok_or_else(|| ScriptError::new("there is no script on disk to keep edits beside"))?;
        let recipe = self.recipes.of(self.live.site().generation).ok_or_else(|| {
            ScriptError::new(
                "since the script was loaded there were too many statements to know them all: put what is to stay into the \
                 script",
            )
        })?;
        Ok((recipe, files))
    }

    pub(super) async fn save(&self, reason: Arc<str>, author: Author) -> Result<String, ScriptError> {
        let _one_at_a_time = self.saving.lock().await;
        self.live.check_trial().map_err(|error| ScriptError::new(with_causes(&error)))?;
        let (recipe, files) = self.written()?;
        let generation = self.live.site().generation;
        let count = recipe.unsaved().len();
        if count > 0 {
            self.check_saved(&recipe, &author).await?;
        }
        let heading =
            Heading { reason, author: author.to_string(), generation, time: jiff::Timestamp::now() };
        let lost = self.told_gaps(recipe.gaps());
        let unsaved = lost.as_ref().map(|lost| format!("; in no statement, and so not saved: {lost}"));
        let unsaved = unsaved.unwrap_or_default();
        let saved = on_disk(move || files.save(&recipe, &heading)).await;
        let (path, saved) =
            saved.map_err(|error| ScriptError::new(format!("{}{unsaved}", error.render())))?;
        self.recipes.mark_saved(&saved);
        self.trial_note.save(&saved, lost);
        let (path, s) = (path.display(), if count == 1 { "" } else { "s" });
        tracing::info!(by = %author, "saved {path}{unsaved}");
        let script = &self.program.name;
        Ok(format!("{count} statement{s} saved to {path}: it runs after {script} from now on{unsaved}"))
    }

    pub(super) async fn drift(&self) -> Result<String, ScriptError> {
        let (recipe, files) = self.written()?;
        let (gaps, read) = (recipe.gaps().clone(), self.read());
        let mut drift = on_disk(move || files.drift(&recipe, read)).await?;
        drift.extend(gaps.told.iter().map(|gap| format!("* {}", self.told_gap(*gap))));
        if gaps.more > 0 {
            drift.push(format!("* {} more", gaps.more));
        }
        Ok(if drift.is_empty() { NO_DRIFT.to_owned() } else { drift.join("\n") })
    }

    /// What runs, as it was read: the script with its modules, and the handler files of the mounts.
    fn read(&self) -> BTreeSet<(PathBuf, Arc<str>)> {
        let site = self.live.site();
        let mounts = site.parts.all::<HttpServer>().flat_map(|server| server.definition.mounts.values());
        let handlers = self.scripts.among(mounts.map(|mount| &mount.handler));
        let script = self.vms.current().map(|vm| vm.sources().files());
        script.into_iter().chain(handlers.iter().map(|file| file.sources.files())).flatten().collect()
    }
}

/// Works on files, where that holds up no script.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, ScriptError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(panic.to_string())).map_err(ScriptError::new)
}
