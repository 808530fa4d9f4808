//! `cargo xtask ci`: exactly what CI runs, in the same order, with the same words.
//!
//! Cheap steps first. The tests are last, so that what the output ends with is their summary.

mod packages;
mod program;
mod smoke;

use std::time::{Duration, Instant};

use crate::cli::{Arguments, Command};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{deny, docs, environment, fuzz, soak, term, tidy};

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "ci",
    usage: "[STEP]",
    summary: "Everything CI runs; as root it first installs what is missing",
    help: "\
Runs the steps below and stops at the first that fails, with the command that repeats it.
With STEP, runs that one alone.

  packages  Debian packages the tests need: installed when run as root, else only named
  fmt       every file is formatted
  tidy      the rules of the tree (`cargo xtask help tidy`)
  clippy    the lints of the workspace, warnings are errors
  doc       the documentation builds, no broken link in it
  build     the program and all tests, once for what follows
  docs      the generated documents are current (`cargo xtask help docs`)
  deny      what is depended on: advisories, licences, sources (`cargo xtask help deny`)
  doctest   the examples in the documentation run
  fuzz      the parsers stand some seconds of fuzzing (`cargo xtask help fuzz`)
  smoke     the program starts on the sample site, answers, and ends well on SIGTERM
  soak      a minute of scripts that misbehave and clients that attack (`cargo xtask help soak`)
  test      all unit and integration tests",
    run,
};

/// One step.
struct Step {
    name: &'static str,
    headline: &'static str,
    action: Action,
}

enum Action {
    /// A program to run.
    Program(Cmd),
    /// Something this program does itself.
    Own(fn() -> Result),
}

impl Step {
    fn program(name: &'static str, headline: &'static str, cmd: Cmd) -> Self {
        Self { name, headline, action: Action::Program(cmd) }
    }

    fn own(name: &'static str, headline: &'static str, run: fn() -> Result) -> Self {
        Self { name, headline, action: Action::Own(run) }
    }

    fn run(&self) -> Result {
        match &self.action {
            Action::Program(cmd) => cmd.run(),
            Action::Own(run) => run(),
        }
    }

    /// The line that repeats the step.
    fn repeat(&self) -> String {
        match &self.action {
            Action::Program(cmd) => cmd.to_string(),
            Action::Own(_) => format!("cargo xtask ci {}", self.name),
        }
    }
}

fn steps() -> Vec<Step> {
    let doc = Cmd::cargo("doc --workspace --no-deps --document-private-items --locked");
    vec![
        Step::own("packages", "Debian packages the tests need", packages::run),
        Step::own("fmt", "formatting", format),
        Step::own("tidy", "the rules of the tree", tidy::run),
        Step::program(
            "clippy",
            "lints",
            Cmd::cargo("clippy --workspace --all-targets --locked -- -D warnings"),
        ),
        Step::program("doc", "documentation", doc.env("RUSTDOCFLAGS", "-D warnings")),
        Step::program("build", "the program and its tests", program::build()),
        Step::own("docs", "generated documents are current", generated),
        Step::own("deny", "what is depended on", deny::run),
        Step::program(
            "doctest",
            "examples in the documentation",
            Cmd::cargo("test --doc --workspace --locked"),
        ),
        Step::own("fuzz", "coverage-guided fuzzing of the parsers", fuzz::check),
        Step::own("smoke", "start, answer, end", smoke::run),
        Step::own("soak", "normal clients beside hostile ones", soaked),
        Step::program("test", "unit and integration tests", tests()),
    ]
}

/// Of both workspaces.
fn format() -> Result {
    Cmd::cargo("fmt --all --check").run()?;
    fuzz::check_format()
}

fn generated() -> Result {
    docs::check(&Cmd::new(program::built()?))
}

fn soaked() -> Result {
    soak::check(&program::built()?)
}

/// The test runner: cargo-nextest, or Cargo's own where that is not installed.
fn tests() -> Cmd {
    if environment::find_program("cargo-nextest").is_some() {
        Cmd::cargo("nextest run --workspace --locked --no-fail-fast --test-threads")
            .args([environment::test_threads()])
    } else {
        Cmd::cargo("test --workspace --locked --lib --bins --tests")
    }
}

fn run(mut arguments: Arguments) -> Result {
    let only = arguments.word();
    arguments.finish()?;
    let mut steps = steps();
    if let Some(only) = only {
        let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
        let unknown =
            || Error::Usage(format!("`ci` has no step `{only}`; its steps are {}", names.join(", ")));
        let at = names.iter().position(|name| *name == only).ok_or_else(unknown)?;
        return steps.swap_remove(at).run();
    }
    run_all(&steps)
}

fn run_all(steps: &[Step]) -> Result {
    let start = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let number = index + 1;
        let title = format!("[{number}/{}] {}: {}", steps.len(), step.name, step.headline);
        term::note(&format!("\n{}  {}", term::bold(&title), term::faint(&step.repeat())));
        let step_start = Instant::now();
        let result = step.run();
        if let Err(error) = result {
            return Err(failure(step, step_start.elapsed(), &error));
        }
        // Nothing is said after the last step: its own summary closes the output.
        if number < steps.len() {
            let times = format!(
                "{} in {}, {} so far",
                step.name,
                term::spoken(step_start.elapsed()),
                term::spoken(start.elapsed())
            );
            term::note(&format!("{} {times}", term::green("ok:")));
        }
    }
    Ok(())
}

fn failure(step: &Step, after: Duration, error: &Error) -> Error {
    Error::Found(format!(
        "{error}\n{} failed after {}. To repeat it alone:\n  {}",
        step.name,
        term::spoken(after),
        step.repeat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_the_steps_in_their_order() {
        let listed: Vec<&str> = COMMAND
            .help
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let real: Vec<&str> = steps().iter().map(|step| step.name).collect();
        assert_eq!(listed, real);
    }

    #[test]
    fn the_first_failure_stops_the_run_and_says_how_to_repeat_it() {
        let never = || -> Result { unreachable!("a step after the failed one") };
        let steps = [
            Step::program("good", "succeeds", Cmd::new("true")),
            Step::program("bad", "fails", Cmd::new("false")),
            Step::own("never", "is not reached", never),
        ];
        let error = run_all(&steps).expect_err("the second fails").to_string();
        assert!(error.starts_with("`false` failed"), "{error}");
        assert!(error.ends_with("To repeat it alone:\n  false"), "{error}");
    }

    #[test]
    fn an_own_step_is_repeated_by_its_name() {
        assert_eq!(Step::own("smoke", "", smoke::run).repeat(), "cargo xtask ci smoke");
    }

    #[test]
    fn the_tests_come_last() {
        assert_eq!(steps().last().map(|step| step.name), Some("test"));
    }
}
