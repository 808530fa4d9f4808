//! The program `medusa`. All it does is in the library of the same name.

use std::process::ExitCode;

/// Gives memory back that idle connections have let go of, which the system's allocator keeps: see `.cargo/config.toml`
/// for how soon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    medusa::run(std::env::args_os())
}
