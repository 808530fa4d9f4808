//! What a change on trial goes back to, on disk: a server that is killed meanwhile starts with that, and not with what nobody
//! has confirmed.
//!
//! **Invariant:** the record is on disk before the change is published, and gone before anybody is told that it is confirmed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::chunk::STATEMENT;
use crate::error::ScriptError;
use crate::recipe::{Files, Recipe, Statement};
use crate::require::Sources;
use crate::state_file;

/// The record's name in the state directory.
const NAME: &str = "trial.json";

/// The longest record, in bytes: twice the files of a script, and its statements, escaped.
const MAX_RECORD: u64 = 256 * 1024 * 1024;

/// A change on trial, and what was before it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialRecord {
    /// The generation on trial.
    generation: u64,
    /// Its author.
    by: String,
    /// The script's files of what is on trial.
    on_trial: BTreeMap<PathBuf, String>,
    /// The script's files of what was before it.
    confirmed: BTreeMap<PathBuf, String>,
    /// The statements since those were loaded.
    statements: Vec<String>,
    /// The files that the first of them were saved to.
    #[serde(default)]
    saved: BTreeMap<PathBuf, String>,
    /// How many those are.
    #[serde(default)]
    saved_count: usize,
    /// The names of those, one for each.
    #[serde(default)]
    names: Vec<String>,
    /// The sessions that those were of, one for each.
    #[serde(default)]
    sessions: Vec<Option<String>>,
    /// What else had a part in what was before it, in words: it cannot be had again.
    #[serde(default)]
    lost: Option<String>,
    /// The files that they have read in the place of others, for each.
    #[serde(default)]
    files: Vec<BTreeMap<PathBuf, String>>,
}

fn texts(files: &Files) -> BTreeMap<PathBuf, String> {
    files.iter().map(|(path, text)| (path.clone(), text.to_string())).collect()
}

fn files(texts: BTreeMap<PathBuf, String>) -> Files {
    Arc::new(texts.into_iter().map(|(path, text)| (path, Arc::from(text))).collect())
}

impl TrialRecord {
    pub(crate) fn new(
        generation: u64,
        by: String,
        on_trial: &Files,
        confirmed: &Recipe,
        lost: Option<String>,
    ) -> Self {
        let all = confirmed.statements();
        Self {
            generation,
            by,
            on_trial: texts(on_trial),
            confirmed: texts(&confirmed.files()),
            statements: all.iter().map(|one| one.source.to_string()).collect(),
            names: all.iter().map(|one| one.name.to_string()).collect(),
            sessions: all.iter().map(|one| one.session.as_deref().map(str::to_owned)).collect(),
            files: all.iter().map(|one| texts(&one.files)).collect(),
            saved: texts(&confirmed.saved),
            saved_count: confirmed.saved_count,
            lost,
        }
    }

    /// The same, with what runs now for what is confirmed.
    fn with_confirmed(self, running: &Recipe, lost: Option<String>) -> Self {
        Self::new(self.generation, self.by, &files(self.on_trial), running, lost)
    }

    /// Whether it brought other files, and not statements alone.
    fn has_files(&self) -> bool {
        self.on_trial != self.confirmed
    }

    /// Whether the script is on disk as it was on trial: nobody has changed it since.
    fn is_on_disk(&self, root: &Path) -> bool {
        self.on_trial
            .iter()
            .all(|(path, text)| fs::read(root.join(path)).is_ok_and(|now| now == text.as_bytes()))
    }

    /// What makes the generation before it.
    fn recipe(self, root: &Path) -> Option<Recipe> {
        let sources = Sources::recorded(root.to_owned(), files(self.confirmed));
        let names = self.names.into_iter().chain(std::iter::repeat_with(|| STATEMENT.to_owned()));
        let sessions = self.sessions.into_iter().chain(std::iter::repeat(None));
        let read = self.files.into_iter().chain(std::iter::repeat(BTreeMap::new()));
        let statements = self.statements.into_iter().zip(names).zip(sessions).zip(read);
        let statements = statements.map(|(((source, name), session), read)| Statement {
            name: Arc::from(name),
            session: session.map(Arc::from),
            source: Arc::from(source),
            files: files(read),
        });
        let recipe = Recipe::new(Arc::new(sources)).then_all(statements)?;
        Some(recipe.with_saved(files(self.saved), self.saved_count))
    }

    /// The record of a state directory, if there is one.
    fn read(state: &Path) -> io::Result<Option<Self>> {
        let Some(file) = state_file::open(&state.join(NAME), MAX_RECORD)? else { return Ok(None) };
        let mut text = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Puts it into a state directory, in place of another.
    fn write(&self, state: &Path) -> io::Result<()> {
        state_file::replace(&state.join(NAME), &serde_json::to_vec(self)?)
    }

    /// Removes the one of a state directory, if there is one.
    fn remove(state: &Path) -> io::Result<()> {
        match fs::remove_file(state.join(NAME)) {
            Ok(()) => File::open(state)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The record in the state directory, if there is one: without, nothing outlives the process.
///
/// One stays when files that were on trial are taken back, for they are still on disk: until the script is loaded as it is there, or they
/// are changed.
#[derive(Debug)]
pub(crate) struct TrialNote {
    state: Option<PathBuf>,
    /// The record in whose place that of the last trial was written.
    before: RefCell<Option<TrialRecord>>,
}

impl TrialNote {
    pub(crate) fn new(state: Option<PathBuf>) -> Self {
        Self { state, before: RefCell::default() }
    }

    /// What a server is to start with in place of the script: the last confirmed generation, if it was killed while what is on
    /// disk was on trial.
    pub(crate) fn unconfirmed(&self, root: &Path) -> Option<Recipe> {
        let record = TrialRecord::read(self.state.as_ref()?).unwrap_or_else(|error| {
            tracing::error!(
                "what was on trial when the server ended cannot be read, so the script runs: {error}"
            );
            None
        })?;
        let (generation, by) = (record.generation, record.by.clone());
        if record.has_files() && !record.is_on_disk(root) {
            tracing::warn!(
                by,
                "generation {generation} was not confirmed when the server ended; the script was changed since, and runs"
            );
            return None;
        }
        tracing::warn!(
            by,
            "generation {generation} was not confirmed when the server ended: it starts with the one before, and `medusa \
             reload` runs the script as it is on disk"
        );
        if let Some(lost) = &record.lost {
            tracing::warn!("what is in none of its files and statements is not in it: {lost}");
        }
        record.recipe(root)
    }

    fn read(&self) -> Option<TrialRecord> {
        self.state.as_ref().and_then(|state| TrialRecord::read(state).ok().flatten())
    }

    /// The files on disk that were taken back, if there are any.
    pub(crate) fn taken_back_files(&self) -> Option<Files> {
        self.read().filter(TrialRecord::has_files).map(|record| files(record.on_trial))
    }

    /// Writes the record: from now on a server that is killed starts with what was before the trial.
    pub(crate) async fn write(&self, record: TrialRecord) -> Result<(), ScriptError> {
        let before = self.read();
        let Some(state) = self.state.clone() else { return Ok(()) };
        let written = spawn_blocking(move || record.write(&state)).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        written.map_err(|error| {
            ScriptError::new(format!(
                "what the site is to go back to cannot be noted in the state directory, so nothing was published: {error}"
            ))
        })?;
        self.before.replace(before);
        Ok(())
    }

    /// Leaves the record as it is: what is to be on trial has none.
    pub(crate) fn leave(&self) {
        self.before.replace(self.read());
    }

    /// What was to be on trial was not published: the record is what it was.
    pub(crate) fn take_off(&self) {
        match self.before.take() {
            Some(before) => self.put(&before),
            None => self.remove(),
        }
    }

    /// What is running is there for good. If that is not what is on disk, as that was taken back, the next start is with it all the
    /// same.
    pub(crate) fn confirm(&self, running: &Recipe, lost: Option<String>) {
        let files = running.files();
        let runs = |(path, text): (&PathBuf, &String)| files.get(path).is_some_and(|known| **known == **text);
        match self.read() {
            Some(record) if record.has_files() && !record.on_trial.iter().all(runs) => {
                self.put(&record.with_confirmed(running, lost));
            }
            _ => self.remove(),
        }
    }

    /// Some of what runs was saved. If files were taken back, the next start is with what was saved all the same.
    pub(crate) fn save(&self, running: &Recipe, lost: Option<String>) {
        if let Some(record) = self.read() {
            self.put(&record.with_confirmed(running, lost));
        }
    }

    /// The trial has ended, and what was before it runs. What was on trial is still on disk, unless that was statements alone.
    pub(crate) fn taken_back(&self) {
        if self.read().is_some_and(|record| !record.has_files()) {
            self.remove();
        }
    }

    /// Removes the record: what is running is what is on disk.
    pub(crate) fn remove(&self) {
        tell(self.state.as_ref().map_or(Ok(()), |state| TrialRecord::remove(state)));
    }

    fn put(&self, record: &TrialRecord) {
        tell(self.state.as_ref().map_or(Ok(()), |state| record.write(state)));
    }
}

fn tell(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::error!(
            "the note of a change on trial cannot be written or removed, and the next start may go back: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_removed() {
        let state = tempfile::tempdir().unwrap();
        let files = |text: &str| Files::new([(PathBuf::from("site.luau"), Arc::from(text))].into());
        let sources = Sources::recorded(state.path().to_owned(), files("old"));
        let recipe = Recipe::new(Arc::new(sources))
            .then_all(["a", "b"].map(|source| Statement {
                name: format!("statement-7/{source}").into(),
                session: Some("7".into()),
                source: source.into(),
                files: files(source),
            }))
            .unwrap();
        assert!(TrialRecord::read(state.path()).unwrap().is_none());
        for (on_trial, has_files) in [("old", false), ("new", true)] {
            let lost = Some("generation 2".to_owned());
            let record = TrialRecord::new(9, "me".to_owned(), &files(on_trial), &recipe, lost.clone());
            record.write(state.path()).unwrap();
            let read = TrialRecord::read(state.path()).unwrap().unwrap();
            assert_eq!((read.generation, &*read.by, read.has_files()), (9, "me", has_files));
            assert_eq!(read.lost, lost);
            fs::write(state.path().join("site.luau"), "new").unwrap();
            assert_eq!(read.is_on_disk(state.path()), has_files);
            let again = read.recipe(state.path()).unwrap();
            assert_eq!((again.files(), again.statements()), (recipe.files(), recipe.statements()));
        }
        TrialRecord::remove(state.path()).unwrap();
        TrialRecord::remove(state.path()).unwrap();
        assert!(TrialRecord::read(state.path()).unwrap().is_none());
        fs::write(state.path().join(NAME), "{").unwrap();
        assert!(TrialRecord::read(state.path()).is_err());
    }
}
