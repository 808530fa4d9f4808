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
        let workspace = Workspace::read()?;
        let package = chosen(&workspace, self.name.as_deref())?;
        let [fmt, clippy, tests] = commands(package);
        announce_and_run(&fmt)?;
        tidy::run()?;
        announce_and_run(&clippy)?;
        announce_and_run(&tests)
    }
}

fn announce_and_run(cmd: &Cmd) -> Result {
    term::note(&term::bold(&format!("$ {cmd}")));
    cmd.run()
}

/// The crate to check; `None` for all of them.
fn chosen<'a>(workspace: &'a Workspace, wanted: Option<&str>) -> Result<Option<&'a str>> {
    let Some(wanted) = wanted else {
        let here = environment::current_directory();
        return Ok(here
            .and_then(|here| workspace.package_around(&here))
            .map(|package| package.name.as_str()));
    };
    let names: Vec<&str> = workspace.packages.iter().map(|package| package.name.as_str()).collect();
    let short = format!("medusa-{wanted}");
    let found = [wanted, &short].into_iter().find_map(|name| names.iter().find(|known| **known == name));
    found.map(|name| Some(*name)).ok_or_else(|| {
        Error::Usage(format!("there is no crate `{wanted}`; the crates are {}", names.join(", ")))
    })
}

/// What checks a crate, or all: fmt, clippy, tests.
fn commands(package: Option<&str>) -> [Cmd; 3] {
    let of = |cmd: Cmd, all| match package {
        Some(name) => cmd.args(["--package", name]),
        None => cmd.args([all]),
    };
    let clippy = of(Cmd::cargo("clippy --all-targets"), "--workspace").args(["--", "-D", "warnings"]);
    [of(Cmd::cargo("fmt --check"), "--all"), clippy, of(tests(), "--workspace")]
}

/// The test runner: cargo-nextest, or Cargo's own where that is not installed.
pub(crate) fn tests() -> Cmd {
    if environment::find_program("cargo-nextest").is_none() {
        return Cmd::cargo("test --tests");
    }
    Cmd::cargo("nextest run --no-tests pass --test-threads").args([environment::test_threads()])
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
        let workspace = workspace();
        let found = |name| chosen(&workspace, Some(name)).expect(name);
        assert_eq!(
            ["medusa-http", "http", "medusa"].map(found),
            ["medusa-http", "medusa-http", "medusa"].map(Some)
        );
    }

    #[test]
    fn an_unknown_crate_lists_the_known_ones() {
        let error = chosen(&workspace(), Some("htpt")).expect_err("unknown");
        assert!(error.to_string().contains("medusa, medusa-http, xtask"), "{error}");
    }

    #[test]
    fn the_commands_name_what_they_check() {
        let clippy = |package| commands(package)[1].to_string();
        assert_eq!(
            clippy(Some("medusa-http")),
            "cargo clippy --all-targets --package medusa-http -- -D warnings"
        );
        assert_eq!(clippy(None), "cargo clippy --all-targets --workspace -- -D warnings");
    }
}
