//! The resolver: what is known here, what is remembered, and the flights for everything else.
//!
//! - `shared`: what callers and the resolver's thread have in common;
//! - `pending`: questions under way, and the callers that wait for them;
//! - `thread`: the thread that asks;
//! - `settings`: where the servers and local names come from, and that they may change;
//! - `addresses`: the addresses of a host, with the search list;
//! - `view`: what is shown of it.

mod addresses;
mod pending;
mod settings;
mod shared;
mod thread;
mod view;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use medusa_proto::status::Status;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::name::Key;
use crate::{Addresses, Answer, DnsError, LookupError, RecordType, ServerAddr, ServerOptions, SystemOptions};
use pending::{Urgency, Waiter};
use settings::Settings;
use shared::Shared;
use thread::Jobs;

pub(crate) use thread::MAX_ON_WIRE;
pub use view::{CacheEntry, EntryState};

/// The result of a lookup.
pub(crate) type Outcome = Result<Answer, LookupError>;

/// A caching stub resolver.
///
/// # Life
///
/// 1. Made by [`system`](Self::system) or [`server`](Self::server), which only look at what they are given.
/// 2. [`check`](Self::check) may be called at any time, on one that will never be used.
/// 3. [`prepare`](Self::prepare) starts it. Before, every lookup is refused with [`LookupError::NotPrepared`].
/// 4. Used from any thread, with or without a runtime: its own thread does all the work.
/// 5. When the last reference is dropped, the thread ends. A caller that still waits gets [`LookupError::Closed`].
///
/// # Order
///
/// A name is looked for among the pins, in the hosts file, among the names that mean the same everywhere (`localhost`,
/// `invalid`, `onion`), in the cache, and then at the servers. A question that is already on its way is not asked again:
/// all callers that have it wait for the one answer, and none of them ends it by going away.
///
/// # Limits
///
/// 256 questions are on the wire at once, 8,192 under way in all, and 65,536 callers may wait: beyond that, a lookup is
/// [`LookupError::Busy`]. Of the first two, what is asked by callback (by logs, for clients) has at most three quarters.
pub struct Resolver {
    shared: Arc<Shared>,
    settings: Settings,
    /// Where the thread takes its jobs from, once it runs.
    jobs: OnceLock<Jobs>,
    /// Held while the thread is started.
    starting: Mutex<()>,
}

impl Resolver {
    /// The system's resolver: servers from `resolv.conf`, names from the hosts file.
    pub fn system(options: SystemOptions) -> Result<Arc<Self>, DnsError> {
        options.cache.check()?;
        let cache = options.cache.clone();
        Ok(Self::new(Settings::System(options), cache))
    }

    /// A resolver that asks `servers`, in this order: the next one if one does not answer, or says that it cannot.
    pub fn server(servers: Vec<ServerAddr>, options: ServerOptions) -> Result<Arc<Self>, DnsError> {
        options.check()?;
        let cache = options.cache.clone();
        let settings = Settings::given(servers, options)?;
        Ok(Self::new(settings, cache))
    }

    fn new(settings: Settings, cache: crate::CacheOptions) -> Arc<Self> {
        let shared = Arc::new(Shared::new(cache));
        Arc::new(Self { shared, settings, jobs: OnceLock::new(), starting: Mutex::new(()) })
    }

    /// Whether [`prepare`](Self::prepare) would succeed, as far as can be told without leaving a trace: the files are
    /// read, no server is asked.
    ///
    /// Reads files: not for a worker's thread.
    pub fn check(&self) -> Result<(), DnsError> {
        self.settings.load().map(drop)
    }

    /// Reads the files and starts the thread. Once it has succeeded, calling it again does nothing; after an error it may
    /// be tried again. No server is asked: one that is down now may be up when it is needed.
    ///
    /// Reads files: not for a worker's thread.
    pub fn prepare(&self) -> Result<(), DnsError> {
        let _starting = self.starting.lock();
        if self.jobs.get().is_some() {
            return Ok(());
        }
        let loaded = self.settings.load()?;
        let files = loaded.enter(&self.shared);
        let jobs = thread::start(Arc::clone(&self.shared), files).map_err(DnsError::Thread)?;
        self.jobs.get_or_init(|| jobs);
        Ok(())
    }

    /// The records of `name`, which is taken as it is: the search list is not used.
    pub async fn lookup(&self, name: &str, kind: RecordType) -> Result<Answer, LookupError> {
        self.resolve(Key::new(name, kind)?).await
    }

    /// The addresses of `host`, in the order in which to try them.
    ///
    /// An address is its own. A name that is found locally (a pin, the hosts file) has the addresses it has there, and no
    /// others. Any other is asked for in both families; a short one, with fewer dots than `ndots` in `resolv.conf`, in
    /// the domains of the search list first, and as it is at the end. A dot at its end says that it is complete.
    ///
    /// The search goes on after a name that does not exist or has no addresses, and after a domain whose servers say that
    /// they failed (SERVFAIL), as in the C library. After any other failure it ends: whether a short name is found in this
    /// domain or the next must not depend on a lost packet.
    ///
    /// Once one family is known, the other is waited for no longer than 50 ms (RFC 8305 §3). Needs a runtime with a clock.
    pub async fn addresses(&self, host: &str) -> Result<Addresses, LookupError> {
        addresses::find(self, host).await
    }

    /// The name of an address: its `PTR` record, or its line in the hosts file.
    pub async fn ptr(&self, ip: IpAddr) -> Result<Answer, LookupError> {
        self.resolve(Key::reverse(ip)).await
    }

    /// The answer that is known for a name without asking. Counts as a use of it; `None` if it would have to be asked
    /// for.
    pub fn cached(&self, name: &str, kind: RecordType) -> Option<Result<Answer, LookupError>> {
        match Key::new(name, kind) {
            Ok(key) => self.known(&key),
            Err(error) => Some(Err(error)),
        }
    }

    /// The answer that is known for an address without asking, as [`cached`](Self::cached).
    pub fn cached_ptr(&self, ip: IpAddr) -> Option<Result<Answer, LookupError>> {
        self.known(&Key::reverse(ip))
    }

    /// [`ptr`](Self::ptr) for a log, on a thread without a runtime: calls `then` with the answer. What waits for an
    /// answer ([`ptr`](Self::ptr), [`lookup`](Self::lookup)) goes first, and has room where this has none any more.
    ///
    /// At once, on this thread, if the answer is known or the question refused; otherwise later, on the resolver's
    /// thread. It must not block there.
    pub fn ask_ptr(&self, ip: IpAddr, then: impl FnOnce(Result<Answer, LookupError>) + Send + 'static) {
        self.ask(&Key::reverse(ip), then);
    }

    /// [`lookup`](Self::lookup) for a log, as [`ask_ptr`](Self::ask_ptr).
    pub fn ask_lookup(
        &self,
        name: &str,
        kind: RecordType,
        then: impl FnOnce(Result<Answer, LookupError>) + Send + 'static,
    ) {
        match Key::new(name, kind) {
            Ok(key) => self.ask(&key, then),
            Err(error) => then(Err(error)),
        }
    }

    fn ask(&self, key: &Key, then: impl FnOnce(Outcome) + Send + 'static) {
        match self.known(key) {
            Some(outcome) => then(outcome),
            None => self.begin(key, Some(Box::new(then)), Urgency::ForLogs),
        }
    }

    /// The answers remembered, those most in use first, at most `limit`.
    pub fn cache(&self, limit: usize) -> Vec<CacheEntry> {
        view::cache(&self.shared, limit)
    }

    /// The answers remembered of `name`, of all types; none of what is no name.
    pub fn cache_of(&self, name: &str) -> Vec<CacheEntry> {
        let key = Key::new(name, RecordType::A);
        key.map(|key| view::cache_of(&self.shared, &key)).unwrap_or_default()
    }

    /// Forgets what servers have said of `name`, or of all names; tells how many answers that were. Pins stay.
    ///
    /// What is being asked right now is given to the callers that wait, but not remembered.
    pub fn flush(&self, name: Option<&str>) -> usize {
        self.shared.flush(name)
    }

    /// Says that `name` is at `addresses`, for `ttl` or until it is unpinned. Hides the hosts file and the servers; a pin
    /// of the same name is replaced. At most 10,000 names can be pinned.
    pub fn pin(&self, name: &str, addresses: &[IpAddr], ttl: Option<Duration>) -> Result<(), DnsError> {
        let key = Key::new(name, RecordType::A).map_err(DnsError::Name)?;
        if addresses.is_empty() {
            return Err(DnsError::EmptyPin(name.to_owned()));
        }
        let until = ttl.and_then(|ttl| Instant::now().checked_add(ttl)); // longer than time itself: for ever
        self.shared.pin(&key, addresses, until)
    }

    /// Takes a pin away; tells whether there was one.
    pub fn unpin(&self, name: &str) -> bool {
        Key::new(name, RecordType::A).is_ok_and(|key| self.shared.unpin(&key))
    }

    /// Describes itself: how the cache serves, and for each server how many questions it was asked, how it answered them
    /// and how fast.
    pub fn status(&self) -> Status {
        view::status(&self.settings, &self.shared)
    }

    async fn resolve(&self, key: Key) -> Outcome {
        if let Some(outcome) = self.known(&key) {
            return outcome;
        }
        let (answer, wait) = oneshot::channel();
        let waiter = Box::new(move |outcome| drop(answer.send(outcome))); // a caller that has gone needs no answer
        self.begin(&key, Some(waiter), Urgency::Waits);
        wait.await.unwrap_or(Err(LookupError::Closed))
    }

    /// The answer, if no server has to be asked for it. Has one asked, without waiting, if the answer will soon be over.
    fn known(&self, key: &Key) -> Option<Outcome> {
        self.jobs.get()?;
        let (outcome, refresh) = self.shared.known(key)?;
        if refresh {
            self.begin(key, None, Urgency::ForLogs);
        }
        Some(outcome)
    }

    /// Has a server asked, unless one is being asked already.
    fn begin(&self, key: &Key, waiter: Option<Waiter>, urgency: Urgency) {
        let Some(jobs) = self.jobs.get() else {
            return pending::call(waiter, Err(LookupError::NotPrepared));
        };
        if self.shared.join(key, waiter, urgency) && !jobs.send(key.clone(), urgency) {
            self.shared.finish(key, &Err(LookupError::Closed));
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("settings", &self.settings).finish_non_exhaustive()
    }
}
