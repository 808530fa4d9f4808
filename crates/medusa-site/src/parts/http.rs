//! HTTP servers and their mounts: how a draft edits them, what a server takes over from the one that runs, and how its
//! connections find it.
//!
//! A mount is known by its server and pattern. Each worker pins the server of a listener until the next publication of any, so
//! that a request costs one look at the generation.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use http::{HeaderName, HeaderValue, Method};
use indexmap::IndexMap;
use indexmap::map::Entry;
use medusa_http::router::{Conflict, Pattern};
use medusa_http::{
    Counters, Directory, Handler, HttpAccept, Limits, Listen, Mount, PinnedServer, Server, ServerDefinition,
    take_over,
};
use medusa_log::Sink;
use medusa_net::tls::{CertificateSummary, show_fingerprint};
use medusa_net::{Accept, ListenAddr, ListenerId};
use medusa_proto::forwarded::TrustedProxies;
use medusa_proto::status::Status;

use crate::diff::{Difference, MOST_TOLD, Sign, changes};
use crate::draft::{Draft, DraftError, room};
use crate::object::{Object, Use};
use crate::part::{
    Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal, downcast, unless_same,
};

static KIND: PartKind =
    PartKind { name: "http.server", noun: "HTTP server", plural: "HTTP servers", most: MAX_ADDRESSES };

/// The number of mounts that a site may have. A router of ten thousand is built within a second; each keeps a
/// pattern, a place and counters, outside of any VM.
const MAX_MOUNTS: usize = 10_000;

/// The number of addresses that all servers may listen on together: each is a socket for every worker.
const MAX_ADDRESSES: usize = 256;

/// Names a mount across generations, whatever its handler; not another that comes to its pattern when it was removed.
#[derive(Debug, Clone)]
pub struct MountId {
    server: PartId,
    pattern: Pattern,
    /// What stays the same as long as the mount does.
    counters: Weak<Counters>,
}

impl MountId {
    fn new(server: &PartId, mount: &Mount) -> Self {
        let counters = Arc::downgrade(&mount.counters);
        Self { server: server.clone(), pattern: mount.pattern.clone(), counters }
    }

    fn names(&self, mount: &Mount) -> bool {
        Weak::as_ptr(&self.counters) == Arc::as_ptr(&mount.counters)
    }

    /// The mount, if it is one of `parts`.
    pub fn find<'a>(&self, parts: &'a Parts) -> Option<&'a Arc<Mount>> {
        let mount = parts.find::<HttpServer>(&self.server)?.definition.mounts.get(&self.pattern)?;
        self.names(mount).then_some(mount)
    }
}

/// The settings of a server.
#[derive(Debug)]
pub struct ServerSpec {
    /// As logs and status call it; `http`, `http-2` and so on when none is given.
    pub name: Option<String>,
    /// The addresses it listens on; at least one.
    pub listen: Vec<Listen>,
    /// The log of its access records.
    pub log: Option<Arc<dyn Sink>>,
    /// The limits of its connections and requests.
    pub limits: Limits,
    /// The proxies whose word about their clients is taken.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// The field that has browsers come encrypted only.
    pub hsts: Option<HeaderValue>,
    /// Fields of every response that does not have them yet.
    pub security_headers: Arc<[(HeaderName, HeaderValue)]>,
    /// The place in the script that says so.
    pub origin: Arc<str>,
}

/// The settings of a mount.
#[derive(Debug)]
pub struct MountSpec {
    /// The requests it gets.
    pub pattern: Pattern,
    /// The handler that answers them.
    pub handler: Arc<dyn Handler>,
    /// The longest request body, in bytes; none: the server's limit.
    pub body: Option<u64>,
    /// The place in the script that says so.
    pub origin: Arc<str>,
}

/// An HTTP server of the Site.
#[derive(Debug)]
pub struct HttpServer {
    id: PartId,
    /// Its definition.
    pub definition: ServerDefinition,
    /// What says where it listens, if it is not the script.
    listen_origin: Option<Arc<str>>,
    /// With its router, once it is prepared.
    built: OnceLock<Arc<Server>>,
}

impl Clone for HttpServer {
    /// To be changed, and so to be built anew.
    fn clone(&self) -> Self {
        let (id, definition, listen_origin) =
            (self.id.clone(), self.definition.clone(), self.listen_origin.clone());
        Self { id, definition, listen_origin, built: OnceLock::new() }
    }
}

impl Draft {
    /// Adds a server.
    ///
    /// # Errors
    ///
    /// See [`DraftError`].
    pub fn add_server(&mut self, spec: ServerSpec) -> Result<PartId, DraftError> {
        if spec.listen.is_empty() {
            return Err(DraftError::NoAddress);
        }
        let addresses = self.parts.all::<HttpServer>().map(|server| server.definition.listen.len()).sum();
        room(addresses, spec.listen.len(), MAX_ADDRESSES, "addresses to listen on")?;
        let name: Arc<str> = spec.name.unwrap_or_else(|| self.free_name()).into();
        let id = PartId { kind: &KIND, name: Arc::clone(&name) };
        if let Some(known) = self.parts.get(&id) {
            return Err(DraftError::SameName { origin: Arc::clone(known.origin()), part: id });
        }
        let definition = ServerDefinition {
            name,
            listen: spec.listen,
            mounts: IndexMap::default(),
            log: spec.log,
            log_origin: Arc::clone(&spec.origin),
            limits: spec.limits.into(),
            trusted_proxies: spec.trusted_proxies,
            hsts: spec.hsts,
            security_headers: spec.security_headers,
            counters: Arc::default(),
            origin: spec.origin,
        };
        self.put(HttpServer { id: id.clone(), definition, listen_origin: None, built: OnceLock::new() })?;
        Ok(id)
    }

    fn free_name(&self) -> String {
        let names = (1..).map(|n| if n == 1 { "http".to_owned() } else { format!("http-{n}") });
        let taken =
            |name: &String| self.parts.all::<HttpServer>().any(|server| *server.definition.name == **name);
        names.into_iter().find(|name| !taken(name)).unwrap_or_default()
    }

    /// Gives a server another log, or none. The records of requests that have begun go to the log there was then.
    ///
    /// # Errors
    ///
    /// There is no such server.
    pub fn set_log(
        &mut self,
        server: &PartId,
        log: Option<Arc<dyn Sink>>,
        origin: Arc<str>,
    ) -> Result<(), DraftError> {
        let definition = &mut self.edit::<HttpServer>(server)?.definition;
        definition.log = log;
        definition.log_origin = origin;
        Ok(())
    }

    /// Mounts a handler.
    ///
    /// # Errors
    ///
    /// There is no such server, it has a mount of this pattern, or there are too many.
    pub fn mount(&mut self, server: &PartId, spec: MountSpec) -> Result<MountId, DraftError> {
        let MountSpec { pattern, handler, body, origin } = spec;
        let mounts = self.parts.all::<HttpServer>().map(|server| server.definition.mounts.len()).sum();
        room(mounts, 1, MAX_MOUNTS, "mounts")?;
        let running = self.base().parts.find::<HttpServer>(server);
        let running = running.and_then(|server| server.definition.mounts.get(&pattern));
        let counters = running.map_or_else(Arc::default, |mount| Arc::clone(&mount.counters));
        let mounts = &mut self.edit::<HttpServer>(server)?.definition.mounts;
        match mounts.entry(pattern.clone()) {
            Entry::Occupied(known) => Err(DraftError::SameMount {
                pattern: pattern.to_string(),
                origin: Arc::clone(&known.get().origin),
            }),
            Entry::Vacant(free) => {
                let mount = free.insert(Arc::new(Mount {
                    pattern,
                    handler,
                    origin,
                    body,
                    counters,
                    under_way: Arc::default(),
                }));
                Ok(MountId::new(server, mount))
            }
        }
    }

    /// Gives a mount another handler. Requests under way go on with the old one.
    ///
    /// # Errors
    ///
    /// There is no such mount.
    pub fn replace(
        &mut self,
        id: &MountId,
        handler: Arc<dyn Handler>,
        origin: Arc<str>,
    ) -> Result<(), DraftError> {
        let mount = self.mounts_with(id)?.get_mut(&id.pattern).ok_or(DraftError::NoMount)?;
        *mount = Arc::new(mount.with(handler, origin));
        Ok(())
    }

    /// Removes a mount.
    ///
    /// # Errors
    ///
    /// There is no such mount.
    pub fn unmount(&mut self, id: &MountId) -> Result<(), DraftError> {
        self.mounts_with(id)?.shift_remove(&id.pattern).map(drop).ok_or(DraftError::NoMount)
    }

    /// The mounts of a server, with this one among them.
    fn mounts_with(&mut self, id: &MountId) -> Result<&mut IndexMap<Pattern, Arc<Mount>>, DraftError> {
        id.find(&self.parts).ok_or(DraftError::NoMount)?;
        Ok(&mut self.edit::<HttpServer>(&id.server)?.definition.mounts)
    }

    /// Makes the only server listen on `addrs` instead of where the script says: what `--listen` asks for.
    /// Returns how many servers there are; nothing changes unless there is exactly one.
    pub fn listen_instead(&mut self, addrs: &[ListenAddr]) -> usize {
        let ids: Vec<_> = self.parts.all::<HttpServer>().map(|server| server.id.clone()).collect();
        if let [only] = &*ids
            && let Ok(only) = self.edit::<HttpServer>(only)
        {
            // What is spoken there stays as the script has it.
            let spoken = only.definition.listen.first().cloned();
            let listen = |addr: &ListenAddr| match &spoken {
                Some(spoken) => Listen { addr: addr.clone(), ..spoken.clone() },
                None => Listen::plain(addr.clone()),
            };
            only.definition.listen = addrs.iter().map(listen).collect();
            only.listen_origin = Some("--listen".into());
        }
        ids.len()
    }
}

impl HttpServer {
    /// The id of the server of this name.
    pub fn id_of(name: &str) -> PartId {
        PartId { kind: &KIND, name: name.into() }
    }

    /// Names its mount of this pattern.
    pub fn mount_id(&self, pattern: &Pattern) -> Option<MountId> {
        self.definition.mounts.get(pattern).map(|mount| MountId::new(&self.id, mount))
    }

    /// Names its mounts.
    pub fn mount_ids(&self) -> impl Iterator<Item = MountId> {
        self.definition.mounts.values().map(|mount| MountId::new(&self.id, mount))
    }

    /// Takes over what carries over from the server that is running.
    fn take_over(&mut self, running: &Self) {
        self.definition.counters = Arc::clone(&running.definition.counters);
        for (at, (pattern, mount)) in self.definition.mounts.iter_mut().enumerate() {
            if running.definition.mounts.get_index(at).is_some_and(|(_, known)| Arc::ptr_eq(known, mount)) {
                continue;
            }
            let Some(known) = running.definition.mounts.get(pattern) else { continue };
            if Arc::ptr_eq(&known.handler, &mount.handler)
                && (&known.origin, known.body) == (&mount.origin, mount.body)
            {
                *mount = Arc::clone(known);
            } else {
                take_over(&mount.handler, &known.handler);
            }
        }
    }

    /// How it would route a request, and to which mounts. See [`Server::explain`].
    pub fn explain(&self, method: &Method, host: Option<&str>, path: &str) -> (String, Vec<Arc<Mount>>) {
        let Some(server) = self.built.get() else { return Default::default() };
        let (way, mounts) = server.explain(method, host, path);
        (way, mounts.into_iter().cloned().collect())
    }

    fn differences_from(&self, before: &Self) -> Vec<Difference> {
        let (old, new) = (&before.definition, &self.definition);
        let mut all = Vec::new();
        for (at, (pattern, mount)) in new.mounts.iter().enumerate() {
            if old.mounts.get_index(at).is_some_and(|(_, known)| Arc::ptr_eq(known, mount)) {
                continue;
            }
            match old.mounts.get(pattern) {
                None => all.push(Difference::added(pattern.to_string())),
                Some(known) if !Arc::ptr_eq(known, mount) => {
                    // Of more it is not told.
                    let how = (all.len() < MOST_TOLD).then(|| changes(&known.status(), &mount.status()));
                    all.push(Difference::changed(pattern.to_string()).told(how.flatten()));
                }
                Some(_) => {}
            }
        }
        let added = all.iter().filter(|difference| difference.sign == Sign::Added).count();
        if old.mounts.len() + added > new.mounts.len() {
            let gone = old.mounts.keys().filter(|pattern| !new.mounts.contains_key(*pattern));
            all.extend(gone.map(|pattern| Difference::removed(pattern.to_string())));
        }
        let kept = |listen: &&Listen, others: &[Listen]| others.iter().any(|other| other.addr == listen.addr);
        let came = new.listen.iter().filter(|listen| !kept(listen, &old.listen));
        all.extend(came.map(|listen| Difference::added(format!("listen {}", listen.addr))));
        let went = old.listen.iter().filter(|listen| !kept(listen, &new.listen));
        all.extend(went.map(|listen| Difference::removed(format!("listen {}", listen.addr))));
        let log = |server: &ServerDefinition| server.log.as_ref().map(|log| Arc::as_ptr(log).cast::<()>());
        let spoken = |server: &ServerDefinition| {
            let kept =
                server.listen.iter().filter(|listen| kept(listen, &old.listen) && kept(listen, &new.listen));
            kept.cloned().collect::<Vec<_>>()
        };
        let settings = [
            ("log", log(old) != log(new), changes(&log_status(old), &log_status(new))),
            ("limits", old.limits != new.limits, changes(&old.limits.status(), &new.limits.status())),
            ("tls", spoken(old) != spoken(new), None),
            ("trusted_proxies", old.trusted_proxies != new.trusted_proxies, None),
            ("hsts", old.hsts != new.hsts, changes(&hsts_status(old), &hsts_status(new))),
            ("security_headers", old.security_headers != new.security_headers, None),
        ];
        let changed = settings.into_iter().filter(|(_, changed, _)| *changed);
        all.extend(changed.map(|(what, _, how)| Difference::changed(what).told(how)));
        if all.is_empty() {
            // Written at other places in the script, or its mounts in another order.
            all.push(Difference::changed(self.label()));
        }
        all
    }

    fn build(&self) -> Result<(), Refusal> {
        if self.built.get().is_none() {
            let server = Server::build(self.definition.clone()).map_err(|conflict| self.refusal(conflict))?;
            self.built.get_or_init(|| Arc::new(server));
        }
        Ok(())
    }

    fn refusal(&self, conflict: Conflict) -> Refusal {
        let origin = |at: usize| {
            let mount = self.definition.mounts.get_index(at);
            mount.map_or_else(Arc::default, |(_, mount)| Arc::clone(&mount.origin))
        };
        let source = Clash {
            first_origin: origin(conflict.first.0),
            first: conflict.first.1.to_string(),
            second: conflict.second.1.to_string(),
            sample: conflict.sample,
        };
        Refusal { origin: origin(conflict.second.0), source: Box::new(source) }
    }
}

/// The log of a server, or that it has none.
fn log_status(server: &ServerDefinition) -> Status {
    server.log.as_ref().map_or_else(|| Status::new("none", ""), |log| log.status())
}

/// The same of its field for browsers.
fn hsts_status(server: &ServerDefinition) -> Status {
    let value = server.hsts.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Status::new("hsts", value.unwrap_or_else(|| "none".to_owned()))
}

/// Two mounts that clash.
#[derive(Debug, thiserror::Error)]
#[error(
    "the mount \"{second}\" clashes with \"{first}\" ({first_origin}): both match {sample}, and neither is more specific"
)]
struct Clash {
    first: String,
    first_origin: Arc<str>,
    second: String,
    /// A request that both match.
    sample: String,
}

impl Part for HttpServer {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.definition.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        let Some(known) = downcast::<Self>(running) else { return self };
        let mut settled = Arc::unwrap_or_clone(self);
        settled.take_over(known);
        unless_same(Arc::new(settled), running, |a, b| {
            a.listen_origin == b.listen_origin && a.definition.same(&b.definition)
        })
    }

    fn uses(&self) -> Vec<Use> {
        let handlers = self.definition.mounts.values().map(|mount| {
            let (origin, handler) = (Arc::clone(&mount.origin), Arc::clone(&mount.handler));
            Use { origin, object: Object::Handler(handler) }
        });
        let log = self.definition.log.iter().map(|log| {
            let (origin, log) = (Arc::clone(&self.definition.log_origin), Arc::clone(log));
            Use { origin, object: Object::Sink(log) }
        });
        handlers.chain(log).collect()
    }

    fn listens(&self) -> Vec<ListenAddr> {
        self.definition.listen.iter().map(|listen| listen.addr.clone()).collect()
    }

    fn listen_origin(&self) -> &Arc<str> {
        self.listen_origin.as_ref().unwrap_or(&self.definition.origin)
    }

    fn accept(&self, place: Place) -> Option<Arc<dyn Accept>> {
        Some(Arc::new(HttpAccept::new(Arc::new(ListenerDirectory(place)))))
    }

    fn describe_listener(&self, at: usize) -> Vec<Status> {
        let tls = self.definition.listen.get(at).and_then(|listen| listen.tls.as_ref());
        tls.map_or(&[][..], |tls| tls.describe()).iter().map(certificate).collect()
    }

    fn prepare<'a>(&'a self, _how: Prepare<'a>) -> Preparing<'a> {
        Box::pin(std::future::ready(self.build()))
    }

    fn publish(&self, _: &Parts, environment: &Environment) {
        forget_pinned(environment);
    }

    fn retire(&self, _: &Parts, environment: &Environment) {
        forget_pinned(environment);
    }

    fn label(&self) -> String {
        format!("{} \"{}\"", KIND.noun, self.id.name)
    }

    fn differences(&self, before: &Arc<dyn Part>) -> Vec<Difference> {
        match downcast::<Self>(before) {
            Some(before) => self.differences_from(before),
            None => vec![Difference::changed(self.label())],
        }
    }

    fn held(&self) -> Option<Weak<dyn Any + Send + Sync>> {
        let server: Arc<dyn Any + Send + Sync> = Arc::<Server>::clone(self.built.get()?);
        Some(Arc::downgrade(&server))
    }

    fn status(&self) -> Status {
        self.definition.status()
    }
}

/// A certificate, as the operator asks for it: whose, and for how long.
fn certificate(certificate: &CertificateSummary) -> Status {
    const DAY: u64 = 24 * 60 * 60;
    let left = certificate.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    Status::new("certificate", certificate.names.join(", "))
        .gauge("days_left", left.as_secs() / DAY)
        .field("fingerprint", show_fingerprint(&certificate.fingerprint))
}

/// Answers for one listener out of the running Site.
#[derive(Debug)]
struct ListenerDirectory(Place);

impl Directory for ListenerDirectory {
    fn listen(&self) -> Option<Listen> {
        let (part, at) = self.0.part()?;
        downcast::<HttpServer>(&part)?.definition.listen.get(at).cloned()
    }

    fn current(&self) -> Option<PinnedServer> {
        let (generation, listener) = (self.0.generation(), self.0.listener());
        PINNED.with_borrow_mut(|pinned| {
            let known = pinned.iter().position(|known| known.listener == listener);
            if let Some(at) = known {
                if pinned[at].generation == generation {
                    return Some(Rc::clone(&pinned[at].server));
                }
                pinned.swap_remove(at);
            }
            let (part, _) = self.0.part()?;
            let server = Rc::new(Arc::clone(downcast::<HttpServer>(&part)?.built.get()?));
            pinned.push(Pinned { listener, generation, server: Rc::clone(&server) });
            Some(server)
        })
    }
}

/// A server as this worker last saw it. Forgotten whenever a server is published or retired, so that nothing of an old
/// generation is kept longer than its requests last.
#[derive(Debug)]
struct Pinned {
    listener: ListenerId,
    generation: u64,
    server: PinnedServer,
}

thread_local! {
    static PINNED: RefCell<Vec<Pinned>> = const { RefCell::new(Vec::new()) };
}

fn forget_pinned(environment: &Environment) {
    if let Some(workers) = &environment.workers {
        workers.post_each(|| PINNED.with_borrow_mut(Vec::clear));
    }
}

#[cfg(test)]
mod tests {
    use medusa_http::{HandlerFuture, Request, Response};

    use super::*;
    use crate::site::Site;

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

    fn server(draft: &mut Draft) -> PartId {
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

    fn mount(draft: &mut Draft, server: &PartId, pattern: &str, handler: &Arc<dyn Handler>) -> MountId {
        let (pattern, handler) = (pattern.parse().expect("a pattern"), Arc::clone(handler));
        let spec = MountSpec { pattern, handler, body: None, origin: "site.luau:2".into() };
        draft.mount(server, spec).expect("the server is there, and has no such mount")
    }

    /// The Site that `draft` makes.
    fn site(draft: Draft) -> Arc<Site> {
        Arc::new(Site { parts: draft.settle(), ..Site::empty() })
    }

    fn mounts(parts: &Parts) -> Vec<Arc<Mount>> {
        parts.all::<HttpServer>().flat_map(|server| server.definition.mounts.values().cloned()).collect()
    }

    #[test]
    fn who_mounts_a_pattern_again_takes_its_mount_over() {
        let same: Arc<dyn Handler> = Arc::new(Nothing);
        let other: Arc<dyn Handler> = Arc::new(Nothing);
        let mut first = Draft::fresh(Arc::new(Site::empty()));
        let web = server(&mut first);
        let ids = ["/a", "/b"].map(|pattern| mount(&mut first, &web, pattern, &same));
        let base = site(first);
        let old = mounts(&base.parts);

        let mut reload = Draft::fresh(Arc::clone(&base));
        assert_eq!(server(&mut reload), web);
        let again = [("/b", &same), ("/a", &other)].map(|(at, to)| mount(&mut reload, &web, at, to));
        for (new, old) in again.iter().zip([&ids[1], &ids[0]]) {
            assert!(Arc::ptr_eq(
                new.find(&reload.parts).expect("new"),
                old.find(&reload.parts).expect("old")
            ));
        }
        let spec = MountSpec {
            pattern: "/a".parse().expect("a pattern"),
            handler: Arc::clone(&same),
            body: None,
            origin: "site.luau:9".into(),
        };
        let twice = reload.mount(&web, spec).expect_err("there is one").to_string();
        assert!(twice.contains("\"/a\" clashes with the one at site.luau:2"), "{twice}");
        let reloaded = site(reload);
        let new = mounts(&reloaded.parts);
        assert!(Arc::ptr_eq(&new[0], &old[1]), "nothing about it has changed");
        assert!(!Arc::ptr_eq(&new[1], &old[0]) && Arc::ptr_eq(&new[1].counters, &old[0].counters));

        let mut nothing_new = Draft::fresh(Arc::clone(&base));
        server(&mut nothing_new);
        let _ids = ["/a", "/b"].map(|pattern| mount(&mut nothing_new, &web, pattern, &same));
        let nothing_new = site(nothing_new);
        assert!(base.parts.iter().all(|part| nothing_new.parts.has(part)), "it is the running server");

        let mut edit = Draft::edit_of(Arc::clone(&base));
        edit.unmount(&ids[0]).expect("it is there");
        assert!(matches!(edit.unmount(&ids[0]), Err(DraftError::NoMount)));
        mount(&mut edit, &web, "/a", &other);
        edit.remove(&web).expect("it is there");
        assert!(matches!(edit.replace(&ids[1], Arc::clone(&other), "t".into()), Err(DraftError::NoMount)));
        assert_eq!(server(&mut edit), web);
        mount(&mut edit, &web, "/b", &other);
        let edited = site(edit);
        assert!(Arc::ptr_eq(&mounts(&edited.parts)[0].counters, &old[1].counters));
        assert!(ids[1].find(&edited.parts).is_some() && ids[0].find(&edited.parts).is_none());
        let mut later = Draft::edit_of(edited);
        let new = mount(&mut later, &web, "/a", &same);
        assert!(new.find(&later.parts).is_some());
        assert!(matches!(later.unmount(&ids[0]), Err(DraftError::NoMount)), "another, which came later");
        assert_eq!(mounts(&base.parts).len(), 2, "the base is as it was");
    }
}
