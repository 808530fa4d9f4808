//! The file sink on real files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use medusa_proto::format::Format;
use medusa_proto::status::Value;

use super::*;
use crate::batch::tests::batch;
use crate::drain::Drain;

fn sink(path: impl Into<PathBuf>) -> FileSink {
    FileSink::new(Target::Path(path.into()), Options { format: Format::Common, ..Options::default() })
}

fn flush(sink: &FileSink) {
    assert!(sink.flush(Instant::now() + Duration::from_mins(1)).is_complete());
}

/// The targets of the records in a log.
fn targets(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a log");
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().filter_map(|line| line.split(' ').nth(6)).map(str::to_owned).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it exists").permissions().mode() & 0o777
}

#[test]
fn records_are_appended_to_a_file_made_for_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("logs/deep/access.log");
    let sink = sink(&path);
    sink.prepare().expect("a file");
    sink.prepare().expect("once more changes nothing");
    assert_eq!(mode(&path) & 0o137, 0, "nothing for others, and not executable");
    assert_eq!(mode(path.parent().expect("a parent")) & 0o027, 0);

    sink.submit(&batch(["/1", "/2"]));
    sink.submit(&batch(["/3"]));
    flush(&sink);
    assert_eq!(targets(&path), ["/1", "/2", "/3"]);
    let status = sink.status();
    assert_eq!(status.get("written"), Some(&Value::Count(3)));
    assert_eq!(status.get("queue"), Some(&Value::Count(0)));
    assert_eq!(status.get("bytes"), Some(&Value::Bytes(path.metadata().expect("a file").len())));
    assert_eq!(status.get("last_error"), None);
}

#[test]
fn what_is_queued_before_prepare_is_written_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let sink = sink(&path);
    sink.submit(&batch(["/1"]));
    assert_eq!(sink.flush(Instant::now() + Duration::from_hours(1)), Flushed { left: 1, spilled: 0 });
    sink.prepare().expect("a file");
    flush(&sink);
    assert_eq!(targets(&path), ["/1"]);
}

#[test]
fn a_dropped_sink_finishes_its_queue() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let sink = sink(&path);
    let queue = Arc::clone(&sink.queue);
    sink.submit(&batch(["/1"]));
    sink.prepare().expect("a file");
    drop(sink);
    assert!(queue.flush(Instant::now() + Duration::from_mins(1)).is_complete());
    assert_eq!(targets(&path), ["/1"]);
}

#[test]
fn logrotate_can_move_the_file_away() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let sink = sink(&path);
    sink.reopen().expect("nothing to reopen yet");
    assert!(!path.exists());
    sink.prepare().expect("a file");
    sink.submit(&batch(["/1"]));
    flush(&sink);
    fs::rename(&path, &moved).expect("rename");
    sink.submit(&batch(["/2"]));
    flush(&sink);
    sink.reopen().expect("a new file");
    sink.submit(&batch(["/3"]));
    flush(&sink);
    assert_eq!(targets(&moved), ["/1", "/2"]);
    assert_eq!(targets(&path), ["/3"]);
}

#[test]
fn a_full_disk_is_survived_and_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let (link, real) = (dir.path().join("access.log"), dir.path().join("real.log"));
    symlink("/dev/full", &link).expect("a link");
    let options = Options { format: Format::Common, patience: Duration::ZERO, ..Options::default() };
    let sink = FileSink::new(Target::Path(link.clone()), options);
    sink.prepare().expect("it can be opened");
    sink.submit(&batch(["/1", "/2"]));
    flush(&sink);
    let status = sink.status();
    assert_eq!(status.get("lost"), Some(&Value::Count(2)));
    assert_eq!(status.get("failing"), Some(&Value::Flag(true)));
    let Some(Value::Text(error)) = status.get("last_error") else { panic!("an error") };
    assert!(error.contains("No space left"), "{error}");

    fs::remove_file(&link).expect("remove");
    symlink(&real, &link).expect("a link");
    sink.reopen().expect("a real file");
    sink.submit(&batch(["/3"]));
    flush(&sink);
    let text = fs::read_to_string(&real).expect("a log");
    assert!(text.starts_with("# 2 records lost between 01/Jan/1970:"), "{text}");
    assert!(text.contains("\"GET /3 HTTP/1.1\" 200 5\n"), "{text}");
    assert_eq!(sink.status().get("failing"), Some(&Value::Flag(false)));
}

#[test]
fn a_torn_last_line_is_ended_first() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    fs::write(&path, "127.0.0.1 - - [01/Jan").expect("a file");
    let sink = sink(&path);
    sink.prepare().expect("a file");
    sink.submit(&batch(["/1"]));
    flush(&sink);
    let text = fs::read_to_string(&path).expect("a log");
    assert!(text.starts_with("127.0.0.1 - - [01/Jan\n127.0.0.1 - - ["), "{text}");
}

#[test]
fn two_sinks_may_share_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let sinks = [sink(&path), sink(&path)];
    std::thread::scope(|scope| {
        for (i, sink) in sinks.iter().enumerate() {
            sink.prepare().expect("a file");
            scope.spawn(move || {
                for _ in 0..50 {
                    sink.submit(&batch(vec![format!("/{i}"); 100]));
                }
                flush(sink);
            });
        }
    });
    let lines = targets(&path);
    for target in ["/0", "/1"] {
        assert_eq!(lines.iter().filter(|line| *line == target).count(), 5000);
    }
}

#[test]
fn what_cannot_be_a_log_is_refused_alike_by_check_and_prepare() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("a file");
    let refused = |path: &Path| {
        let sink = sink(path);
        [sink.check().expect_err("refused"), sink.prepare().expect_err("refused")].map(|error| error.doing)
    };
    for path in [dir.path().to_owned(), dir.path().join("new/")] {
        let errors = refused(&path);
        assert!(errors.iter().all(|doing| doing.contains("name a file in it")), "{errors:?}");
    }
    let [check, prepare] = refused(&file.join("below/access.log"));
    assert_eq!(check, format!("be created: {} is not a directory", file.display()));
    assert!(prepare.starts_with("have its directory"), "{prepare}");
    // What the kernel makes up: whoever may write there, nobody can make a file.
    let errors = refused(Path::new("/proc/nope/access.log"));
    assert!(errors.iter().all(|doing| doing.starts_with("have its directory /proc/nope made")), "{errors:?}");
    for path in ["/proc/access.log", "/sys/access.log"] {
        assert_eq!(refused(Path::new(path)), ["be opened for appending"; 2]);
    }

    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let error = sink(&pipe).prepare().expect_err("a pipe without a reader does not make us wait");
    assert_eq!(error.doing, "be opened for appending");
}

#[test]
fn check_leaves_no_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("logs/access.log");
    sink(&path).check().expect("it could be made");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0);
    sink("access.log-that-is-not-there").check().expect("beside us");
    assert!(!Path::new("access.log-that-is-not-there").exists());
}

#[test]
fn standard_streams_are_open() {
    for target in [Target::Stdout, Target::Stderr] {
        let sink = FileSink::new(target, Options::default());
        sink.check().expect("open");
        sink.prepare().expect("open");
        sink.reopen().expect("nothing to do");
    }
}

#[test]
fn a_pipe_that_nobody_reads_does_not_outlive_its_sink() {
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let _reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    let sink = sink(&pipe);
    sink.prepare().expect("it has a reader");
    for _ in 0..20 {
        sink.submit(&batch(["/".repeat(10_000)]));
    }
    let queue = Arc::clone(&sink.queue);
    drop(sink);
    assert!(queue.drain(Instant::now() + Duration::from_secs(20)).is_complete(), "its thread is gone");
    let accounts = queue.accounts();
    assert_eq!((accounts.written + accounts.lost, accounts.pending), (20, 0), "{accounts:?}");
    assert!(accounts.written > 0 && accounts.lost > 0, "{accounts:?}");
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    const LIMIT: u64 = 5000;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let rotation = Rotation { size: Some(LIMIT), ..Rotation::default() };
    let options = Options { format: Format::Common, rotation: Some(rotation), ..Options::default() };
    let sink = FileSink::new(Target::Path(path), options);
    sink.prepare().expect("a file");
    // As many as a worker hands on at once.
    sink.submit(&batch((0..256).map(|number| format!("/{number}"))));
    flush(&sink);
    let mut all = 0;
    for entry in fs::read_dir(dir.path()).expect("a directory") {
        let file = entry.expect("an entry").path();
        let length = file.metadata().expect("a file").len();
        assert!(length <= LIMIT, "{file:?} has {length} bytes");
        all += targets(&file).len();
    }
    assert_eq!(all, 256);
}
