//! Limits of connections: how many a server has, in all, from each address and from each network.
//!
//! Invariant: a [`ConnectionPermit`] is counted from its making to its dropping, and an address that has nothing takes no memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use medusa_net::clients::ClientPrefix;
use medusa_net::descriptors;
use medusa_proto::access::Peer;

use crate::budget::{Account, ClientShare, ClientShares};
use crate::client::address;
use crate::limits::{Limits, passes};

/// A server's connections. Looked at once per connection, not per request, so one lock does.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicU32,
    shares: ClientShares,
}

/// One admitted connection.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    account: Account,
}

impl ConnectionPermit {
    /// The account that it is counted for.
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
    ) -> Result<ConnectionPermit, Account> {
        let address = address.map(Peer::Ip).and_then(canonical);
        let account = address.map(|address| self.account(address)).unwrap_or_default();
        let open = self.open.fetch_add(1, Relaxed) + 1;
        // Dropped, a ticket that is too many is taken back.
        let permit = ConnectionPermit { admission: Arc::clone(self), account };
        let crowded = |share: &ClientShare| {
            let open = share.connections.load(Relaxed);
            // Descriptors are the process's.
            let descriptors = share.holding.connections.load(Relaxed) / share.process_times();
            passes(open.into(), limits.connections_per_address.saturating_mul(share.times()))
                || (limits.connections_per_address != 0
                    && descriptors::is_too_many_of_address(descriptors.into()))
        };
        let too_many = passes(open.into(), limits.connections)
            || permit.account.shares().iter().any(|share| crowded(share));
        if too_many { Err(permit.account.clone()) } else { Ok(permit) }
    }

    /// The account of an address, with one connection more.
    fn account(&self, address: IpAddr) -> Account {
        let count = |client| {
            let share = ClientShare::of(client, &self.shares);
            share.connections.fetch_add(1, Relaxed);
            share.holding.connections.fetch_add(1, Relaxed);
            share
        };
        let host = count(ClientPrefix::host(address));
        match ClientPrefix::network(address) {
            None => Account::of([host]),
            Some(network) => Account::of([host, count(network)]),
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Relaxed);
        for share in self.account.shares() {
            share.connections.fetch_sub(1, Relaxed);
            share.holding.connections.fetch_sub(1, Relaxed);
        }
    }
}

/// On whose account something is kept that clients cause: the least that one client has, and nobody for this machine's
/// own addresses and unix sockets, which speak for others.
pub fn holder(client: Peer) -> Option<ClientPrefix> {
    canonical(client).map(ClientPrefix::host)
}

/// The address of a client, if it has one of its own.
fn canonical(client: Peer) -> Option<IpAddr> {
    address(client).map(|address| address.to_canonical()).filter(|address| !address.is_loopback())
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
        assert!(admission.shares.is_empty());
    }

    #[test]
    fn a_network_has_a_limit_too_however_many_addresses_it_has() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections_per_address: 1, ..Limits::default() };
        let from = |network: u16, host: u16| {
            admission.admit(Some(ip(&format!("2001:db8:{network:x}:{host:x}::1"))), &limits)
        };
        let permits: Vec<_> = (0..8).map(|host| from(1, host)).collect();
        assert!(permits.iter().all(Result::is_ok));
        assert!(from(1, 8).is_err());
        assert!(from(2, 8).is_ok(), "another network");
        drop(permits);
        assert!(from(1, 8).is_ok());
        assert!(admission.shares.is_empty());
    }

    #[test]
    fn this_machine_is_only_counted_as_a_whole() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 3, connections_per_address: 1, ..Limits::default() };
        let permits = [Some(ip("127.0.0.1")), Some(ip("127.0.0.1")), None]
            .map(|address| admission.admit(address, &limits));
        assert!(permits.iter().all(Result::is_ok));
        assert!(admission.admit(Some(ip("::1")), &limits).is_err());
    }
}
