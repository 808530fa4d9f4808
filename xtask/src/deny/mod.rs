//! `cargo xtask deny`: `Cargo.lock` held against `deny.toml` and the advisories kept in the tree, by cargo-deny.
//!
//! Without a network, so that the answer changes with the tree alone: the advisories are a snapshot, laid out below
//! `target/` as cargo-deny expects a checkout of the database. [`renew`] makes a new snapshot.

mod renew;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::Cmd;
use crate::environment;
use crate::error::{Error, Result};
use crate::workspace;

pub(crate) use renew::Advisories;

/// Checks dependencies: advisories, licences, sources, duplicates
///
/// Runs cargo-deny by deny.toml, which has a reason for every exception, on the advisories in
/// xtask/advisories (`cargo xtask help advisories`), and fails when a package in Cargo.lock is new
/// since those were looked up. Uses no network, but the first time: what is in Cargo.lock is
/// fetched, and cargo-deny, where this version of it is not installed, is built into target/tools,
/// which takes about a minute on two cores.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Deny;

/// The version that is run. A newer one may know other lints: read its changes first.
const VERSION: &str = "0.20.2";
/// Where cargo-deny looks for its database below `db-path`: the name and a hash of the database's usual address.
const CHECKOUT: &str = "advisory-db-3157b0e258782691";

/// In the snapshot: the day it was made as `# YYYY-MM-DD`, then the packages it was made for, one a line.
const PACKAGES: &str = "packages";

/// Runs it.
pub(crate) fn run() -> Result {
    lay_out(&snapshot(), &workspace::root().join("target/deny").join(CHECKOUT))?;
    let known = read(&snapshot().join(PACKAGES))?;
    let lock = read(&workspace::root().join("Cargo.lock"))?;
    let unknown: Vec<&str> = locked(&lock).difference(&known.lines().collect()).copied().collect();
    if !unknown.is_empty() {
        return Err(Error::Found(format!(
            "new in Cargo.lock, and not looked up in the advisories: {}\n{LOOK_UP}",
            unknown.join(", ")
        )));
    }
    // All platforms' packages are looked at, of which a build here has fetched some.
    Cmd::cargo("fetch --locked --quiet").run()?;
    Cmd::new(program()?).args(["--offline", "--locked", "--log-level", "warn", "check"]).run()
}

/// What to do about a new package.
const LOOK_UP: &str = "Run `cargo xtask advisories`; without a network to it, look them up by hand, add what is known \
    against them to xtask/advisories/crates, and their names to xtask/advisories/packages.";

/// The names in a `Cargo.lock`.
fn locked(lock: &str) -> BTreeSet<&str> {
    lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io("read", path))
}

/// The folder of the advisories.
fn snapshot() -> PathBuf {
    workspace::root().join("xtask/advisories")
}

/// The program: built here, or installed, or else built now.
fn program() -> Result<PathBuf> {
    let root = workspace::root().join("target/tools");
    let own = root.join("bin/cargo-deny");
    if own.is_file() {
        return Ok(own);
    }
    if let Some(installed) = environment::find_program("cargo-deny")
        && Cmd::new(&installed).args(["--version"]).output()?.trim_ascii().ends_with(VERSION.as_bytes())
    {
        return Ok(installed);
    }
    // Built fast instead of fast when run: it takes two seconds as it is.
    Cmd::cargo("install cargo-deny --locked --debug --quiet --version")
        .args([VERSION.into(), "--root".into(), root.into_os_string()])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run()?;
    Ok(own)
}

/// Puts the advisories where cargo-deny looks for a checkout. When that was fetched is the time of a file of git's: it
/// refuses what is older than deny.toml says.
fn lay_out(snapshot: &Path, checkout: &Path) -> Result {
    let git = checkout.join(".git");
    fs::create_dir_all(&git).map_err(Error::io("create", &git))?;
    let crates = checkout.join("crates");
    if crates.symlink_metadata().is_ok() {
        fs::remove_dir_all(&crates).map_err(Error::io("remove", &crates))?;
    }
    symlink(snapshot.join("crates"), &crates).map_err(Error::io("create", &crates))?;
    let packages = read(&snapshot.join(PACKAGES))?;
    let day = packages.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("1970-01-01");
    Cmd::new("touch").args(["--date", day]).args([git.join("FETCH_HEAD")]).run()
}

/// The entries of a folder, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> =
        entries.map_err(Error::io("list", folder))?.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_is_laid_out_as_a_checkout_and_old_advisories_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let checkout = folder.path().join("checkout");
        let old = checkout.join("crates/gone");
        fs::create_dir_all(&old).expect("made");
        for _ in 0..2 {
            lay_out(&snapshot(), &checkout).expect("laid out");
        }
        assert!(checkout.join("crates/h2/RUSTSEC-2026-0258.md").is_file());
        assert!(!old.exists());
        let fetched = fs::metadata(checkout.join(".git/FETCH_HEAD")).and_then(|file| file.modified());
        let age = fetched.expect("a time").elapsed().expect("in the past");
        assert!(age.as_secs() < 3 * 365 * 86_400, "the day of the snapshot, not 1970: {age:?}");
    }
}
