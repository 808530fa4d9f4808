//! Spilling with its own thread, and under a real sink.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use medusa_proto::entry::Entry;
use medusa_proto::format::Format;
use tempfile::TempDir;

use super::super::*;
use super::settle;
use crate::batch::tests::batch;
use crate::{FileSink, Options, Sink, Target};

fn options(directory: &Path, records: usize, bytes: u64) -> QueueOptions {
    let spill = SpillOptions { directory: directory.join("spill/target"), bytes };
    QueueOptions { records, bytes: usize::MAX, when_full: WhenFull::Spill(spill) }
}

fn queue(directory: &TempDir, records: usize, bytes: u64) -> Arc<Queue> {
    let queue = Arc::new(Queue::with_limits(options(directory.path(), records, bytes)));
    queue.prepare().expect("a directory");
    queue.prepare().expect("once more changes nothing");
    queue
}

/// Waits for what another thread will do.
fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !done() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::yield_now();
    }
}

fn submit(queue: &Queue, numbers: std::ops::Range<u64>) {
    for number in numbers {
        queue.submit(&batch([format!("/{number}")]));
    }
}

fn take(queue: &Queue) -> Arc<Batch> {
    loop {
        match queue.next(None) {
            Work::Records(Ok(batch), _) => return batch,
            Work::Nudge => {}
            other => panic!("a batch, not {other:?}"),
        }
    }
}

fn number(batch: &Batch) -> u64 {
    match batch.iter().next() {
        Some(Entry::Access(record)) => record.target[1..].parse().expect("a number"),
        other => panic!("a record, not {other:?}"),
    }
}

/// Ends the queue as a sink does that is dropped while its target is gone.
fn end(queue: Arc<Queue>) {
    queue.attempted(0, Some("gone".into()));
    queue.close();
    while !matches!(queue.next(None), Work::End) {}
    queue.leave(None);
    until(|| Arc::strong_count(&queue) == 1);
}

/// Takes all there is, as a target that works: the numbers, and where losses stood, as the numbers behind them.
fn drain(queue: &Arc<Queue>) -> (Vec<u64>, Vec<(usize, u64)>) {
    let (mut numbers, mut losses) = (Vec::new(), Vec::new());
    loop {
        match queue.next(Some(Duration::ZERO)) {
            Work::Records(Ok(batch), _) => {
                numbers.push(number(&batch));
                settle(queue, &batch, batch.len());
            }
            Work::Records(Err(loss), _) => {
                losses.push((numbers.len(), loss.records));
                queue.settle(&Err(loss), 0);
            }
            Work::Nudge if queue.accounts().pending + queue.accounts().spilled == 0 => break,
            Work::Nudge => {}
            Work::End => break,
        }
    }
    (numbers, losses)
}

#[test]
fn a_stuck_writer_does_not_keep_records_in_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let queue = queue(&directory, 8, u64::MAX);
    submit(&queue, 0..1);
    let held = take(&queue);
    for number in 1..1000 {
        submit(&queue, number..number + 1);
        until(|| queue.accounts().pending <= 5);
    }
    let accounts = queue.accounts();
    assert!(accounts.spilled >= 995 && accounts.lost == 0, "{accounts:?}");
    let status = queue.describe(Status::new("log.test", ""));
    assert_eq!(status.get("spilled"), Some(&Value::Count(accounts.spilled)));
    assert_eq!(status.get("spilled_bytes"), Some(&Value::Bytes(accounts.spilled_bytes)));
    assert_eq!(status.get("when_full"), Some(&Value::Text("spill".into())));

    settle(&queue, &held, 1);
    assert_eq!(drain(&queue).0, (1..1000).collect::<Vec<_>>());
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.spilled_bytes), (1000, 0), "{accounts:?}");
    submit(&queue, 1000..1001);
    assert_eq!(number(&take(&queue)), 1000, "memory is enough again");
    assert_eq!(queue.accounts().spilled_bytes, 0);
    end(queue);
}

#[test]
fn a_failing_target_has_all_put_on_disk_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let queue = queue(&directory, 1000, u64::MAX);
    submit(&queue, 0..10);
    let held = take(&queue);
    queue.attempted(0, Some("gone".into()));
    submit(&queue, 10..20);
    queue.put_back(Vec::new(), Some((Ok(held), 0)));
    until(|| queue.accounts().spilled == 20);
    queue.attempted(0, None);
    assert_eq!(drain(&queue).0, (0..20).collect::<Vec<_>>());
    assert!(queue.flush(Instant::now()).is_complete());
    end(queue);
}

#[test]
fn a_flush_without_time_puts_even_what_is_in_hand_on_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = queue(&directory, 1000, u64::MAX);
    submit(&first, 0..10);
    let (settled, held) = (take(&first), take(&first));
    settle(&first, &settled, 1);
    let flushed = first.flush(Instant::now());
    assert_eq!(flushed, Flushed { left: 0, spilled: 9 });
    settle(&first, &held, 1); // it is too late for that to count
    let accounts = first.accounts();
    assert_eq!((accounts.written, accounts.pending, accounts.spilled), (1, 0, 9));
    end(first);

    let second = queue(&directory, 1000, u64::MAX);
    assert_eq!(second.accounts().adopted, 9);
    assert_eq!(drain(&second).0, (1..10).collect::<Vec<_>>());
    end(second);
}

#[test]
fn what_does_not_fit_on_disk_is_told_at_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let queue = queue(&directory, 8, 1000);
    queue.attempted(0, Some("gone".into()));
    let mut submitted = 0;
    until(|| {
        submit(&queue, submitted..submitted + 1);
        submitted += 1;
        queue.accounts().last_error.is_some_and(|error| error.contains("all of its 1000 bytes"))
    });
    // Nothing makes room: there is some left in memory, and what comes then is lost.
    submit(&queue, submitted..submitted + 100);
    let lost = queue.accounts().lost;
    assert!(lost >= 92, "{lost}");
    queue.attempted(0, None);
    let (numbers, losses) = drain(&queue);
    assert_eq!(numbers.len() as u64 + lost, submitted + 100);
    assert!(numbers.is_sorted());
    assert_eq!(losses.iter().map(|(_, records)| records).sum::<u64>(), lost);
    assert_eq!(losses.last().map(|(at, _)| *at), Some(numbers.len()), "the last thing that happened");
    end(queue);
}

#[test]
fn damage_on_disk_is_counted_and_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = queue(&directory, 1000, u64::MAX);
    first.attempted(0, Some("gone".into()));
    submit(&first, 0..10);
    assert_eq!(
        first.flush(Instant::now() + Duration::from_mins(1)),
        Flushed { left: 0, spilled: 10 },
        "at once"
    );
    end(first);
    let segments = directory.path().join("spill/target");
    let segment = fs::read_dir(&segments)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "spill"));
    let segment = segment.expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).expect("a segment");

    let second = queue(&directory, 1000, u64::MAX);
    let (numbers, losses) = drain(&second);
    let (read, lost) = (numbers.len(), second.accounts().lost);
    assert_eq!((read as u64 + lost, losses), (10, vec![(read, lost)]));
    assert!(lost >= 1);
    end(second);
}

#[test]
fn a_sink_takes_over_from_another_of_the_same_target() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = queue(&directory, 1000, u64::MAX);
    old.attempted(0, Some("gone".into()));
    submit(&old, 0..10);

    let new = Arc::new(Queue::with_limits(options(directory.path(), 1000, u64::MAX)));
    let WhenFull::Spill(spill) = &new.options.when_full else { panic!("it spills") };
    let (mut thread, found) = spill::Thread::new(&new, spill).expect("a directory of its own");
    assert!(found.is_empty(), "the other is still in use");
    new.begin_to_spill(thread.directory().to_owned(), &found);
    thread.adopt();
    assert_eq!(new.accounts().adopted, 0);

    end(old);
    thread.adopt();
    assert_eq!(new.accounts().adopted, 10);
    submit(&new, 10..12);
    assert_eq!(drain(&new).0, (0..12).collect::<Vec<_>>());
    assert!(new.flush(Instant::now()).is_complete());
}

#[test]
fn a_directory_that_cannot_be_made_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("spill"), "").expect("a file");
    let queue = Arc::new(Queue::with_limits(options(directory.path(), 8, u64::MAX)));
    let error = queue.prepare().expect_err("a file is in its way");
    assert!(error.target.ends_with("spill/target") && error.doing.contains("spilled"), "{error:?}");
    fs::remove_file(directory.path().join("spill")).expect("a file");
    queue.prepare().expect("it may be tried again");
    end(queue);
}

#[test]
fn a_log_on_a_full_disk_is_complete_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (link, real) = (directory.path().join("access.log"), directory.path().join("real.log"));
    symlink("/dev/full", &link).expect("a link");
    let sink = || {
        let sink = FileSink::new(
            Target::Path(link.clone()),
            Options {
                format: Format::Common,
                queue: options(directory.path(), 1000, u64::MAX),
                ..Options::default()
            },
        );
        sink.prepare().expect("it can be opened");
        sink
    };
    let first = sink();
    for number in 0..50 {
        first.submit(&batch([format!("/{number}")]));
    }
    until(|| first.status().get("failing") == Some(&Value::Flag(true)));
    assert_eq!(first.flush(Instant::now() + Duration::from_mins(1)), Flushed { left: 0, spilled: 50 });
    drop(first);

    fs::remove_file(&link).expect("a link");
    symlink(&real, &link).expect("a link");
    let spill = directory.path().join("spill/target/lock");
    until(|| fs::File::open(&spill).is_ok_and(|lock| lock.try_lock().is_ok()));
    let second = sink();
    second.submit(&batch(["/50"]));
    assert_eq!(second.flush(Instant::now() + Duration::from_mins(1)), Flushed::default());
    let text = fs::read_to_string(&real).expect("a log");
    let targets: Vec<u64> = text
        .lines()
        .map(|line| line.split(' ').nth(6).and_then(|target| target[1..].parse().ok()).expect("a number"))
        .collect();
    assert_eq!(targets, (0..=50).collect::<Vec<_>>());
}
