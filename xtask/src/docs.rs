//! `cargo xtask docs`: the documents that are generated from the code, and the check that they are up to date.
//!
//! The product writes them itself, from the same table that defines the script's API, so that the reference, the type
//! definitions and the behaviour cannot disagree. They are committed because people read them where no build is.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{term, workspace};

/// Writes the generated documents again, or checks that they are current
///
/// Writes docs/medusa.d.luau (type definitions for editors: `medusa types`) and the pages of
/// docs/reference/ (`medusa reference`). Every page in docs/reference/ is generated: one that the
/// product no longer writes is removed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Docs {
    /// Write nothing; fail when a committed document differs from what the code says now, and show where
    #[arg(long)]
    check: bool,
}

/// The type definitions, from `docs/`.
const TYPES: &str = "medusa.d.luau";
/// The folder of the reference pages, from `docs/`.
const REFERENCE: &str = "reference";

impl Docs {
    pub(crate) fn run(&self) -> Result {
        let product = Cmd::cargo("run --quiet --locked --package medusa --");
        if self.check { check(&product) } else { write(&product, &committed()) }
    }
}

/// Fails when a committed document is not what the `product` says now.
pub(crate) fn check(product: &Cmd) -> Result {
    let fresh = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
    write(product, fresh.path())?;
    compare(&committed(), fresh.path())?;
    term::note("docs: current");
    Ok(())
}

fn committed() -> PathBuf {
    workspace::root().join("docs")
}

/// Writes the documents below `docs` as the `product` says now.
fn write(product: &Cmd, docs: &Path) -> Result {
    let types = product.clone().args(["types"]).output()?;
    let path = docs.join(TYPES);
    fs::write(&path, types).map_err(Error::io("write", &path))?;
    let reference = docs.join(REFERENCE);
    if reference.exists() {
        fs::remove_dir_all(&reference).map_err(Error::io("remove", &reference))?;
    }
    fs::create_dir(&reference).map_err(Error::io("create", &reference))?;
    product.clone().args(["reference".into(), reference.into_os_string()]).run()
}

/// Fails when the documents of two folders differ, and shows where.
fn compare(old: &Path, new: &Path) -> Result {
    let diff = |name| {
        let diff = Cmd::new("diff").args(["--recursive", "--new-file", "--unified=1"]);
        diff.args([old.join(name), new.join(name)]).run()
    };
    // All that differs is seen, not the first alone.
    [TYPES, REFERENCE].map(diff).into_iter().collect::<Result>().map_err(|error| {
        Error::Found(format!(
            "the generated documents differ from the code: {error}\nRun `cargo xtask docs` and commit the result."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A product that writes these types, and these pages with their names in them.
    fn product(types: &str, pages: &str) -> Cmd {
        let script = format!(
            "case $1 in types) echo {types} ;; reference) cd \"$2\"; for page in {pages}; do echo $page > $page; done ;; esac"
        );
        Cmd::new("sh").args(["-c", &script, "product"])
    }

    fn folder(product: &Cmd) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        write(product, folder.path()).expect("written");
        folder
    }

    #[test]
    fn each_kind_of_difference_is_seen() {
        let old = folder(&product("types", "http.md log.md"));
        let is_current = |fresh: &Cmd| compare(old.path(), folder(fresh).path()).is_ok();
        assert!(is_current(&product("types", "http.md log.md")));
        for (types, pages) in
            [("others", "http.md log.md"), ("types", "http.md"), ("types", "dns.md http.md log.md")]
        {
            assert!(!is_current(&product(types, pages)), "{types}, {pages}");
        }
        fs::write(old.path().join("reference/log.md"), "").expect("written");
        assert!(!is_current(&product("types", "http.md log.md")));
    }

    #[test]
    fn what_is_no_longer_generated_goes_and_what_is_not_generated_stays() {
        let docs = folder(&product("types", "http.md log.md"));
        fs::write(docs.path().join("design.md"), "").expect("written");
        write(&product("types", "http.md"), docs.path()).expect("written again");
        let is_there = ["reference/http.md", "reference/log.md", "design.md"]
            .map(|name| docs.path().join(name).exists());
        assert_eq!(is_there, [true, false, true]);
    }
}
