//! Which proxies are believed.
//!
//! **Invariant: what is not listed is not trusted.**

use std::net::IpAddr;

use crate::networks::{NetworkError, Networks};

/// The addresses of trusted proxies. Default: none, and then nobody is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Networks);

/// An entry that can not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trusted proxy {0}")]
pub struct TrustError(NetworkError);

impl TrustedProxies {
    /// Reads a list, as [`Networks::parse`] does.
    ///
    /// # Errors
    ///
    /// The first entry that is none.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, TrustError> {
        Networks::parse(entries).map(Self).map_err(TrustError)
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer is trusted: an address, or (`None`) the other end of a unix socket.
    #[must_use]
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.0.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

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
    fn an_error_says_what_it_is_about() {
        let error = TrustedProxies::parse(["::1", "10.1.2.3/8"]).expect_err("bits behind the prefix");
        let expected = "the trusted proxy \"10.1.2.3/8\" has bits behind its prefix; the network is 10.0.0.0/8, the single \
             address 10.1.2.3";
        assert_eq!(error.to_string(), expected);
    }

    proptest! {
        #[test]
        fn a_network_holds_exactly_what_begins_alike(ip: u128, other: u128, prefix in 0..=128_u8) {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            let entry = format!("{}/{prefix}", Ipv6Addr::from(ip & mask));
            let trusted = TrustedProxies::parse([entry]).expect("good");
            prop_assert!(trusted.trusts(Some(Ipv6Addr::from(ip).into())) || Ipv6Addr::from(ip).to_ipv4_mapped().is_some());
            let alike = u32::from(prefix) <= (ip ^ other).leading_zeros();
            prop_assert_eq!(trusted.trusts(Some(Ipv6Addr::from(other).into())), alike);
        }
    }
}
