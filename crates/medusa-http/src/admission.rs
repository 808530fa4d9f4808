//! Who may connect: how many connections a server has, in all, from each address and from each network.
//!
//! Invariant: a [`Ticket`] is counted from its making to its dropping, and an address without connections takes no
//! memory, so the table is never larger than twice the number of connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medusa_net::descriptors;
use medusa_proto::access::Peer;

use crate::budget::{Account, Block, Share, Size};
use crate::client::address;
use crate::limits::{Limits, passes};

/// A server's connections. Looked at once per connection, not per request, so one lock does.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicU32,
    shares: Mutex<HashMap<Block, Arc<Share>>>,
}

/// One admitted connection.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    account: Account,
}

impl Ticket {
    /// Whose it is.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

impl Admission {
    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Admits a connection, unless there are as many as there may be: an error says whose it is then. `address` is counted
    /// against its own limits; without one (a unix socket, a trusted proxy) only the whole is.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<Ticket, Account> {
        let address = address.map(Peer::Ip).and_then(canonical);
        let account = address.map(|address| self.account(address)).unwrap_or_default();
        let open = self.open.fetch_add(1, Relaxed) + 1;
        // Dropped, a ticket that is too many is taken back.
        let ticket = Ticket { admission: Arc::clone(self), address, account };
        let crowded = |share: &Share| {
            let (open, size) = (share.connections.load(Relaxed), share.size);
            // Descriptors are the process's.
            let descriptors = share.holding.connections.load(Relaxed) / size.parts();
            passes(open.into(), limits.connections_per_address.saturating_mul(size.times()))
                || (limits.connections_per_address != 0
                    && descriptors::is_too_many_of_address(descriptors.into()))
        };
        let too_many = passes(open.into(), limits.connections)
            || ticket.account.shares().iter().any(|share| crowded(share));
        if too_many { Err(ticket.account.clone()) } else { Ok(ticket) }
    }

    /// The account of an address, with one connection more.
    fn account(&self, address: IpAddr) -> Account {
        let mut shares = self.shares();
        let mut count = |block: Block| {
            let share = shares.entry(block).or_insert_with(|| Arc::new(Share::new(block)));
            share.connections.fetch_add(1, Relaxed);
            share.holding.connections.fetch_add(1, Relaxed);
            Arc::clone(share)
        };
        match blocks(address) {
            (block, None) => Account::of([count(block)]),
            (block, Some(network)) => Account::of([count(block), count(network)]),
        }
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<Block, Arc<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        let (block, network) = blocks(address);
        let mut shares = self.admission.shares();
        for block in [Some(block), network].into_iter().flatten() {
            let Some(share) = shares.get(&block) else { continue };
            share.holding.connections.fetch_sub(1, Relaxed);
            if share.connections.fetch_sub(1, Relaxed) == 1 {
                shares.remove(&block);
            }
        }
    }
}

/// On whose account something is kept that clients cause: the least that one client has, and nobody for this machine's
/// own addresses and unix sockets, which speak for others.
pub fn holder(client: Peer) -> Option<IpAddr> {
    canonical(client).map(|address| blocks(address).0.0)
}

/// The address of a client, if it has one of its own.
fn canonical(client: Peer) -> Option<IpAddr> {
    address(client).map(|address| address.to_canonical()).filter(|address| !address.is_loopback())
}

/// What one client has at least: an IPv4 address, or an IPv6 network of 64 bits, and the one of 48 bits that is in.
fn blocks(address: IpAddr) -> (Block, Option<Block>) {
    let IpAddr::V6(v6) = address else { return ((address, Size::Address), None) };
    let first = |bits: u32| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> (128 - bits) << (128 - bits)));
    ((first(64), Size::Address), Some((first(48), Size::Network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_a_limit_of_its_own() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 4, connections_per_address: 2, ..Limits::default() };
        let first = admission.admit(Some(ip("192.0.2.1")), &limits);
        let second = admission.admit(Some(ip("::ffff:192.0.2.1")), &limits);
        assert!(first.is_ok() && second.is_ok());
        assert!(admission.admit(Some(ip("192.0.2.1")), &limits).is_err());
        let third = admission.admit(Some(ip("2001:db8::1")), &limits);
        let fourth = admission.admit(Some(ip("2001:db8::2:1")), &limits);
        assert!(third.is_ok() && fourth.is_ok());
        assert!(admission.admit(Some(ip("192.0.2.2")), &limits).is_err(), "full");
        drop(fourth);
        let fifth = admission.admit(Some(ip("2001:db8:0:0:1::")), &limits);
        assert!(fifth.is_ok());
        drop((first, second, third, fifth));
        assert_eq!(admission.open(), 0);
        assert!(admission.shares().is_empty());
    }

    #[test]
    fn a_network_has_a_limit_too_however_many_addresses_it_has() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections_per_address: 1, ..Limits::default() };
        let from = |network: u16, host: u16| {
            admission.admit(Some(ip(&format!("2001:db8:{network:x}:{host:x}::1"))), &limits)
        };
        let tickets: Vec<_> = (0..8).map(|host| from(1, host)).collect();
        assert!(tickets.iter().all(Result::is_ok));
        assert!(from(1, 8).is_err());
        assert!(from(2, 8).is_ok(), "another network");
        drop(tickets);
        assert!(from(1, 8).is_ok());
        assert!(admission.shares().is_empty());
    }

    #[test]
    fn this_machine_is_only_counted_as_a_whole() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 3, connections_per_address: 1, ..Limits::default() };
        let tickets = [Some(ip("127.0.0.1")), Some(ip("127.0.0.1")), None]
            .map(|address| admission.admit(address, &limits));
        assert!(tickets.iter().all(Result::is_ok));
        assert!(admission.admit(Some(ip("::1")), &limits).is_err());
    }
}
