//! `cargo xtask check`: the inner loop, for the crate one works on.

use clap::Args;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use crate::{environment, term, tidy};

/// Runs the inner loop: fmt, tidy, clippy and the tests of one crate
///
/// CRATE is a crate of the workspace; `medusa-` may be left out (`check http`). Without it, the
/// crate whose folder you stand in is checked; in the root of the repository, all of them.
///
/// Runs, and stops at the first that fails:
///   1. cargo fmt --check
///   2. cargo xtask tidy (the whole tree: it takes a moment)
///   3. cargo clippy --all-targets -- -D warnings
///   4. cargo nextest run (plain `cargo test` where cargo-nextest is not installed)
///
/// `cargo xtask ci` runs everything for all crates.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Check {
    #[arg(value_name = "CRATE")]
    name: Option<String>,
}

impl Check {
    pub(crate) fn run(&self) -> Result {
        let scope = Scope::choose(&Workspace::read()?, self.name.as_deref())?;
        announce_and_run(&scope.fmt())?;
        tidy::run()?;
        announce_and_run(&scope.clippy())?;
        announce_and_run(&scope.tests())
    }
}

fn announce_and_run(cmd: &Cmd) -> Result {
    term::note(&term::bold(&format!("$ {cmd}")));
    cmd.run()
}

/// The scope of a check.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Crate(String),
    Workspace,
}

impl Scope {
    fn choose(workspace: &Workspace, wanted: Option<&str>) -> Result<Self> {
        let Some(wanted) = wanted else {
            let here = environment::current_directory();
            let package = here.and_then(|here| workspace.package_around(&here));
            return Ok(package.map_or(Self::Workspace, |package| Self::Crate(package.name.clone())));
        };
        let names = || workspace.packages.iter().map(|package| package.name.as_str());
        let short = format!("medusa-{wanted}");
        match names().find(|name| *name == wanted).or_else(|| names().find(|name| *name == short)) {
            Some(name) => Ok(Self::Crate(name.to_owned())),
            None => Err(Error::Usage(format!(
                "there is no crate `{wanted}`; the crates are {}",
                names().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    fn fmt(&self) -> Cmd {
        match self {
            Self::Crate(name) => Cmd::cargo("fmt --check --package").args([name]),
            Self::Workspace => Cmd::cargo("fmt --check --all"),
        }
    }

    fn clippy(&self) -> Cmd {
        self.select(Cmd::cargo("clippy --all-targets")).args(["--", "-D", "warnings"])
    }

    fn tests(&self) -> Cmd {
        if environment::find_program("cargo-nextest").is_some() {
            self.select(
                Cmd::cargo("nextest run --no-tests pass --test-threads").args([environment::test_threads()]),
            )
        } else {
            self.select(Cmd::cargo("test"))
        }
    }

    fn select(&self, cmd: Cmd) -> Cmd {
        match self {
            Self::Crate(name) => cmd.args(["--package", name]),
            Self::Workspace => cmd.args(["--workspace"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let package = |name: &str| {
            format!(r#"{{"name":"{name}","manifest_path":"/w/{name}/Cargo.toml","dependencies":[]}}"#)
        };
        let packages = [package("medusa"), package("medusa-http"), package("xtask")].join(",");
        let json = format!(r#"{{"packages":[{packages}],"target_directory":"/w/target"}}"#);
        Workspace::parse(json.as_bytes()).expect("metadata")
    }

    #[test]
    fn a_crate_is_found_by_its_whole_or_its_short_name() {
        let choose = |name| Scope::choose(&workspace(), Some(name)).expect(name);
        assert_eq!(choose("medusa-http"), Scope::Crate("medusa-http".to_owned()));
        assert_eq!(choose("http"), Scope::Crate("medusa-http".to_owned()));
        assert_eq!(choose("medusa"), Scope::Crate("medusa".to_owned()));
    }

    #[test]
    fn an_unknown_crate_lists_the_known_ones() {
        let error = Scope::choose(&workspace(), Some("htpt")).expect_err("unknown");
        assert!(error.to_string().contains("medusa, medusa-http, xtask"), "{error}");
    }

    #[test]
    fn the_commands_name_what_they_check() {
        let one = Scope::Crate("medusa-http".to_owned());
        assert_eq!(
            one.clippy().to_string(),
            "cargo clippy --all-targets --package medusa-http -- -D warnings"
        );
        assert_eq!(
            Scope::Workspace.clippy().to_string(),
            "cargo clippy --all-targets --workspace -- -D warnings"
        );
    }
}
