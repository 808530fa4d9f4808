//! The repository's own commands: `cargo xtask help` lists them.
//!
//! One shape repeats. A command is a module with a `COMMAND` constant (name, summary, help, entry point); [`COMMANDS`] is
//! the only place that names them all. What is said on the way goes to stderr, as Cargo's own progress
//! does; what was asked for (a table, a help text) goes to stdout.

mod bench;
mod check;
mod ci;
mod cli;
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

/// Every command, in the order of the help.
const COMMANDS: cli::Commands = &[
    &check::COMMAND,
    &tidy::COMMAND,
    &docs::COMMAND,
    &deny::COMMAND,
    &deny::ADVISORIES,
    &bench::COMMAND,
    &fuzz::COMMAND,
    &soak::COMMAND,
    &dist::COMMAND,
    &ci::COMMAND,
];

fn main() -> ExitCode {
    match cli::run(COMMANDS, environment::arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            term::note(&format!("{} {error}", term::red("error:")));
            error.exit_code()
        }
    }
}
