//! A draft: the Site to be, while it is edited.
//!
//! Editing checks only what can be told from the draft itself (is there such a mount?); whatever needs the outside
//! world, or all of the draft, is checked when it is prepared.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{HeaderName, HeaderValue};
use medusa_dns::Resolver;
use medusa_http::router::Pattern;
use medusa_http::{Handler, Limits, Listen, Mount, ServerParts};
use medusa_log::Sink;
use medusa_log::events::Route;
use medusa_net::ListenAddr;
use medusa_proto::forwarded::TrustedProxies;

use crate::site::{EventLog, EventLogId, Site};

/// How many mounts a site may have. A router of ten thousand is built within a second; each keeps a pattern, a place and
/// counters, outside of any VM.
const MAX_MOUNTS: usize = 10_000;

/// How many addresses all servers may listen on together: each is a socket for every worker.
const MAX_ADDRESSES: usize = 256;

/// How many logs the server's own events may go to: each of them is given every event.
const MAX_EVENT_LOGS: usize = 32;

/// Names a server across generations.
pub type ServerId = u64;
/// Names a mount across generations, whatever its handler.
pub type MountId = u64;

/// What a server is made with.
#[derive(Debug)]
pub struct ServerSpec {
    /// As logs and status call it; `http`, `http-2` and so on when none is given.
    pub name: Option<String>,
    /// Where it listens; at least one.
    pub listen: Vec<Listen>,
    /// Where its access records go.
    pub log: Option<Arc<dyn Sink>>,
    /// What bounds its connections and requests.
    pub limits: Limits,
    /// The proxies whose word about their clients is taken.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// The field that has browsers come encrypted only.
    pub hsts: Option<HeaderValue>,
    /// Fields of every response that does not have them yet.
    pub security_headers: Arc<[(HeaderName, HeaderValue)]>,
    /// Where the script says so.
    pub origin: Arc<str>,
}

/// What a mount is made with.
#[derive(Debug)]
pub struct MountSpec {
    /// Which requests it gets.
    pub pattern: Pattern,
    /// Who answers them.
    pub handler: Arc<dyn Handler>,
    /// The longest request body, in bytes; none: the server's limit.
    pub body: Option<u64>,
    /// Where the script says so.
    pub origin: Arc<str>,
}

/// Why an edit is refused.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The server was removed, or belongs to a script that has been replaced.
    #[error("this HTTP server is no longer part of the site (was the script reloaded?)")]
    NoServer,
    /// The mount was removed, or belongs to a script that has been replaced.
    #[error("this mount is no longer part of the site (was it removed, or the script reloaded?)")]
    NoMount,
    /// The events' log was removed, or belongs to a script that has been replaced.
    #[error("this log of events is no longer part of the site (was it removed, or the script reloaded?)")]
    NoEventLog,
    /// Two servers would have one name.
    #[error("there is already an HTTP server named \"{0}\"; give this one another `name`")]
    SameName(Arc<str>),
    /// Two servers would listen on one address.
    #[error("the HTTP server \"{1}\" already listens on {0}")]
    SameAddress(ListenAddr, Arc<str>),
    /// There are as many as there may be.
    #[error("the site has {most} {what} already, which is the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A server without an address.
    #[error("an HTTP server needs an address: listen = \"127.0.0.1:8080\"")]
    NoAddress,
}

/// The Site to be.
#[derive(Debug)]
pub struct Draft {
    pub(crate) base: Arc<Site>,
    pub(crate) servers: Vec<ServerParts>,
    /// Mounts there were that nobody has taken over: who mounts the same pattern there again gets the identity of the first.
    left: HashMap<(ServerId, Pattern), VecDeque<Arc<Mount>>>,
    pub(crate) events: Vec<EventLog>,
    pub(crate) resolver: Option<Arc<Resolver>>,
    /// Where the script says so, if it is not the base's.
    pub(crate) resolver_origin: Arc<str>,
    /// What says where the servers listen, if it is not the script.
    pub(crate) listen_origin: Option<Arc<str>>,
}

/// Whether there is room for `more` beside those there are.
fn room(there: usize, more: usize, most: usize, what: &'static str) -> Result<(), DraftError> {
    if there + more > most { Err(DraftError::TooMany { what, most }) } else { Ok(()) }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

impl Draft {
    /// A draft that starts as a copy of `base`: for a change by hand.
    pub fn edit(base: Arc<Site>) -> Self {
        let servers = base.servers.iter().map(|server| server.parts.clone()).collect();
        let (events, resolver) = (base.events.clone(), base.resolver.clone());
        let left = HashMap::new();
        Self { base, servers, left, events, resolver, resolver_origin: Arc::default(), listen_origin: None }
    }

    /// A draft that starts empty: for a run of the whole script. What comes out equal to a part of `base` becomes
    /// that part.
    pub fn fresh(base: Arc<Site>) -> Self {
        let mut draft = Self {
            base: Arc::clone(&base),
            servers: Vec::new(),
            left: HashMap::new(),
            events: Vec::new(),
            resolver: None,
            resolver_origin: Arc::default(),
            listen_origin: None,
        };
        for server in &base.servers {
            server.parts.mounts.iter().for_each(|mount| draft.leave(server.parts.id, Arc::clone(mount)));
        }
        draft
    }

    /// A mount of `server` is nobody's now.
    fn leave(&mut self, server: ServerId, mount: Arc<Mount>) {
        self.left.entry((server, mount.pattern.clone())).or_default().push_back(mount);
    }

    /// The servers as they stand now.
    pub fn servers(&self) -> &[ServerParts] {
        &self.servers
    }

    /// Adds a server.
    ///
    /// # Errors
    ///
    /// See [`DraftError`].
    pub fn add_server(&mut self, spec: ServerSpec) -> Result<ServerId, DraftError> {
        if spec.listen.is_empty() {
            return Err(DraftError::NoAddress);
        }
        let addresses = self.servers.iter().map(|server| server.listen.len()).sum();
        room(addresses, spec.listen.len(), MAX_ADDRESSES, "addresses to listen on")?;
        let name: Arc<str> = spec.name.unwrap_or_else(|| self.free_name()).into();
        for server in &self.servers {
            if server.name == name {
                return Err(DraftError::SameName(name));
            }
            let taken = |addr: &ListenAddr| spec.listen.iter().any(|listen| listen.addr == *addr);
            if let Some(listen) = server.listen.iter().find(|listen| taken(&listen.addr)) {
                return Err(DraftError::SameAddress(listen.addr.clone(), Arc::clone(&server.name)));
            }
        }
        let known = self.base.servers.iter().map(|server| &server.parts).find(|server| server.name == name);
        let id = known.map_or_else(next_id, |known| known.id);
        self.servers.push(ServerParts {
            id,
            name,
            listen: spec.listen,
            mounts: Vec::new(),
            log: spec.log,
            log_origin: Arc::clone(&spec.origin),
            limits: spec.limits.into(),
            trusted_proxies: spec.trusted_proxies,
            hsts: spec.hsts,
            security_headers: spec.security_headers,
            counters: known.map(|known| Arc::clone(&known.counters)).unwrap_or_default(),
            origin: spec.origin,
        });
        Ok(id)
    }

    fn free_name(&self) -> String {
        let names = (1..).map(|n| if n == 1 { "http".to_owned() } else { format!("http-{n}") });
        let taken = |name: &String| self.servers.iter().any(|server| *server.name == **name);
        names.into_iter().find(|name| !taken(name)).unwrap_or_default()
    }

    /// Removes a server: its listeners close, its connections end with the request they are at.
    ///
    /// # Errors
    ///
    /// There is no such server.
    pub fn remove_server(&mut self, id: ServerId) -> Result<(), DraftError> {
        let at = self.servers.iter().position(|server| server.id == id).ok_or(DraftError::NoServer)?;
        let gone = self.servers.remove(at);
        gone.mounts.into_iter().for_each(|mount| self.leave(id, mount));
        Ok(())
    }

    /// Gives a server another log, or none. The records of requests that have begun go to the log there was then.
    ///
    /// # Errors
    ///
    /// There is no such server.
    pub fn set_log(
        &mut self,
        id: ServerId,
        log: Option<Arc<dyn Sink>>,
        origin: Arc<str>,
    ) -> Result<(), DraftError> {
        let server = self.servers.iter_mut().find(|server| server.id == id).ok_or(DraftError::NoServer)?;
        server.log = log;
        server.log_origin = origin;
        Ok(())
    }

    /// Where the server's own events go, as it stands now.
    pub fn events(&self) -> &[EventLog] {
        &self.events
    }

    /// Has the server's own events go to a sink, too. For one they go to already, this changes the level.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn log_events(&mut self, route: Route, origin: Arc<str>) -> Result<EventLogId, DraftError> {
        let same = |known: &&EventLog| Arc::ptr_eq(&known.route.sink, &route.sink);
        let known = self.events.iter().chain(&self.base.events).find(same);
        let id = known.map_or_else(next_id, |known| known.id);
        let events = EventLog { id, route, origin };
        if let Some(known) = self.events.iter_mut().find(|known| known.id == id) {
            *known = events;
        } else {
            room(self.events.len(), 1, MAX_EVENT_LOGS, "logs of its events")?;
            self.events.push(events);
        }
        Ok(id)
    }

    /// Has the server's own events no longer go to a sink.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn unlog_events(&mut self, id: EventLogId) -> Result<(), DraftError> {
        let at = self.events.iter().position(|events| events.id == id).ok_or(DraftError::NoEventLog)?;
        self.events.remove(at);
        Ok(())
    }

    /// Mounts a handler.
    ///
    /// # Errors
    ///
    /// There is no such server, or there are too many mounts.
    pub fn mount(&mut self, server: ServerId, spec: MountSpec) -> Result<MountId, DraftError> {
        let MountSpec { pattern, handler, body, origin } = spec;
        let mounts = self.servers.iter().map(|server| server.mounts.len()).sum();
        room(mounts, 1, MAX_MOUNTS, "mounts")?;
        let to = self.servers.iter_mut().find(|known| known.id == server).ok_or(DraftError::NoServer)?;
        let known = self.left.get_mut(&(server, pattern.clone())).and_then(VecDeque::pop_front);
        let mount = match known {
            Some(known)
                if Arc::ptr_eq(&known.handler, &handler) && known.origin == origin && known.body == body =>
            {
                known
            }
            Some(known) => Arc::new(Mount {
                id: known.id,
                pattern,
                handler,
                origin,
                body,
                counters: Arc::clone(&known.counters),
            }),
            None => {
                Arc::new(Mount { id: next_id(), pattern, handler, origin, body, counters: Arc::default() })
            }
        };
        let id = mount.id;
        to.mounts.push(mount);
        Ok(id)
    }

    /// Gives a mount another handler. Requests under way go on with the old one.
    ///
    /// # Errors
    ///
    /// There is no such mount.
    pub fn replace(
        &mut self,
        id: MountId,
        handler: Arc<dyn Handler>,
        origin: Arc<str>,
    ) -> Result<(), DraftError> {
        let mount = (self.servers.iter_mut())
            .flat_map(|server| &mut server.mounts)
            .find(|mount| mount.id == id)
            .ok_or(DraftError::NoMount)?;
        *mount = Arc::new(Mount {
            id,
            pattern: mount.pattern.clone(),
            handler,
            origin,
            body: mount.body,
            counters: Arc::clone(&mount.counters),
        });
        Ok(())
    }

    /// Removes a mount.
    ///
    /// # Errors
    ///
    /// There is no such mount.
    pub fn remove(&mut self, id: MountId) -> Result<(), DraftError> {
        for server in &mut self.servers {
            if let Some(at) = server.mounts.iter().position(|mount| mount.id == id) {
                let (server, gone) = (server.id, server.mounts.remove(at));
                self.leave(server, gone);
                return Ok(());
            }
        }
        Err(DraftError::NoMount)
    }

    /// Has the site look names up by `resolver`; without one, by the system.
    pub fn use_resolver(&mut self, resolver: Option<Arc<Resolver>>, origin: Arc<str>) {
        self.resolver = resolver;
        self.resolver_origin = origin;
    }

    /// Makes the only server listen on `addrs` instead of where the script says: what `--listen` asks for.
    /// Returns how many servers there are; nothing changes unless there is exactly one.
    pub fn listen_instead(&mut self, addrs: &[ListenAddr]) -> usize {
        if let [only] = self.servers.as_mut_slice() {
            // What is spoken there stays as the script has it.
            let spoken = only.listen.first().cloned();
            let listen = |addr: &ListenAddr| match &spoken {
                Some(spoken) => Listen { addr: addr.clone(), ..spoken.clone() },
                None => Listen::plain(addr.clone()),
            };
            only.listen = addrs.iter().map(listen).collect();
            self.listen_origin = Some("--listen".into());
        }
        self.servers.len()
    }
}

#[cfg(test)]
mod tests {
    use medusa_http::{HandlerFuture, Request, Response, Server};
    use medusa_proto::status::Status;

    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Handler for Nothing {
        fn handle(&self, _: Request) -> HandlerFuture<'_> {
            Box::pin(std::future::ready(Ok(Response::default())))
        }

        fn status(&self) -> Status {
            Status::new("nothing", "")
        }
    }

    fn server(draft: &mut Draft) -> ServerId {
        let spec = ServerSpec {
            name: None,
            listen: vec![Listen::plain("127.0.0.1:0".parse().expect("an address"))],
            log: None,
            limits: Limits::default(),
            trusted_proxies: Arc::default(),
            hsts: None,
            security_headers: Arc::default(),
            origin: "site.luau:1".into(),
        };
        draft.add_server(spec).expect("the first")
    }

    fn mount(draft: &mut Draft, server: ServerId, pattern: &str, handler: &Arc<dyn Handler>) -> MountId {
        let (pattern, handler) = (pattern.parse().expect("a pattern"), Arc::clone(handler));
        let spec = MountSpec { pattern, handler, body: None, origin: "site.luau:2".into() };
        draft.mount(server, spec).expect("the server is there")
    }

    /// The Site that `draft` makes.
    fn site(draft: &Draft) -> Arc<Site> {
        let build = |parts: &ServerParts| Arc::new(Server::build(parts.clone()).expect("nothing clashes"));
        Arc::new(Site { servers: draft.servers.iter().map(build).collect(), ..Site::empty() })
    }

    #[test]
    fn who_mounts_a_pattern_again_takes_its_mount_over() {
        let same: Arc<dyn Handler> = Arc::new(Nothing);
        let mut first = Draft::fresh(Arc::new(Site::empty()));
        let web = server(&mut first);
        let ids = ["/a", "/b"].map(|pattern| mount(&mut first, web, pattern, &same));
        let base = site(&first);

        let mut reload = Draft::fresh(Arc::clone(&base));
        assert_eq!(server(&mut reload), web);
        let other: Arc<dyn Handler> = Arc::new(Nothing);
        assert_eq!(
            [("/b", &same), ("/a", &other)].map(|(at, to)| mount(&mut reload, web, at, to)),
            [ids[1], ids[0]]
        );
        let mounts = |draft: &Draft, at: usize| Arc::clone(&draft.servers[0].mounts[at]);
        assert!(
            Arc::ptr_eq(&mounts(&reload, 0), &base.servers[0].parts.mounts[1]),
            "nothing about it has changed"
        );
        assert!(Arc::ptr_eq(&mounts(&reload, 1).counters, &base.servers[0].parts.mounts[0].counters));
        assert!(!ids.contains(&mount(&mut reload, web, "/a", &same)), "it has been taken over already");

        let mut edit = Draft::edit(base);
        assert!(!ids.contains(&mount(&mut edit, web, "/a", &same)), "it is there");
        edit.remove(ids[0]).expect("it is there");
        assert_eq!(mount(&mut edit, web, "/a", &other), ids[0]);
        edit.remove_server(web).expect("it is there");
        assert_eq!(server(&mut edit), web);
        assert_eq!(mount(&mut edit, web, "/b", &other), ids[1]);
    }
}
