//! An HTTP server as a value: which mounts it has, where its records go, what its limits are.
//!
//! A [`Server`] is immutable. A change builds a new one that shares every unchanged [`Mount`] with the old, so that
//! counters and whatever a handler keeps (caches, connections) carry over by identity.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderName, HeaderValue, StatusCode};
use indexmap::IndexMap;
use medusa_log::Sink;
use medusa_net::tls::Tls;
use medusa_net::{ListenAddr, worker};
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::status::Status;

use crate::admission::Admission;
use crate::fault::Faults;
use crate::handler::{Handler, describe};
use crate::limits::Limits;
use crate::router::{Conflict, Pattern, Router};

/// How many shards a counter has. More workers than that share them.
const SHARDS: usize = 8;

/// Requests answered, by outcome. Shared by all generations of the same object.
///
/// Each worker counts in a shard of its own: one cache line that every core writes to would cost each request more than
/// its routing does.
#[derive(Debug, Default)]
pub struct Counters {
    shards: [Shard; SHARDS],
}

/// What a server counts. Shared by all its generations.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Its requests.
    pub requests: Counters,
    /// What its clients did wrong.
    pub faults: Faults,
    /// Its connections.
    pub admission: Arc<Admission>,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard {
    requests: AtomicU64,
    client_errors: AtomicU64,
    server_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn count(&self, status: StatusCode) {
        let shard = &self.shards[worker::index() % SHARDS];
        shard.requests.fetch_add(1, Relaxed);
        if status.is_client_error() {
            shard.client_errors.fetch_add(1, Relaxed);
        } else if status.is_server_error() {
            shard.server_errors.fetch_add(1, Relaxed);
        }
    }

    /// Adds the counts to an object's status.
    pub fn describe(&self, status: Status) -> Status {
        let sum = |of: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| of(shard).load(Relaxed)).sum::<u64>()
        };
        status
            .counter("requests", sum(|shard| &shard.requests))
            .counter("client_errors", sum(|shard| &shard.client_errors))
            .counter("server_errors", sum(|shard| &shard.server_errors))
    }
}

/// A handler under a pattern.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Which requests it gets.
    pub pattern: Pattern,
    /// Who answers them.
    pub handler: Arc<dyn Handler>,
    /// Where the script says so: `site.luau:12`.
    pub origin: Arc<str>,
    /// The longest request body, in bytes, in place of the server's limit.
    pub body: Option<u64>,
    /// Carried over when the handler is replaced.
    pub counters: Arc<Counters>,
}

impl Mount {
    /// What this mount is and has done.
    pub fn status(&self) -> Status {
        let status = Status::new("mount", self.pattern.to_string()).field("origin", self.origin.to_string());
        self.counters.describe(status).child(describe(&self.handler))
    }
}

/// A place where a server listens, and what is spoken there before HTTP.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The address.
    pub addr: ListenAddr,
    /// The certificates of an encrypted listener.
    pub tls: Option<Arc<Tls>>,
    /// Whether every connection begins with a header of the PROXY protocol, by which a balancer in front tells whose
    /// it is. One that does not is closed: whoever could leave the header out could also write it.
    pub proxy_protocol: bool,
}

impl Listen {
    /// Plain HTTP.
    pub fn plain(addr: ListenAddr) -> Self {
        Self { addr, tls: None, proxy_protocol: false }
    }
}

impl PartialEq for Listen {
    /// The same address, and the very same certificates.
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same_tls && (&self.addr, self.proxy_protocol) == (&other.addr, other.proxy_protocol)
    }
}

/// All that makes an HTTP server, before it is checked. See [`Server::build`].
#[derive(Debug, Clone)]
pub struct ServerParts {
    /// As logs and status call it. Stays the same across changes.
    pub name: Arc<str>,
    /// Where it listens.
    pub listen: Vec<Listen>,
    /// The mounts by their patterns, in the order the script made them (which decides nothing).
    pub mounts: IndexMap<Pattern, Arc<Mount>>,
    /// Where its access records go; none: nowhere.
    pub log: Option<Arc<dyn Sink>>,
    /// Where the script gives it that log: its own origin, until it gets another.
    pub log_origin: Arc<str>,
    /// What bounds its connections and requests. Shared by its connections.
    pub limits: Arc<Limits>,
    /// The proxies whose word about their clients is taken. None by default.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// The value of `Strict-Transport-Security` in encrypted responses
    /// ([RFC 6797](https://www.rfc-editor.org/rfc/rfc6797)).
    pub hsts: Option<HeaderValue>,
    /// Fields of every response that does not have them yet, such as `Content-Security-Policy`.
    pub security_headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Carried over across changes.
    pub counters: Arc<ServerCounters>,
    /// Where the script says so.
    pub origin: Arc<str>,
}

impl ServerParts {
    /// The mount that the router found: at this place among them.
    pub(crate) fn mount_at(&self, at: u32) -> Option<&Arc<Mount>> {
        self.mounts.get_index(at as usize).map(|(_, mount)| mount)
    }

    /// Whether both are the same server: equal settings and the very same objects.
    pub fn same(&self, other: &Self) -> bool {
        let same_log = match (&self.log, &other.log) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same_log
            && self.trusted_proxies == other.trusted_proxies
            && self.security_headers == other.security_headers
            && (&self.name, &self.listen, &self.limits, &self.hsts, &self.origin)
                == (&other.name, &other.listen, &other.limits, &other.hsts, &other.origin)
            && self.mounts.len() == other.mounts.len()
            && self.mounts.values().zip(other.mounts.values()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// What this server is and has done.
    pub fn status(&self) -> Status {
        let listen = self.listen.iter().map(|listen| listen.addr.to_string()).collect::<Vec<_>>().join(", ");
        let status = Status::new("http", self.name.to_string())
            .field("listen", listen)
            .field("origin", self.origin.to_string());
        let counters = &self.counters;
        let status =
            counters.requests.describe(status).gauge("connections", u64::from(counters.admission.open()));
        let status = status.child(counters.faults.status());
        self.mounts.values().fold(status, |status, mount| status.child(mount.status()))
    }
}

/// An HTTP server of one generation: its parts and the router made of its mounts.
pub struct Server {
    /// What it was built of.
    pub parts: ServerParts,
    /// To places in `parts.mounts`.
    pub(crate) router: Router<u32>,
}

impl Server {
    /// Builds the router.
    ///
    /// # Errors
    ///
    /// Two mounts whose patterns clash.
    pub fn build(parts: ServerParts) -> Result<Self, Conflict> {
        let router = Router::build(parts.mounts.keys().cloned().zip(0..))?;
        Ok(Self { parts, router })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("parts", &self.parts).finish_non_exhaustive()
    }
}

/// Says which server answers on a connection *now*: asked anew for every request, so that a keep-alive connection
/// sees a change with its next request and no request sees half of one.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The server; none when its listener is being retired.
    fn current(&self) -> Option<PinnedServer>;

    /// What is spoken on the listener before HTTP, as of now: asked once for every connection.
    fn listen(&self) -> Option<Listen>;
}

/// A server as a request holds it: counted per worker, so that holding it costs no traffic between cores.
pub type PinnedServer = Rc<Arc<Server>>;
