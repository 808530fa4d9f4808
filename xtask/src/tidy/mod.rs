//! `cargo xtask tidy`: the rules of the tree that no compiler checks.
//!
//! [`arrows`] holds the rules between crates, [`circles`] and [`names`] those inside a crate, [`sources`] those inside a
//! file, [`lists`] what several lists must agree on. All are pure: they take what was read and return [`Problem`]s, so that
//! every rule is tested on a text in memory.

mod arrows;
mod circles;
mod crates;
mod items;
mod lists;
mod names;
mod sources;
mod tokens;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};
use crate::term;
use crate::workspace::{self, Workspace};

/// Checks the rules of the tree: arrows between crates, circles, names, headers
///
/// Reads `cargo metadata`, every .rs file below crates/, fuzz/ and xtask/, and the documents; builds
/// nothing, takes a moment. Each problem is printed as `FILE:LINE: RULE:` what is wrong; what to do.
///
/// Between crates:
///   arrow     a crate depends only on crates of lower levels (levels: xtask/src/tidy/arrows.rs)
///   fence     a heavy dependency stays behind the one crate that may name it
///   place     every crate has its level
/// In a crate, outside of tests:
///   circle    at most three files name each other in a circle: by `use` and by paths that begin with
///             `crate::` or `super::`, seen through what `pub use` passes on to the file that
///             defines the thing; what a module names of the modules below it does not count
///   name      a type's name is declared once
/// In several lists:
///   listed    each medusa.handler.* and medusa.log.* of the reference stands in a guide, has its kind
///             in the status and an end-to-end test; each limit has a test of its name
/// In a file:
///   header    the first line is a `//!` header: what the module is, what invariant lives there
///   allow     no `#[allow(...)]`: `#[expect(..., reason = "...")]` says why and dies when it is stale
///   space     no tabs, no spaces at the end of a line
///   length    at most 800 lines
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Tidy;

/// A broken rule: where, which, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Relative to the root of the repository.
    pub(crate) file: PathBuf,
    /// Counted from 1.
    pub(crate) line: usize,
    /// The rule's name, as `cargo xtask help tidy` lists it.
    pub(crate) rule: &'static str,
    /// What is wrong, then what to do.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file.display(), self.line, self.rule, self.text)
    }
}

/// What is read, by paths from the root of the repository: the Rust files, the documents, what Cargo is told.
type Files = BTreeMap<PathBuf, String>;

/// Checks everything; prints each problem and fails when there is one.
pub(crate) fn run() -> Result {
    let files = files()?;
    let rust =
        || files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"));
    let mut problems = Vec::new();
    for package in &Workspace::read()?.packages {
        let manifest = relative(&package.manifest_path);
        let text = files.get(manifest).map_or("", String::as_str);
        problems.extend(arrows::check(package, manifest, text));
        let source = manifest.with_file_name("src");
        let read = |path: &Path| files.get(path).cloned();
        let targets = ["lib.rs", "main.rs"].map(|root| crates::Crate::read(&source.join(root), &read));
        problems.extend(targets.iter().flat_map(circles::check));
        problems.extend(names::check(&targets));
    }
    problems.extend(rust().flat_map(|(path, text)| sources::check(path, text)));
    problems.extend(lists::check(&files));
    problems.sort();
    for problem in &problems {
        term::answer(&problem.to_string());
    }
    match problems.len() {
        0 => {
            term::note(&format!("tidy: {} files, nothing to say", files.len()));
            Ok(())
        }
        count => Err(Error::Found(format!("tidy: {count} problem(s)"))),
    }
}

/// Reads all below `crates/`, `docs/`, `examples/`, `fuzz/` and `xtask/`.
fn files() -> Result<Files> {
    let mut files = Files::new();
    let mut folders =
        ["crates", "docs", "examples", "fuzz", "xtask"].map(|folder| workspace::root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let path = entry.path();
            // The entry's own type: a symbolic link is neither, so no link can lead the walk in a circle.
            let kind = entry.file_type().map_err(Error::io("look at", &path))?;
            let extension = path.extension().and_then(OsStr::to_str);
            if kind.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if kind.is_file() && matches!(extension, Some("rs" | "md" | "toml")) {
                let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                files.insert(relative(&path).to_owned(), text);
            }
        }
    }
    Ok(files)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix(workspace::root()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_place_an_editor_can_open() {
        let problem =
            Problem { file: "crates/a/src/lib.rs".into(), line: 7, rule: "space", text: "no".to_owned() };
        assert_eq!(problem.to_string(), "crates/a/src/lib.rs:7: space: no");
    }

    #[test]
    fn the_walk_finds_this_very_file_and_the_documents() {
        let files = files().expect("the tree");
        assert!(files.contains_key(Path::new("xtask/src/tidy/mod.rs")));
        assert!(files.contains_key(Path::new("docs/reference/log.md")));
    }
}
