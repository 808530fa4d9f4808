//! `cargo xtask docs`: the documents that are generated from the code, and the check that they are up to date.
//!
//! The product writes them itself, from the same table that defines the script's API, so that the reference, the type
//! definitions and the behaviour cannot disagree. They are committed because people read them where no build is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{Arguments, Command};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{term, workspace};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "docs",
    usage: "[--check]",
    summary: "Write the generated documents again, or check that they are current",
    help: "\
Writes docs/medusa.d.luau (type definitions for editors: `medusa types`) and the pages of
docs/reference/ (`medusa reference`). Every page in docs/reference/ is generated: one that the
product no longer writes is removed.

  --check   Write nothing; fail when a committed document differs from what the code says now,
            naming the documents and the first line that differs.",
    run,
};

/// The type definitions, from `docs/`.
const TYPES: &str = "medusa.d.luau";
/// The folder of the reference pages, from `docs/`.
const REFERENCE: &str = "reference";

fn run(mut arguments: Arguments) -> Result {
    let only_check = arguments.flag("--check");
    arguments.finish()?;
    let product = Cmd::cargo("run --quiet --locked --package medusa --");
    if only_check { check(&product) } else { refresh(&product) }
}

/// Fails when a committed document is not what the `product` says now.
pub(crate) fn check(product: &Cmd) -> Result {
    let problems = differences(&generate(product)?, &read_documents(&committed())?);
    if problems.is_empty() {
        term::note("docs: current");
        return Ok(());
    }
    Err(Error::Found(format!(
        "generated documents differ from the code:\n  {}\nRun `cargo xtask docs` and commit the result.",
        problems.join("\n  ")
    )))
}

fn refresh(product: &Cmd) -> Result {
    let fresh = generate(product)?;
    let old = read_documents(&committed())?;
    for stale in old.keys().filter(|name| !fresh.contains_key(*name)) {
        let path = committed().join(stale);
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    let reference = committed().join(REFERENCE);
    fs::create_dir_all(&reference).map_err(Error::io("create", &reference))?;
    for (name, text) in &fresh {
        let path = committed().join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    term::note(&format!("docs: {} written", fresh.len()));
    Ok(())
}

fn committed() -> PathBuf {
    workspace::root().join("docs")
}

/// Documents by their path from `docs/`.
type Documents = BTreeMap<String, Vec<u8>>;

/// The documents as the product writes them now.
fn generate(product: &Cmd) -> Result<Documents> {
    let folder = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    let types = product.clone().args(["types"]).output()?;
    let path = folder.path().join(TYPES);
    fs::write(&path, types).map_err(Error::io("write", &path))?;
    let reference = folder.path().join(REFERENCE);
    fs::create_dir(&reference).map_err(Error::io("create", &reference))?;
    product.clone().args(["reference".into(), reference.into_os_string()]).run()?;
    read_documents(folder.path())
}

/// Reads the generated documents below `docs`; those that are not there yet are not in the result.
fn read_documents(docs: &Path) -> Result<Documents> {
    let mut documents = Documents::new();
    let types = docs.join(TYPES);
    if types.exists() {
        documents.insert(TYPES.to_owned(), fs::read(&types).map_err(Error::io("read", &types))?);
    }
    let reference = docs.join(REFERENCE);
    if !reference.exists() {
        return Ok(documents);
    }
    for entry in fs::read_dir(&reference).map_err(Error::io("list", &reference))? {
        let path = entry.map_err(Error::io("list", &reference))?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let text = fs::read(&path).map_err(Error::io("read", &path))?;
            documents.insert(format!("{REFERENCE}/{name}"), text);
        }
    }
    Ok(documents)
}

/// One line for each document that is missing, left over or different.
fn differences(fresh: &Documents, committed: &Documents) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in fresh {
        match committed.get(name) {
            None => problems.push(format!("docs/{name} is missing")),
            Some(old) if old != text => {
                problems.push(format!("docs/{name}:{}: differs", first_difference(old, text)));
            }
            Some(_) => {}
        }
    }
    let stale = committed.keys().filter(|name| !fresh.contains_key(*name));
    problems.extend(stale.map(|name| format!("docs/{name} is no longer generated")));
    problems
}

/// The first line, counted from 1, on which two different texts differ.
fn first_difference(old: &[u8], new: &[u8]) -> usize {
    let lines = |text| <[u8]>::split(text, |byte| *byte == b'\n');
    let same = lines(old).zip(lines(new)).take_while(|(old, new)| old == new).count();
    same + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(pairs: &[(&str, &str)]) -> Documents {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn equal_documents_raise_nothing() {
        let both = documents(&[("medusa.d.luau", "a\nb\n")]);
        assert!(differences(&both, &both).is_empty());
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let fresh =
            documents(&[("medusa.d.luau", "a\nc\n"), ("reference/new.md", "x"), ("reference/same.md", "y")]);
        let old =
            documents(&[("medusa.d.luau", "a\nb\n"), ("reference/old.md", "x"), ("reference/same.md", "y")]);
        assert_eq!(
            differences(&fresh, &old),
            [
                "docs/medusa.d.luau:2: differs",
                "docs/reference/new.md is missing",
                "docs/reference/old.md is no longer generated"
            ]
        );
    }

    #[test]
    fn a_longer_text_differs_at_its_first_new_line() {
        assert_eq!(first_difference(b"a\nb", b"a\nb\nc"), 3);
    }

    #[test]
    fn only_the_generated_files_are_read() {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join(REFERENCE)).expect("reference");
        for name in ["medusa.d.luau", "design.md", "reference/http.md", "reference/picture.svg"] {
            fs::write(folder.path().join(name), name).expect("write");
        }
        let found = read_documents(folder.path()).expect("read");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["medusa.d.luau", "reference/http.md"]);
    }
}
