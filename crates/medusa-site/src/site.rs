//! The Site: an immutable value.

use std::sync::Arc;
use std::time::SystemTime;

use medusa_dns::Resolver;
use medusa_http::{Listen, Server};
use medusa_log::Sink;
use medusa_log::events::Route;
use medusa_net::tls::{CertificateSummary, show_fingerprint};
use medusa_net::{ListenAddr, Listener, ListenerId};
use medusa_proto::status::Status;

/// A listener of the Site, and the server that answers on it.
#[derive(Debug, Clone)]
pub struct Bound {
    /// As the script wrote it; the real address (port 0 resolved) is the listener's.
    pub addr: ListenAddr,
    /// Kept from generation to generation while some server listens on `addr`.
    pub listener: Arc<Listener>,
    /// Where the server stands in [`Site::servers`].
    pub server: usize,
    /// Where the listener stands in what that server listens on.
    pub listen: usize,
}

/// Names an [`EventLog`] across generations.
pub type EventLogId = u64;

/// A sink that the server's own events go to.
#[derive(Debug, Clone)]
pub struct EventLog {
    /// Stays the same as long as the sink does.
    pub id: EventLogId,
    /// Where they go, and how much those matter that do.
    pub route: Route,
    /// Where the script says so.
    pub origin: Arc<str>,
}

impl EventLog {
    fn status(&self) -> Status {
        let sink = self.route.sink.status();
        Status::new("log.events", format!("{} {}", sink.kind, sink.name).trim_end())
            .field("level", self.route.level.name())
            .field("origin", self.origin.to_string())
    }
}

/// All a server is at one instant.
#[derive(Debug)]
pub struct Site {
    /// Counts publications. 0 is the empty Site before the first one.
    pub generation: u64,
    /// Who published it: `script`, `reload by uid 0`, `timer at site.luau:40`.
    pub by: Arc<str>,
    /// When.
    pub at: SystemTime,
    /// Its HTTP servers.
    pub servers: Vec<Arc<Server>>,
    /// Its listeners.
    pub listeners: Vec<Bound>,
    /// Where its own events go, besides standard error.
    pub events: Vec<EventLog>,
    /// By what it looks names up; none: by the system's means.
    pub resolver: Option<Arc<Resolver>>,
}

impl Site {
    /// The Site of a process that has not started yet.
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            by: "nobody".into(),
            at: SystemTime::now(),
            servers: Vec::new(),
            listeners: Vec::new(),
            events: Vec::new(),
            resolver: None,
        }
    }

    /// The server that answers on a listener.
    pub(crate) fn server_on(&self, listener: ListenerId) -> Option<&Arc<Server>> {
        self.servers.get(self.bound(listener)?.server)
    }

    /// What is spoken on a listener.
    pub(crate) fn listen_on(&self, listener: ListenerId) -> Option<&Listen> {
        self.spoken_on(self.bound(listener)?)
    }

    /// What is spoken on one of [`listeners`](Self::listeners).
    pub fn spoken_on(&self, bound: &Bound) -> Option<&Listen> {
        self.servers.get(bound.server)?.parts.listen.get(bound.listen)
    }

    fn bound(&self, listener: ListenerId) -> Option<&Bound> {
        self.listeners.iter().find(|bound| bound.listener.id() == listener)
    }

    /// Every sink in use, once.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        sinks_of(&self.servers, &self.events)
    }

    /// The Site as a document: what `medusa status` and `medusa check` print.
    pub fn status(&self) -> Status {
        let mut status = Status::new("site", format!("generation {}", self.generation))
            .field("published_by", self.by.to_string())
            .maybe("resolver", self.resolver.as_ref().map(|resolver| resolver.status().name));
        for bound in &self.listeners {
            let stats = bound.listener.stats();
            let listener = Status::new("listener", bound.addr.to_string())
                .field("address", bound.listener.local_addr().to_string())
                .counter("accepted", stats.accepted)
                .gauge("open", stats.open());
            let tls = self.spoken_on(bound).and_then(|listen| listen.tls.as_ref());
            let certificates = tls.map_or(&[][..], |tls| tls.describe());
            status = status.child(certificates.iter().map(certificate).fold(listener, Status::child));
        }
        for server in &self.servers {
            status = status.child(server.status());
        }
        status = status.children(self.events.iter().map(EventLog::status));
        status.children(medusa_log::describe(&self.sinks()))
    }
}

/// The sinks of these servers, and those of the server's own events, each once.
pub(crate) fn sinks_of(servers: &[Arc<Server>], events: &[EventLog]) -> Vec<Arc<dyn Sink>> {
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    let access = servers.iter().filter_map(|server| server.parts.log.as_ref());
    for sink in access.chain(events.iter().map(|events| &events.route.sink)) {
        if !sinks.iter().any(|known| Arc::ptr_eq(known, sink)) {
            sinks.push(Arc::clone(sink));
        }
    }
    sinks
}

/// A certificate, as the operator asks for it: whose, and for how long.
fn certificate(certificate: &CertificateSummary) -> Status {
    const DAY: u64 = 24 * 60 * 60;
    let left = certificate.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    Status::new("certificate", certificate.names.join(", "))
        .gauge("days_left", left.as_secs() / DAY)
        .field("fingerprint", show_fingerprint(&certificate.fingerprint))
}
