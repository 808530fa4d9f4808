//! The workspace as Cargo sees it: packages, what each depends on, where things are built.

use std::path::{Path, PathBuf};

use medusa_testkit::Medusa;
use serde::Deserialize;

use crate::cmd::Cmd;
use crate::error::{Error, Result};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The fields of `cargo metadata --no-deps` for the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The members.
    pub(crate) packages: Vec<Package>,
    /// Where Cargo builds (`CARGO_TARGET_DIR` included).
    pub(crate) target_directory: PathBuf,
}

/// One member.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What its `Cargo.toml` asks for, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
    /// What is built of it.
    #[serde(default)]
    pub(crate) targets: Vec<BuildTarget>,
}

/// One thing that is built of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct BuildTarget {
    /// Its name.
    pub(crate) name: String,
    /// What it is: `bin`, `lib`, `test`.
    pub(crate) kind: Vec<String>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package it names, whatever it is renamed to.
    pub(crate) name: String,
    /// The table it stands in.
    #[serde(default)]
    pub(crate) kind: Option<DependencyKind>,
}

/// The table a dependency stands in; none for `[dependencies]` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DependencyKind {
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

impl Workspace {
    /// Asks Cargo. Costs some 50 ms and neither builds nor fetches anything.
    pub(crate) fn read() -> Result<Self> {
        Self::read_at("Cargo.toml")
    }

    /// The workspace of another manifest, from the root of the repository.
    pub(crate) fn read_at(manifest: &str) -> Result<Self> {
        let metadata = Cmd::cargo("metadata --format-version 1 --no-deps --manifest-path");
        Self::parse(&metadata.args([manifest]).output()?)
    }

    /// Reads what `cargo metadata` printed.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| Error::Found(format!("cannot read what `cargo metadata` printed: {error}")))
    }

    /// The binary of the package `name` in `profile`'s directory (`debug` or `release`).
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        self.target_directory.join(profile).join(name)
    }

    /// The member whose folder holds `directory`.
    pub(crate) fn package_around(&self, directory: &Path) -> Option<&Package> {
        self.packages.iter().find(|package| directory.starts_with(package.folder()))
    }
}

impl Package {
    /// The folder its `Cargo.toml` lies in.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

/// The program at `path`, to be run by the tools of tests.
pub(crate) fn runnable(path: &Path) -> Medusa {
    Medusa::new(String::leak(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_workspace_is_read() {
        let workspace = Workspace::read().expect("cargo metadata");
        let this = workspace.packages.iter().find(|p| p.name == "xtask").expect("this package");
        assert_eq!(this.folder(), root().join("xtask"));
        assert!(this.dependencies.iter().any(|d| d.name == "serde_json" && d.kind.is_none()));
    }

    #[test]
    fn a_directory_belongs_to_the_package_around_it() {
        let workspace = Workspace::read().expect("cargo metadata");
        let inside = root().join("xtask/src/tidy");
        assert_eq!(workspace.package_around(&inside).map(|p| p.name.as_str()), Some("xtask"));
        assert!(workspace.package_around(root()).is_none());
    }
}
