//! `cargo xtask fuzz`: coverage-guided fuzzing of whatever reads bytes that others wrote, on stable Rust.
//!
//! The targets are the programs of `fuzz/`, a workspace of its own. [`build`] compiles them with the counters libFuzzer
//! looks at, [`campaign`] runs one and reads what it says. The kept corpus in `fuzz/corpus` is only read: what a run adds
//! lies below `target/fuzz`, until `--keep` merges it.

mod build;
mod campaign;

use std::path::PathBuf;
use std::time::Duration;

use campaign::{Campaign, Outcome};
use clap::{Args, value_parser};
use parking_lot::Mutex;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::{term, threads};

/// Fuzzes the parsers (all, or one), from the kept corpus
///
/// Builds the targets of fuzz/ with coverage counters and runs each from its corpus in
/// fuzz/corpus, two at a time. What makes a target fail is kept below target/fuzz and printed
/// with the command that repeats it; the fault's fix brings a test in the crate it lies in.
///
/// A new target is a file in fuzz/targets, its `[[bin]]` in fuzz/Cargo.toml, and a corpus of a
/// few inputs that a person wrote.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Fuzz {
    /// The target to run; all when not given
    target: Option<String>,
    /// How long each target runs, in seconds
    #[arg(long, default_value_t = SECONDS, value_parser = value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Runs the TARGET on this one input: repeats a failure
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Afterwards merges what was found new into fuzz/corpus, as few and as short inputs as reach the same code
    #[arg(long)]
    keep: bool,
}

/// The time that each target runs unless the user says otherwise: enough to run into what a change has broken.
const SECONDS: u32 = 10;
/// The number that run at once: a target has one thread.
const AT_ONCE: usize = 2;

impl Fuzz {
    pub(crate) fn run(&self) -> Result {
        let campaigns = campaigns(self.target.as_deref())?;
        if let Some(input) = &self.input {
            return campaigns.iter().try_for_each(|campaign| campaign.repeat(input));
        }
        report(&run_all(&campaigns, Duration::from_secs(self.seconds.into()))?)?;
        if self.keep {
            campaigns.iter().try_for_each(Campaign::keep)?;
        }
        Ok(())
    }
}

/// Whether the targets are formatted: no command of cargo looks at two workspaces.
pub(crate) fn check_format() -> Result {
    Cmd::cargo("fmt --check --manifest-path fuzz/Cargo.toml").run()
}

/// Runs every target as CI does: all, for a short time.
pub(crate) fn check() -> Result {
    report(&run_all(&campaigns(None)?, Duration::from_secs(SECONDS.into()))?)
}

/// Builds the targets; all of them, or the one of this name.
fn campaigns(only: Option<&str>) -> Result<Vec<Campaign>> {
    let names = chosen(&build::targets()?, only)?;
    let programs = build::build()?;
    Ok(names.iter().map(|name| Campaign::new(&programs, name)).collect())
}

fn chosen(targets: &[String], only: Option<&str>) -> Result<Vec<String>> {
    let Some(only) = only else { return Ok(targets.to_vec()) };
    match targets.iter().find(|name| *name == only) {
        Some(name) => Ok(vec![name.clone()]),
        None => Err(Error::Usage(format!(
            "`fuzz` has no target `{only}`; the targets are {}",
            targets.join(", ")
        ))),
    }
}

/// Runs all, [`AT_ONCE`] at a time.
fn run_all(campaigns: &[Campaign], time: Duration) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(campaigns.iter());
    // The lock ends with the call.
    let next = || waiting.lock().next();
    let work = |_| {
        let outcome = |campaign: &Campaign| {
            let outcome = campaign.run(time)?;
            term::note(&outcome.line());
            Ok(outcome)
        };
        std::iter::from_fn(next).map(outcome).collect::<Result<Vec<_>>>()
    };
    let outcomes: Vec<Vec<Outcome>> =
        threads::together(0..AT_ONCE, work).into_iter().collect::<Result<_>>()?;
    Ok(outcomes.concat())
}

/// Fails when a target has failed, with what it said and how to repeat it.
fn report(outcomes: &[Outcome]) -> Result {
    let failures: Vec<String> = outcomes.iter().filter_map(Outcome::failure).collect();
    if failures.is_empty() {
        let executed: u64 = outcomes.iter().map(|outcome| outcome.executed).sum();
        term::note(&format!("fuzz: {} targets, {executed} inputs, nothing found", outcomes.len()));
        return Ok(());
    }
    Err(Error::Found(failures.join("\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_target_is_chosen_by_name_and_an_unknown_one_lists_all() {
        let targets = ["range".to_owned(), "router".to_owned()];
        assert_eq!(chosen(&targets, None).expect("all"), targets);
        assert_eq!(chosen(&targets, Some("router")).expect("one"), ["router"]);
        let error = chosen(&targets, Some("ranges")).expect_err("unknown").to_string();
        assert!(error.contains("the targets are range, router"), "{error}");
    }
}
