//! The bytes that clients may have the process hold: of what they send, and of what they do not take.
//!
//! Limits for a request, for a connection and for an address multiply; this is the sum. There is one count for the whole
//! process of each [`Kind`], whichever server, worker or protocol the bytes are of, and each server's limits say at how
//! much of it that server takes no more: who comes then is told to come again, and nobody who is being served notices.
//!
//! - One address has no more than a part of what it leaves free ([`ClientShare`]), at whichever servers it has it: the greediest
//!   is refused first, and however much a few of them take, others have room. Beside that it may have one piece as large
//!   as what it leaves free, or nobody could have a large one.
//! - What strangers cannot have is kept for those without an address of their own: this machine, unix sockets, and
//!   trusted proxies ([`Account`]).
//!
//! Pieces below [`LEAST`] are in a [`Tally`] of their connection, or their session: small requests, one at a time as most
//! are, shall not share a count with other cores. Once a tally is not little any more, it is counted like a piece.
//!
//! Invariant: what a [`Held`] stands for is counted from its making to its dropping, wherever it is dropped, and for its
//! address even when that has no connection any more.
mod account;
mod count;
mod held;
mod share;
mod tally;

pub use account::Allowance;
pub(crate) use account::{Account, RefusalPermit};
pub use count::memory;
pub(crate) use count::{Kind, LEAST};
pub use held::Held;
pub(crate) use share::{ClientShare, ClientShares};
pub(crate) use tally::Tally;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use bytes::Bytes;
    use medusa_net::clients::ClientPrefix;

    use super::account::RESERVE;
    use super::count::HELD;
    use super::share::HOLDINGS;
    use super::*;

    // The count is the process's: nextest gives each test a process of its own.

    const LIMIT: u64 = 800_000;

    /// An address, the given one of a network.
    fn address(network: u16, number: u16) -> Account {
        let address = std::net::Ipv6Addr::from_segments([0x2001, 0xdb8, network, number, 0, 0, 0, 0]).into();
        let share = |client| ClientShare::of(client, &ClientShares::default());
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
        let refusals: Vec<_> = (0..100).map_while(|_| stranger().permit_refusal()).collect();
        assert_eq!(refusals.len(), 16);
        assert!(address(2, 1).permit_refusal().is_some() && Account::default().permit_refusal().is_some());
        drop(refusals);
        assert!(stranger().permit_refusal().is_some());
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
        assert_eq!(HELD[0].load(Relaxed), 10_000);
    }
}
