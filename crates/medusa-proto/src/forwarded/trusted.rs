//! Which proxies are believed.
//!
//! **Invariant: what is not listed is not trusted**, and an entry means what it says: one with a slip of the pen is an
//! error, not a network that is larger than it looks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of trusted proxies. Default: none, and then nobody is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    unix: bool,
}

/// An entry that can not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// It is nothing that is known.
    #[error(
        "the trusted proxy {0:?} is not an address; use one like \"192.0.2.1\", a network like \"10.0.0.0/8\", or \
         \"private\" or \"unix\""
    )]
    NotAnAddress(String),
    /// The number behind the slash is none, or too large.
    #[error("the trusted proxy {entry:?} has a prefix that is not a number from 0 to {max}")]
    BadPrefix {
        /// The entry.
        entry: String,
        /// The number of bits of such an address.
        max: u8,
    },
    /// A network whose address is not its first.
    #[error(
        "the trusted proxy {entry:?} has bits behind its prefix; the network is {network}, the single address {address}"
    )]
    BitsBehindPrefix {
        /// The entry.
        entry: String,
        /// The network that it lies in.
        network: String,
        /// The address without the prefix.
        address: IpAddr,
    },
}

impl TrustedProxies {
    /// Reads a list. An entry is an address (`192.0.2.1`, `2001:db8::1`), a network (`10.0.0.0/8`), `private` (this machine
    /// and private networks: `127.0.0.0/8`, `::1`, RFC 1918 and `fc00::/7`), or `unix` (whoever connects to a unix socket).
    ///
    /// # Errors
    ///
    /// The first entry that is none of these.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, TrustError> {
        let mut trusted = Self::default();
        for entry in entries {
            match entry.as_ref().trim() {
                "private" => trusted.networks.extend(PRIVATE),
                "unix" => trusted.unix = true,
                entry => trusted.networks.push(Network::parse(entry)?),
            }
        }
        Ok(trusted)
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether a peer is trusted: an address, or (`None`) the other end of a unix socket.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            None => self.unix,
            Some(ip) => self.networks.iter().any(|network| network.contains(ip)),
        }
    }
}

/// Addresses that begin with the same bits. IPv4 in IPv6 form is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4 { first: u32, prefix: u8 },
    V6 { first: u128, prefix: u8 },
}

/// RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, RFC 1918 §3, RFC 4193 §3.
const PRIVATE: [Network; 6] = [
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 168, 0, 0], 16),
    Network::V6 { first: 1, prefix: 128 },
    Network::V6 { first: 0xfc << 120, prefix: 7 },
];

impl Network {
    const fn v4(first: [u8; 4], prefix: u8) -> Self {
        Self::V4 { first: u32::from_be_bytes(first), prefix }
    }

    fn parse(entry: &str) -> Result<Self, TrustError> {
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(TrustError::NotAnAddress(entry.to_owned()));
        };
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(text) => prefix_length(text)
                .filter(|&prefix| prefix <= max)
                .ok_or_else(|| TrustError::BadPrefix { entry: entry.to_owned(), max })?,
        };
        let network = Self::around(address, prefix);
        if network.first() == address {
            return Ok(network.canonical());
        }
        let shown = format!("{}/{prefix}", network.first());
        Err(TrustError::BitsBehindPrefix { entry: entry.to_owned(), network: shown, address })
    }

    /// The network of that prefix that an address lies in.
    fn around(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(ip) => Self::V4 { first: u32::from(ip) & mask32(prefix), prefix },
            IpAddr::V6(ip) => Self::V6 { first: u128::from(ip) & mask128(prefix), prefix },
        }
    }

    fn first(self) -> IpAddr {
        match self {
            Self::V4 { first, .. } => Ipv4Addr::from(first).into(),
            Self::V6 { first, .. } => Ipv6Addr::from(first).into(),
        }
    }

    /// Addresses are compared in their shortest form, so a network of IPv4 addresses has to be one.
    fn canonical(self) -> Self {
        match (self, self.first().to_canonical()) {
            (Self::V6 { prefix, .. }, IpAddr::V4(first)) if prefix >= 96 => {
                Self::V4 { first: first.into(), prefix: prefix - 96 }
            }
            _ => self,
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        match (self, ip.to_canonical()) {
            (Self::V4 { first, prefix }, IpAddr::V4(ip)) => u32::from(ip) & mask32(prefix) == first,
            (Self::V6 { first, prefix }, IpAddr::V6(ip)) => u128::from(ip) & mask128(prefix) == first,
            _ => false,
        }
    }
}

fn prefix_length(text: &str) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// `prefix` ones, then zeros.
fn mask32(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask128(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusts(entries: &[&str], ip: &str) -> bool {
        let trusted = TrustedProxies::parse(entries).expect("good entries");
        trusted.trusts(Some(ip.parse().expect("an address")))
    }

    #[test]
    fn networks_end_where_they_end() {
        for (entry, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..],
                &["9.255.255.255", "11.0.0.0", "::10.0.0.0"][..],
            ),
            ("192.0.2.1", &["192.0.2.1"], &["192.0.2.0", "192.0.2.2"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]),
            ("::/0", &["::", "2001:db8::1"], &["192.0.2.1"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]),
            ("::1", &["::1"], &["::2", "127.0.0.1"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9"], &["11.0.0.0"]),
            ("::ffff:192.0.2.1", &["192.0.2.1"], &["192.0.2.2"]),
            (" 192.0.2.1 ", &["192.0.2.1"], &[]),
        ] {
            for ip in inside {
                assert!(trusts(&[entry], ip), "{ip} is in {entry}");
            }
            for ip in outside {
                assert!(!trusts(&[entry], ip), "{ip} is not in {entry}");
            }
        }
    }

    #[test]
    fn private_is_this_machine_and_private_networks() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "::1",
            "fd00::1",
            "fc00::",
        ] {
            assert!(trusts(&["private"], ip), "{ip}");
        }
        for ip in [
            "172.15.0.1",
            "172.32.0.0",
            "192.169.0.0",
            "169.254.169.254",
            "fe80::1",
            "::",
            "::2",
            "8.8.8.8",
            "fbff::",
        ] {
            assert!(!trusts(&["private"], ip), "{ip}");
        }
    }

    #[test]
    fn nobody_is_trusted_unasked() {
        let nobody = TrustedProxies::default();
        assert!(nobody.is_empty() && !nobody.trusts(None));
        assert!(!nobody.trusts(Some([127, 0, 0, 1].into())));

        let unix = TrustedProxies::parse(["unix"]).expect("good");
        assert!(!unix.is_empty() && unix.trusts(None));
        assert!(!unix.trusts(Some([127, 0, 0, 1].into())));
        let private = TrustedProxies::parse(["private"]).expect("good");
        assert!(!private.trusts(None));
    }

    #[test]
    fn an_error_names_the_entry() {
        for entry in [
            "",
            "localhost",
            "10",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::1/129",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "Private",
            "10.0.0.0/256",
            "10.0.0.1/8",
            "::1/64",
        ] {
            let error = TrustedProxies::parse(["::1", entry]).expect_err(entry).to_string();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
        let slip = TrustedProxies::parse(["10.1.2.3/8"]).expect_err("bits behind the prefix");
        assert!(
            slip.to_string().ends_with("the network is 10.0.0.0/8, the single address 10.1.2.3"),
            "{slip}"
        );
    }

    proptest! {
        #[test]
        fn a_network_holds_exactly_what_begins_alike(ip: u128, other: u128, prefix in 0..=128_u8) {
            let network = Network::around(Ipv6Addr::from(ip).into(), prefix);
            let entry = format!("{}/{prefix}", network.first());
            let trusted = TrustedProxies::parse([entry]).expect("good");
            prop_assert!(trusted.trusts(Some(Ipv6Addr::from(ip).into())) || Ipv6Addr::from(ip).to_ipv4_mapped().is_some());
            let alike = u32::from(prefix) <= (ip ^ other).leading_zeros();
            prop_assert_eq!(trusted.trusts(Some(Ipv6Addr::from(other).into())), alike);
        }

        #[test]
        fn texts_never_panic(entry: String) {
            let _ = TrustedProxies::parse([entry]);
        }
    }
}
