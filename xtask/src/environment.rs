//! What the surroundings say.
//!
//! The only module that reads the environment, so that everything else takes what it needs as arguments.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The directories in which programs are looked for: `PATH`, then the system directories, which an ordinary user's
/// `PATH` leaves out on Debian although servers such as nginx live there.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn program_directories() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).collect()
}

/// Whether the user asked for plain text (<https://no-color.org>: set, and not empty).
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The directory the command was given in, if it still exists.
pub(crate) fn current_directory() -> Option<PathBuf> {
    std::env::current_dir().ok()
}

/// The number of tests that run at a time, as the test runner is told: three for each core, for most of them wait for
/// seconds to pass, such as those of a limit, and compute little.
pub(crate) fn test_threads() -> String {
    (3 * cores()).to_string()
}

/// The number of threads that run at once.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The file that running `name` would run, or `None` when it is not installed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    program_directories().into_iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}
