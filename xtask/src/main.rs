//! The repository's own commands: `cargo xtask help` lists them.
//!
//! One shape repeats. A command is a module with a struct of its arguments, whose documentation is the command's help, and
//! whose `run` does it; [`XtaskCommand`] is the only place that names them all. What is said on the way goes to stderr, as
//! Cargo's own progress does; what was asked for (a table, a help text) goes to stdout.

mod bench;
mod check;
mod ci;
mod cmd;
mod deny;
mod dist;
mod docs;
mod environment;
mod error;
mod fuzz;
mod soak;
mod table;
mod term;
mod threads;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The repository's own commands.
///
/// A day's work: change a crate, `cargo xtask check` in its folder until it is quiet, `cargo xtask ci` before
/// handing in.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: XtaskCommand,
}

/// Every command, in the order of the help.
#[derive(Debug, Subcommand)]
enum XtaskCommand {
    Check(check::Check),
    Tidy(tidy::Tidy),
    Docs(docs::Docs),
    Deny(deny::Deny),
    Advisories(deny::Advisories),
    Bench(bench::BenchArgs),
    Fuzz(fuzz::Fuzz),
    Soak(soak::Soak),
    Dist(dist::Dist),
    Ci(ci::Ci),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        XtaskCommand::Check(check) => check.run(),
        XtaskCommand::Tidy(_) => tidy::run(),
        XtaskCommand::Docs(docs) => docs.run(),
        XtaskCommand::Deny(_) => deny::run(),
        XtaskCommand::Advisories(advisories) => advisories.run(),
        XtaskCommand::Bench(bench) => bench.run(),
        XtaskCommand::Fuzz(fuzz) => fuzz.run(),
        XtaskCommand::Soak(soak) => soak.run(),
        XtaskCommand::Dist(_) => dist::run(),
        XtaskCommand::Ci(ci) => ci.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            term::note(&format!("{} {error}", term::red("error:")));
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_a_help_worth_reading() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(help.lines().count() >= 4, "{}: {help}", command.get_name());
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{}: {help}", command.get_name());
        }
    }

    #[test]
    fn what_nobody_knows_and_numbers_out_of_range_are_refused() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).expect_err(line).to_string();
        assert!(refused("xtask tydi").contains("tydi"));
        assert!(refused("xtask docs --chekc").contains("--check"));
        for wrong in ["0", "1001", "-1", "five", "1e3"] {
            assert!(refused(&format!("xtask bench http --rounds {wrong}")).contains(wrong));
        }
        assert!(
            refused("xtask bench htpt")
                .contains("http, websocket, idle, log, handlers, logins, preempt, site, live, all")
        );
        assert!(refused("xtask ci tets").contains("test"));
    }
}
