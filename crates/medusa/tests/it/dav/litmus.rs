//! litmus 0.13, as Debian has it. What later ones ask for is in `stricter`.

use std::process::Command;

use medusa_testkit::{Process, Server};

use super::{of_users, open};
use crate::support::start;

/// Runs one of its groups; everything in it must pass, and nothing be warned of.
#[track_caller]
fn run(server: &Server, groups: &str, count: usize, user: &[&str]) {
    // It writes its logs where it is.
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("litmus");
    command.arg("-k").arg(server.url("/dav/")).args(user);
    command.env("TESTS", groups).current_dir(directory.path());
    let said = Process::start(&mut command).finish();
    let is_bad =
        |line: &&str| ["FAIL", "WARNING", "SKIPPED", "skipped"].iter().any(|word| line.contains(word));
    let bad: Vec<_> = said.stdout.lines().filter(is_bad).filter(|line| !is_meant(line)).collect();
    let whole = said.stdout.matches("100.0%").count();
    assert!(said.status.success() && bad.is_empty() && whole == count, "{bad:#?}\n{said}");
}

/// The summary of what is warned of is a line of its own.
fn is_meant(line: &str) -> bool {
    line.contains("FAILED: 0") || line.contains("failed: 0")
}

#[test]
fn basic_copymove_props_and_http_pass() {
    let site = open("");
    let server = start(&site);
    run(&server, "basic copymove props http", 4, &[]);
}

#[test]
fn locks_pass() {
    let site = open("");
    let server = start(&site);
    run(&server, "locks", 1, &[]);
}

#[test]
fn all_pass_behind_a_password() {
    let site = of_users();
    let server = start(&site);
    run(&server, "basic copymove props locks http", 5, &["alice", "secret"]);
    assert_eq!(server.connect().request("PROPFIND", "/dav/", &[("Depth", "0")]).status, 401);
}
