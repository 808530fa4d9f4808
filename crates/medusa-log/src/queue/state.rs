//! State that the lock of a queue protects: the records in memory, what is known of those on disk, and the accounts.
//!
//! Four stages, in the order of age:
//!
//! 1. *in hand*: given to the writer, and not settled;
//! 2. *front*: what the writer takes next;
//! 3. on disk: see [`Index`];
//! 4. *back*: younger than what is on disk, and on its way there, or waiting until all of that has been replayed.
//!
//! Without spilling, the last two are always empty. Nothing here blocks or looks at a clock.

mod disk;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use medusa_proto::access::Loss;

use super::QueueOptions;
use super::accounts::Accounts;
use super::spill::{FileOperation, Index, Next, Origin};
use crate::Batch;
use crate::mailbox::Load;
pub(super) use disk::{Life, Spiller};

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) in_hand: VecDeque<Item>,
    pub(super) front: VecDeque<Item>,
    pub(super) disk: Index,
    pub(super) back: VecDeque<Item>,
    /// What is pending of the back, on its way to disk included.
    behind: Load,
    /// Batches that have been put on disk with all there was. Those the writer holds will come again, and what it does
    /// with them counts no more.
    parked: Vec<Weak<Batch>>,
    /// Items ever queued, those of them that were found on disk, and those of all the writer is done with.
    pub(super) queued: u64,
    pub(super) adopted: u64,
    pub(super) done: u64,
    pub(super) stage: Stage,
    pub(super) nudged: bool,
    /// How often a worker waited for room.
    #[cfg(test)]
    pub(super) waits: usize,
    /// Whether the last wait for room was in vain; until there has been room, nobody waits again.
    pub(super) in_vain: bool,
    pub(super) spiller: Spiller,
    pub(super) accounts: Accounts,
}

/// Stage in the life of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Open,
    /// The sink is gone.
    Closed,
    /// The writer has been told to end.
    Ended,
    /// The writer has ended.
    Left,
}

/// Side of what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What is older.
    Front,
    /// What is younger.
    Back,
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Records, since when they wait, and where they were read from.
    Batch(Arc<Batch>, Instant, Option<Origin>),
    Lost(Loss),
}

impl Item {
    fn is(&self, batch: &Batch) -> bool {
        matches!(self, Self::Batch(own, ..) if std::ptr::eq(Arc::as_ptr(own), batch))
    }
}

/// Next thing for the writer.
#[derive(Debug)]
pub(super) enum Take {
    Item(Item),
    /// What is next is on disk.
    Disk(Next),
    /// A segment has been read to its end.
    Drained(Option<FileOperation>),
    /// What is next is being moved.
    Later,
    /// There is nothing.
    Empty,
}

impl QueueState {
    pub(super) fn accounts(&self) -> Accounts {
        let (spilled, spilled_bytes) = (self.disk.records, self.disk.bytes);
        Accounts { spilled, spilled_bytes, ..self.accounts.clone() }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.accounts.failing
    }

    /// Tells whether there is someone to put records on disk.
    pub(super) fn spills(&self) -> bool {
        self.spiller.life == Life::Running
    }

    /// Queues `batch`, whose records are `whole`, or counts them as lost.
    pub(super) fn push(&mut self, limits: &QueueOptions, batch: &Arc<Batch>, whole: Loss) {
        let side = self.side_for(limits, batch);
        if side.is_some() {
            self.in_vain = false;
            self.accounts.pending += whole.records;
            self.accounts.pending_bytes += batch.footprint();
        } else {
            self.accounts.lost += whole.records;
        }
        if side == Some(Side::Back) {
            self.behind.records += whole.records;
            self.behind.bytes += batch.footprint();
        }
        let direct = side.map_or_else(|| self.is_direct(), |side| side == Side::Front);
        let items = if direct { &mut self.front } else { &mut self.back };
        match (side, items.back_mut()) {
            (None, Some(Item::Lost(loss))) => {
                *loss = loss.merge(whole);
                return;
            }
            (None, _) => items.push_back(Item::Lost(whole)),
            (Some(_), _) => items.push_back(Item::Batch(Arc::clone(batch), Instant::now(), None)),
        }
        self.queued += 1;
    }

    pub(super) fn fits(&self, limits: &QueueOptions, batch: &Batch) -> bool {
        self.side_for(limits, batch).is_some()
    }

    /// The side with room for `batch`. With spilling, the front has half of all, so that the way to the disk has some, too.
    fn side_for(&self, limits: &QueueOptions, batch: &Batch) -> Option<Side> {
        if !self.spills() {
            return self.is_within(limits.records, limits.bytes, batch).then_some(Side::Front);
        }
        if self.is_direct()
            && !self.is_failing()
            && self.is_within(limits.records / 2, limits.bytes / 2, batch)
        {
            return Some(Side::Front);
        }
        (self.back.is_empty() || self.has_room_behind(limits, batch)).then_some(Side::Back)
    }

    /// Tells whether nothing is between the front and what is submitted now.
    fn is_direct(&self) -> bool {
        self.back.is_empty() && self.spiller.moving.is_none() && self.disk.is_read()
    }

    /// A batch is taken only if both limits hold afterwards, or if nothing else is pending.
    fn is_within(&self, records: usize, bytes: usize, batch: &Batch) -> bool {
        let Accounts { pending, pending_bytes, .. } = self.accounts;
        pending == 0
            || (pending + batch.len() as u64 <= records as u64 && pending_bytes + batch.footprint() <= bytes)
    }

    /// Loses the oldest that wait until `batch` fits, or nothing waits. What they were is told where they stood: ahead of
    /// all that is left. What the writer holds is not touched.
    pub(super) fn drop_old(&mut self, limits: &QueueOptions, batch: &Batch) {
        let mut lost: Option<Loss> = None;
        let mut items = 0;
        while !self.fits(limits, batch) {
            let Some(oldest) = self.front.pop_front() else { break };
            let loss = match &oldest {
                Item::Lost(loss) => Some(*loss),
                Item::Batch(old, ..) => {
                    self.forget(old);
                    self.accounts.lost += old.len() as u64;
                    old.loss_after(0)
                }
            };
            lost = lost.into_iter().chain(loss).reduce(Loss::merge);
            items += 1;
        }
        let Some(lost) = lost else { return };
        if let Some(Item::Lost(next)) = self.front.front_mut() {
            *next = next.merge(lost);
            items += 1;
        } else {
            self.front.push_front(Item::Lost(lost));
        }
        // All of these have become one.
        self.done += u64::saturating_sub(items, 1);
    }

    /// `batch` is no longer in memory.
    pub(super) fn forget(&mut self, batch: &Batch) {
        self.accounts.pending -= batch.len() as u64;
        self.accounts.pending_bytes -= batch.footprint();
    }

    /// `batch` is in memory, again or for the first time.
    pub(super) fn remember(&mut self, batch: &Batch) {
        self.accounts.pending += batch.len() as u64;
        self.accounts.pending_bytes += batch.footprint();
    }

    /// Takes what is next for the writer. What it is given is in its hand.
    pub(super) fn take(&mut self) -> Take {
        if let Some(item) = self.front.pop_front() {
            self.hold(&item);
            return Take::Item(item);
        }
        if self.spiller.moving == Some(Side::Front) {
            return Take::Later;
        }
        if let Some(next) = self.disk.next() {
            if next.at < next.length {
                return Take::Disk(next);
            }
            if next.newest && self.spiller.moving.is_some() {
                return Take::Later;
            }
            return Take::Drained(self.disk.finish(next.number));
        }
        if self.spiller.moving.is_some() {
            return Take::Later;
        }
        std::mem::swap(&mut self.front, &mut self.back);
        self.behind = Load::default();
        match self.front.pop_front() {
            Some(item) => {
                self.hold(&item);
                Take::Item(item)
            }
            None => Take::Empty,
        }
    }

    /// `written` records of `batch` are with the target, and the rest is lost.
    pub(super) fn settle(&mut self, batch: &Batch, written: u64) -> Option<FileOperation> {
        let (true, origin) = self.release(batch) else { return None };
        self.forget(batch);
        self.accounts.written += written;
        self.accounts.lost += batch.len() as u64 - written;
        self.done += 1;
        origin.and_then(|origin| self.disk.release(origin))
    }

    /// `written` records of `batch` are with the target, and `rest`, all that is behind them, comes again.
    pub(super) fn split(&mut self, batch: &Batch, written: usize, rest: Arc<Batch>) {
        let (true, origin) = self.release(batch) else { return };
        self.forget(batch);
        self.accounts.written += written as u64;
        self.remember(&rest);
        self.push_front(rest, origin);
    }

    /// `batch`, settled as written, may not have arrived but for its first records, and comes again before anything else.
    pub(super) fn unsettle(&mut self, batch: Arc<Batch>, arrived: usize) {
        if self.comes_again(&batch) {
            return;
        }
        let batch = if arrived == 0 { batch } else { batch.behind(arrived) };
        let records = batch.len() as u64;
        self.done -= 1;
        self.accounts.written -= records;
        self.accounts.resent += records;
        self.remember(&batch);
        self.push_front(batch, None);
    }

    /// `batch` comes again before anything else.
    pub(super) fn push_front(&mut self, batch: Arc<Batch>, origin: Option<Origin>) {
        self.front.push_front(Item::Batch(batch, Instant::now(), origin));
    }

    /// The target can be written to, or not. Whether that is news.
    pub(super) fn set_failing(&mut self, failing: bool) -> bool {
        std::mem::replace(&mut self.accounts.failing, failing) != failing
    }
}
