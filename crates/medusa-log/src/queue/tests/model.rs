//! A spilling queue under random operations, with its spiller stepped by hand: nothing vanishes, and the order stays.

use std::collections::BTreeSet;

use medusa_proto::entry::Entry;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::*;
use super::settle;
use crate::batch::tests::batch;

#[derive(Clone, Debug)]
enum Step {
    /// A worker submits so many records.
    Submit(usize),
    /// The writer asks for work.
    Take,
    /// The target takes all of what is in hand.
    Write,
    /// The target breaks off after so many of them.
    Break(usize),
    /// The connection is gone, and with it so many batches that had been settled.
    Disconnect(usize),
    Recover,
    /// The spiller does what there is to do.
    Spill,
    Park,
    /// The server is stopped, and started.
    Restart,
    /// The server is killed, and started.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..6_usize).prop_map(Step::Submit),
        6 => Just(Step::Take),
        6 => Just(Step::Write),
        1 => (0..6_usize).prop_map(Step::Break),
        2 => (0..3_usize).prop_map(Step::Disconnect),
        2 => Just(Step::Recover),
        6 => Just(Step::Spill),
        1 => Just(Step::Park),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// A queue, its writer, its target, and what they have seen.
struct Rig {
    _directory: TempDir,
    options: QueueOptions,
    queue: Arc<Queue>,
    /// There is always one, but for the moment in which one makes way for the next.
    spiller: Option<spill::Thread>,
    in_hand: Option<Arc<Batch>>,
    /// What may be put back.
    window: Vec<Arc<Batch>>,
    /// Submitted, by this queue and by all.
    own: u64,
    submitted: u64,
    seen: BTreeSet<u64>,
    /// Records lost in earlier lives; records that were in memory when the server was killed.
    lost: u64,
    killed: u64,
    /// Records that came again, in earlier lives.
    resent: u64,
    told: u64,
}

impl Rig {
    fn new(records: usize, disk: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let spill = SpillOptions { directory: directory.path().join("spill"), bytes: disk };
        let options = QueueOptions { records, bytes: usize::MAX, when_full: WhenFull::Spill(spill) };
        let (queue, spiller) = start(&options);
        Self {
            _directory: directory,
            options,
            queue,
            spiller: Some(spiller),
            in_hand: None,
            window: Vec::new(),
            own: 0,
            submitted: 0,
            seen: BTreeSet::new(),
            lost: 0,
            killed: 0,
            resent: 0,
            told: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Submit(count) => {
                let numbers = self.submitted..self.submitted + *count as u64;
                self.submitted = numbers.end;
                self.own += *count as u64;
                self.queue.submit(&batch(numbers.map(|n| format!("/{n}"))));
            }
            Step::Take => {
                self.take();
            }
            Step::Write => self.write(),
            Step::Break(count) => self.break_off(*count),
            Step::Disconnect(count) => {
                self.queue.attempted(0, Some("gone".into()));
                let settled = self.window.split_off(self.window.len().saturating_sub(*count));
                self.window.clear();
                // Of the oldest of them some may have arrived for certain.
                let arrived = |(at, batch): (usize, Arc<Batch>)| {
                    let arrived = usize::from(at == 0 && count % 2 == 0 && batch.len() > 1);
                    (Ok(batch), arrived)
                };
                let settled = settled.into_iter().enumerate().map(arrived).collect();
                self.queue.put_back(settled, self.in_hand.take().map(|batch| (Ok(batch), 0)));
            }
            Step::Recover => self.queue.attempted(0, None),
            Step::Spill => self.spill(),
            Step::Park => {
                self.queue.state.lock().park = true;
                self.spill();
                self.queue.state.lock().park = false;
            }
            Step::Restart => self.restart(),
            Step::Crash => {
                self.killed += self.queue.accounts().pending;
                self.reopen();
            }
        }
    }

    fn take(&mut self) -> bool {
        if self.in_hand.is_some() {
            return true;
        }
        match self.queue.next(Some(Duration::ZERO)) {
            Work::Records(Ok(batch), _) => self.in_hand = Some(batch),
            Work::Records(Err(loss), _) => {
                self.told += loss.records;
                self.queue.settle(&Err(loss), 0);
            }
            Work::Nudge | Work::End => return false,
        }
        true
    }

    fn write(&mut self) {
        let Some(batch) = self.in_hand.take() else { return };
        if self.queue.state.lock().accounts.failing {
            self.in_hand = Some(batch);
            return;
        }
        self.deliver(&batch, batch.len());
        self.queue.attempted(1, None);
        if settle(&self.queue, &batch, batch.len()) {
            self.window.push(batch);
        }
    }

    fn break_off(&mut self, count: usize) {
        let Some(batch) = self.in_hand.take() else { return };
        let written = count.min(batch.len());
        self.deliver(&batch, written);
        self.queue.attempted(1, Some("full".into()));
        assert_eq!(self.queue.give_up(&Ok(batch), written), None, "it will come again");
        self.window.clear();
    }

    fn deliver(&mut self, batch: &Batch, count: usize) {
        for entry in batch.iter().take(count) {
            let Entry::Access(record) = entry else { panic!("a record") };
            let number: u64 = record.target[1..].parse().expect("a number");
            if self.seen.insert(number) {
                assert_eq!(self.seen.last(), Some(&number), "first deliveries are in order");
            }
        }
    }

    fn spill(&mut self) {
        while self.spiller.as_mut().expect("a spiller").step() {}
        self.queue.state.lock().stuck = false;
    }

    /// As a sink is dropped, and its writer ends.
    fn restart(&mut self) {
        self.queue.close();
        loop {
            self.write();
            if let Some(held) = self.in_hand.take() {
                self.queue.give_up(&Ok(held), 0);
            }
            if !self.take() && self.queue.state.lock().stage >= Stage::Ended {
                break;
            }
        }
        self.spiller.as_mut().expect("a spiller").finish();
        assert_eq!(self.queue.accounts().pending, 0);
        self.reopen();
    }

    fn reopen(&mut self) {
        let Accounts { lost, resent, .. } = self.queue.accounts();
        self.lost += lost;
        self.resent += resent;
        self.spiller = None; // which frees the directory
        let (queue, spiller) = start(&self.options);
        (self.queue, self.spiller) = (queue, Some(spiller));
        (self.in_hand, self.own) = (None, 0);
        self.window.clear();
    }

    /// The accounts balance.
    fn check(&self) {
        let accounts = self.queue.accounts();
        let Accounts { pending, written, lost, spilled, adopted, .. } = accounts;
        assert_eq!(self.own + adopted, written + lost + pending + spilled, "{accounts:?}");
    }
}

fn start(options: &QueueOptions) -> (Arc<Queue>, spill::Thread) {
    let WhenFull::Spill(spill) = &options.when_full else { panic!("it spills") };
    let queue = Arc::new(Queue::with_limits(options.clone()));
    let (thread, found) = spill::Thread::new(&queue, spill).expect("a directory");
    queue.begin_to_spill(thread.directory().to_owned(), &found);
    (queue, thread)
}

/// A disk as small as a few batches, or as large as it takes.
fn disk() -> impl Strategy<Value = u64> {
    prop_oneof![300..3000_u64, Just(u64::MAX)]
}

proptest! {
    #[test]
    fn nothing_vanishes_and_the_order_stays(
        steps in proptest::collection::vec(step(), 1..60),
        records in 1..20_usize,
        disk in disk(),
    ) {
        let mut rig = Rig::new(records, disk);
        for step in &steps {
            rig.apply(step);
            rig.check();
        }
        rig.queue.attempted(0, None);
        while rig.take() {
            rig.write();
            rig.check();
        }
        let accounts = rig.queue.accounts();
        prop_assert_eq!((accounts.pending, accounts.spilled, accounts.spilled_bytes), (0, 0, 0));
        prop_assert!(rig.queue.flush(Instant::now()).is_complete());

        let (lost, resent) = (rig.lost + accounts.lost, rig.resent + accounts.resent);
        let missing = rig.submitted - rig.seen.len() as u64;
        prop_assert!(rig.told <= lost);
        if disk == u64::MAX && !steps.iter().any(|step| matches!(step, Step::Crash)) {
            prop_assert_eq!(rig.told, lost);
        }
        prop_assert!(missing <= lost + rig.killed, "only what was in memory dies with the server");
        if rig.killed == 0 {
            // What came again, and was lost then, may have arrived the first time.
            prop_assert!(lost <= missing + resent, "{lost} lost, {missing} missing, {resent} sent again");
            if disk == u64::MAX {
                prop_assert_eq!(missing, lost);
            }
        }
    }
}

#[test]
fn what_comes_again_takes_no_room_from_what_is_new() {
    let mut rig = Rig::new(8, u64::MAX);
    for _ in 0..5 {
        rig.apply(&Step::Submit(4));
        assert!(rig.take());
        rig.write();
    }
    rig.apply(&Step::Disconnect(5));
    assert_eq!(rig.queue.accounts().pending, 20, "more than there is room for");
    for _ in 0..4 {
        rig.apply(&Step::Submit(1));
    }
    assert_eq!(rig.queue.accounts().lost, 0);
    rig.apply(&Step::Submit(1));
    assert_eq!(rig.queue.accounts().lost, 1, "half of the room, and no more");
    rig.spill();
    rig.apply(&Step::Submit(8));
    let Accounts { pending, spilled, lost, .. } = rig.queue.accounts();
    assert_eq!((pending, spilled, lost), (8, 24, 1));
    rig.check();
}
