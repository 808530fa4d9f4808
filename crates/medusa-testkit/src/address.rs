//! Loopback addresses of one's own.
//!
//! A server that is stopped and started again must come back on the same port, and a port that was free a moment ago may
//! be anybody's by then. But all of 127.0.0.0/8 is this machine: on an address that nobody else has, every port is free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whoever listens on this port has the address. Below the ports that the system gives out.
const CLAIM: u16 = 1513;

/// The number of addresses that are tried. The first is free but for a coincidence.
const TRIES: u32 = 1000;

/// A loopback address that no other test has, of this process or another, as long as this value is held.
#[derive(Debug)]
pub struct OwnAddress {
    address: Ipv4Addr,
    _claim: TcpListener,
}

impl OwnAddress {
    /// An address that nobody has.
    ///
    /// # Panics
    ///
    /// There is none: the system does not let us listen.
    #[track_caller]
    pub fn claim() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut last = None;
        for _ in 0..TRIES {
            let address = candidate(process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            match TcpListener::bind((address, CLAIM)) {
                Ok(claim) => return Self { address, _claim: claim },
                Err(error) => last = Some(error),
            }
        }
        panic!("no loopback address can be had: {last:?}");
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.address.into()
    }

    /// A port on it.
    pub fn port(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }
}

/// An address in 127.64.0.0/10, far from those that people write into configurations. Each process begins elsewhere.
fn candidate(process: u32, number: u32) -> Ipv4Addr {
    let [_, a, b, c] =
        process.wrapping_mul(0x9e37_79b1).wrapping_add(number.wrapping_mul(0x61c9)).to_be_bytes();
    Ipv4Addr::new(127, 64 + a % 64, b, 1 + c % 254)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let held: Vec<OwnAddress> = (0..50).map(|_| OwnAddress::claim()).collect();
        let mut addresses: Vec<IpAddr> = held.iter().map(OwnAddress::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), held.len());
        assert!(addresses.iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn an_address_that_is_taken_is_passed_over() {
        let held = OwnAddress::claim();
        assert!(TcpListener::bind((held.ip(), CLAIM)).is_err(), "it is held");
        assert!(TcpListener::bind(held.port(1514)).is_ok(), "its ports are free");
    }
}
