//! Clients told apart by their addresses, and tables with an entry for each.
//!
//! Invariant: an entry is in its table exactly as long as somebody holds it. So a table is never larger than what its
//! entries are held for: connections, files, calls that wait.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Deref;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Addresses that count as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientPrefix {
    /// An IPv4 address, or the first 64 bits of an IPv6 one: a host can choose the rest.
    Host(IpAddr),
    /// The first 48 bits of an IPv6 address: what one site is commonly given, and anybody can rent.
    Network(Ipv6Addr),
}

impl ClientPrefix {
    /// The host that has `address`.
    pub fn host(address: IpAddr) -> Self {
        Self::Host(match address.to_canonical() {
            IpAddr::V6(v6) => first(v6, 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// The network that has `address`; none for IPv4, where nobody has more than a few.
    pub fn network(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V6(v6) => Some(Self::Network(first(v6, 48))),
            IpAddr::V4(_) => None,
        }
    }
}

fn first(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits))
}

impl fmt::Display for ClientPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(IpAddr::V4(address)) => address.fmt(f),
            Self::Host(IpAddr::V6(address)) => write!(f, "{address}/64"),
            Self::Network(address) => write!(f, "{address}/48"),
        }
    }
}

type Entries<T> = Mutex<HashMap<ClientPrefix, Weak<ClientEntry<T>>>>;

/// Entries of the clients that have something.
#[derive(Debug)]
pub struct ClientTable<T>(Arc<Entries<T>>);

impl<T> Default for ClientTable<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> ClientTable<T> {
    /// A client's entry, made by `new` if nobody holds it.
    pub fn entry(&self, client: ClientPrefix, new: impl FnOnce() -> T) -> Arc<ClientEntry<T>> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.get(&client).and_then(Weak::upgrade) {
            return known;
        }
        let entry = Arc::new(ClientEntry { client, table: Arc::downgrade(&self.0), value: new() });
        entries.insert(client, Arc::downgrade(&entry));
        entry
    }

    /// The number of clients that have an entry.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether no client has one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A client's entry in a [`ClientTable`].
#[derive(Debug)]
pub struct ClientEntry<T> {
    client: ClientPrefix,
    table: Weak<Entries<T>>,
    value: T,
}

impl<T> ClientEntry<T> {
    /// The client whose entry it is.
    pub fn client(&self) -> ClientPrefix {
        self.client
    }

    /// The number of others that hold it.
    pub fn others(self: &Arc<Self>) -> usize {
        Arc::strong_count(self).saturating_sub(1)
    }
}

impl<T> Deref for ClientEntry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for ClientEntry<T> {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut entries = table.lock();
        // Unless the client has come again meanwhile.
        if entries.get(&self.client).is_some_and(|known| known.strong_count() == 0) {
            entries.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> ClientPrefix {
        ClientPrefix::host(text.parse().expect("an address"))
    }

    #[test]
    fn a_host_counts_by_what_it_cannot_choose() {
        assert_eq!(host("2001:db8:1:2::1"), host("2001:db8:1:2:3:4:5:6"));
        assert_ne!(host("2001:db8:1:2::1"), host("2001:db8:1:3::1"));
        assert_eq!(host("::ffff:192.0.2.1"), host("192.0.2.1"));
        let network = |text: &str| ClientPrefix::network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), None);
        let shown = [Some(host("192.0.2.1")), Some(host("2001:db8:1:2::1")), network("2001:db8:1:2::1")];
        let shown = shown.map(|client| client.expect("there is one").to_string());
        assert_eq!(shown, ["192.0.2.1", "2001:db8:1:2::/64", "2001:db8:1::/48"]);
    }

    #[test]
    fn an_entry_is_there_as_long_as_it_is_held() {
        let table = ClientTable::default();
        let one = table.entry(host("192.0.2.1"), || 1);
        let same = table.entry(host("192.0.2.1"), || 2);
        let other = table.entry(host("192.0.2.2"), || 3);
        assert_eq!((one.value, same.value, other.value), (1, 1, 3));
        assert_eq!((one.others(), other.others(), table.len()), (1, 0, 2));
        drop((one, other));
        assert_eq!((same.others(), table.len()), (0, 1));
        drop(same);
        assert!(table.is_empty());
    }
}
