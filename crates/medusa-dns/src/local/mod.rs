//! Answers without a server: pins, the hosts file, names that mean the same everywhere; and where the servers
//! are.
//!
//! - `hosts`: the hosts file;
//! - `pins`: names that someone has pinned;
//! - `special`: names that no server must be asked for;
//! - `resolv_conf`: the system's servers and search list;
//! - `file`: a file that is read again when it has changed.
//!
//! **Invariant: a pin hides the hosts file, which hides the servers.** A name found here never leaves the machine, for
//! any type, so that no server can contradict what an administrator has written.

mod file;
mod hosts;
mod pins;
mod resolv_conf;
mod special;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::Data;

pub(crate) use file::WatchedFile;
pub(crate) use hosts::{Hosts, MAX_BYTES as HOSTS_BYTES};
pub(crate) use pins::Pins;
pub(crate) use resolv_conf::{MAX_BYTES as RESOLV_CONF_BYTES, ResolvConf};
pub(crate) use special::{Special, special};

/// The addresses of a name, by family. Either list may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressesByFamily {
    pub(crate) v4: Arc<[Data]>,
    pub(crate) v6: Arc<[Data]>,
}

impl AddressesByFamily {
    /// `addresses`, without repetitions, in their order.
    pub(crate) fn of(addresses: &[IpAddr]) -> Self {
        let (mut v4, mut v6, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for address in addresses {
            let (list, data) = match address {
                IpAddr::V4(address) => (&mut v4, Data::A(*address)),
                IpAddr::V6(address) => (&mut v6, Data::Aaaa(*address)),
            };
            if seen.insert(address) {
                list.push(data);
            }
        }
        Self { v4: v4.into(), v6: v6.into() }
    }
}
