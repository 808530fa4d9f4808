//! `cargo xtask ci`: exactly what CI runs, in the same order, with the same words.
//!
//! Cheap steps first. The tests are last, so that what the output ends with is their summary.

mod packages;
mod program;
mod smoke;

use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{check, deny, docs, fuzz, soak, term, tidy};

/// Runs everything CI runs; as root it first installs what is missing
///
/// Runs all steps and stops at the first that fails, with the command that repeats it. With STEP,
/// runs that one alone. The steps, in their order:
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Ci {
    #[arg(value_parser = PossibleValuesParser::new(steps().iter().map(Step::described)))]
    step: Option<String>,
}

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

    /// As the help lists it.
    fn described(&self) -> PossibleValue {
        PossibleValue::new(self.name).help(self.headline)
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
    let cargo = Cmd::cargo;
    let clippy = cargo("clippy --workspace --all-targets --locked -- -D warnings");
    let doc = cargo("doc --workspace --no-deps --document-private-items --locked");
    let doc = doc.env("RUSTDOCFLAGS", "-D warnings");
    let doctest = cargo("test --doc --workspace --locked");
    let tests = check::tests().args(["--workspace", "--locked", "--no-fail-fast"]);
    vec![
        Step::own("packages", "Debian packages the tests need: root installs them", packages::run),
        Step::own("fmt", "every file is formatted", format),
        Step::own("tidy", "the rules of the tree (`cargo xtask help tidy`)", tidy::run),
        Step::program("clippy", "the lints of the workspace, warnings are errors", clippy),
        Step::program("doc", "the documentation builds, no broken link in it", doc),
        Step::program("build", "the program and all tests, once for what follows", program::build()),
        Step::own("docs", "the generated documents are current (`cargo xtask help docs`)", generated),
        Step::own("deny", "dependencies: advisories, licences, sources (`cargo xtask help deny`)", deny::run),
        Step::program("doctest", "the examples in the documentation run", doctest),
        Step::own("fuzz", "the parsers stand some seconds of fuzzing (`cargo xtask help fuzz`)", fuzz::check),
        Step::own("smoke", "the program starts on the sample site, answers, ends well", smoke::run),
        Step::own("soak", "a minute of misbehaviour and attacks (`cargo xtask help soak`)", soaked),
        Step::program("test", "all unit and integration tests", tests),
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

impl Ci {
    pub(crate) fn run(&self) -> Result {
        let steps = steps();
        match &self.step {
            None => run_all(&steps),
            Some(only) => steps.iter().filter(|step| step.name == only).try_for_each(Step::run),
        }
    }
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
