//! The program `medusa`. All it does is in the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    medusa::run(std::env::args_os())
}
