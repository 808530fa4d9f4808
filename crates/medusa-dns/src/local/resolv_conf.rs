//! The system's servers and search list, `resolv.conf(5)`, read as the C library reads it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::name::Key;
use crate::{RecordType, ServerAddr};

/// The most bytes a `resolv.conf` may have.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// The C library asks no more than three servers; more are ignored.
const MAX_SERVERS: usize = 3;

/// Domains of the search list that are tried: each costs two queries for every name that is not found.
const MAX_SEARCH: usize = 16;

/// A `resolv.conf`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// The servers, at least one.
    pub(crate) servers: Vec<ServerAddr>,
    /// Domains in which a short name is looked for.
    pub(crate) search: Vec<Box<str>>,
    /// A name with at least this many dots is tried as it is before it is searched.
    pub(crate) ndots: usize,
    /// The time that a server may take.
    pub(crate) timeout: Duration,
    /// How often each is asked.
    pub(crate) attempts: u32,
    /// Whether they are taken in turn.
    pub(crate) rotate: bool,
    /// What was not understood, for the log: at most the first few.
    pub(crate) skipped: Vec<String>,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            skipped: Vec::new(),
        }
    }
}

impl ResolvConf {
    pub(crate) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            if line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => conf.nameserver(words.next().unwrap_or_default()),
                // The last of `domain` and `search` counts.
                Some("domain") => conf.search(words.take(1)),
                Some("search") => conf.search(words),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {} // sortlist, and what others may have added: the C library does not care either
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(IpAddr::from(Ipv4Addr::LOCALHOST).into());
        }
        conf
    }

    fn nameserver(&mut self, word: &str) {
        match server(word) {
            Some(server) if self.servers.len() < MAX_SERVERS => self.servers.push(server),
            Some(_) => {}
            None => self.skip(word),
        }
    }

    fn search<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        self.search.clear();
        for word in words.take(MAX_SEARCH) {
            match Key::new(word, RecordType::A) {
                Ok(key) => self.search.push(key.name().into()), // empty for the root: the name as it is
                Err(_) => self.skip(word),
            }
        }
    }

    fn option(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match (name, value.parse::<u32>()) {
            // The limits are the C library's.
            ("ndots", Ok(number)) => self.ndots = number.min(15) as usize,
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, 30).into()),
            ("attempts", Ok(number)) => self.attempts = number.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            ("ndots" | "timeout" | "attempts", Err(_)) => self.skip(option),
            _ => {} // about how the C library itself works
        }
    }

    fn skip(&mut self, word: &str) {
        if self.skipped.len() < 4 {
            self.skipped.push(word.chars().take(80).collect());
        }
    }
}

/// An address, or, as OpenBSD has it, one in brackets with a port behind it: `[192.0.2.1]:5353`.
fn server(word: &str) -> Option<ServerAddr> {
    let Some((address, port)) = word.strip_prefix('[').and_then(|rest| rest.split_once("]:")) else {
        return word.parse::<IpAddr>().ok().map(ServerAddr::from);
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some(ServerAddr { ip: address.parse().ok()?, port: Some(port) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_in_it() {
        let conf = ResolvConf::parse(
            "# made by hand\n; really\nnameserver 192.0.2.1\nnameserver [2001:db8::1]:5353\n\
             domain old.example\nsearch Corp.Example example.org.\n\
             options ndots:2 timeout:3 attempts:4 rotate edns0 trust-ad\nsortlist 192.0.2.0/24\n",
        );
        let expected = ResolvConf {
            servers: vec![
                "192.0.2.1".parse().expect("an address"),
                "[2001:db8::1]:5353".parse().expect("an address"),
            ],
            search: vec!["corp.example".into(), "example.org".into()],
            ndots: 2,
            timeout: Duration::from_secs(3),
            attempts: 4,
            rotate: true,
            skipped: vec![],
        };
        assert_eq!(conf, expected);
    }

    #[test]
    fn nothing_in_it() {
        let conf = ResolvConf::parse("");
        assert_eq!(conf.servers, [IpAddr::V4(Ipv4Addr::LOCALHOST).into()]);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts, conf.rotate), (1, 5, 2, false));
    }

    #[test]
    fn what_is_too_much_or_wrong() {
        let conf = ResolvConf::parse(
            "nameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n\
             nameserver 192.0.2.4\n nameserver\noptions ndots:99 timeout:0 attempts:many\nsearch a..b c.example\n",
        );
        assert_eq!(conf.servers.len(), 3);
        assert_eq!(conf.search, ["c.example".into()]);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (15, 1, 2));
        assert_eq!(conf.skipped, ["fe80::1%eth0", "", "attempts:many", "a..b"]);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "((nameserver|search|domain|options|#|ndots:|timeout:|[0-9.:a-z]{0,9}|.)[ \n]?){0,60}") {
            let conf = ResolvConf::parse(&text);
            prop_assert!((1..=MAX_SERVERS).contains(&conf.servers.len()));
            prop_assert!(conf.search.len() <= MAX_SEARCH && conf.ndots <= 15);
            prop_assert!((1..=5).contains(&conf.attempts) && (1..=30).contains(&conf.timeout.as_secs()));
        }
    }
}
