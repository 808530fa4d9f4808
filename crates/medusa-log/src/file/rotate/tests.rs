//! What becomes of rotated files, on real files.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::*;
use crate::file::shared::{FileShared, Past};

fn log() -> (TempDir, Place) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("a.log"), "").expect("written");
    let place = Place::of(&dir.path().join("a.log")).expect("a place");
    (dir, place)
}

fn lines(n: usize) -> String {
    let line = |n| format!("127.0.0.1 - - [23/Nov/2026:12:00:00 +0100] \"GET /{n} HTTP/1.1\" 200 5\n");
    (0..n).map(line).collect::<Vec<_>>().concat()
}

/// Runs until there is nothing left to do.
fn tidy(place: &Place, rotation: &Rotation) -> Arc<FileShared> {
    let shared = Arc::default();
    run(&shared, place, rotation);
    shared
}

fn past(place: &Place, rotation: &Rotation) -> Past {
    tidy(place, rotation).past.lock().clone()
}

fn run(shared: &Arc<FileShared>, place: &Place, rotation: &Rotation) {
    tidy::start(shared, rotation, place.clone(), "test");
    wait(shared);
}

fn wait(shared: &FileShared) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while shared.past.lock().is_tidying {
        assert!(Instant::now() < deadline, "it does not end");
        thread::yield_now();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// As the programs that people have for it see it.
fn unpacked(path: PathBuf) -> String {
    let mut text = String::new();
    let file = File::open(&path).expect("a file");
    let read = zstd::stream::read::Decoder::new(file).expect("zstd").read_to_string(&mut text);
    read.expect("all of it");
    text
}

const COMPRESS: Rotation = Rotation { every: None, size: None, keep: None, compress: true };

const fn keep(count: u32) -> Rotation {
    Rotation { every: None, size: None, keep: Some(count), compress: false }
}

#[test]
fn files_are_compressed_and_stay_who_they_were() {
    let (dir, place) = log();
    let plain = dir.path().join("a.log.2026-11-23");
    fs::write(&plain, lines(10_000)).expect("written");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o604)).expect("changed");
    let written = fs::metadata(&plain).expect("a file").modified().expect("a time");
    let past = past(&place, &COMPRESS);
    assert_eq!(names(dir.path()), ["a.log", "a.log.2026-11-23.zst"]);
    let packed = dir.path().join("a.log.2026-11-23.zst");
    let meta = fs::metadata(&packed).expect("a file");
    assert_eq!((meta.permissions().mode() & 0o777, meta.modified().expect("a time")), (0o604, written));
    assert!(meta.len() < 100_000);
    assert_eq!(unpacked(packed), lines(10_000));
    assert_eq!((past.compressed, past.errors), (1, 0));
}

#[test]
fn only_the_oldest_of_ours_are_deleted() {
    let (dir, place) = log();
    let ours =
        ["2026-11-21", "2026-11-22", "2026-11-22.1.zst", "2026-11-22.2.zst", "2026-11-23", "2026-11-23.10"];
    for name in ours {
        fs::write(dir.path().join(format!("a.log.{name}")), lines(1)).expect("written");
    }
    let others = ["a.log.1", "a.log.2026-11-20.bak", "a.log.old", "b.log.2026-11-20"];
    for name in others {
        fs::write(dir.path().join(name), "").expect("written");
    }
    // Not regular files: whoever made them wants something with them.
    fs::create_dir(dir.path().join("a.log.2026-11-19")).expect("made");
    symlink("b.log.2026-11-20", dir.path().join("a.log.2026-11-18")).expect("a link");
    let past = past(&place, &keep(3));
    let left = [
        "a.log",
        "a.log.1",
        "a.log.2026-11-18",
        "a.log.2026-11-19",
        "a.log.2026-11-20.bak",
        "a.log.2026-11-22.2.zst",
        "a.log.2026-11-23",
        "a.log.2026-11-23.10",
        "a.log.old",
        "b.log.2026-11-20",
    ];
    assert_eq!(names(dir.path()), left);
    assert_eq!((past.deleted, past.kept, past.errors), (3, Some(3), 0));
}

#[test]
fn what_was_interrupted_is_done_again() {
    let (dir, place) = log();
    let at = |name: &str| dir.path().join(name);
    // Killed while it wrote; killed after the plain file was gone (by whatever cause); killed before it was deleted.
    fs::write(at("a.log.2026-11-21"), lines(10)).expect("written");
    fs::write(at("a.log.2026-11-21.zst.part"), "half").expect("written");
    fs::write(at("a.log.2026-11-20.zst.part"), "half").expect("written");
    fs::write(at("a.log.2026-11-22"), lines(20)).expect("written");
    let packed = zstd::encode_all(lines(20).as_bytes(), 1).expect("compressed");
    fs::write(at("a.log.2026-11-22.zst"), packed).expect("written");
    let past = past(&place, &COMPRESS);
    assert_eq!(names(dir.path()), ["a.log", "a.log.2026-11-21.zst", "a.log.2026-11-22.zst"]);
    assert_eq!(unpacked(at("a.log.2026-11-21.zst")), lines(10));
    assert_eq!(unpacked(at("a.log.2026-11-22.zst")), lines(20));
    assert_eq!(past.errors, 0, "{past:?}");
}

#[test]
fn a_compressed_file_that_holds_something_else_is_left_alone() {
    for other in [lines(1), lines(3), String::new()] {
        let (dir, place) = log();
        fs::write(dir.path().join("a.log.2026-11-23"), lines(2)).expect("written");
        let packed = zstd::encode_all(other.as_bytes(), 1).expect("compressed");
        fs::write(dir.path().join("a.log.2026-11-23.zst"), &packed).expect("written");
        let past = past(&place, &COMPRESS);
        assert_eq!(names(dir.path()), ["a.log", "a.log.2026-11-23", "a.log.2026-11-23.zst"]);
        assert_eq!(fs::read(dir.path().join("a.log.2026-11-23.zst")).expect("a file"), packed);
        assert!(past.last_error.expect("an error").contains("holds something else"));
    }
}

/// It took half a minute: the log had asked while the thread was there, and was put off.
#[test]
fn what_is_rotated_meanwhile_is_looked_after_at_once() {
    let (dir, place) = log();
    let shared = Arc::<FileShared>::default();
    let start = || tidy::start(&shared, &COMPRESS, place.clone(), "test");
    let others = tidy::ONE_AT_A_TIME.lock();
    start();
    fs::write(dir.path().join("a.log.2026-11-23"), lines(2)).expect("written");
    start();
    drop(others);
    wait(&shared);
    assert!(!shared.past.lock().is_postponed);
    assert_eq!(names(dir.path()), ["a.log", "a.log.2026-11-23.zst"]);
}

#[test]
fn a_file_someone_writes_to_is_compressed_later() {
    let (dir, place) = log();
    let plain = dir.path().join("a.log.2026-11-23");
    fs::write(&plain, lines(2)).expect("written");
    let writer = File::options().append(true).open(&plain).expect("a file");
    flock(&writer, FlockOperation::NonBlockingLockShared).expect("a lock");
    let tidy = tidy(&place, &COMPRESS);
    assert!(tidy.past.lock().is_postponed);
    assert_eq!(names(dir.path()), ["a.log", "a.log.2026-11-23"]);
    (&writer).write_all(b"late\n").expect("written");
    drop(writer);
    run(&tidy, &place, &COMPRESS);
    assert!(!tidy.past.lock().is_postponed);
    assert!(unpacked(dir.path().join("a.log.2026-11-23.zst")).ends_with("late\n"));
}

#[test]
fn a_full_disk_leaves_the_plain_file() {
    let (dir, place) = log();
    let plain = dir.path().join("a.log.2026-11-23");
    fs::write(&plain, lines(2)).expect("written");
    // Nothing can be made under that name: it stands for whatever keeps the compressed file from being written.
    fs::create_dir(dir.path().join("a.log.2026-11-23.zst.part")).expect("made");
    let past = past(&place, &COMPRESS);
    assert_eq!(fs::read_to_string(plain).expect("it stays"), lines(2));
    assert_eq!((past.compressed, past.errors), (0, 1));
}

#[test]
fn occasions() {
    let mut rotation = Rotation::default();
    assert_eq!((rotation.add("daily"), rotation.every), (Ok(()), Some(Period::Daily)));
    assert_eq!((rotation.add("100MB"), rotation.size), (Ok(()), Some(100_000_000)));
    for (text, part) in [("yearly", "\"hourly\""), ("999", "at least 1000"), ("Daily", "not \"Daily\"")] {
        let error = Rotation::default().add(text).expect_err(text).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_period_and_a_size_but_not_two() {
    let mut rotation = Rotation::default();
    rotation.add("daily").expect("a period");
    rotation.add_size(5000).expect("a size");
    assert_eq!(rotation.to_string(), "daily, 5000 bytes");
    rotation.add("hourly").expect_err("a second period");
}
