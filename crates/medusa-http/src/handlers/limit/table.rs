//! How much each client has asked for of late, in a table of fixed size.
//!
//! Of each client there is one time: when nothing is left of what it has asked for (the *theoretical arrival time* of
//! GCRA, the generic cell rate algorithm, which allows exactly what a bucket of tokens does). Each request moves it on
//! by an interval; one that would move it further ahead than the burst is refused. A client whose time has passed is
//! like one that never came, so its place is free.
//!
//! A client has its place in one *bucket*. Where all places there are taken, the one that would be free soonest is
//! given up: that of who has asked for least. So whoever is at the limit is forgotten last, and to make the table
//! forget somebody others have to ask for more. All IPv6 networks of one site (/48) share a bucket, and those that find
//! no free place there are counted as one client: whoever has a /48 to choose addresses from neither fills the table with
//! them nor begins anew with each.
//!
//! **Invariant:** memory is what it is from the first request on, whoever comes.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use medusa_net::clients::ClientPrefix;
use medusa_proto::shown::push_cut;
use parking_lot::Mutex;

/// Buckets, and places in each: 65,536 clients in 1 MiB.
const BUCKETS: usize = 4096;
const PLACES: usize = 16;

/// The most of a user's name that is shown, in bytes.
const MAX_NAME: usize = 64;

/// The most of a key that is shown, in bytes: it may be a secret.
const MAX_KEY: usize = 8;

/// One whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who<'a> {
    /// An IPv4 address, or an IPv6 /64.
    Host(ClientPrefix),
    /// A user, whatever the address.
    User(&'a str),
    /// Whoever has this key.
    Key(&'a [u8]),
    /// Whoever comes by a unix socket, which has no addresses.
    Unix,
}

impl Who<'_> {
    /// The client at an address; none: at a unix socket.
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unix, |address| Self::Host(ClientPrefix::host(address)))
    }

    /// What has its bucket together.
    fn site(self) -> Option<ClientPrefix> {
        match self {
            Self::Host(ClientPrefix::Host(address)) => ClientPrefix::network(address),
            Self::Host(ClientPrefix::Network(_)) | Self::User(_) | Self::Key(_) | Self::Unix => None,
        }
    }
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(prefix) => prefix.fmt(f),
            Self::User(name) => {
                let mut shown = String::new();
                push_cut(&mut shown, MAX_NAME, format_args!("{name}"));
                write!(f, "the user {shown:?}")
            }
            Self::Key(key) => {
                let mut shown = String::new();
                push_cut(&mut shown, MAX_KEY, format_args!("{}", String::from_utf8_lossy(key)));
                write!(f, "who has the key {shown:?}")
            }
            Self::Unix => f.write_str("who comes by a unix socket"),
        }
    }
}

/// How much each may ask for, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AllowedRate {
    /// From one request to the next, in the long run.
    interval: u64,
    /// As many intervals as there may be requests at once.
    burst: u64,
}

impl AllowedRate {
    /// So many requests a second, and so many at once.
    pub(super) fn new(rate: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX).as_nanos();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX).max(1);
        Self { interval, burst: interval.saturating_mul(burst.into()) }
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is allowed.
    Yes,
    /// It is allowed, and another client's requests had to be forgotten for it.
    ForAnother,
    /// It is not, until so many nanoseconds are over.
    No {
        /// See above.
        wait: u64,
    },
}

/// What is kept of a client.
#[derive(Debug, Clone, Copy, Default)]
struct TablePlace {
    /// Tells it from others. A secret is in it, so that nobody can choose to be taken for another.
    client: u64,
    /// When nothing is left of what it has asked for.
    free_at: u64,
}

/// The clients of one limit.
pub(super) struct Table {
    buckets: Box<[Mutex<[TablePlace; PLACES]>]>,
    hasher: RandomState,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Tells a client from others.
    pub(super) fn client(&self, who: Who<'_>) -> u64 {
        self.hasher.hash_one(who)
    }

    /// Counts a request at `now`, in nanoseconds since some time that stays.
    pub(super) fn take(&self, who: Who<'_>, now: u64, rate: AllowedRate) -> Taken {
        let mut client = self.client(who);
        let site = who.site().map(|site| self.hasher.hash_one(site));
        let mut places = self.buckets[site.unwrap_or(client) as usize % BUCKETS].lock();
        let mut forgotten = false;
        let place_of =
            |places: &[TablePlace; PLACES], client| places.iter().position(|place| place.client == client);
        let mut known = place_of(&places, client);
        if let Some(others_of_site) = site
            && known.is_none()
            && places.iter().all(|place| place.free_at > now)
        {
            client = others_of_site;
            known = place_of(&places, client);
        }
        let place = known.unwrap_or_else(|| {
            let soonest = places.iter().enumerate().min_by_key(|(_, place)| place.free_at);
            let (soonest, free_at) = soonest.map_or((0, 0), |(at, place)| (at, place.free_at));
            forgotten = free_at > now;
            places[soonest] = TablePlace { client, free_at: 0 };
            soonest
        });
        let free_at = places[place].free_at.max(now).saturating_add(rate.interval);
        let ahead = free_at - now;
        if ahead > rate.burst {
            return Taken::No { wait: ahead - rate.burst };
        }
        places[place].free_at = free_at;
        if forgotten { Taken::ForAnother } else { Taken::Yes }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn host(address: &str) -> Who<'static> {
        Who::at(Some(address.parse().expect("an address")))
    }

    /// How many of `asked` requests at once are allowed.
    fn allowed(table: &Table, who: Who<'_>, now: u64, rate: AllowedRate, asked: usize) -> usize {
        (0..asked).filter(|_| !matches!(table.take(who, now, rate), Taken::No { .. })).count()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let (table, rate) = (Table::new(), AllowedRate::new(5.0, 10));
        let who = host("192.0.2.1");
        assert_eq!(allowed(&table, who, SECOND, rate, 100), 10);
        assert_eq!(table.take(who, SECOND, rate), Taken::No { wait: SECOND / 5 });
        assert_eq!(allowed(&table, who, 2 * SECOND, rate, 100), 5, "what has come in a second");
        assert_eq!(allowed(&table, who, 60 * SECOND, rate, 100), 10, "never more than the burst");
        assert_eq!(allowed(&table, host("192.0.2.2"), SECOND, rate, 100), 10, "each for itself");
        let slow = AllowedRate::new(1.0 / 60.0, 1);
        assert_eq!(allowed(&Table::new(), who, 0, slow, 3), 1, "one a minute");
    }

    #[test]
    fn one_is_counted_by_what_it_cannot_choose() {
        let (table, rate) = (Table::new(), AllowedRate::new(1.0, 1));
        for (first, second, is_same) in [
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(table.client(host(first)) == table.client(host(second)), is_same, "{first} {second}");
        }
        assert_eq!(allowed(&table, Who::User("ada"), 0, rate, 2), 1);
        assert_eq!(allowed(&table, Who::User("bob"), 0, rate, 2), 1);
        assert_eq!(allowed(&table, Who::Key(b"ada"), 0, rate, 2), 1, "a key is no user");
        assert_eq!(allowed(&table, Who::Unix, 0, rate, 2), 1);
        let shown = Who::Key(b"0123456789\nsecret").to_string();
        assert!(
            shown.starts_with("who has the key \"0") && !shown.contains('8') && !shown.contains("secret"),
            "{shown}"
        );
    }

    #[test]
    fn a_site_of_65536_networks_fills_one_bucket() {
        let (table, rate) = (Table::new(), AllowedRate::new(0.1, 5));
        let others: Vec<_> = (0..1000_u32).map(|n| host(&format!("10.0.{}.{}", n / 256, n % 256))).collect();
        for &other in &others {
            assert_eq!(allowed(&table, other, 0, rate, 9), 5);
        }
        let forgotten = (0..=u16::MAX).filter(|n| {
            let address = host(&format!("2001:db8:1:{n:x}::1"));
            table.take(address, 1, rate) == Taken::ForAnother
        });
        assert_eq!(forgotten.count(), 1, "the others are one client, which has the place of one of them");
        assert!(others.iter().all(|&other| allowed(&table, other, 2, rate, 9) == 0), "nobody else is");
    }

    /// A line at home often has 256 of them.
    #[test]
    fn a_site_of_many_networks_does_not_begin_anew_with_each() {
        for networks in [16, 17, 256, 65_536] {
            let (table, rate) = (Table::new(), AllowedRate::new(1.0, 2));
            let asked = (0..200_000).map(|n| host(&format!("2001:db8:1:{:x}::1", n % networks)));
            let allowed = asked.filter(|&who| !matches!(table.take(who, 1, rate), Taken::No { .. })).count();
            assert!((2 * PLACES..=2 * (PLACES + 1)).contains(&allowed), "{networks}: {allowed}");
        }
    }

    #[test]
    fn who_is_at_the_limit_is_forgotten_last() {
        let (table, rate) = (Table::new(), AllowedRate::new(0.001, 5));
        let loud = host("2001:db8:1:1::1");
        assert_eq!(allowed(&table, loud, 0, rate, 9), 5);
        for n in 2..5000_u32 {
            let _taken = table.take(host(&format!("2001:db8:1:{n:x}::1")), 1, rate);
        }
        assert_eq!(allowed(&table, loud, 2, rate, 9), 0);
    }

    #[test]
    fn a_place_is_free_when_nothing_is_left() {
        let (table, rate) = (Table::new(), AllowedRate::new(1.0, 1));
        for n in 0..100_u64 {
            let address = host(&format!("2001:db8:1:{n:x}::1"));
            assert_eq!(
                table.take(address, n * SECOND, rate),
                Taken::Yes,
                "nobody is forgotten before the time"
            );
        }
    }
}
