//! Accounts of clients, and the limits that each has room below.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use medusa_net::clients::ClientEntry;

use super::count::{HELD, Kind, LEAST};
use super::held::Held;
use super::share::ClientShare;
use crate::limits::passes;

/// The part of a limit that no stranger can have: an eighth.
pub(super) const RESERVE: u64 = 8;

/// The number of refused connections of an address that are told so at a time. Each takes a descriptor meanwhile, and
/// who goes on connecting hears it often enough.
const MAX_REFUSALS: u32 = 16;

/// The account of a client: an address and the networks it is in; none for those who speak for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account(Option<Arc<[Arc<ClientEntry<ClientShare>>]>>);

impl Account {
    /// One that takes part in these shares.
    pub(crate) fn of<const N: usize>(shares: [Arc<ClientEntry<ClientShare>>; N]) -> Self {
        Self((N > 0).then(|| Arc::from(shares)))
    }

    /// The right to be told why a connection is refused, which keeps it open for a moment; none for an address that is
    /// being told often.
    pub(crate) fn permit_refusal(&self) -> Option<RefusalPermit> {
        for share in self.shares() {
            share.holding.refusals.fetch_add(1, Relaxed);
        }
        let permit = RefusalPermit(self.clone());
        let often =
            |share: &ClientShare| share.holding.refusals.load(Relaxed) > MAX_REFUSALS * share.process_times();
        (!self.shares().iter().any(|share| often(share))).then_some(permit)
    }

    /// A request begins.
    pub(crate) fn begin(&self) {
        for share in self.shares() {
            share.requests.fetch_add(1, Relaxed);
        }
    }

    /// A request has ended.
    pub(crate) fn end(&self) {
        for share in self.shares() {
            share.requests.fetch_sub(1, Relaxed);
        }
    }

    /// Whether more than `limit` (0: none) requests are under way for each address that it may be.
    pub(crate) fn is_crowded(&self, limit: u32) -> bool {
        let crowded = |share: &ClientShare| {
            passes(share.requests.load(Relaxed).into(), limit.saturating_mul(share.times()))
        };
        self.shares().iter().any(|share| crowded(share))
    }

    pub(crate) fn shares(&self) -> &[Arc<ClientEntry<ClientShare>>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is room for nothing more below `limit` (0: none).
    pub(crate) fn is_full(&self, kind: Kind, limit: u64) -> bool {
        self.is_passed(kind, HELD[kind as usize].load(Relaxed) + 1, 0, limit)
    }

    /// Whether the process holds too much for `limit` (0: none) when it holds so much, or one of the shares does. A piece
    /// of so many bytes is beside what they may hold.
    pub(super) fn is_passed(&self, kind: Kind, held: u64, piece: u64, limit: u64) -> bool {
        if limit == 0 {
            return false;
        }
        let Some(free) = self.part_of(limit).checked_sub(held) else { return true };
        let spent = |share: &ClientShare| {
            let others = share.held(kind).load(Relaxed).saturating_sub(piece);
            others > share.part_of(free)
        };
        self.shares().iter().any(|share| piece > free || spent(share))
    }

    /// Counts `bytes`, whether there is room or not.
    pub(crate) fn hold(&self, kind: Kind, bytes: u64) -> Held {
        let mut held = Held { account: self.clone(), kind, bytes: 0 };
        held.add(bytes);
        held
    }

    /// Counts `bytes`, if that does not pass `limit` (0: none).
    pub(crate) fn take(&self, kind: Kind, bytes: u64, limit: u64) -> Option<Held> {
        let mut held = Held { account: self.clone(), kind, bytes: 0 };
        held.grow(bytes, limit).then_some(held)
    }

    /// The same bytes, counted as long as there is one of them. What others hold, too, costs nothing.
    pub(crate) fn keep(&self, kind: Kind, bytes: Bytes) -> Bytes {
        if bytes.is_unique() { self.count(kind, bytes) } else { bytes }
    }

    /// The same bytes, counted as long as there is one of them.
    pub(crate) fn count(&self, kind: Kind, bytes: Bytes) -> Bytes {
        if (bytes.len() as u64) < LEAST {
            return bytes;
        }
        self.hold(kind, bytes.len() as u64).keep(bytes)
    }

    /// The part of a limit that this account can have at all.
    fn part_of(&self, limit: u64) -> u64 {
        if self.0.is_some() { limit - limit / RESERVE } else { limit }
    }
}

/// A refused connection of an account that is being told so.
#[derive(Debug)]
pub(crate) struct RefusalPermit(Account);

impl Drop for RefusalPermit {
    fn drop(&mut self) {
        for share in self.0.shares() {
            share.holding.refusals.fetch_sub(1, Relaxed);
        }
    }
}

/// The part that the answer to one request may take of the memory that there is for answers.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    account: Account,
    /// 0: none.
    limit: u64,
}

impl Allowance {
    pub(crate) fn new(account: &Account, limit: u64) -> Self {
        Self { account: account.clone(), limit }
    }

    /// The same bytes, counted as long as there is one of them; nothing if there is no memory for them. To be asked where
    /// they are made: until then they are in nobody's count.
    #[must_use]
    pub fn afford(&self, bytes: Bytes) -> Option<Bytes> {
        // What others have, too, is there anyway, as is what has been counted.
        if (bytes.len() as u64) < LEAST || !bytes.is_unique() {
            return Some(bytes);
        }
        let held = self.account.take(Kind::Answers, bytes.len() as u64, self.limit)?;
        Some(held.keep(bytes))
    }
}
