//! Spilling as a layer of the queue: a disk between its front and its back, and a thread that moves records there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Item, QueueState, Side, Stage};
use crate::Batch;
use crate::mailbox::Load;
use crate::queue::QueueOptions;
use crate::queue::accounts::Accounts;
use crate::queue::spill::{FileOperation, Found, Origin};

/// The state of the thread that puts records on disk.
#[derive(Debug, Default)]
pub(in crate::queue) struct Spiller {
    pub(in crate::queue) life: Life,
    /// What it is moving; its records count as pending until they are on disk.
    pub(in crate::queue) moving: Option<Side>,
    /// All is to be put on disk, even what the writer holds: the process is about to end.
    pub(in crate::queue) park: bool,
    /// What the writer holds has been on its way to the disk before.
    pub(in crate::queue) has_parked: bool,
    /// The last attempt to put something on disk failed. It tries again when there is room, or after a while.
    pub(in crate::queue) stuck: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::queue) enum Life {
    /// There is none: nothing is spilled.
    #[default]
    None,
    Running,
    /// It has put on disk what was left, and is gone.
    Ended,
}

impl QueueState {
    /// The back has the room that the front has not taken, and half of all in any case: what a broken connection has put
    /// back is bounded by who did it, and may be more than there is room for. Losing what comes meanwhile would be no
    /// help.
    pub(super) fn has_room_behind(&self, limits: &QueueOptions, batch: &Batch) -> bool {
        let Accounts { pending, pending_bytes, .. } = self.accounts;
        let records = (pending - self.behind.records).min(limits.records as u64 / 2) + self.behind.records;
        let bytes = (pending_bytes - self.behind.bytes).min(limits.bytes / 2) + self.behind.bytes;
        records + batch.len() as u64 <= limits.records as u64 && bytes + batch.footprint() <= limits.bytes
    }

    /// Only who may park asks what is in the writer's hand.
    pub(in crate::queue) fn hold(&mut self, item: &Item) {
        if self.spills() && matches!(item, Item::Batch(..)) {
            self.in_hand.push_back(item.clone());
        }
    }

    /// The writer lets go of `batch`. False if it has been put on disk meanwhile, from where it will come again, or be
    /// counted, so that what the writer did counts no more.
    pub(in crate::queue) fn release(&mut self, batch: &Batch) -> (bool, Option<Origin>) {
        if self.spiller.life == Life::None {
            return (true, None);
        }
        // It is at the front if it was to be put on disk, and could not be.
        for items in [&mut self.in_hand, &mut self.front] {
            if let Some(at) = items.iter().position(|item| item.is(batch))
                && let Some(Item::Batch(_, _, origin)) = items.remove(at)
            {
                return (true, origin);
            }
        }
        (false, None)
    }

    /// Tells whether that `batch` was settled did not count, as it had been put on disk, or was on its way there.
    pub(super) fn comes_again(&mut self, batch: &Arc<Batch>) -> bool {
        if let Some(at) =
            self.parked.iter().position(|parked| std::ptr::eq(parked.as_ptr(), Arc::as_ptr(batch)))
        {
            self.parked.swap_remove(at);
            return true;
        }
        self.spiller.has_parked && self.in_hand.iter().chain(&self.front).any(|item| item.is(batch))
    }

    /// The side that the spiller should put on disk: all of it if the target fails, else what presses.
    pub(in crate::queue) fn to_spill(&self, limits: &QueueOptions) -> Option<Side> {
        if !self.spills() || self.spiller.stuck {
            return None;
        }
        let all = self.takes_all();
        if (self.is_failing() || all) && (!self.front.is_empty() || (all && !self.in_hand.is_empty())) {
            return Some(Side::Front);
        }
        let Accounts { pending, pending_bytes, .. } = self.accounts;
        let pressed = pending > limits.records as u64 / 2 || pending_bytes > limits.bytes / 2;
        (!self.back.is_empty() && (all || pressed || self.is_failing())).then_some(Side::Back)
    }

    /// Tells whether even what the writer holds goes to disk.
    pub(in crate::queue) fn takes_all(&self) -> bool {
        self.spiller.park || self.stage >= Stage::Ended
    }

    /// Segments have been found on disk.
    pub(in crate::queue) fn adopt(&mut self, segments: &[(u64, Found)]) {
        for (number, found) in segments {
            self.disk.found(*number, found);
            self.accounts.adopted += found.records;
            self.adopted += found.frames;
            self.queued += found.frames;
        }
    }

    /// `items` are on disk: segment `number` has grown to `length` by as many frames.
    pub(in crate::queue) fn stored(
        &mut self,
        items: &VecDeque<Item>,
        number: u64,
        length: u64,
        frames: u64,
    ) -> Vec<FileOperation> {
        let mut records = 0;
        let mut operations = Vec::new();
        self.parked.retain(|parked| parked.strong_count() > 0);
        for item in items {
            if let Item::Batch(batch, _, origin) = item {
                self.forget(batch);
                if self.spiller.moving == Some(Side::Back) {
                    self.behind.records -= batch.len() as u64;
                    self.behind.bytes -= batch.footprint();
                }
                records += batch.len() as u64;
                if self.takes_all() {
                    self.parked.push(Arc::downgrade(batch));
                }
                operations.extend(origin.and_then(|origin| self.disk.release(origin)));
            }
        }
        self.disk.appended(number, length, frames, records);
        self.queued += frames - items.len() as u64; // a large batch has become several
        self.spiller.moving = None;
        operations
    }

    /// A loss has come to light on disk: `records` that are not there.
    pub(in crate::queue) fn lost_on_disk(&mut self, records: u64) {
        self.accounts.lost += records;
    }

    /// All that is only in memory is lost, as there is nobody left to take it. Returns how many records.
    pub(in crate::queue) fn lose_all(&mut self) -> u64 {
        let items: Vec<Item> =
            self.in_hand.drain(..).chain(self.front.drain(..)).chain(self.back.drain(..)).collect();
        self.behind = Load::default();
        let mut lost = 0;
        for item in items {
            if let Item::Batch(batch, _, origin) = &item {
                self.forget(batch);
                if let Some(origin) = origin {
                    self.disk.keep(*origin, batch.len() as u64);
                    continue;
                }
                lost += batch.len() as u64;
            }
            self.done += 1;
        }
        self.accounts.lost += lost;
        lost
    }
}
