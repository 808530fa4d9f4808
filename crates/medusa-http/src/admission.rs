//! Who may connect: how many connections a server has, in all and from each address.
//!
//! Invariant: a [`Ticket`] is counted from its making to its dropping, and an address without connections takes no
//! memory, so the table is never larger than the number of connections.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medusa_net::descriptors;
use medusa_proto::access::Peer;

use crate::client::address;
use crate::limits::{Limits, passes};

/// A server's connections. Looked at once per connection, not per request, so one lock does.
#[derive(Debug, Default)]
pub struct Admission {
    open: AtomicU32,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// One admitted connection.
#[derive(Debug)]
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

impl Admission {
    /// Connections open now.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Admits a connection, unless there are as many as there may be. `address` is counted against its own limit;
    /// without one (a unix socket, a trusted proxy) only the whole is.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>, limits: &Limits) -> Option<Ticket> {
        let address = address.map(Peer::Ip).and_then(holder);
        let ticket = Ticket { admission: Arc::clone(self), address };
        let open = self.open.fetch_add(1, Relaxed) + 1;
        let here = address.map_or(0, |address| {
            let mut by_address = self.by_address();
            let here = by_address.entry(address).or_default();
            *here += 1;
            *here
        });
        // Dropped, a ticket that is too many is taken back.
        let too_many = passes(open.into(), limits.connections)
            || passes(here.into(), limits.connections_per_address)
            || (limits.connections_per_address != 0 && descriptors::is_too_many_of_address(here.into()));
        (!too_many).then_some(ticket)
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Relaxed);
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut here) = self.admission.by_address().entry(address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// On whose account something is kept that clients cause: what [`block`] says, and nobody for this machine's own
/// addresses and unix sockets, which speak for others.
pub fn holder(client: Peer) -> Option<IpAddr> {
    address(client).map(block).filter(|address| !address.is_loopback())
}

/// What one client has at least: an IPv4 address, or an IPv6 network of 64 bits.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
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
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(Some(ip("192.0.2.1")), &limits).is_none());
        let third = admission.admit(Some(ip("2001:db8::1")), &limits);
        let fourth = admission.admit(Some(ip("2001:db8::2:1")), &limits);
        assert!(third.is_some() && fourth.is_some());
        assert!(admission.admit(Some(ip("192.0.2.2")), &limits).is_none(), "full");
        drop(fourth);
        let fifth = admission.admit(Some(ip("2001:db8:0:0:1::")), &limits);
        assert!(fifth.is_some());
        drop((first, second, third, fifth));
        assert_eq!(admission.open(), 0);
        assert!(admission.by_address().is_empty());
    }

    #[test]
    fn this_machine_is_only_counted_as_a_whole() {
        let admission = Arc::new(Admission::default());
        let limits = Limits { connections: 3, connections_per_address: 1, ..Limits::default() };
        let tickets = [Some(ip("127.0.0.1")), Some(ip("127.0.0.1")), None]
            .map(|address| admission.admit(address, &limits));
        assert!(tickets.iter().all(Option::is_some));
        assert!(admission.admit(Some(ip("::1")), &limits).is_none());
    }
}
