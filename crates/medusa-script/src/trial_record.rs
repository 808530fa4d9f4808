//! What a change on trial goes back to, on disk: a server that is killed meanwhile starts with that, and not with what nobody
//! has confirmed.
//!
//! **Invariant:** the record is on disk before the change is published, and gone before anybody is told that it is confirmed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::recipe::{Files, Recipe};
use crate::require::Sources;

/// The record's name in the state directory.
const NAME: &str = "trial.json";

/// The longest record, in bytes: twice the files of a script, and its statements, escaped.
const MAX_RECORD: u64 = 256 * 1024 * 1024;

/// A change on trial, and what was before it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialRecord {
    /// The generation on trial.
    pub(crate) generation: u64,
    /// Its author.
    pub(crate) by: String,
    /// The script's files of what is on trial.
    on_trial: BTreeMap<PathBuf, String>,
    /// The script's files of what was before it.
    confirmed: BTreeMap<PathBuf, String>,
    /// The statements since those were loaded.
    statements: Vec<String>,
}

fn texts(files: &Files) -> BTreeMap<PathBuf, String> {
    files.iter().map(|(path, text)| (path.clone(), text.to_string())).collect()
}

impl TrialRecord {
    pub(crate) fn new(generation: u64, by: String, on_trial: &Files, confirmed: &Recipe) -> Self {
        let statements = confirmed.statements().iter().map(ToString::to_string).collect();
        Self { generation, by, on_trial: texts(on_trial), confirmed: texts(&confirmed.files()), statements }
    }

    /// Whether it brought other files, and not statements alone.
    pub(crate) fn has_files(&self) -> bool {
        self.on_trial != self.confirmed
    }

    /// Whether the script is on disk as it was on trial: nobody has changed it since.
    pub(crate) fn is_on_disk(&self, root: &Path) -> bool {
        self.on_trial
            .iter()
            .all(|(path, text)| fs::read(root.join(path)).is_ok_and(|now| now == text.as_bytes()))
    }

    /// What makes the generation before it.
    pub(crate) fn recipe(self, root: &Path) -> Option<Recipe> {
        let files = self.confirmed.into_iter().map(|(path, text)| (path, Arc::from(text))).collect();
        let statements = self.statements.into_iter().map(Arc::from);
        Recipe::new(Arc::new(Sources::recorded(root.to_owned(), Arc::new(files)))).then_all(statements)
    }

    /// The record of a state directory, if there is one.
    pub(crate) fn read(state: &Path) -> io::Result<Option<Self>> {
        // What it holds is run. Without NONBLOCK, opening a pipe would wait for its writer.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(state.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() || meta.len() > MAX_RECORD {
            return Err(io::Error::other("it is no file of this server's, or too long"));
        }
        let mut text = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Puts it into a state directory, in place of another.
    pub(crate) fn write(&self, state: &Path) -> io::Result<()> {
        let part = state.join("trial.json.part");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&part, state.join(NAME))?;
        File::open(state)?.sync_all()
    }

    /// Removes the one of a state directory, if there is one.
    pub(crate) fn remove(state: &Path) -> io::Result<()> {
        match fs::remove_file(state.join(NAME)) {
            Ok(()) => File::open(state)?.sync_all(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
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
        let recipe = Recipe::new(Arc::new(sources)).then_all(["a".into(), "b".into()]).unwrap();
        assert!(TrialRecord::read(state.path()).unwrap().is_none());
        for (on_trial, has_files) in [("old", false), ("new", true)] {
            TrialRecord::new(9, "me".to_owned(), &files(on_trial), &recipe).write(state.path()).unwrap();
            let read = TrialRecord::read(state.path()).unwrap().unwrap();
            assert_eq!((read.generation, &*read.by, read.has_files()), (9, "me", has_files));
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
