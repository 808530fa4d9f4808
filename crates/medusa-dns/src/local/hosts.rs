//! The hosts file, `hosts(5)`: an address, and the names that have it, on each line.
//!
//! As in the C library, a name on several lines has all their addresses, and an address is called by the first name on
//! the first of its lines. What is no address or no name is skipped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::AddressesByFamily;
use crate::name::Key;
use crate::{Data, RecordType};

/// The most bytes a hosts file may have: more than the largest blocklists that are passed around as one.
pub(crate) const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// A hosts file, read.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    names: HashMap<Box<str>, AddressesByFamily>,
    addresses: HashMap<IpAddr, Arc<[Data]>>,
}

impl Hosts {
    pub(crate) fn parse(text: &str) -> Self {
        let mut names: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        let mut addresses = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(address) else { continue };
            for name in words {
                let Ok(key) = Key::new(name, RecordType::A) else { continue };
                addresses.entry(address).or_insert_with(|| [Data::Ptr(bare(name).into())].into());
                names.entry(key.name().into()).or_default().push(address);
            }
        }
        let names =
            names.into_iter().map(|(name, addresses)| (name, AddressesByFamily::of(&addresses))).collect();
        Self { names, addresses }
    }

    /// The addresses of a name in lower case.
    pub(crate) fn addresses(&self, name: &str) -> Option<&AddressesByFamily> {
        self.names.get(name)
    }

    /// The name of an address.
    pub(crate) fn name(&self, ip: IpAddr) -> Option<&Arc<[Data]>> {
        self.addresses.get(&ip)
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is nothing to be found.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// An address; the zone of a link-local one (`fe80::1%eth0`) is left out, since records have none.
fn address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

fn bare(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# The loopback addresses
127.0.0.1\tlocalhost
::1 localhost ip6-localhost # and its names
192.0.2.1   Web.Example.org web   # with a comment
192.0.2.2 web.example.org.
2001:db8::1 web.example.org
fe80::1%eth0 router
192.0.2.1 other
not.an.address name
192.0.2.9
192.0.2.10 bad..name good
";

    fn texts(records: &[Data]) -> Vec<String> {
        records.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_have_the_addresses_of_all_their_lines() {
        let hosts = Hosts::parse(TEXT);
        let web = hosts.addresses("web.example.org").expect("a name");
        assert_eq!(texts(&web.v4), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(texts(&web.v6), ["2001:db8::1"]);
        assert_eq!(texts(&hosts.addresses("router").expect("a name").v6), ["fe80::1"]);
        assert_eq!(texts(&hosts.addresses("good").expect("a name").v4), ["192.0.2.10"]);
        assert!(hosts.addresses("name").is_none());
        assert_eq!(hosts.len(), 7);
    }

    #[test]
    fn addresses_have_the_first_of_their_names() {
        let hosts = Hosts::parse(TEXT);
        let name = |ip: &str| hosts.name(ip.parse().expect("an address")).map(|records| texts(records));
        assert_eq!(name("192.0.2.1"), Some(vec!["Web.Example.org".to_owned()]));
        assert_eq!(name("192.0.2.2"), Some(vec!["web.example.org".to_owned()]));
        assert_eq!(name("::1"), Some(vec!["localhost".to_owned()]));
        assert_eq!(name("192.0.2.9"), None);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "([0-9a-f.:%# \t\na-z\u{0}\u{e9}]{0,30}|127.0.0.1 a\n)*") {
            let hosts = Hosts::parse(&text);
            prop_assert!(hosts.names.values().all(|families| !families.v4.is_empty() || !families.v6.is_empty()));
        }
    }
}
