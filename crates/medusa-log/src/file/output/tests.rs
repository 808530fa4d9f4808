//! The file of a sink on real files, at times of our choosing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::super::rotate::Period;
use super::*;

struct Bench {
    dir: TempDir,
    now: Arc<Mutex<Timestamp>>,
    options: Options,
}

impl Bench {
    /// A log that rotates so, in central Europe.
    fn new(rotation: Rotation) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { rotation: Some(rotation), ..Options::default() };
        let bench = Self { dir, now: Arc::default(), options };
        bench.set("2026-11-23T12:00:00+01:00");
        bench
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a.log")
    }

    fn set(&self, time: &str) {
        *self.now.lock() = time.parse().expect("a time");
    }

    fn open(&self) -> LogFile {
        let target = Target::Path(self.path());
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let now = Arc::clone(&self.now);
        let clock = Box::new(move || now.lock().to_zoned(zone.clone()));
        let opened = open::open(&target, Make::default()).expect("a file");
        LogFile::new(&target, &self.options, clock, Arc::default(), opened)
    }

    /// All files and what they hold, in the order of their names.
    fn files(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.dir.path()).expect("a directory").map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().into_string().expect("UTF-8"), text)
        });
        let mut files: Vec<_> = entries.collect();
        files.sort();
        files
    }

    #[track_caller]
    fn expect(&self, files: &[(&str, &str)]) {
        let files: Vec<_> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(self.files(), files);
    }

    fn age(&self, time: &str) {
        let time: Timestamp = time.parse().expect("a time");
        let file = fs::File::options().append(true).open(self.path()).expect("a file");
        file.set_modified(time.into()).expect("an older file");
    }
}

fn every(period: Period) -> Rotation {
    Rotation { every: Some(period), ..Rotation::default() }
}

fn line(file: &mut LogFile, line: &str) -> bool {
    let changed = file.renew(line.len(), false);
    file.write_all(line.as_bytes()).expect("written");
    changed
}

#[test]
fn a_day_ends_at_midnight_and_not_before() {
    let bench = Bench::new(every(Period::Daily));
    let mut file = bench.open();
    line(&mut file, "1\n");
    bench.set("2026-11-23T23:59:59.999999+01:00");
    assert!(!line(&mut file, "2\n"));
    assert!(file.due_in().is_some_and(|due| due < Duration::from_millis(1)), "it wakes for midnight");
    bench.set("2026-11-24T00:00:00+01:00");
    assert_eq!(file.due_in(), Some(Duration::ZERO));
    assert!(line(&mut file, "3\n"));
    bench.expect(&[("a.log", "3\n"), ("a.log.2026-11-23", "1\n2\n")]);
    // Days without a line have no file.
    bench.set("2026-11-27T12:00:00+01:00");
    assert!(file.renew(0, false));
    bench.set("2026-11-28T12:00:00+01:00");
    assert!(!file.renew(0, false), "nothing to rotate");
    assert_eq!(file.due_in(), None);
    line(&mut file, "4\n");
    bench.set("2026-11-29T12:00:00+01:00");
    file.renew(0, false);
    bench.expect(&[
        ("a.log", ""),
        ("a.log.2026-11-23", "1\n2\n"),
        ("a.log.2026-11-24", "3\n"),
        ("a.log.2026-11-28", "4\n"),
    ]);
}

#[test]
fn the_hour_that_comes_twice_has_two_files() {
    let bench = Bench::new(every(Period::Hourly));
    let mut file = bench.open();
    for time in
        ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
    {
        bench.set(time);
        line(&mut file, &format!("{time}\n"));
    }
    bench.expect(&[
        ("a.log", "2026-10-25T02:30:00Z\n"),
        ("a.log.2026-10-25-01", "2026-10-24T23:30:00Z\n"),
        ("a.log.2026-10-25-02", "2026-10-25T00:30:00Z\n"),
        ("a.log.2026-10-25-02.1", "2026-10-25T01:30:00Z\n"),
    ]);
}

#[test]
fn no_file_grows_beyond_its_size() {
    let bench = Bench::new(Rotation { size: Some(1000), ..every(Period::Daily) });
    let mut file = bench.open();
    let lines = |n: usize| format!("{}\n", "x".repeat(n - 1));
    line(&mut file, &lines(600));
    assert!(!line(&mut file, &lines(400)), "it is full now, but not too large");
    assert!(line(&mut file, &lines(1)));
    assert!(line(&mut file, &lines(5000)), "one batch is not divided");
    assert!(line(&mut file, &lines(1)));
    let sizes: Vec<_> = bench.files().into_iter().map(|(name, text)| (name, text.len())).collect();
    let expected =
        [("a.log", 1), ("a.log.2026-11-23", 1000), ("a.log.2026-11-23.1", 1), ("a.log.2026-11-23.2", 5000)];
    assert_eq!(sizes, expected.map(|(name, size)| (name.to_owned(), size)));
}

#[test]
fn a_file_of_yesterday_is_put_aside_before_the_first_line() {
    let bench = Bench::new(every(Period::Daily));
    fs::write(bench.path(), "old, and torn").expect("written");
    bench.age("2026-11-20T08:00:00+01:00");
    let mut file = bench.open();
    assert!(!file.renew(0, false), "the draft may yet be dropped");
    line(&mut file, "new\n");
    bench.expect(&[("a.log", "new\n"), ("a.log.2026-11-20", "old, and torn\n")]);
}

#[test]
fn a_file_of_today_goes_on() {
    let bench = Bench::new(every(Period::Daily));
    fs::write(bench.path(), "old\n").expect("written");
    bench.age("2026-11-23T00:00:00+01:00");
    let mut file = bench.open();
    line(&mut file, "new\n");
    bench.expect(&[("a.log", "old\nnew\n")]);
}

#[test]
fn a_clock_that_was_ahead_does_not_keep_the_file_for_ever() {
    let bench = Bench::new(every(Period::Daily));
    bench.set("2031-01-01T12:00:00+01:00");
    let mut file = bench.open();
    line(&mut file, "1\n");
    bench.set("2026-11-23T12:00:00+01:00");
    assert!(!line(&mut file, "2\n"));
    bench.set("2026-11-24T12:00:00+01:00");
    assert!(line(&mut file, "3\n"));
    bench.expect(&[("a.log", "3\n"), ("a.log.2026-11-23", "1\n2\n")]);
}

#[test]
fn a_begun_line_is_finished_in_its_file() {
    let bench = Bench::new(every(Period::Daily));
    let mut file = bench.open();
    line(&mut file, "begun");
    bench.set("2026-11-24T12:00:00+01:00");
    assert!(!file.renew(3, true));
    assert!(file.due_in().is_some_and(|due| !due.is_zero()), "it does not spin");
    file.write_all(b" and done\n").expect("written");
    file.not_before = None;
    assert!(line(&mut file, "next\n"));
    bench.expect(&[("a.log", "next\n"), ("a.log.2026-11-23", "begun and done\n")]);
}

#[test]
fn a_new_file_is_as_the_old_one_was_or_as_the_user_says() {
    for (mode, expected) in [(None, 0o604), (Some("0600"), 0o600)] {
        let mut bench = Bench::new(every(Period::Daily));
        bench.options.mode = mode.map(|mode| mode.parse().expect("a mode"));
        let mut file = bench.open();
        fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o604)).expect("changed");
        line(&mut file, "1\n");
        bench.set("2026-11-24T12:00:00+01:00");
        line(&mut file, "2\n");
        let mode = |name: &str| {
            fs::metadata(bench.dir.path().join(name)).expect("a file").permissions().mode() & 0o777
        };
        assert_eq!((mode("a.log"), mode("a.log.2026-11-23")), (expected, 0o604));
    }
}

#[test]
fn two_writers_of_one_file_rotate_it_once() {
    let bench = Bench::new(every(Period::Daily));
    let (mut one, mut two) = (bench.open(), bench.open());
    line(&mut one, "1\n");
    line(&mut two, "2\n");
    bench.set("2026-11-24T12:00:00+01:00");
    assert!(line(&mut one, "3\n"));
    assert!(line(&mut two, "4\n"));
    assert!(!line(&mut one, "5\n"));
    bench.expect(&[("a.log", "3\n4\n5\n"), ("a.log.2026-11-23", "1\n2\n")]);
}

#[test]
fn a_file_moved_or_deleted_by_others_is_opened_anew_within_a_second() {
    let bench = Bench::new(every(Period::Daily));
    let mut file = bench.open();
    line(&mut file, "1\n");
    fs::rename(bench.path(), bench.dir.path().join("moved")).expect("moved");
    assert!(!line(&mut file, "2\n"), "not looked at with every line");
    let later =
        |file: &mut LogFile| file.looked = Instant::now().checked_sub(LOOK).expect("a machine that is up");
    later(&mut file);
    assert!(line(&mut file, "3\n"));
    fs::remove_file(bench.path()).expect("deleted");
    later(&mut file);
    assert!(line(&mut file, "4\n"));
    bench.expect(&[("a.log", "4\n"), ("moved", "1\n2\n")]);

    // A truncated file is small again, as far as its size matters.
    fs::File::options().write(true).open(bench.path()).expect("a file").set_len(0).expect("truncated");
    later(&mut file);
    assert!(!line(&mut file, "5\n"));
    assert_eq!(file.size, 2);
    bench.expect(&[("a.log", "5\n"), ("moved", "1\n2\n")]);
}

#[test]
fn without_a_new_file_lines_go_on_into_the_old_one() {
    let bench = Bench::new(every(Period::Daily));
    let mut file = bench.open();
    line(&mut file, "1\n");
    // A directory where the log was: nobody can open that.
    fs::rename(bench.path(), bench.dir.path().join("moved")).expect("moved");
    fs::create_dir(bench.path()).expect("made");
    file.looked = Instant::now().checked_sub(LOOK).expect("a machine that is up");
    assert!(!line(&mut file, "2\n"));
    let status = file.shared.describe(medusa_proto::status::Status::new("log.file", ""), None);
    assert_eq!(status.get("file_errors"), Some(&1_u64.into()), "{status}");
    fs::remove_dir(bench.path()).expect("removed");
    file.looked = Instant::now().checked_sub(LOOK).expect("a machine that is up");
    assert!(line(&mut file, "3\n"));
    bench.expect(&[("a.log", "3\n"), ("moved", "1\n2\n")]);
}

#[test]
fn what_is_written_is_brought_to_the_disk_when_that_is_due() {
    let mut bench = Bench::new(every(Period::Daily));
    for (fsync, at_once) in
        [(Fsync::Never, false), (Fsync::Always, true), (Fsync::Every(Duration::from_hours(1)), false)]
    {
        bench.options.fsync = fsync;
        let mut file = bench.open();
        line(&mut file, "1\n");
        assert_eq!(file.unsynced.is_some(), fsync != Fsync::Never);
        file.sync().expect("a disk");
        assert_eq!(file.unsynced.is_none(), at_once || fsync == Fsync::Never);
        if let Fsync::Every(interval) = fsync {
            let due = file.sync_due_in().expect("it is due some time");
            assert!(due <= interval && due > interval / 2);
            file.unsynced = Instant::now().checked_sub(interval);
            file.sync().expect("a disk");
            assert_eq!(file.unsynced, None);
        }
    }
}
