//! The resolver against a name server of ours, which does what it is told: also what no name server should.
//!
//! - `server`: the server;
//! - `answers`: what is asked and what comes back, by UDP and TCP;
//! - `crowded`: more questions than can be asked;
//! - `encrypted`: by TLS;
//! - `remembered`: the cache, with a server behind it;
//! - `failures`: servers that are slow, stopped, or say no;
//! - `hostile`: packets that are no answers;
//! - `system`: `resolv.conf` and the hosts file.

mod answers;
mod crowded;
mod encrypted;
mod failures;
mod hostile;
mod remembered;
mod server;
mod system;
