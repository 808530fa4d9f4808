//! A page as a real browser sees it: Chromium without a window.

use std::process::Command;

use crate::Process;

/// No window, no service of its maker, no cores of others: what a test on a server wants of it.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox", // it refuses to run as root with one, and loads nothing but our own pages here
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage", // containers give it 64 MiB
];

/// Loads `url` with all that belongs to the page, and returns the document as it stands then.
///
/// # Panics
///
/// Chromium is not installed (Debian: `apt-get install chromium`), or fails.
#[track_caller]
pub fn load(url: &str) -> String {
    load_with(url, &[])
}

/// Does as [`load`], with more flags of Chromium's.
///
/// # Panics
///
/// As for [`load`].
#[track_caller]
pub fn load_with(url: &str, flags: &[&str]) -> String {
    let profile = tempfile::tempdir().expect("a temporary directory");
    let mut chromium = Command::new("chromium");
    chromium.args(FLAGS).args(flags).arg(format!("--user-data-dir={}", profile.path().display()));
    Process::start(chromium.args(["--dump-dom", url])).finish().success()
}
