//! The repository's own commands: `cargo xtask help` lists them.
//!
//! One shape repeats. A command is a module with a `COMMAND` constant (name, summary, help, entry point); the table in
//! [`cli`] is the only place that names them all. What is said on the way goes to stderr, as Cargo's own progress
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
mod fetch;
mod fuzz;
mod process_tree;
mod server;
mod soak;
mod term;
mod tidy;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(environment::arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            term::note(&format!("{} {error}", term::red("error:")));
            error.exit_code()
        }
    }
}
