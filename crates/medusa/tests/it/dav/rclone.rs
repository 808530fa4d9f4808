//! rclone, which copies and compares trees.

use std::fs;
use std::process::Command;

use medusa_testkit::{Finished, Process, Server, Site};

use super::{of_users, open, shared_names};
use crate::support::start;

/// Runs it with nobody's settings.
#[track_caller]
fn rclone(server: &Server, home: &Site, args: &[&str]) -> Finished {
    let password = Process::start(Command::new("rclone").args(["obscure", "secret"])).finish().said();
    let mut command = Command::new("rclone");
    command.args([
        "--config",
        "/dev/null",
        "--webdav-user",
        "alice",
        "--webdav-vendor",
        "other",
        "--retries",
        "1",
    ]);
    command.args(["--webdav-url", &server.url("/dav/"), "--webdav-pass", &password]).args(args);
    command
        .env("HOME", home.path())
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .current_dir(home.path());
    Process::start(&mut command).finish()
}

#[test]
fn it_makes_a_round_trip() {
    let home = Site::new()
        .file("tree/a.txt", "a")
        .file("tree/empty", "")
        .file("tree/deep/er/b \u{e4}&#%+;'.bin", vec![7; 300_000])
        .file("changed/a.txt", "another a");
    let site = of_users();
    let server = start(&site);
    let run = |args: &[&str]| rclone(&server, &home, args).success();
    run(&["copy", "tree", ":webdav:copied"]);
    run(&["check", "--download", "tree", ":webdav:copied"]);
    run(&["copy", "changed", ":webdav:copied"]);
    assert_eq!(site.read("shared/copied/a.txt"), "another a");
    run(&["moveto", ":webdav:copied/deep", ":webdav:copied/moved"]);
    run(&["copyto", ":webdav:copied/a.txt", ":webdav:again/c.txt"]);
    assert_eq!(run(&["cat", ":webdav:again/c.txt"]).trim_end(), "another a");
    let listed = run(&["lsf", "-R", ":webdav:copied"]);
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["a.txt", "empty", "moved/", "moved/er/", "moved/er/b \u{e4}&#%+;'.bin"]);
    run(&["copy", ":webdav:copied/moved", "back"]);
    assert_eq!(fs::read(home.at("back/er/b \u{e4}&#%+;'.bin")).expect("it came back"), vec![7; 300_000]);
    run(&["deletefile", ":webdav:again/c.txt"]);
    run(&["purge", ":webdav:copied"]);
    run(&["rmdir", ":webdav:again"]);
    assert_eq!(shared_names(&site), ["page.txt"]);
}

/// It makes no more than a hundred requests a second, so not all of them are copied.
#[test]
fn a_thousand_files_are_listed_and_some_are_synchronised() {
    let (site, home) = (open("versions = 0"), Site::new());
    for number in 0..1000 {
        site.write(&format!("shared/many/{number}.txt"), number.to_string());
    }
    let server = start(&site);
    let run = |args: &[&str]| rclone(&server, &home, &[args, &["--include", "99*.txt"]].concat()).success();
    assert_eq!(rclone(&server, &home, &["lsf", ":webdav:many"]).success().lines().count(), 1000);
    run(&["copy", "--transfers", "8", ":webdav:many", "here"]);
    assert_eq!(super::names(&home.at("here")).len(), 11);
    home.write("here/99.txt", "changed");
    fs::remove_file(home.at("here/990.txt")).expect("it was copied");
    run(&["sync", "--size-only", "here", ":webdav:many"]);
    assert_eq!(site.read("shared/many/99.txt"), "changed");
    assert!(!site.at("shared/many/990.txt").exists() && site.at("shared/many/1.txt").exists());
}
