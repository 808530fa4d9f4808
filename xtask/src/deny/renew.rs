//! `cargo xtask advisories`: a new snapshot of what is known against the packages in `Cargo.lock`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::Args;

use super::{PACKAGES, list, locked, read, snapshot};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::term;
use crate::workspace;

/// Renews the advisories that `deny` checks against
///
/// Makes xtask/advisories anew from the database of `RustSec`: of the packages in Cargo.lock, all
/// advisories. Those under other numbers (GHSA-...), which the database does not have, stay.
///
/// Read the difference before handing it in, and run `cargo xtask deny`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Advisories {
    /// A folder with a checkout of the database, or a URL, of which git clones the last commit
    #[arg(value_name = "CHECKOUT|URL")]
    source: String,
}

/// The numbers of the database. What has a zero for its year has no number yet.
const NUMBERED: &str = "RUSTSEC-";
const UNNUMBERED: &str = "RUSTSEC-0000";

impl Advisories {
    pub(crate) fn run(&self) -> Result {
        let cloned = tempfile::tempdir().map_err(Error::io("create", "a temporary folder"))?;
        let checkout = if self.source.contains("://") {
            let clone = Cmd::new("git").args(["clone", "--quiet", "--depth", "1", &self.source]);
            clone.args([cloned.path()]).run()?;
            cloned.path()
        } else {
            Path::new(&self.source)
        };
        let lock = read(&workspace::root().join("Cargo.lock"))?;
        let packages = locked(&lock);
        let count = renew(checkout, &snapshot(), &packages)?;
        let today = Cmd::new("date").args(["--utc", "+# %Y-%m-%d"]).output()?;
        let names: String = packages.iter().flat_map(|name| [*name, "\n"]).collect();
        let list = snapshot().join(PACKAGES);
        fs::write(&list, [&*today, names.as_bytes()].concat()).map_err(Error::io("write", &list))?;
        term::note(&format!("advisories: {count} for the packages in Cargo.lock"));
        Ok(())
    }
}

/// Replaces what is numbered in `snapshot` by what `checkout` has of `packages`. Returns how many there are.
fn renew(checkout: &Path, snapshot: &Path, packages: &BTreeSet<&str>) -> Result<usize> {
    let database = checkout.join("crates");
    if !database.is_dir() {
        return Err(Error::Usage(format!(
            "`advisories`: {} is no checkout of the database: it has no folder `crates`",
            checkout.display()
        )));
    }
    let crates = snapshot.join("crates");
    for package in list(&crates)? {
        for old in list(&package)?.iter().filter(|path| is_numbered(path)) {
            fs::remove_file(old).map_err(Error::io("remove", old))?;
        }
        // Not empty where something else is kept.
        let _kept = fs::remove_dir(&package);
    }
    let mut count = 0;
    for package in packages.iter().filter(|package| database.join(package).is_dir()) {
        let folder = crates.join(package);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        for advisory in list(&database.join(package))?.iter().filter(|path| is_numbered(path)) {
            let to = folder.join(advisory.file_name().unwrap_or_default());
            fs::copy(advisory, &to).map_err(Error::io("write", &to))?;
            count += 1;
        }
    }
    Ok(count)
}

fn is_numbered(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(NUMBERED) && !name.starts_with(UNNUMBERED) && name.ends_with(".md")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "").expect("written");
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for package in list(folder).expect("a folder") {
            let files = list(&package).expect("a folder");
            names.extend(
                files.iter().map(|path| path.strip_prefix(folder).expect("below").display().to_string()),
            );
        }
        names
    }

    #[test]
    fn what_is_locked_is_taken_and_what_has_another_number_stays() {
        let (old, new) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for path in
            ["crates/h2/RUSTSEC-2020-0001.md", "crates/h2/GHSA-a.md", "crates/gone/RUSTSEC-2020-0002.md"]
        {
            file(old.path(), path);
        }
        for path in [
            "crates/h2/RUSTSEC-2026-0258.md",
            "crates/h2/RUSTSEC-0000-0000.md",
            "crates/other/RUSTSEC-2026-0001.md",
        ] {
            file(new.path(), path);
        }
        let locked = locked("[[package]]\nname = \"h2\"\nversion = \"1\"\n\n[[package]]\nname = \"gone\"\n");
        assert_eq!(renew(new.path(), old.path(), &locked).expect("renewed"), 1);
        assert_eq!(names(&old.path().join("crates")), ["h2/GHSA-a.md", "h2/RUSTSEC-2026-0258.md"]);
    }

    #[test]
    fn a_folder_that_is_no_checkout_is_refused_before_anything_goes() {
        let (old, new) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        file(old.path(), "crates/h2/RUSTSEC-2020-0001.md");
        let error = renew(new.path(), old.path(), &BTreeSet::new()).expect_err("no checkout").to_string();
        assert!(error.contains("has no folder `crates`"), "{error}");
        assert_eq!(names(&old.path().join("crates")), ["h2/RUSTSEC-2020-0001.md"]);
    }
}
