//! An HTTP server as a value: which mounts it has, where its records go, what its limits are.
//!
//! A [`Server`] is immutable. A change builds a new one that shares every unchanged [`Mount`] with the old, so that
//! counters and whatever a handler keeps (caches, connections) carry over by identity.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use indexmap::IndexMap;
use medusa_log::Sink;
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::status::{Status, Value};

use crate::counters::{Counters, ServerCounters};
use crate::handler::{Handler, chain, describe, own_logs};
use crate::limits::Limits;
use crate::listen::{Listen, same_object};
use crate::router::{Conflict, Pattern, Router};
use crate::under_way::UnderWay;
use crate::way::Way;

/// A handler under a pattern.
#[derive(Debug)]
pub struct Mount {
    /// The requests it gets.
    pub pattern: Pattern,
    /// The handler that answers them.
    pub handler: Arc<dyn Handler>,
    /// The place in the script: `site.luau:12`.
    pub origin: Arc<str>,
    /// The longest request body, in bytes, in place of the server's limit.
    pub body: Option<u64>,
    /// Carried over when the handler is replaced.
    pub counters: Arc<Counters>,
    /// What is under way on this handler, here.
    pub under_way: Arc<UnderWay>,
}

/// What a mount is, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountText {
    /// Its pattern.
    pub pattern: String,
    /// Its handler, after what stands before it.
    pub handler: String,
    /// The place in the script.
    pub origin: Arc<str>,
}

impl Mount {
    /// The same mount with another handler.
    #[must_use]
    pub fn with(&self, handler: Arc<dyn Handler>, origin: Arc<str>) -> Self {
        let (pattern, counters) = (self.pattern.clone(), Arc::clone(&self.counters));
        Self { pattern, handler, origin, body: self.body, counters, under_way: Arc::default() }
    }

    /// In words.
    pub fn text(&self) -> MountText {
        let (pattern, handler) = (self.pattern.to_string(), chain(&self.handler));
        MountText { pattern, handler, origin: Arc::clone(&self.origin) }
    }

    /// Describes this mount and its counts.
    pub fn status(&self) -> Status {
        let status = Status::new("mount", self.pattern.to_string()).field("origin", self.origin.to_string());
        let status = status.maybe("body", self.body.map(Value::Bytes));
        let status = self.under_way.counts().describe(self.counters.describe(status));
        status.child(describe(&self.handler))
    }
}

/// All that makes an HTTP server, before it is checked. See [`Server::build`].
#[derive(Debug, Clone)]
pub struct ServerDefinition {
    /// As logs and status call it. Stays the same across changes.
    pub name: Arc<str>,
    /// The addresses it listens on.
    pub listen: Vec<Listen>,
    /// The mounts by their patterns, in the order the script made them (which decides nothing).
    pub mounts: IndexMap<Pattern, Arc<Mount>>,
    /// The log of its access records; none: nowhere.
    pub log: Option<Arc<dyn Sink>>,
    /// The place where the script gives it that log: its own origin, until it gets another.
    pub log_origin: Arc<str>,
    /// The limits of its connections and requests. Shared by its connections.
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
    /// The place in the script that says so.
    pub origin: Arc<str>,
}

impl ServerDefinition {
    /// The mount that the router found: at this place among them.
    pub(crate) fn mount_at(&self, at: u32) -> Option<&Arc<Mount>> {
        self.mounts.get_index(at as usize).map(|(_, mount)| mount)
    }

    /// Whether both are the same server: equal settings and the very same objects.
    pub fn same(&self, other: &Self) -> bool {
        same_object(self.log.as_ref(), other.log.as_ref())
            && self.trusted_proxies == other.trusted_proxies
            && self.security_headers == other.security_headers
            && (&self.name, &self.listen, &self.limits, &self.hsts, &self.origin)
                == (&other.name, &other.listen, &other.limits, &other.hsts, &other.origin)
            && self.mounts.len() == other.mounts.len()
            && self.mounts.values().zip(other.mounts.values()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Describes this server and its counts.
    pub fn status(&self) -> Status {
        let listen = self.listen.iter().map(|listen| listen.addr.to_string()).collect::<Vec<_>>().join(", ");
        let status = Status::new("http", self.name.to_string())
            .field("listen", listen)
            .field("origin", self.origin.to_string());
        let counters = &self.counters;
        let status =
            counters.requests.describe(status).gauge("connections", u64::from(counters.admission.open()));
        let status = status.child(counters.faults.status()).child(self.limits.status());
        self.mounts.values().fold(status, |status, mount| status.child(mount.status()))
    }
}

/// An HTTP server of one generation: its definition and the router made of its mounts.
pub struct Server {
    /// The definition it was built of.
    pub definition: ServerDefinition,
    /// To places in `definition.mounts`.
    pub(crate) router: Router<u32>,
    /// Whether there is a log that requests may be recorded in, be it that of a mount.
    pub(crate) has_log: bool,
}

impl Server {
    /// Builds the router.
    ///
    /// # Errors
    ///
    /// Two mounts whose patterns clash.
    pub fn build(definition: ServerDefinition) -> Result<Self, Conflict> {
        let router = Router::build(definition.mounts.keys().cloned().zip(0..))?;
        let mut handlers = definition.mounts.values().map(|mount| &mount.handler);
        let has_log = definition.log.is_some() || handlers.any(|handler| own_logs(handler).next().is_some());
        Ok(Self { definition, router, has_log })
    }

    /// How a request would be routed, and to which mounts: the one that gets it first, then those whose patterns match, too.
    pub fn explain(&self, method: &Method, host: Option<&str>, path: &str) -> (String, Vec<&Arc<Mount>>) {
        let way = self.way(method, host, path);
        // Those that match are not asked where the server answers by itself.
        let matching = match way {
            Way::Answer(_) => Vec::new(),
            Way::Mount { .. } | Way::Redirect(_) => self.router.explain(method, host, path),
        };
        let mounts = matching.into_iter().filter_map(|(_, at)| self.definition.mount_at(*at)).collect();
        (way.to_string(), mounts)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("definition", &self.definition).finish_non_exhaustive()
    }
}

/// Says which server answers on a connection *now*: asked anew for every request, so that a keep-alive connection
/// sees a change with its next request and no request sees half of one.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The server; none when its listener is being retired.
    fn current(&self) -> Option<PinnedServer>;

    /// The protocol spoken on the listener before HTTP, as of now: asked once for every connection.
    fn listen(&self) -> Option<Listen>;
}

/// A server as a request holds it: counted per worker, so that holding it costs no traffic between cores.
pub type PinnedServer = Rc<Arc<Server>>;
