//! Clients that are not ours, run to their end.

use std::ffi::OsStr;
use std::process::Command;

use crate::{Finished, PATIENCE, Process};

/// Runs a program to its end.
///
/// # Panics
///
/// There is no such program, or it goes on for longer than [`PATIENCE`].
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Finished {
    Process::start(Command::new(program).args(args)).finish()
}

/// Runs `curl`, silent but for errors and without anybody's settings; what comes is on standard output.
///
/// # Panics
///
/// It is not installed.
#[track_caller]
pub fn curl<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    // First of all, as curl would have it: no configuration file.
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", &PATIENCE.as_secs().to_string()]);
    Process::start(command.args(args)).finish()
}
