//! The shares of clients: of the process, and of each server.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, LazyLock};

use medusa_net::clients::{ClientEntry, ClientPrefix, ClientTable};

use super::count::Kind;

/// The part that one client has of the process, as long as there is any of it.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) connections: AtomicU32,
    /// Connections that are refused, and being told so.
    pub(super) refusals: AtomicU32,
    held: [AtomicU64; 2],
}

/// Those of all clients. Looked at once per connection.
pub(super) static HOLDINGS: LazyLock<ClientTable<Holding>> = LazyLock::new(ClientTable::default);

/// The part that one client has under way at one server.
#[derive(Debug)]
pub(crate) struct ClientShare {
    pub(crate) connections: AtomicU32,
    pub(crate) requests: AtomicU32,
    /// What it has at all servers.
    pub(crate) holding: Arc<ClientEntry<Holding>>,
}

/// The shares of one server.
pub(crate) type ClientShares = ClientTable<ClientShare>;

impl ClientShare {
    pub(crate) fn of(client: ClientPrefix, shares: &ClientShares) -> Arc<ClientEntry<Self>> {
        shares.entry(client, || Self {
            connections: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            holding: HOLDINGS.entry(client, Holding::default),
        })
    }

    /// The number of hosts that it may have the connections and requests of. A network may be a company, or the telephones
    /// of a city.
    pub(crate) fn times(&self) -> u32 {
        match self.holding.client() {
            ClientPrefix::Host(_) => 1,
            ClientPrefix::Network(_) => 8,
        }
    }

    /// The same of what the process has.
    pub(crate) fn process_times(&self) -> u32 {
        match self.holding.client() {
            ClientPrefix::Host(_) => 1,
            ClientPrefix::Network(_) => 2,
        }
    }

    /// The most it may have for so much that it leaves free: a host a quarter, so that alone it has a fifth of all.
    pub(super) fn part_of(&self, free: u64) -> u64 {
        free / 4 * u64::from(self.process_times())
    }

    pub(super) fn held(&self, kind: Kind) -> &AtomicU64 {
        &self.holding.held[kind as usize]
    }
}
