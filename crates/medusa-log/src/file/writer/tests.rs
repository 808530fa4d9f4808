//! The writer against targets that fail in every way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use medusa_proto::format::Format;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::batch::tests::batch;
use crate::queue::QueueOptions;

/// What the next write does.
#[derive(Clone, Debug)]
enum Step {
    /// Takes so many bytes.
    Take(usize),
    Fail,
    Interrupt,
}

/// A target that follows a script, then takes everything.
#[derive(Clone, Default)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Step>>>,
    out: Arc<Mutex<Vec<u8>>>,
    /// Takes its place at the next occasion.
    next: Option<Box<Scripted>>,
    /// Errors of the next attempts to bring it to the disk.
    unsynced: usize,
    /// Wants to be renewed, although there is nothing to write.
    due: bool,
    /// Whether that has happened.
    renewed: Arc<AtomicBool>,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Step>) -> Self {
        Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() }
    }

    fn text(&self) -> String {
        String::from_utf8(self.out.lock().clone()).expect("UTF-8")
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = self.script.lock().pop_front();
        let count = match step {
            None => bytes.len(),
            Some(Step::Take(count)) => bytes.len().min(count),
            Some(Step::Fail) => return Err(ErrorKind::StorageFull.into()),
            Some(Step::Interrupt) => return Err(ErrorKind::Interrupted.into()),
        };
        self.out.lock().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Scripted {
    fn renew(&mut self, _: usize, _: bool) -> bool {
        let next = self.next.take();
        let changed = next.is_some();
        self.renewed.fetch_or(changed, Ordering::Relaxed);
        if let Some(next) = next {
            *self = *next;
        }
        changed
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.unsynced.checked_sub(1) {
            None => Ok(()),
            Some(left) => {
                self.unsynced = left;
                Err(io::Error::other("not on the disk"))
            }
        }
    }

    fn due_in(&self) -> Option<Duration> {
        self.due.then_some(Duration::ZERO)
    }
}

fn queue(records: usize) -> Arc<Queue> {
    Arc::new(Queue::with_limits(QueueOptions { records, bytes: usize::MAX, ..QueueOptions::default() }))
}

fn options(patience: Duration) -> Options {
    Options { format: Format::Common, patience, ..Options::default() }
}

fn writer(queue: &Arc<Queue>, to: &Scripted, patience: Duration) -> FileWriter<Scripted> {
    FileWriter::new(&options(patience), Arc::clone(queue), to.clone())
}

/// The targets of the records in a log, and the number of records its lines tell as lost. Every line must be whole.
fn read(log: &str) -> (Vec<String>, u64) {
    let (mut targets, mut lost) = (Vec::new(), 0);
    for line in log.split_inclusive('\n') {
        if let Some(told) = line.strip_prefix("# ") {
            assert!(line.contains(" lost between "), "{line}");
            lost += told.split(' ').next().expect("a word").parse::<u64>().expect("a number");
        } else {
            assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with(" 200 5\n"), "torn: {line:?}");
            targets.push(line.split(' ').nth(6).expect("a target").to_owned());
        }
    }
    (targets, lost)
}

#[test]
fn a_batch_is_one_write() {
    let queue = queue(100);
    queue.submit(&batch(["/1", "/2", "/3"]));
    queue.close();
    let to = Scripted::new([Step::Take(usize::MAX), Step::Fail]);
    writer(&queue, &to, Duration::ZERO).run();
    assert_eq!(read(&to.text()), (vec!["/1".into(), "/2".into(), "/3".into()], 0));
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.lost, accounts.failing), (3, 0, false));
    assert_eq!(accounts.bytes, to.text().len() as u64);
}

#[test]
fn a_failed_batch_is_tried_again_and_nothing_is_lost() {
    let queue = queue(100);
    let to = Scripted::new([Step::Take(10), Step::Fail, Step::Take(7), Step::Fail, Step::Interrupt]);
    thread::scope(|scope| {
        let writer = writer(&queue, &to, Duration::from_hours(1));
        scope.spawn(move || writer.run());
        queue.submit(&batch(["/1", "/2"]));
        assert!(queue.flush(Instant::now() + Duration::from_mins(1)).is_complete());
        queue.close();
    });
    assert_eq!(read(&to.text()), (vec!["/1".into(), "/2".into()], 0));
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.lost, accounts.failing), (2, 0, false));
    assert!(accounts.last_error.is_some(), "the last error stays to be seen");
    assert!(
        accounts.last_error_at.is_some() && accounts.recovered_at.is_some(),
        "and when, and that it is over"
    );
}

#[test]
fn what_is_given_up_is_told_ahead_of_the_next_record() {
    let queue = queue(100);
    queue.submit(&batch(["/1", "/2", "/3"]));
    queue.submit(&batch(["/4"]));
    queue.close();
    // The second line is begun: it is finished, and only the third is lost.
    let to = Scripted::new([Step::Take(70), Step::Fail]);
    writer(&queue, &to, Duration::ZERO).run();
    let text = to.text();
    assert_eq!(read(&text), (vec!["/1".into(), "/2".into(), "/4".into()], 1));
    assert!(text.lines().nth(2).expect("three lines").starts_with("# 1 record lost between "), "{text}");
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.lost), (3, 1));
}

#[test]
fn a_line_begun_in_a_replaced_file_is_whole_in_the_new_one() {
    let queue = queue(100);
    queue.submit(&batch(["/1", "/2"]));
    queue.close();
    let old = Scripted::new([Step::Take(70), Step::Fail]);
    let new = Scripted::default();
    let mut writer = writer(&queue, &old, Duration::ZERO);
    let Work::Records(first, since) = queue.next(None) else { panic!("a batch") };
    writer.write(&first, since);
    writer.to.next = Some(Box::new(new.clone()));
    writer.run();
    assert_eq!(read(&new.text()), (vec!["/2".into()], 0));
}

#[test]
fn a_file_that_is_due_is_renewed_without_a_record() {
    let queue = queue(100);
    let old = Scripted { due: true, next: Some(Box::default()), ..Scripted::default() };
    let renewed = Arc::clone(&old.renewed);
    thread::scope(|scope| {
        let writer = writer(&queue, &old, Duration::ZERO);
        scope.spawn(move || writer.run());
        let deadline = Instant::now() + Duration::from_mins(1);
        while !renewed.load(Ordering::Relaxed) && Instant::now() < deadline {
            thread::yield_now();
        }
        queue.close();
    });
    assert!(renewed.load(Ordering::Relaxed));
}

#[test]
fn what_may_not_be_on_the_disk_is_told_but_not_written_again() {
    let queue = queue(100);
    queue.submit(&batch(["/1"]));
    queue.close();
    let to = Scripted { unsynced: 1, ..Scripted::default() };
    writer(&queue, &to, Duration::from_hours(1)).run();
    assert_eq!(read(&to.text()), (vec!["/1".into()], 0));
    let accounts = queue.accounts();
    assert_eq!((accounts.written, accounts.lost, accounts.failing), (1, 0, true));
    assert_eq!(accounts.last_error.as_deref(), Some("not on the disk"));
    assert!(accounts.last_error_at.is_some() && accounts.recovered_at.is_none(), "it goes on");
}

#[test]
fn a_target_that_is_gone_ends_the_writer_all_the_same() {
    let queue = queue(100);
    queue.submit(&batch(["/1", "/2"]));
    queue.submit(&batch(["/3"]));
    queue.close();
    let to = Scripted::new(vec![Step::Fail; 10]);
    writer(&queue, &to, Duration::from_hours(1)).run();
    let accounts = queue.accounts();
    assert_eq!((accounts.pending, accounts.written, accounts.lost, accounts.failing), (0, 0, 3, true));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(0..300_usize).prop_map(Step::Take), Just(Step::Fail), Just(Step::Interrupt)]
}

proptest! {
    /// However the target behaves: every record is delivered or lost, never both, in order; no line is torn as long as
    /// the target comes back; and the stream tells every loss.
    #[test]
    fn every_record_is_accounted_for(
        script in proptest::collection::vec(step(), 0..30),
        sizes in proptest::collection::vec(1..6_usize, 1..12),
        limit in 1..40_usize,
    ) {
        let queue = queue(limit);
        let mut number = 0..;
        for size in sizes {
            queue.submit(&batch(number.by_ref().take(size).map(|n| format!("/{n}"))));
        }
        let all = number.start;
        queue.close();
        let to = Scripted::new(script);
        writer(&queue, &to, Duration::ZERO).run();

        let accounts = queue.accounts();
        prop_assert_eq!(accounts.pending, 0);
        prop_assert_eq!(accounts.written + accounts.lost, all);
        let text = to.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let (targets, told) = read(whole);
        prop_assert_eq!(targets.len() as u64, accounts.written);
        let numbers: Vec<u64> = targets.iter().map(|target| target[1..].parse().expect("a number")).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        if !accounts.failing {
            prop_assert_eq!(whole, text.as_str());
            prop_assert_eq!(told, accounts.lost);
        }
    }
}
