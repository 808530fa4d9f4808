//! A caching stub resolver: it asks the name servers it is told of, and remembers what they say.
//!
//! The way of a question: [`Resolver::lookup`] first looks at what is known here (pins, the hosts file, the names that
//! never leave a machine), then in the cache. What neither knows becomes a *pending query*: one query, however many
//! wait for it, made by the thread `medusa-dns`, which owns all sockets. Its answer is put in the cache and given to
//! everyone who waits.
//!
//! - `name`: names as they are compared, and the reverse names of addresses;
//! - `local`: what is answered without a server;
//! - `cache`: what servers have said, for as long as they said it holds (and longer, while they are silent);
//! - `upstream`: the servers, how they are asked, and which packets count as their answers;
//! - `resolver`: the pieces put together.
//!
//! **Invariant: nothing blocks a caller, and nothing grows without a bound.** Answers, flights, waiters and queries on
//! the wire are all limited; beyond its limit each is refused with [`LookupError::Busy`], or makes room.
//!
//! An attacker speaks here in two voices: as whoever chooses the names that are asked for (a client with a forged
//! reverse zone, a script fed by a request), and as whoever can send a packet to this machine. The first is met by the
//! bounds, the second by random ports and ids, sockets that hear only the server, and a check of the question (see
//! `upstream::guard`).

mod answer;
mod cache;
mod data;
mod error;
mod local;
mod lookup_error;
mod name;
mod options;
mod resolver;
mod upstream;

pub use answer::{Addresses, Answer, Source};
pub use data::{Data, RecordType, UnknownRecordType};
pub use error::DnsError;
pub use lookup_error::{LookupError, Rcode};
pub use options::{
    BadServerAddr, CacheOptions, Protocol, ServerAddr, ServerOptions, SystemOptions, UnknownProtocol,
};
pub use resolver::{CacheEntry, EntryState, Resolver};
