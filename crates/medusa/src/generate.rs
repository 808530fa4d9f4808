//! Generated documents of this program: type definitions, the reference, shell completions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use medusa_script::reference;

use crate::term;

/// A page of the reference could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .path.display())]
pub(crate) struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Prints the type definitions of the `medusa.*` API, for editors.
pub(crate) fn types() {
    term::answer_text(&reference::types());
}

/// Writes the pages of the reference into `directory`, over those of before.
pub(crate) fn pages(directory: &Path) -> Result<(), WriteError> {
    let written = |path: &Path, result: io::Result<()>| {
        result.map_err(|source| WriteError { path: path.to_owned(), source })
    };
    written(directory, fs::create_dir_all(directory))?;
    for (name, text) in reference::pages() {
        let path = directory.join(name);
        written(&path, fs::write(&path, text))?;
    }
    Ok(())
}

/// Prints the completions for a shell.
pub(crate) fn completions(shell: Shell, mut command: Command) {
    let mut script = Vec::new(); // the generator panics when it cannot write, and a pipe may be closed
    clap_complete::generate(shell, &mut command, "medusa", &mut script);
    term::answer_text(&String::from_utf8_lossy(&script));
}
