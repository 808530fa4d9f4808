//! Sets of addresses, as scripts list them: single ones, networks, and names for some.
//!
//! **Invariant: an entry means what it says**: one with a slip of the pen is an error, not a network that is larger
//! than it looks. And a set is what it holds: the same whatever the order of its entries and however they overlap, so
//! that two can be compared, and searched in a few steps however long they are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ranges that are shown of a set: more tell an operator nothing.
const SHOWN: usize = 4;

/// Addresses, sorted. IPv4 in IPv6 form is IPv4. Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last of each range. They do not touch.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    unix: bool,
}

/// An entry that can not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is nothing that is known.
    #[error(
        "{0:?} is not an address; use one like \"192.0.2.1\", a network like \"10.0.0.0/8\", or \"private\" or \"unix\""
    )]
    NotAnAddress(String),
    /// The number behind the slash is none, or too large.
    #[error("{entry:?} has a prefix that is not a number from 0 to {max}; the single address is {address}")]
    BadPrefix {
        /// The entry.
        entry: String,
        /// The number of bits of such an address.
        max: u8,
        /// The address without the prefix.
        address: IpAddr,
    },
    /// A network whose address is not its first.
    #[error("{entry:?} has bits behind its prefix; the network is {network}, the single address {address}")]
    BitsBehindPrefix {
        /// The entry.
        entry: String,
        /// The network that it lies in.
        network: String,
        /// The address without the prefix.
        address: IpAddr,
    },
}

impl Networks {
    /// Reads a list. An entry is an address (`192.0.2.1`, `2001:db8::1`), a network (`10.0.0.0/8`), `private` (this
    /// machine and private networks: `127.0.0.0/8`, `::1`, RFC 1918 and `fc00::/7`), or `unix` (whoever connects to a
    /// unix socket).
    ///
    /// # Errors
    ///
    /// The first entry that is none of these.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, NetworkError> {
        let (mut v4, mut v6, mut unix) = (Vec::new(), Vec::new(), false);
        let mut add = |network: Network| match network {
            Network::V4 { first, prefix } => v4.push((first, first | !mask32(prefix))),
            Network::V6 { first, prefix } => v6.push((first, first | !mask128(prefix))),
        };
        for entry in entries {
            match entry.as_ref().trim() {
                "private" => PRIVATE.into_iter().for_each(&mut add),
                "unix" => unix = true,
                entry => add(Network::parse(entry)?),
            }
        }
        let (v4, v6) = (merged(v4, |last| last.checked_add(1)), merged(v6, |last| last.checked_add(1)));
        Ok(Self { v4, v6, unix })
    }

    /// Whether it holds nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && !self.unix
    }

    /// Whether it holds a peer: an address, or (`None`) the other end of a unix socket. Takes as many steps as the
    /// number of its ranges has bits.
    #[must_use]
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|ip| ip.to_canonical()) {
            None => self.unix,
            Some(IpAddr::V4(ip)) => is_within(&self.v4, ip.into()),
            Some(IpAddr::V6(ip)) => is_within(&self.v6, ip.into()),
        }
    }
}

/// The first few of them: `10.0.0.0/8, ::1 and 12 more`.
impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = self.v4.iter().map(|&(first, last)| {
            let (first_ip, last_ip) = (Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into());
            AddressRange { first: first_ip, last: last_ip, spread: (first ^ last).into(), bits: 32 }
        });
        let v6 = self.v6.iter().map(|&(first, last)| {
            let (first_ip, last_ip) = (Ipv6Addr::from(first).into(), Ipv6Addr::from(last).into());
            AddressRange { first: first_ip, last: last_ip, spread: first ^ last, bits: 128 }
        });
        let mut behind = "";
        for range in v4.chain(v6).take(SHOWN) {
            write!(f, "{behind}{range}")?;
            behind = ", ";
        }
        if self.unix {
            write!(f, "{behind}unix")?;
        }
        match (self.v4.len() + self.v6.len()).checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// A range, as a network where it is one.
struct AddressRange {
    first: IpAddr,
    last: IpAddr,
    /// The bits in which the two differ.
    spread: u128,
    bits: u32,
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, spread, bits } = self;
        let low = spread.trailing_ones();
        let is_aligned = match first {
            IpAddr::V4(ip) => u128::from(u32::from(*ip)) & spread == 0,
            IpAddr::V6(ip) => u128::from(*ip) & spread == 0,
        };
        if *spread == 0 {
            write!(f, "{first}")
        } else if is_aligned && spread.checked_shr(low).unwrap_or(0) == 0 {
            write!(f, "{first}/{}", bits.saturating_sub(low))
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

/// Sorted ranges that neither overlap nor touch; `next` is what follows an address.
fn merged<A: Copy + Ord>(mut ranges: Vec<(A, A)>, next: impl Fn(A) -> Option<A>) -> Vec<(A, A)> {
    ranges.sort_unstable();
    let mut apart: Vec<(A, A)> = Vec::new();
    for (first, last) in ranges {
        match apart.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => apart.push((first, last)),
        }
    }
    apart.shrink_to_fit();
    apart
}

fn is_within<A: Copy + Ord>(ranges: &[(A, A)], address: A) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    let range = behind.checked_sub(1).and_then(|at| ranges.get(at));
    range.is_some_and(|(_, last)| address <= *last)
}

/// Addresses that begin with the same bits.
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

    fn parse(entry: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match entry.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (entry, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(NetworkError::NotAnAddress(entry.to_owned()));
        };
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => max,
            Some(text) => prefix_length(text)
                .filter(|&prefix| prefix <= max)
                .ok_or_else(|| NetworkError::BadPrefix { entry: entry.to_owned(), max, address })?,
        };
        let network = Self::around(address, prefix);
        if network.first() == address {
            return Ok(network.canonical());
        }
        let shown = format!("{}/{prefix}", network.first());
        Err(NetworkError::BitsBehindPrefix { entry: entry.to_owned(), network: shown, address })
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

    fn parsed(entries: &[&str]) -> Networks {
        Networks::parse(entries).expect("good entries")
    }

    fn contains(entries: &[&str], ip: &str) -> bool {
        parsed(entries).contains(Some(ip.parse().expect("an address")))
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
                assert!(contains(&[entry], ip), "{ip} is in {entry}");
            }
            for ip in outside {
                assert!(!contains(&[entry], ip), "{ip} is not in {entry}");
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
            assert!(contains(&["private"], ip), "{ip}");
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
            assert!(!contains(&["private"], ip), "{ip}");
        }
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
            let error = Networks::parse(["::1", entry]).expect_err(entry).to_string();
            assert!(error.contains(&format!("{entry:?}")), "{error}");
        }
        let slip = Networks::parse(["10.1.2.3/8"]).expect_err("bits behind the prefix");
        assert!(
            slip.to_string().ends_with("the network is 10.0.0.0/8, the single address 10.1.2.3"),
            "{slip}"
        );
        let slip = Networks::parse(["10.0.0.0/33"]).expect_err("too long a prefix");
        assert!(slip.to_string().ends_with("from 0 to 32; the single address is 10.0.0.0"), "{slip}");
    }

    #[test]
    fn a_set_is_what_it_holds_however_it_is_written() {
        let halves = parsed(&["10.128.0.0/9", "10.3.0.0/16", "10.0.0.0/9", "10.0.0.0/9"]);
        assert_eq!(halves, parsed(&["10.0.0.0/8"]));
        assert_eq!(parsed(&["0.0.0.0/1", "128.0.0.0/1"]), parsed(&["0.0.0.0/0"]));
        assert_ne!(parsed(&["10.0.0.0", "10.0.0.2"]), parsed(&["10.0.0.0/30"]));
        assert!(parsed(&[]).is_empty() && !parsed(&["unix"]).is_empty());
        assert!(parsed(&["unix"]).contains(None) && !parsed(&["0.0.0.0/0", "::/0"]).contains(None));
    }

    #[test]
    fn the_first_few_are_shown() {
        for (entries, shown) in [
            (&["::1", "unix", "10.0.0.0/8"][..], "10.0.0.0/8, ::1, unix"),
            (&["192.0.2.1", "192.0.2.2", "192.0.2.3"], "192.0.2.1-192.0.2.3"),
            (&["192.0.2.0", "192.0.2.1"], "192.0.2.0/31"),
            (&["0.0.0.0/0", "::/0"], "0.0.0.0/0, ::/0"),
            (
                &["10.0.0.1", "10.0.0.3", "10.0.0.5", "10.0.0.7", "10.0.0.9"],
                "10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7 and 1 more",
            ),
            (&[], ""),
        ] {
            assert_eq!(parsed(entries).to_string(), shown);
        }
    }

    #[test]
    fn ten_thousand_are_found_one_by_one() {
        let entries = (0..10_000_u32).map(|n| format!("{}/31", Ipv4Addr::from(n * 8)));
        let networks = Networks::parse(entries).expect("good entries");
        for n in (0..10_000_u32).step_by(7) {
            let address = |offset| Some(Ipv4Addr::from(n * 8 + offset).into());
            assert!(networks.contains(address(0)) && networks.contains(address(1)), "{n}");
            assert!(!networks.contains(address(2)) && !networks.contains(address(7)), "{n}");
        }
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_what_one_of_its_networks_holds(
            networks in proptest::collection::vec((any::<u8>(), 24..=32_u8), 0..8),
            ip: u8,
        ) {
            let first = |(low, prefix): (u8, u8)| u32::from(low) & mask32(prefix);
            let entries = networks.iter().map(|&it| format!("{}/{}", Ipv4Addr::from(first(it)), it.1));
            let set = Networks::parse(entries).expect("good entries");
            let ip = u32::from(ip);
            let is_in = networks.iter().any(|&it| ip & mask32(it.1) == first(it));
            prop_assert_eq!(set.contains(Some(Ipv4Addr::from(ip).into())), is_in);
        }

        #[test]
        fn texts_never_panic(entry: String) {
            let _ = Networks::parse([entry]);
        }
    }
}
