//! What a VM's memory goes to, and who is stopped when it runs out.
//!
//! Each task (a request, a statement, a timer's run) has an [`Account`]: the coroutines it runs allocate under a category of
//! Luau's. There are 255, so where more tasks run several share one, and are taken to hold as much each. What is added to a
//! table is charged to who made the table, and what a task leaves behind stays where it was, but is not charged to the next
//! one there. So an account tells who fills the VM; what bounds it is the VM's limit.
//!
//! Up to the limit there are three marks. Above the first, memory is collected between tasks, a millisecond's work at a
//! time ([`Vm::collect`](crate::vm::Vm::collect)). Above the second the VM is nearly full: requests with a body are
//! refused, and if that is still so after a collection, the largest tasks are stopped. Above the third the largest is stopped
//! at once, and scripts in the slow lane wait for the collection, so that it is not whoever happens to allocate next that
//! fails.

use std::cell::{Cell, RefCell};
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::task::{Context, Waker};

use medusa_proto::status::Status;
use medusa_proto::status::Value::Bytes;
use slab::Slab;
use tokio::sync::Notify;

use crate::budget::TaskError;
use crate::luau::Heap;

/// The memory that the host may use beyond the limit where no script runs: handing a request over, or an answer back,
/// must not fail.
const RESERVE: usize = 16 * 1024 * 1024;

/// Who has less than this part of the limit is not stopped for it: nothing would be gained.
const LEAST_PART: usize = 4096;

/// Who has more than this part of the limit is one of few.
const LARGE_PART: usize = 16;

/// Who has less than this part of the limit has next to nothing.
const SMALL_PART: usize = 64;

/// The number of categories that tasks have; 0 is the VM's own.
const CATEGORIES: usize = 255;

/// The memory of one VM.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    tasks: RefCell<Tasks>,
    collect_above: Cell<usize>,
    /// What the last collection left.
    left: Cell<usize>,
    /// What tasks held that were stopped or have ended, and is not yet freed.
    doomed: Cell<usize>,
    /// Of that, what the cycle under way may not free: it was given up in the middle of it.
    doomed_late: Cell<usize>,
    collecting: Cell<bool>,
    /// A collection is to come after a while.
    expected: Cell<bool>,
    collected: Notify,
    stopped: Cell<u64>,
    refused: Cell<u64>,
    last_stopped: RefCell<Option<String>>,
}

#[derive(Debug)]
struct Tasks {
    running: Slab<Task>,
    /// The number that have a category.
    sharing: [u32; CATEGORIES],
}

#[derive(Debug)]
struct Task {
    /// The bytes of its category when it began, as far as they have not been collected since: not its own.
    before: usize,
    /// It was stopped, and held so much.
    stopped: Option<usize>,
    waker: Option<Waker>,
}

impl Tasks {
    /// The memory that a task holds, as far as it is known.
    fn own(&self, key: usize, heap: Heap) -> usize {
        let Some(task) = self.running.get(key) else { return 0 };
        let sharing = self.sharing[key % CATEGORIES].max(1) as usize;
        heap.of_category(category(key)).saturating_sub(task.before) / sharing
    }

    /// Forgets of what there was before each task what has been collected: what it makes in its place is its own.
    fn forget_collected(&mut self, heap: Heap) {
        for (key, task) in &mut self.running {
            task.before = task.before.min(heap.of_category(category(key)));
        }
    }
}

fn category(key: usize) -> u8 {
    (key % CATEGORIES + 1) as u8
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Rc<Self> {
        Rc::new(Self {
            limit,
            tasks: RefCell::new(Tasks { running: Slab::new(), sharing: [0; CATEGORIES] }),
            collect_above: Cell::new(limit / 2),
            left: Cell::default(),
            doomed: Cell::default(),
            doomed_late: Cell::default(),
            collecting: Cell::default(),
            expected: Cell::default(),
            collected: Notify::new(),
            stopped: Cell::default(),
            refused: Cell::default(),
            last_stopped: RefCell::default(),
        })
    }

    /// The most that scripts may use.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The most that may be in use where no script runs.
    pub(crate) fn host_limit(&self) -> usize {
        self.limit + RESERVE
    }

    fn nearly_full(&self) -> usize {
        self.limit / 8 * 7
    }

    fn full(&self) -> usize {
        self.limit / 16 * 15
    }

    /// Whether a script that needs long is to wait for the collection under way: all who need memory at this moment would
    /// fail, and one of them less would do.
    pub(crate) fn holds_back(&self, heap: Heap) -> bool {
        self.collecting.get() && heap.used() > self.full()
    }

    /// Opens an account for a task.
    pub(crate) fn open(self: &Rc<Self>, heap: Heap) -> Account {
        let mut tasks = self.tasks.borrow_mut();
        let key = tasks.running.vacant_key();
        tasks.running.insert(Task { before: heap.of_category(category(key)), stopped: None, waker: None });
        tasks.sharing[key % CATEGORIES] += 1;
        Account { memory: Rc::clone(self), key }
    }

    /// Whether memory is to be collected: asked after every slice.
    pub(crate) fn wants_collection(&self, heap: Heap) -> bool {
        heap.used() > self.collect_above.get()
    }

    /// While a script runs: has whoever allocates pay for a collection if one is due, and the largest stopped at the last
    /// mark.
    pub(crate) fn press(&self, heap: Heap) {
        if !self.wants_collection(heap) {
            return;
        }
        if !self.collecting.get() {
            heap.hurry(true);
            self.collect_above.set(0); // so that a collection follows the slice, and ends the hurry
        }
        self.stop_largest(heap, self.full());
    }

    /// Says that a collection begins, unless one has.
    pub(crate) fn begin_collecting(&self) -> bool {
        !self.collecting.replace(true)
    }

    /// Says that a cycle of the collector begins.
    pub(crate) fn begin_cycle(&self) {
        self.doomed_late.set(0);
    }

    /// Ends a cycle: stops the largest tasks while too much is alive, if the cycle before has found that as well (what tasks
    /// held that ended meanwhile is still there after one). Whether another cycle would free more.
    pub(crate) fn settle(&self, heap: Heap, found_before: bool) -> bool {
        self.tasks.borrow_mut().forget_collected(heap);
        // Who was stopped before that cycle and has not let go (its client does not read) is alive after all.
        self.doomed.set(self.doomed_late.get());
        if self.alive(heap) > self.nearly_full() && found_before {
            self.stop_largest(heap, self.limit / 4 * 3);
        }
        // What is alive is left alone until half of the rest has been used as well.
        let half_of_the_rest = heap.used() + self.limit.saturating_sub(heap.used()) / 2;
        self.left.set(heap.used());
        self.collect_above.set(half_of_the_rest.max(self.limit / 2));
        heap.used() > self.nearly_full() && (self.doomed.get() > 0 || !found_before)
    }

    /// Says that a collection has ended.
    pub(crate) fn end_collecting(&self) {
        self.collecting.set(false);
        self.collected.notify_waiters();
    }

    /// Waits for the end of the collection under way, if any.
    pub(crate) async fn collected(&self) {
        if self.collecting.get() {
            self.collected.notified().await;
        }
    }

    /// The memory that is in use and not known to go.
    fn alive(&self, heap: Heap) -> usize {
        heap.used().saturating_sub(self.doomed.get())
    }

    /// Stops the tasks that hold the most, until no more than `enough` is alive, or none is left worth it. Looks at each once,
    /// however many have to go.
    fn stop_largest(&self, heap: Heap, enough: usize) {
        if self.alive(heap) <= enough {
            return;
        }
        let mut tasks = self.tasks.borrow_mut();
        let running = tasks.running.iter().filter(|(_, task)| task.stopped.is_none());
        let sizes = running.map(|(key, _)| (tasks.own(key, heap), key));
        let mut largest: BinaryHeap<_> = sizes.filter(|(own, _)| *own > self.limit / LEAST_PART).collect();
        let mut wakers = Vec::new();
        while self.alive(heap) > enough
            && let Some((own, key)) = largest.pop()
        {
            let Some(task) = tasks.running.get_mut(key) else { continue };
            task.stopped = Some(own);
            wakers.extend(task.waker.take());
            self.doom(own);
        }
        drop(tasks);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn doom(&self, bytes: usize) {
        for doomed in [&self.doomed, &self.doomed_late] {
            doomed.set(doomed.get().saturating_add(bytes));
        }
    }

    /// A task ends, and lets go of what it held. What little ones held may just as well be the script's now. Whether it was
    /// so much, or so much has come together, that it should not lie there until somebody else allocates.
    pub(crate) fn end(&self, account: &Account, heap: Heap) -> bool {
        let own = account.own(heap);
        let matters = self.collecting.get() || self.wants_collection(heap);
        if matters && account.stopped().is_none() {
            self.doom(if own > self.limit / LARGE_PART { own } else { 0 });
        }
        let left = self.left.get();
        own > self.limit / SMALL_PART || heap.used() > left + left / 4 + self.limit / LARGE_PART
    }

    /// Says that a collection is to come; false: one is to come already.
    pub(crate) fn expect_collection(&self) -> bool {
        !self.expected.replace(true)
    }

    /// Says that it comes now.
    pub(crate) fn meet_collection(&self) {
        self.expected.set(false);
    }

    /// Whether a request with a body must be refused; counts it.
    pub(crate) fn refuses(&self, heap: Heap) -> bool {
        let refuses = heap.used() > self.nearly_full();
        self.refused.set(self.refused.get() + u64::from(refuses));
        refuses
    }

    /// Notes a task that failed for what it held, for the status.
    pub(crate) fn note(&self, error: &TaskError, what: impl FnOnce() -> String) {
        if matches!(error, TaskError::Memory(_)) {
            self.stopped.set(self.stopped.get() + 1);
            *self.last_stopped.borrow_mut() = Some(what());
        }
    }

    /// Adds to a VM's status.
    pub(crate) fn describe(&self, status: Status, heap: Heap) -> Status {
        let used = heap.used();
        let mut status = status
            .gauge("memory", Bytes(used as u64))
            .gauge("memory_limit", Bytes(self.limit as u64))
            .gauge("memory_nearly_full", used > self.nearly_full())
            .counter("memory_stopped", self.stopped.get())
            .counter("memory_refused", self.refused.get());
        if let Some(last) = &*self.last_stopped.borrow() {
            status = status.field("memory_last_stopped", last.clone());
        }
        status
    }
}

/// One task's memory, as long as it runs.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Rc<Memory>,
    key: usize,
}

impl Account {
    /// The category that its coroutines allocate under.
    pub(crate) fn category(&self) -> u8 {
        category(self.key)
    }

    /// The bytes it holds, as far as they are known.
    pub(crate) fn own(&self, heap: Heap) -> usize {
        self.memory.tasks.borrow().own(self.key, heap)
    }

    /// The memory it held when it was stopped for that, if it was.
    pub(crate) fn stopped(&self) -> Option<usize> {
        self.memory.tasks.borrow().running.get(self.key)?.stopped
    }

    /// Whether others are to blame that there was no memory for it: they hold most of it, and it next to nothing.
    pub(crate) fn is_innocent(&self, heap: Heap) -> bool {
        let (own, limit) = (self.own(heap), self.memory.limit);
        own < limit / SMALL_PART && heap.used().saturating_sub(own) > limit / 2
    }

    /// Looks at the VM, while the task runs. Whether the task is to stop.
    pub(crate) fn press(&self, heap: Heap) -> bool {
        self.memory.press(heap);
        self.stopped().is_some()
    }

    /// Has the task look whether it is to stop, where it waits.
    pub(crate) fn wake(&self) {
        let waker =
            self.memory.tasks.borrow_mut().running.get_mut(self.key).and_then(|task| task.waker.take());
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whoever stops it wakes `cx`.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        let mut tasks = self.memory.tasks.borrow_mut();
        let Some(task) = tasks.running.get_mut(self.key) else { return };
        if !task.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            let before = task.waker.replace(cx.waker().clone());
            drop(tasks);
            drop(before); // others' code
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut tasks = self.memory.tasks.borrow_mut();
        let over = tasks.running.try_remove(self.key);
        let sharing = &mut tasks.sharing[self.key % CATEGORIES];
        *sharing = sharing.saturating_sub(1);
        drop(tasks);
        drop(over); // the waker, too
    }
}

#[cfg(test)]
mod tests;
