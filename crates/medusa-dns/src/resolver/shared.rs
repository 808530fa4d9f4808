//! State that callers and the resolver's thread share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Outcome;
use super::pending::{self, Joined, PendingQueries, Urgency, Waiter};
use crate::cache::{Cache, Found, STALE_TTL};
use crate::local::{AddressesByFamily, Hosts, Pins, ResolvConf, Special, special};
use crate::name::Key;
use crate::upstream::{QueryPolicy, Reply, Servers};
use crate::{Answer, CacheOptions, Data, DnsError, LookupError, RecordType, Source};

/// The time that what the hosts file says may be taken to hold: a change of it is seen about as fast.
const HOSTS_TTL: Duration = Duration::from_secs(1);

/// The domains in which a short name is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) domains: Vec<Box<str>>,
    pub(super) ndots: usize,
}

impl Search {
    pub(super) fn of(conf: &ResolvConf) -> Self {
        Self { domains: conf.search.clone(), ndots: conf.ndots }
    }
}

/// State that callers and the resolver's thread share.
#[derive(Debug)]
pub(super) struct Shared {
    made: Instant,
    pub(super) cache: Cache,
    pub(super) pending: PendingQueries,
    pub(super) servers: ArcSwap<Servers>,
    pub(super) hosts: ArcSwap<Hosts>,
    pub(super) search: ArcSwap<Search>,
    pub(super) pins: ArcSwap<Pins>,
    /// Held while the pins are changed.
    pinning: Mutex<()>,
    /// How often the cache was flushed: what was asked before is not kept after.
    flushes: AtomicU64,
    pub(super) counters: Counters,
}

/// Counters of what the cache alone does not count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Answered by pins, the hosts file, or names that mean the same everywhere.
    pub(super) local: AtomicU64,
    /// Had to wait for a server.
    pub(super) misses: AtomicU64,
    /// Answered by what holds no longer.
    pub(super) stale: AtomicU64,
    /// Asked again before anyone had to wait.
    pub(super) prefetched: AtomicU64,
    /// Not answered by any server.
    pub(super) failures: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: CacheOptions) -> Self {
        let nobody =
            Servers::new(Vec::new(), QueryPolicy { timeout: Duration::ZERO, attempts: 0, rotate: false });
        Self {
            made: Instant::now(),
            cache: Cache::new(options),
            pending: PendingQueries::default(),
            servers: ArcSwap::from_pointee(nobody),
            hosts: ArcSwap::default(),
            search: ArcSwap::default(),
            pins: ArcSwap::default(),
            pinning: Mutex::default(),
            flushes: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Milliseconds since the resolver was made: the cache's time.
    pub(super) fn now(&self) -> u64 {
        self.made.elapsed().as_millis() as u64
    }

    /// The answer, if no server has to be asked for it, and whether one should be asked all the same.
    pub(super) fn known(&self, key: &Key) -> Option<(Outcome, bool)> {
        if let Some(outcome) = self.local(key) {
            self.counters.local.fetch_add(1, Relaxed);
            return Some((outcome, false));
        }
        match self.cache.get(key, self.now()) {
            Found::Fresh { value, ttl, prefetch } => {
                if prefetch {
                    self.counters.prefetched.fetch_add(1, Relaxed);
                }
                Some((value.map(|records| Answer { records, ttl, source: Source::Cache }), prefetch))
            }
            Found::Stale { records, ask: false } => Some((Ok(self.stale(records)), false)),
            Found::Stale { ask: true, .. } | Found::Miss => None,
        }
    }

    fn stale(&self, records: Arc<[Data]>) -> Answer {
        self.counters.stale.fetch_add(1, Relaxed);
        Answer { records, ttl: STALE_TTL, source: Source::Stale }
    }

    /// The answer that needs no server.
    fn local(&self, key: &Key) -> Option<Outcome> {
        let name = key.name();
        let pins = self.pins.load();
        if !pins.is_empty()
            && let Some((families, left)) = pins.addresses(name)
        {
            return Some(of_family(key, families, left.unwrap_or(HOSTS_TTL), Source::Pinned));
        }
        let hosts = self.hosts.load();
        if !hosts.is_empty() {
            if let Some(families) = hosts.addresses(name) {
                return Some(of_family(key, families, HOSTS_TTL, Source::Hosts));
            }
            if key.kind() == RecordType::Ptr
                && let Some(records) = key.reversed().and_then(|ip| hosts.name(ip))
            {
                return Some(Ok(Answer {
                    records: Arc::clone(records),
                    ttl: HOSTS_TTL,
                    source: Source::Hosts,
                }));
            }
        }
        match special(name)? {
            Special::Loopback => Some(of_family(key, Special::loopback(), HOSTS_TTL, Source::Hosts)),
            Special::Never => Some(Err(LookupError::NxDomain { name: key.shown() })),
        }
    }

    /// The addresses of a name that is known without any server, in both families.
    pub(super) fn local_addresses(&self, key: &Key) -> Option<(AddressesByFamily, Duration, Source)> {
        let name = key.name();
        if let Some((families, left)) = self.pins.load().addresses(name) {
            return Some((families.clone(), left.unwrap_or(HOSTS_TTL), Source::Pinned));
        }
        if let Some(families) = self.hosts.load().addresses(name) {
            return Some((families.clone(), HOSTS_TTL, Source::Hosts));
        }
        (special(name)? == Special::Loopback).then(|| (Special::loopback().clone(), HOSTS_TTL, Source::Hosts))
    }

    /// Joins the query for a question, or begins one; then true: someone has to ask. Where there is no room, an answer
    /// that holds no longer has to do.
    pub(super) fn join(&self, key: &Key, waiter: Option<Waiter>, urgency: Urgency) -> bool {
        let waits = waiter.is_some();
        if waits {
            self.counters.misses.fetch_add(1, Relaxed);
        }
        let known = || if waits { self.landed(key) } else { None };
        match self.pending.join(key, waiter, urgency, known) {
            Joined::First => true,
            Joined::Done => false,
            Joined::Refused(waiter, error) => {
                let outcome = self.without_asking(key, error);
                pending::call(waiter, outcome);
                false
            }
        }
    }

    /// The answer, if it has come since it was found to be missing.
    fn landed(&self, key: &Key) -> Option<Outcome> {
        match self.cache.get_again(key, self.now()) {
            Found::Fresh { value, ttl, .. } => {
                Some(value.map(|records| Answer { records, ttl, source: Source::Cache }))
            }
            Found::Stale { records, ask: false } => Some(Ok(self.stale(records))),
            Found::Stale { ask: true, .. } | Found::Miss => None,
        }
    }

    /// The outcome in place of an answer that there was no time to ask for.
    pub(super) fn without_asking(&self, key: &Key, error: LookupError) -> Outcome {
        let old = self.cache.keep_stale(key, self.now());
        old.map_or(Err(error), |records| Ok(self.stale(records)))
    }

    /// Ends a query.
    pub(super) fn finish(&self, key: &Key, outcome: &Outcome) {
        self.pending.finish(key, outcome);
    }

    /// The number of flushes so far: to be given to [`learn`](Self::learn).
    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Relaxed)
    }

    /// Keeps what the servers said, or that they said nothing, and makes an answer of it. What was asked before the
    /// last flush is not kept: it may be what the flush was to get rid of.
    pub(super) fn learn(&self, key: &Key, reply: Result<Reply, LookupError>, flushes: u64) -> Outcome {
        let keep = flushes == self.flushes();
        match reply {
            Ok(Reply { value, lifetime }) => {
                let ttl = if keep {
                    let ttl = self.cache.put(key, &value, lifetime, self.now());
                    if flushes != self.flushes() {
                        self.cache.flush_name(key); // the flush may have passed its part of the cache already
                    }
                    ttl
                } else {
                    self.cache.lifetime(lifetime)
                };
                value.map(|records| Answer { records, ttl, source: Source::Server })
            }
            Err(error) => {
                self.counters.failures.fetch_add(1, Relaxed);
                if !keep {
                    return Err(error);
                }
                match self.cache.put_failure(key, error.clone(), self.now()) {
                    Some(records) => Ok(self.stale(records)),
                    None => Err(error),
                }
            }
        }
    }

    /// Answers everyone who waits with what holds no longer, because the servers take their time; and so everyone who
    /// comes after them, until the servers answer.
    pub(super) fn answer_waiters(&self, key: &Key) {
        if let Some(records) = self.cache.keep_stale(key, self.now()) {
            self.pending.answer_waiters(key, &Ok(self.stale(records)));
        }
    }

    pub(super) fn flush(&self, name: Option<&str>) -> usize {
        self.flushes.fetch_add(1, Relaxed);
        match name.map(|name| Key::new(name, RecordType::A)) {
            None => self.cache.flush(),
            Some(Ok(key)) => self.cache.flush_name(&key),
            Some(Err(_)) => 0, // nothing is remembered of what is no name
        }
    }

    pub(super) fn pin(
        &self,
        key: &Key,
        addresses: &[IpAddr],
        until: Option<Instant>,
    ) -> Result<(), DnsError> {
        let _pinning = self.pinning.lock();
        let pins = self.pins.load().with(key, addresses, until)?;
        self.pins.store(Arc::new(pins));
        Ok(())
    }

    pub(super) fn unpin(&self, key: &Key) -> bool {
        let _pinning = self.pinning.lock();
        let pins = self.pins.load().without(key);
        pins.map(|pins| self.pins.store(Arc::new(pins))).is_some()
    }
}

/// The answer to a question for a name with these addresses.
fn of_family(key: &Key, families: &AddressesByFamily, ttl: Duration, source: Source) -> Outcome {
    let records = match key.kind() {
        RecordType::A => &families.v4,
        RecordType::Aaaa => &families.v6,
        kind => return Err(LookupError::NoData { name: key.shown(), kind }),
    };
    if records.is_empty() {
        return Err(LookupError::NoData { name: key.shown(), kind: key.kind() });
    }
    Ok(Answer { records: Arc::clone(records), ttl, source })
}
