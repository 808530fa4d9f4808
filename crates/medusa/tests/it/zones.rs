//! The time zone of lines, by the variable `TZ`: as every other program on the machine has it.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use medusa_testkit::{Site, wait};

use super::support::MEDUSA;

/// The UTC offset in the access log of a server with this `TZ`, and its warnings.
fn logged(zone: &str) -> (String, Vec<String>) {
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0', log = medusa.log.file('a.log', { format = '%t' }) }
        web:mount('/', function() return 'hello' end)",
    );
    let server = MEDUSA.serve(site.path()).env("TZ", zone).start();
    server.get("/");
    let line = wait::until("the line is written", || site.read("a.log").lines().next().map(str::to_owned));
    let (_, offset) = line.trim_end_matches(']').rsplit_once(' ').expect("an offset");
    let log = server.stderr().text();
    (offset.to_owned(), log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect())
}

#[test]
fn tz_is_a_name_a_file_or_a_rule() {
    for (zone, offset) in [
        ("Asia/Kolkata", "+0530"),
        (":Asia/Kolkata", "+0530"),
        ("/usr/share/zoneinfo/Asia/Kolkata", "+0530"),
        (":/usr/share/zoneinfo/Asia/Kolkata", "+0530"),
        ("IST-5:30", "+0530"),
        ("<-03>3", "-0300"),
        ("UTC", "+0000"),
        ("", "+0000"),
    ] {
        assert_eq!(logged(zone), (offset.to_owned(), Vec::new()), "TZ={zone}");
    }
}

#[test]
fn a_tz_that_nobody_knows_is_told_and_is_utc() {
    for zone in ["Mars/Olympus", "/nowhere/Kolkata", "+0530"] {
        is_told_and_utc(zone);
    }
}

fn is_told_and_utc(zone: &str) {
    let (offset, warnings) = logged(zone);
    assert_eq!(offset, "+0000", "TZ={zone}");
    let [warning] = warnings.as_slice() else { panic!("TZ={zone}: one warning in {warnings:?}") };
    assert!(warning.contains(zone) && warning.contains("UTC"), "{warning}");
}

/// What has no end, or none before somebody writes to it, would be read for ever.
#[test]
fn a_tz_that_is_no_short_file_is_not_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let (pipe, long) = (dir.path().join("pipe"), dir.path().join("long"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    File::create(&long).and_then(|file| file.set_len(1 << 40)).expect("a file");
    for zone in [pipe.as_path(), &long, dir.path(), Path::new("/dev/zero")] {
        is_told_and_utc(zone.to_str().expect("ASCII"));
    }
}
