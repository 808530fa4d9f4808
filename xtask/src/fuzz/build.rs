//! The targets, and how they are compiled.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::workspace::{self, Workspace};

/// The counters libFuzzer reads, by the flags that rustc hands on to LLVM: `cargo fuzz` sets the same, and a sanitizer
/// that needs a nightly compiler. One unit a crate, for LLVM makes one table of counters of each.
const COUNTERS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Given, so that build scripts and macros, which run on this machine all the same, are built without the counters.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// The folder of the fuzz workspace.
pub(super) fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// The folder of everything that is built and found.
pub(super) fn output() -> Result<PathBuf> {
    Ok(Workspace::read()?.target_directory.join("fuzz"))
}

/// The names of the targets, in the order of `fuzz/Cargo.toml`.
pub(super) fn targets() -> Result<Vec<String>> {
    let packages = Workspace::read_at("fuzz/Cargo.toml")?.packages.into_iter();
    let programs = packages.flat_map(|package| package.targets).filter(|target| target.kind == ["bin"]);
    Ok(programs.map(|target| target.name).collect())
}

/// Builds all targets and returns the folder they are in.
pub(super) fn build() -> Result<PathBuf> {
    let output = output()?;
    follow_the_lock(&workspace::root().join("Cargo.lock"), &folder().join("Cargo.lock"))?;
    Cmd::cargo("build --bins --manifest-path fuzz/Cargo.toml --target")
        .args([triple().into(), "--target-dir".into(), output.clone().into_os_string()])
        .env("RUSTFLAGS", COUNTERS)
        .run()?;
    Ok(output.join(triple()).join("debug"))
}

/// Makes `lock` of the workspace's, if that is newer: Cargo adds what only the targets need, pinned in their manifest,
/// and leaves the versions of all else.
fn follow_the_lock(from: &Path, lock: &Path) -> Result {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let source = modified(from).map_err(Error::io("look at", from))?;
    if modified(lock).is_ok_and(|made| made >= source) {
        return Ok(());
    }
    fs::copy(from, lock).map(|_| ()).map_err(Error::io("write", lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_listed_and_has_a_kept_corpus() {
        let targets = targets().expect("cargo metadata");
        assert!(targets.iter().any(|name| name == "router"), "{targets:?}");
        for target in targets {
            let corpus = folder().join("corpus").join(&target);
            let inputs = fs::read_dir(&corpus).map_or(0, Iterator::count);
            assert!(inputs > 0, "{target} has no corpus in {}", corpus.display());
        }
    }
}
