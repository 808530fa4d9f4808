//! How many bytes clients may have the process hold: of what they send, and of what they do not take.
//!
//! Limits for a request, for a connection and for an address multiply; this is the sum. There is one count for the whole
//! process of each [`Kind`], whichever server, worker or protocol the bytes are of, and each server's limits say at how
//! much of it that server takes no more: who comes then is told to come again, and nobody who is being served notices.
//!
//! - One address has no more than a part of what it leaves free ([`Share`]), at whichever servers it has it: the greediest
//!   is refused first, and however much a few of them take, others have room. Beside that it may have one piece as large
//!   as what it leaves free, or nobody could have a large one.
//! - What strangers cannot have is kept for those without an address of their own: this machine, unix sockets, and
//!   trusted proxies ([`RESERVE`]).
//!
//! Pieces below [`LEAST`] are in a [`Tally`] of their connection, or their session: small requests, one at a time as most
//! are, shall not share a count with other cores. Once a tally is not little any more, it is counted like a piece.
//!
//! Invariant: what a [`Held`] stands for is counted from its making to its dropping, wherever it is dropped, and for its
//! address even when that has no connection any more.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use medusa_net::clients::{ClientEntry, ClientPrefix, ClientTable};
use medusa_proto::status::{Status, Value};

use crate::limits::passes;

/// Pieces shorter than this are not counted by themselves, nor a tally that is shorter, in bytes.
pub(crate) const LEAST: u64 = 8 * 1024;

/// The part of a limit that no stranger can have: an eighth.
const RESERVE: u64 = 8;

/// How many refused connections of an address are told so at a time. Each takes a descriptor meanwhile, and who goes on
/// connecting hears it often enough.
const TOLD: u32 = 16;

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Requests: what each takes that is under way, heads, windows of bodies that are not read yet, bodies in memory,
    /// messages.
    Requests,
    /// Answers: what clients have not taken yet.
    Answers,
}

/// The process's count of each kind.
static HELD: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// How often something was refused.
static REFUSED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// What one client has of the process, as long as there is any of it.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) connections: AtomicU32,
    /// Connections that are refused, and being told so.
    told: AtomicU32,
    held: [AtomicU64; 2],
}

/// Those of all clients. Looked at once per connection.
static HOLDINGS: LazyLock<ClientTable<Holding>> = LazyLock::new(ClientTable::default);

/// What one client has under way at one server.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) connections: AtomicU32,
    pub(crate) requests: AtomicU32,
    /// What it has at all servers.
    pub(crate) holding: Arc<ClientEntry<Holding>>,
}

/// The shares of one server.
pub(crate) type Shares = ClientTable<Share>;

impl Share {
    pub(crate) fn of(client: ClientPrefix, shares: &Shares) -> Arc<ClientEntry<Self>> {
        shares.entry(client, || Self {
            connections: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            holding: HOLDINGS.entry(client, Holding::default),
        })
    }

    /// How many times the connections and requests of a host it may have. A network may be a company, or the telephones
    /// of a city.
    pub(crate) fn times(&self) -> u32 {
        match self.holding.client() {
            ClientPrefix::Host(_) => 1,
            ClientPrefix::Network(_) => 8,
        }
    }

    /// The same of what the process has.
    pub(crate) fn parts(&self) -> u32 {
        match self.holding.client() {
            ClientPrefix::Host(_) => 1,
            ClientPrefix::Network(_) => 2,
        }
    }

    /// How much it may have for so much that it leaves free: a host a quarter, so that alone it has a fifth of all.
    fn part_of(&self, free: u64) -> u64 {
        free / 4 * u64::from(self.parts())
    }

    fn held(&self, kind: Kind) -> &AtomicU64 {
        &self.holding.held[kind as usize]
    }
}

/// Whose bytes they are: an address and the networks it is in; none for those who speak for others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account(Option<Arc<[Arc<ClientEntry<Share>>]>>);

impl Account {
    /// One that takes part in these shares.
    pub(crate) fn of<const N: usize>(shares: [Arc<ClientEntry<Share>>; N]) -> Self {
        Self((N > 0).then(|| Arc::from(shares)))
    }

    /// The right to be told why a connection is refused, which keeps it open for a moment; none for an address that is
    /// being told often.
    pub(crate) fn tell(&self) -> Option<Telling> {
        for share in self.shares() {
            share.holding.told.fetch_add(1, Relaxed);
        }
        let telling = Telling(self.clone());
        let often = |share: &Share| share.holding.told.load(Relaxed) > TOLD * share.parts();
        (!self.shares().iter().any(|share| often(share))).then_some(telling)
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
        let crowded =
            |share: &Share| passes(share.requests.load(Relaxed).into(), limit.saturating_mul(share.times()));
        self.shares().iter().any(|share| crowded(share))
    }

    pub(crate) fn shares(&self) -> &[Arc<ClientEntry<Share>>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is room for nothing more below `limit` (0: none).
    pub(crate) fn is_full(&self, kind: Kind, limit: u64) -> bool {
        self.is_passed(kind, HELD[kind as usize].load(Relaxed) + 1, 0, limit)
    }

    /// Whether the process holds too much for `limit` (0: none) when it holds so much, or one of the shares does. A piece
    /// of so many bytes is beside what they may hold.
    fn is_passed(&self, kind: Kind, held: u64, piece: u64, limit: u64) -> bool {
        if limit == 0 {
            return false;
        }
        let Some(free) = self.part_of(limit).checked_sub(held) else { return true };
        let spent = |share: &Share| {
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

    /// How much of a limit this account can have at all.
    fn part_of(&self, limit: u64) -> u64 {
        if self.0.is_some() { limit - limit / RESERVE } else { limit }
    }
}

/// A refused connection of an account that is being told so.
#[derive(Debug)]
pub(crate) struct Telling(Account);

impl Drop for Telling {
    fn drop(&mut self) {
        for share in self.0.shares() {
            share.holding.told.fetch_sub(1, Relaxed);
        }
    }
}

/// What the answer to one request may take of the memory that there is for answers.
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

/// Bytes that are counted.
struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of memory that are counted for a client, until this is dropped.
#[derive(Debug)]
pub struct Held {
    account: Account,
    kind: Kind,
    bytes: u64,
}

impl Held {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The bytes it counts, for as long as there is one of them.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Kept { bytes, _held: self })
    }

    /// Counts `more` of the same piece, if that does not pass `limit` (0: none).
    #[must_use]
    pub(crate) fn grow(&mut self, more: u64, limit: u64) -> bool {
        self.grow_by(more, self.bytes + more, limit)
    }

    /// The same, where only so many bytes of it are one piece.
    fn grow_by(&mut self, more: u64, piece: u64, limit: u64) -> bool {
        let before = self.bytes;
        let held = self.add(more);
        let exceeded = self.account.is_passed(self.kind, held, piece, limit);
        if exceeded {
            self.shrink(before);
            REFUSED[self.kind as usize].fetch_add(1, Relaxed);
        }
        !exceeded
    }

    /// Counts no more than `bytes` from now on.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        HELD[self.kind as usize].fetch_sub(less, Relaxed);
        for share in self.account.shares() {
            share.held(self.kind).fetch_sub(less, Relaxed);
        }
    }

    /// Returns what the process holds then.
    fn add(&mut self, more: u64) -> u64 {
        self.bytes += more;
        for share in self.account.shares() {
            share.held(self.kind).fetch_add(more, Relaxed);
        }
        HELD[self.kind as usize].fetch_add(more, Relaxed) + more
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

/// What is small of one connection, or one session, all together.
///
/// Counted in steps: it costs no count at all while it is less than [`LEAST`], and little when it grows and shrinks.
#[derive(Debug)]
pub(crate) struct Tally {
    bytes: u64,
    /// No less than that by [`LEAST`], and no more than twice that.
    held: Held,
}

impl Tally {
    pub(crate) fn new(account: &Account, kind: Kind) -> Self {
        Self { bytes: 0, held: account.hold(kind, 0) }
    }

    /// Adds `more`, if that does not pass `limit` (0: none).
    #[must_use]
    pub(crate) fn add(&mut self, more: u64, limit: u64) -> bool {
        self.grow(more, more, limit)
    }

    fn grow(&mut self, more: u64, piece: u64, limit: u64) -> bool {
        let bytes = self.bytes + more;
        let uncounted = bytes.saturating_sub(self.held.bytes);
        if uncounted >= LEAST && !self.held.grow_by(uncounted, piece, limit) {
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// Takes off what was added.
    pub(crate) fn take_off(&mut self, less: u64) {
        self.bytes = self.bytes.saturating_sub(less);
        if self.held.bytes > 2 * self.bytes {
            self.held.shrink(self.bytes);
        }
    }

    /// Has a piece be of `now` that was of `before`; false, and nothing has changed, if that is more and passes `limit`.
    #[must_use]
    pub(crate) fn change(&mut self, before: u64, now: u64, limit: u64) -> bool {
        match now.checked_sub(before) {
            Some(0) => true,
            Some(more) => self.grow(more, now, limit),
            None => {
                self.take_off(before - now);
                true
            }
        }
    }
}

/// How many bytes the process holds for clients, and how often something was refused.
pub fn memory() -> Status {
    let of = |counts: &[AtomicU64; 2], kind| counts[kind as usize].load(Relaxed);
    Status::new("http.memory", "")
        .gauge("requests", Value::Bytes(of(&HELD, Kind::Requests)))
        .gauge("answers", Value::Bytes(of(&HELD, Kind::Answers)))
        .counter("requests_refused", of(&REFUSED, Kind::Requests))
        .counter("answers_refused", of(&REFUSED, Kind::Answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The count is the process's: nextest gives each test a process of its own.

    const LIMIT: u64 = 800_000;

    /// An address, the given one of a network.
    fn address(network: u16, number: u16) -> Account {
        let address = std::net::Ipv6Addr::from_segments([0x2001, 0xdb8, network, number, 0, 0, 0, 0]).into();
        let share = |client| Share::of(client, &Shares::default());
        let network = ClientPrefix::network(address).expect("of IPv6");
        Account::of([share(ClientPrefix::host(address)), share(network)])
    }

    fn stranger() -> Account {
        address(1, 1)
    }

    fn held(kind: Kind) -> u64 {
        HELD[kind as usize].load(Relaxed)
    }

    /// All that an account is given, in small pieces.
    fn fill(account: &Account, kind: Kind) -> Vec<Held> {
        std::iter::from_fn(|| account.take(kind, 1000, LIMIT)).collect()
    }

    #[test]
    fn an_address_has_its_share_and_a_reserve_is_kept_from_all() {
        let greedy = fill(&stranger(), Kind::Requests);
        assert_eq!(greedy.len(), 140, "a fifth of what strangers may have");
        assert!(stranger().is_full(Kind::Requests, LIMIT));
        assert!(stranger().take(Kind::Answers, 100_000, LIMIT).is_some(), "that is another count");
        let others: Vec<_> = (2..500).map(|of| fill(&address(of, 1), Kind::Requests)).collect();
        assert!(held(Kind::Requests) <= LIMIT - LIMIT / RESERVE, "the rest is kept");
        assert!(Account::default().take(Kind::Requests, 90_000, LIMIT).is_some(), "for whom it is kept for");
        assert!(!Account::default().is_full(Kind::Requests, LIMIT));
        drop((greedy, others));
        assert_eq!(held(Kind::Requests), 0);
        assert!(HOLDINGS.is_empty(), "an address that has nothing takes no memory");
    }

    #[test]
    fn a_few_addresses_or_networks_leave_room_for_others() {
        for (hosts, blocks) in [(1..2, 10), (0..99, 5)] {
            let greedy = |number| -> Vec<_> {
                hosts.clone().flat_map(|of| fill(&address(number, of), Kind::Requests)).collect()
            };
            let all: Vec<_> = (0..blocks).map(greedy).collect();
            let modest = address(1000, 1);
            let first = modest.take(Kind::Requests, 12_000, LIMIT);
            assert!(first.is_some() && modest.take(Kind::Requests, 1_000, LIMIT).is_some(), "{hosts:?}");
            drop(all);
        }
    }

    #[test]
    fn an_address_is_not_told_without_end_that_it_is_refused() {
        let told: Vec<_> = (0..100).map_while(|_| stranger().tell()).collect();
        assert_eq!(told.len(), 16);
        assert!(address(2, 1).tell().is_some() && Account::default().tell().is_some());
        drop(told);
        assert!(stranger().tell().is_some());
    }

    #[test]
    fn a_network_has_more_than_an_address_in_it() {
        let of = |addresses: u16| {
            let all: Vec<_> = (0..addresses).flat_map(|of| fill(&address(1, of), Kind::Answers)).collect();
            all.len()
        };
        assert_eq!((of(1), of(2), of(100)), (140, 234, 234));
    }

    #[test]
    fn one_piece_may_be_larger_than_a_share() {
        let alone = stranger();
        let held = alone.take(Kind::Requests, 350_000, LIMIT).unwrap();
        assert!(alone.is_full(Kind::Requests, LIMIT));
        assert!(alone.take(Kind::Requests, 1, LIMIT).is_none());
        assert!(alone.take(Kind::Requests, 1, 0).is_some(), "without a limit");
        drop(held);
        let mut held = alone.take(Kind::Requests, 100, LIMIT).unwrap();
        assert!(!held.grow(350_000, LIMIT), "but no larger than what it leaves free");
    }

    #[test]
    fn small_things_are_counted_together() {
        let mut tally = Tally::new(&stranger(), Kind::Requests);
        assert!(tally.add(1000, LIMIT));
        assert_eq!(held(Kind::Requests), 0, "one is not worth a count");
        assert!((0..99).all(|_| tally.add(1000, LIMIT)));
        assert!((92_000..=100_000).contains(&held(Kind::Requests)), "{}", held(Kind::Requests));
        let before = held(Kind::Requests);
        for _ in 0..100 {
            tally.take_off(5000);
            assert!(tally.change(0, 5000, LIMIT));
        }
        assert_eq!(held(Kind::Requests), before, "coming and going costs no count");
        assert!(
            (0..100).any(|_| !tally.add(1000, LIMIT)),
            "an address has its share, on one connection, too"
        );
        assert!(held(Kind::Requests) <= 141_000, "{}", held(Kind::Requests));
        tally.take_off(70_000);
        assert!(held(Kind::Requests) < 141_000);
        assert!(tally.change(60_000, 0, LIMIT));
        tally.take_off(tally.bytes);
        assert_eq!(held(Kind::Requests), 0);
    }

    #[test]
    fn what_an_address_holds_is_counted_whoever_serves_it_and_after_it_has_left() {
        let (here, elsewhere) = (stranger(), stranger());
        let held = fill(&here, Kind::Requests);
        assert!(elsewhere.is_full(Kind::Requests, LIMIT));
        drop((here, elsewhere));
        assert!(stranger().is_full(Kind::Requests, LIMIT), "it has come again");
        drop(held);
        assert!(!stranger().is_full(Kind::Requests, LIMIT));
    }

    #[test]
    fn bytes_are_counted_as_long_as_there_is_one_of_them() {
        let account = stranger();
        let bytes = account.keep(Kind::Answers, Bytes::from(vec![7; 10_000]));
        let part = bytes.slice(9_000..);
        drop(bytes);
        assert_eq!((part.len(), held(Kind::Answers)), (1_000, 10_000));
        drop(part);
        assert_eq!(held(Kind::Answers), 0);
        let shared = Bytes::from(vec![7; 10_000]);
        let _other = account.keep(Kind::Answers, shared.clone());
        let _small = account.keep(Kind::Answers, Bytes::from(vec![7; 1_000]));
        assert_eq!(held(Kind::Answers), 0, "it costs nothing that is not there anyway, or next to nothing");
        drop(shared);
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let account = stranger();
        let mut held = account.take(Kind::Requests, 100_000, LIMIT).unwrap();
        assert!(held.grow(20_000, LIMIT));
        let other = account.take(Kind::Requests, 10_000, LIMIT).unwrap();
        assert!(!held.grow(400_000, LIMIT));
        assert_eq!(held.bytes(), 120_000);
        held.shrink(10_000);
        drop(other);
        assert_eq!(super::HELD[0].load(Relaxed), 10_000);
    }
}
