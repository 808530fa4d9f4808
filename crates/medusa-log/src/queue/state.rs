//! State that the lock of a queue protects: records in memory, what is known of those on disk, and the accounts.
//!
//! In the order of age a record is *in hand* (given to the writer, and not settled), to come *again* (given back by it), on
//! *disk*, or *fresh*: it waits for its turn, or is on its way to disk. Without spilling, that is a queue in memory, and
//! nothing is on disk. Nothing here blocks.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use medusa_proto::access::Loss;

use super::spill::{HEAD, MIDDLE, Origin, SEGMENT_BYTES, Segment, StoredFrame};
use super::{Records, Work};
use crate::mailbox::Load;
use crate::{Batch, local};

#[expect(clippy::struct_excessive_bools, reason = "none of them follows from the others")]
#[derive(Debug, Default)]
pub(super) struct QueueState {
    hand: VecDeque<Item>,
    again: VecDeque<Item>,
    disk: BTreeMap<u64, Segment>,
    fresh: VecDeque<Item>,
    /// All in memory, and what of that is fresh; both with what is on its way to disk.
    pending: Load,
    fresh_load: Load,
    /// Items ever queued.
    pub(super) queued: u64,
    /// The number of the next segment behind all others. None is used twice: the file of the last may not be gone yet.
    next_segment: u64,
    /// Where from the spiller is moving what it has.
    pub(super) moving: Option<Side>,
    /// All is to be put on disk, even what the writer holds, as the process is about to end.
    pub(super) park: bool,
    /// The last attempt to spill failed. It is repeated when there is room, or after a while.
    pub(super) stuck: bool,
    /// Whether there is, or was, a spiller.
    pub(super) has_spiller: bool,
    /// The process is about to end: what is on its way is waited for no longer.
    pub(super) is_over: bool,
    pub(super) stage: Stage,
    pub(super) nudged: bool,
    /// The last wait for room was in vain; until there has been room, nobody waits again.
    pub(super) in_vain: bool,
    /// How often a worker waited for room.
    #[cfg(test)]
    pub(super) waits: usize,
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
    /// The writer has ended, and the spiller puts on disk what is left.
    Left,
    /// Nobody is left.
    Gone,
}

/// Side of what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Older: what comes again, and what the writer holds.
    Older,
    Fresh,
}

/// Records that are queued, or a loss in their place.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) records: Records,
    /// Its number among all that were ever queued, or zero if it has come again.
    serial: u64,
    since: Instant,
    /// Where it was read from.
    pub(super) origin: Option<Origin>,
}

impl Item {
    fn new(records: Records, serial: u64, origin: Option<Origin>) -> Self {
        Self { records, serial, since: Instant::now(), origin }
    }

    fn is(&self, records: &Records) -> bool {
        match (&self.records, records) {
            (Ok(own), Ok(batch)) => Arc::ptr_eq(own, batch),
            (Err(own), Err(loss)) => own == loss,
            _ => false,
        }
    }

    fn load(&self) -> Load {
        super::load(&self.records)
    }
}

/// Next thing for the writer.
pub(super) enum Take {
    Work(Work),
    /// A segment with what is next; or one that has been read to its end, and is to be removed.
    Segment(u64, Segment),
    /// There is nothing, or it is being moved.
    Nothing,
}

impl QueueState {
    pub(super) fn accounts(&self) -> Accounts {
        let Load { records, bytes } = self.pending;
        Accounts { pending: records, pending_bytes: bytes, ..self.accounts.clone() }
    }

    /// Tells whether there is someone to put records on disk.
    pub(super) fn spills(&self) -> bool {
        self.has_spiller && self.stage < Stage::Gone
    }

    /// Tells whether all is settled that had been queued when `queued` was the count.
    pub(super) fn is_settled(&self, queued: u64) -> bool {
        let mut oldest = [&self.hand, &self.again, &self.fresh].into_iter().filter_map(VecDeque::front);
        self.moving.is_none()
            && oldest.all(|item| item.serial > queued)
            && self.disk.values().next().is_none_or(|segment| segment.serial > queued)
    }

    /// Tells whether there is room for `batch`. With spilling, fresh records have half of all in any case, so that the way to
    /// the disk has some: what a broken connection has put back is bounded by who did it, and may be more than there is
    /// room for. Losing what comes meanwhile would be no help.
    pub(super) fn fits(&self, limit: Load, batch: &Batch) -> bool {
        let load = Load::of(batch);
        if !self.spills() {
            return self.pending.has_room(load, limit);
        }
        let older = self.pending.less(self.fresh_load).min(limit.half());
        self.fresh.is_empty() || older.and(self.fresh_load).has_room(load, limit)
    }

    /// Queues `batch`, whose records are `whole`, or counts them as lost.
    pub(super) fn push(&mut self, limit: Load, batch: &Arc<Batch>, whole: Loss) {
        self.queued += 1;
        if self.fits(limit, batch) {
            self.in_vain = false;
            self.pending = self.pending.and(Load::of(batch));
            self.fresh_load = self.fresh_load.and(Load::of(batch));
            self.fresh.push_back(Item::new(Ok(Arc::clone(batch)), self.queued, None));
            return;
        }
        self.accounts.lost += whole.records;
        match self.fresh.back_mut() {
            Some(Item { records: Err(loss), .. }) => *loss = loss.merge(whole),
            _ => self.fresh.push_back(Item::new(Err(whole), self.queued, None)),
        }
    }

    fn pop_fresh(&mut self) -> Option<Item> {
        let item = self.fresh.pop_front()?;
        self.fresh_load = self.fresh_load.less(item.load());
        Some(item)
    }

    /// Loses the oldest that wait until `batch` fits, or nothing waits. What they were is told where they stood: ahead of
    /// all that is left. What the writer holds is not touched.
    pub(super) fn drop_old(&mut self, limit: Load, batch: &Batch) {
        let mut lost: Option<Loss> = None;
        while !self.fits(limit, batch)
            && let Some(oldest) = self.again.pop_front().or_else(|| self.pop_fresh())
        {
            self.pending = self.pending.less(oldest.load());
            self.accounts.lost += oldest.load().records;
            let loss = oldest.records.map_or_else(Some, |batch| batch.loss_after(0));
            lost = lost.into_iter().chain(loss).reduce(Loss::merge);
        }
        if let Some(lost) = lost {
            self.push_loss(lost);
        }
    }

    /// A loss that is to be told before anything else.
    fn push_loss(&mut self, loss: Loss) {
        match self.again.front_mut() {
            Some(Item { records: Err(next), .. }) => *next = next.merge(loss),
            _ => self.again.push_front(Item::new(Err(loss), 0, None)),
        }
    }

    /// Takes what is next for the writer. What it is given is in its hand.
    pub(super) fn take(&mut self) -> Take {
        if let Some(item) = self.again.pop_front() {
            return Take::Work(self.hold(item));
        }
        if let Some((&number, &segment)) = self.disk.first_key_value()
            && self.moving != Some(Side::Older)
        {
            if segment.at == segment.length {
                if self.moving.is_some() && self.disk.len() == 1 {
                    return Take::Nothing; // yet
                }
                self.disk.remove(&number);
                self.accounts.spilled_bytes -= segment.length;
            }
            return Take::Segment(number, segment);
        }
        let next = if self.moving.is_none() { self.pop_fresh() } else { None };
        next.map_or(Take::Nothing, |item| Take::Work(self.hold(item)))
    }

    fn hold(&mut self, item: Item) -> Work {
        let work = Work::Records(item.records.clone(), item.since);
        self.hand.push_back(item);
        work
    }

    /// `frame` has been read. What cannot be read of it, and is known to have been there, is lost.
    pub(super) fn replayed(&mut self, frame: StoredFrame) -> Option<Work> {
        let StoredFrame { mut records, is_damaged, origin } = frame;
        let segment = self.disk.get_mut(&origin.segment)?;
        segment.at = origin.end;
        let gone = match &mut records {
            Ok(batch) => segment.records.min(batch.len() as u64),
            Err(loss) if is_damaged => {
                loss.records = loss.records.min(segment.records);
                loss.records
            }
            Err(_) => 0, // they were counted when they were lost
        };
        segment.records -= gone;
        self.accounts.spilled -= gone;
        match &records {
            Ok(batch) => self.pending = self.pending.and(Load::of(batch)),
            Err(loss) if loss.records == 0 => return None,
            Err(_) => self.accounts.lost += gone,
        }
        let serial = segment.serial;
        Some(self.hold(Item::new(records, serial, Some(origin))))
    }

    /// The writer lets go of `records`. `None` if they have been put on disk meanwhile, from where they will come again, or
    /// be counted, so that what the writer did counts no more.
    fn release(&mut self, records: &Records) -> Option<Item> {
        // They come again if they were to be put on disk, and could not be.
        let mut places = [&mut self.hand, &mut self.again].into_iter();
        let item = places.find_map(|items| items.remove(items.iter().position(|item| item.is(records))?))?;
        self.pending = self.pending.less(item.load());
        Some(item)
    }

    /// The first `written` of `records` are with the target, and the rest is lost. Returns them, unless they do not count.
    pub(super) fn settle(&mut self, records: &Records, written: usize) -> Option<Item> {
        let item = self.release(records)?;
        if let Ok(batch) = records {
            self.accounts.written += written as u64;
            self.accounts.lost += (batch.len() - written) as u64;
        }
        Some(item)
    }

    /// `records`, which are in hand, come again before anything else, but for the first that are `written`.
    pub(super) fn take_back(&mut self, records: &Records, written: usize) {
        match self.release(records) {
            Some(Item { records: Ok(batch), origin, .. }) => {
                self.accounts.written += written as u64;
                self.come_again(batch, written, origin);
            }
            Some(loss) => self.again.push_front(loss),
            None => {}
        }
    }

    /// `records`, settled as written, may not have arrived but for the first, and come again before anything else.
    pub(super) fn unsettle(&mut self, records: Records, arrived: usize) {
        match records {
            Ok(batch) => {
                let again = (batch.len() - arrived) as u64;
                self.accounts.written -= again;
                self.accounts.resent += again;
                self.come_again(batch, arrived, None);
            }
            Err(loss) => self.push_loss(loss),
        }
    }

    /// What is behind the first `skip` records of `batch` is next.
    fn come_again(&mut self, batch: Arc<Batch>, skip: usize, origin: Option<Origin>) {
        let batch = if skip == 0 { batch } else { batch.behind(skip) };
        if !batch.is_empty() {
            self.pending = self.pending.and(Load::of(&batch));
            self.again.push_front(Item::new(Ok(batch), 0, origin));
        }
    }

    /// The side that the spiller should put on disk: all of it if the target fails, else what presses.
    pub(super) fn to_spill(&self, limit: Load) -> Option<Side> {
        let all = self.takes_all();
        let fails = self.accounts.failing || all;
        let half = limit.half();
        let presses = self.pending.records > half.records || self.pending.bytes > half.bytes;
        match () {
            () if !self.spills() || self.stuck => None,
            () if fails && !self.again.is_empty() || all && !self.hand.is_empty() => Some(Side::Older),
            () => (!self.fresh.is_empty() && (fails || presses)).then_some(Side::Fresh),
        }
    }

    /// Tells whether even what the writer holds goes to disk.
    fn takes_all(&self) -> bool {
        self.park || self.stage >= Stage::Ended
    }

    /// The number of the oldest segment, or where it would be.
    pub(super) fn oldest_segment(&self) -> u64 {
        self.disk.keys().next().copied().unwrap_or(self.next_segment.max(MIDDLE + 1) - 1)
    }

    /// Takes out of `side` as much as fits in `room`, within reason, and tells to which segment it goes, and how long that
    /// is.
    pub(super) fn start_moving(&mut self, side: Side, room: usize) -> (VecDeque<Item>, u64, u64) {
        self.moving = Some(side);
        let new = (self.next_segment.max(MIDDLE), 0);
        if side == Side::Fresh {
            let rest = self.fresh.split_off(chunk(self.fresh.iter(), room));
            let items = std::mem::replace(&mut self.fresh, rest);
            let newest = self.disk.iter().next_back().map(|(&number, segment)| (number, segment));
            // One of an earlier run may break off.
            let goes_on = newest.filter(|(_, it)| it.serial > 0 && it.length < SEGMENT_BYTES);
            let (number, length) = goes_on.map_or(new, |(number, it)| (number, it.length));
            return (items, number, length);
        }
        let from = if self.again.is_empty() { &mut self.hand } else { &mut self.again };
        // The youngest first: what does not fit must be older than what is on disk.
        let items = from.split_off(from.len() - chunk(from.iter().rev(), room));
        (items, if self.disk.is_empty() { new.0 } else { self.oldest_segment().saturating_sub(1) }, 0)
    }

    /// `items` are on disk, and a segment has grown to this length; or they could not be `stored`, and are again where they
    /// were; what the writer holds comes again. Returns the places on disk that they no longer need.
    pub(super) fn moved(&mut self, mut items: VecDeque<Item>, stored: io::Result<(u64, u64)>) -> Vec<Origin> {
        let is_fresh = self.moving.take() == Some(Side::Fresh);
        let (number, length) = match stored {
            Ok(grown) => grown,
            Err(error) => {
                self.stuck = true;
                self.accounts.erred(format!("cannot spill: {error}"));
                if is_fresh {
                    std::mem::swap(&mut items, &mut self.fresh); // what is there is younger
                }
                if is_fresh { &mut self.fresh } else { &mut self.again }.append(&mut items);
                return Vec::new();
            }
        };
        let load = items.iter().map(Item::load).fold(Load::default(), Load::and);
        self.pending = self.pending.less(load);
        if is_fresh {
            self.fresh_load = self.fresh_load.less(load);
        }
        let serial = items.front().map_or(0, |item| item.serial);
        let segment = self.disk.entry(number).or_insert(Segment { serial, ..Segment::NEW });
        self.accounts.spilled += load.records;
        self.accounts.spilled_bytes += length.saturating_sub(segment.length);
        segment.records += load.records;
        segment.length = length;
        self.next_segment = self.next_segment.max(number.saturating_add(1));
        items.iter().filter_map(|item| item.origin).collect()
    }

    /// Segments have been found on disk.
    pub(super) fn adopt(&mut self, segments: &[(u64, Segment)]) {
        for &(number, segment) in segments {
            self.accounts.adopted += segment.records;
            self.accounts.spilled = self.accounts.spilled.saturating_add(segment.records);
            self.accounts.spilled_bytes += segment.length;
            self.next_segment = self.next_segment.max(number.saturating_add(1));
            self.disk.insert(number, segment);
        }
    }

    /// All that is only in memory is lost, as there is nobody left to take it. Returns how many records, with those of
    /// losses that nobody has been told of.
    pub(super) fn lose_all(&mut self) -> u64 {
        self.stage = Stage::Gone;
        let lost = std::mem::take(&mut self.pending).records;
        let (mut kept, mut untold) = (0, 0);
        for item in self.hand.drain(..).chain(self.again.drain(..)).chain(self.fresh.drain(..)) {
            match &item.records {
                // What was read from disk is still there.
                Ok(batch) if item.origin.is_some() => kept += batch.len() as u64,
                Ok(_) => {}
                Err(loss) => untold += loss.records,
            }
        }
        self.fresh_load = Load::default();
        self.accounts.spilled += kept;
        self.accounts.lost += lost - kept;
        lost - kept + untold
    }
}

/// The number of `items` to move at once: at least one, and as many as fit by the memory they take, which is about as much
/// as they will take on disk.
fn chunk<'a>(items: impl Iterator<Item = &'a Item>, room: usize) -> usize {
    let mut end = 0_usize;
    let fits = |item: &&Item| {
        end = end.saturating_add(item.load().bytes + 2 * HEAD);
        end <= room.min(SEGMENT_BYTES as usize)
    };
    items.take_while(fits).count().max(1)
}

/// Accounts of a sink's past and present.
///
/// **Invariant: submitted + adopted = written + lost + pending + spilled**, at any time, in records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accounts {
    /// Records in memory, queued or in the writer's hand, and the memory they take.
    pub(crate) pending: u64,
    pub(crate) pending_bytes: usize,
    pub(crate) written: u64,
    /// Of those, the ones that the target has not acknowledged, as far as it does.
    pub(crate) unacknowledged: u64,
    pub(crate) lost: u64,
    /// Records that wait on disk, and the bytes of the files they are in, with those of records read but not written yet.
    pub(crate) spilled: u64,
    pub(crate) spilled_bytes: u64,
    /// Records of earlier runs, or of other sinks of the same target, found on disk.
    pub(crate) adopted: u64,
    /// Records written again because they may not have arrived.
    pub(crate) resent: u64,
    /// Bytes handed to the target.
    pub(crate) bytes: u64,
    /// Whether the last attempt to write failed.
    pub(crate) failing: bool,
    pub(crate) last_error: Option<String>,
    /// When that was, and since when all is well again, as they are shown.
    pub(crate) last_error_at: Option<String>,
    pub(crate) recovered_at: Option<String>,
}

impl Accounts {
    /// Notes an error, which goes on until [`recovered_at`](Self::recovered_at).
    pub(super) fn erred(&mut self, error: String) {
        self.last_error = Some(error);
        self.last_error_at = Some(local::now_shown());
        self.recovered_at = None;
    }
}
