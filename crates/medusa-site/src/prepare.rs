//! Prepare: everything about a draft that can fail, done before anything of it shows.

use std::path::PathBuf;
use std::sync::Arc;

use medusa_dns::{DnsError, Resolver};
use medusa_http::{Mount, PrepareError, Server, ServerParts};
use medusa_log::{Sink, SinkError};
use medusa_net::{BindError, ListenAddr, Listener, StartError};
use tokio::task::spawn_blocking;

use crate::draft::Draft;
use crate::gate::GivenUp;
use crate::site::{Bound, Site, sinks_of};

/// Why a draft could not be published. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It took too long while others waited.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// Two mounts clash.
    #[error(
        "{second_origin}: the mount \"{second}\" clashes with \"{first}\" ({first_origin}): both match {sample}, and neither is more specific"
    )]
    Conflict {
        /// The mount that was there.
        first: String,
        /// Where the script mounts it.
        first_origin: Arc<str>,
        /// The mount that clashes with it.
        second: String,
        /// Where the script mounts it.
        second_origin: Arc<str>,
        /// A request that both match.
        sample: String,
    },
    /// Of two addresses, one has connections that are the other's, too.
    #[error(
        "{origin}: cannot listen on {addr}: the HTTP server \"{server}\" ({server_origin}) listens on {taken} already, \
         where the same connections come"
    )]
    Overlap {
        /// Where the script asks for the second.
        origin: Arc<str>,
        /// The second.
        addr: ListenAddr,
        /// The server that listens on the first.
        server: Arc<str>,
        /// Where the script asks for that.
        server_origin: Arc<str>,
        /// The first.
        taken: ListenAddr,
    },
    /// A listener could not be opened.
    #[error("{origin}: {source}")]
    Bind {
        /// Where the script asks for it.
        origin: Arc<str>,
        /// Why not.
        source: BindError,
    },
    /// A listener could not be started.
    #[error("{origin}: {source}")]
    Start {
        /// Where the script asks for it.
        origin: Arc<str>,
        /// Why not.
        source: StartError,
    },
    /// A log sink could not be opened.
    #[error("{origin}: {source}")]
    Sink {
        /// Where the script has the server, or the events, that go to it.
        origin: Arc<str>,
        /// Why not.
        source: SinkError,
    },
    /// Two log sinks would write one file.
    #[error(
        "{origin}: the log file {path:?} is written with other options already ({first_origin}); give it the same options \
         in both places, or name another file"
    )]
    SameFile {
        /// Where the script has the server, or the events, that go to the second.
        origin: Arc<str>,
        /// The file.
        path: PathBuf,
        /// Where the script has the server, or the events, that go to the first.
        first_origin: Arc<str>,
    },
    /// The resolver cannot be used.
    #[error("{origin}: {source}")]
    Resolver {
        /// Where the script wants it.
        origin: Arc<str>,
        /// Why not.
        source: DnsError,
    },
    /// A handler could not be prepared.
    #[error("{origin}: {source}")]
    Handler {
        /// Where the script mounts it.
        origin: Arc<str>,
        /// Why not.
        source: PrepareError,
    },
}

/// What a draft would make.
#[derive(Debug)]
pub struct Rehearsed {
    /// Its servers.
    pub servers: Vec<Arc<Server>>,
    /// Where their records and the server's own events would go, each once.
    pub sinks: Vec<Arc<dyn Sink>>,
}

/// A draft that passed: only the swap is left.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) listeners: Vec<Bound>,
    pub(crate) resolver: Option<Arc<Resolver>>,
    /// Those of `listeners` that were opened for this draft, with their servers.
    pub(crate) opened: Vec<(Bound, Arc<Server>)>,
}

/// Prepares `draft` for `workers` workers.
pub(crate) async fn prepare(draft: &Draft, workers: usize) -> Result<Prepared, PublishError> {
    check_addresses(draft)?;
    let servers = build_servers(draft)?;
    prepare_handlers(&servers).await?;
    open_sinks(draft, &servers, Sink::prepare).await?;
    let resolver = draft.resolver.clone();
    ready_resolver(draft, Resolver::prepare)?;
    let mut prepared = Prepared { servers, listeners: Vec::new(), resolver, opened: Vec::new() };
    for (index, server) in draft.servers.iter().enumerate() {
        for (place, listen) in server.listen.iter().enumerate() {
            let addr = &listen.addr;
            let known = draft.base.listeners.iter().find(|bound| bound.addr == *addr);
            let listener = match known {
                Some(bound) => Arc::clone(&bound.listener),
                None => Listener::bind(addr, workers)
                    .map_err(|source| PublishError::Bind { origin: listen_origin(draft, server), source })?,
            };
            let bound = Bound { addr: addr.clone(), listener, server: index, listen: place };
            if known.is_none() {
                prepared.opened.push((bound.clone(), Arc::clone(&prepared.servers[index])));
            }
            prepared.listeners.push(bound);
        }
    }
    Ok(prepared)
}

/// Does as [`prepare`], but binds nothing and leaves no trace: what `medusa check` does.
pub(crate) async fn rehearse(draft: &Draft) -> Result<Rehearsed, PublishError> {
    check_addresses(draft)?;
    let servers = build_servers(draft)?;
    prepare_handlers(&servers).await?;
    open_sinks(draft, &servers, Sink::check).await?;
    ready_resolver(draft, Resolver::check)?;
    let sinks = sinks_of(&servers, &draft.events);
    Ok(Rehearsed { servers, sinks })
}

/// What says where a server listens.
fn listen_origin(draft: &Draft, server: &ServerParts) -> Arc<str> {
    Arc::clone(draft.listen_origin.as_ref().unwrap_or(&server.origin))
}

/// Whether all addresses of the draft can be listened on at a time, as far as they are in each other's way.
fn check_addresses(draft: &Draft) -> Result<(), PublishError> {
    let mut known: Vec<(&ServerParts, &ListenAddr)> = Vec::new();
    for server in &draft.servers {
        for addr in server.listen.iter().map(|listen| &listen.addr) {
            if let Some((first, taken)) = known.iter().find(|(_, taken)| taken.overlaps(addr)) {
                return Err(PublishError::Overlap {
                    origin: listen_origin(draft, server),
                    addr: addr.clone(),
                    server: Arc::clone(&first.name),
                    server_origin: listen_origin(draft, first),
                    taken: (*taken).clone(),
                });
            }
            known.push((server, addr));
        }
    }
    Ok(())
}

/// Builds each server's router; one that did not change stays the same object.
fn build_servers(draft: &Draft) -> Result<Vec<Arc<Server>>, PublishError> {
    let build = |parts: &ServerParts| match unchanged(&draft.base, parts) {
        Some(server) => Ok(server),
        None => Server::build(parts.clone()).map(Arc::new).map_err(|conflict| {
            let origin = |at: usize| {
                parts.mounts.get(at).map_or_else(Arc::default, |m: &Arc<Mount>| Arc::clone(&m.origin))
            };
            PublishError::Conflict {
                first_origin: origin(conflict.first.0),
                first: conflict.first.1.to_string(),
                second_origin: origin(conflict.second.0),
                second: conflict.second.1.to_string(),
                sample: conflict.sample,
            }
        }),
    };
    draft.servers.iter().map(build).collect()
}

fn unchanged(base: &Site, parts: &ServerParts) -> Option<Arc<Server>> {
    base.servers.iter().find(|server| server.parts.same(parts)).map(Arc::clone)
}

async fn prepare_handlers(servers: &[Arc<Server>]) -> Result<(), PublishError> {
    for mount in servers.iter().flat_map(|server| &server.parts.mounts) {
        let prepared = mount.handler.prepare().await;
        prepared.map_err(|source| PublishError::Handler { origin: Arc::clone(&mount.origin), source })?;
    }
    Ok(())
}

fn ready_resolver(
    draft: &Draft,
    ready: impl FnOnce(&Resolver) -> Result<(), DnsError>,
) -> Result<(), PublishError> {
    let Some(resolver) = &draft.resolver else { return Ok(()) };
    ready(resolver)
        .map_err(|source| PublishError::Resolver { origin: Arc::clone(&draft.resolver_origin), source })
}

/// On a thread of the runtime's for what blocks: a name may have to be resolved, and what was spilled to be looked through.
/// Meanwhile this thread, which is the script's, goes on.
async fn open_sinks(
    draft: &Draft,
    servers: &[Arc<Server>],
    open: fn(&dyn Sink) -> Result<(), SinkError>,
) -> Result<(), PublishError> {
    let access = servers.iter().map(|server| &server.parts);
    let access = access.filter_map(|parts| Some((parts.log.as_ref()?, &parts.log_origin)));
    let events = draft.events.iter().map(|events| (&events.route.sink, &events.origin));
    let mut files = Vec::new();
    for (sink, origin) in access.chain(events) {
        let (sink, at) = (Arc::clone(sink), Arc::clone(origin));
        let opening = spawn_blocking(move || {
            enter_files(&sink, &at, &mut files)?;
            let opened = open(&*sink).map_err(|source| PublishError::Sink { origin: at, source });
            opened.map(|()| files)
        });
        files = opening.await.unwrap_or_else(|panic| {
            let source = SinkError::new("that is being opened", "have a thread of its own").because(panic);
            Err(PublishError::Sink { origin: Arc::clone(origin), source })
        })?;
    }
    Ok(())
}

/// A file, the sink that writes it, and where the script has what goes there.
type Written = (PathBuf, Arc<dyn Sink>, Arc<str>);

/// Enters the files that `sink`, and those it stands before, write into `files`: each is one sink's.
fn enter_files(
    sink: &Arc<dyn Sink>,
    origin: &Arc<str>,
    files: &mut Vec<Written>,
) -> Result<(), PublishError> {
    if let Some(path) = sink.file()
        && !files.iter().any(|(_, known, _)| Arc::ptr_eq(known, sink))
    {
        if let Some((_, _, first)) = files.iter().find(|(known, ..)| *known == path) {
            let (origin, first_origin) = (Arc::clone(origin), Arc::clone(first));
            return Err(PublishError::SameFile { origin, path, first_origin });
        }
        files.push((path, Arc::clone(sink), Arc::clone(origin)));
    }
    sink.inner().iter().try_for_each(|sink| enter_files(sink, origin, files))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use medusa_log::events::Route;
    use medusa_log::{Batch, Flushed};
    use medusa_proto::event::Level;
    use medusa_proto::status::Status;

    use super::*;

    /// A sink that is ready when it is told so.
    #[derive(Debug)]
    struct Slow(Mutex<Receiver<()>>);

    impl Slow {
        fn make() -> (Arc<dyn Sink>, SyncSender<()>) {
            let (sender, receiver) = sync_channel(1);
            (Arc::new(Self(Mutex::new(receiver))), sender)
        }
    }

    impl Sink for Slow {
        fn check(&self) -> Result<(), SinkError> {
            let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let told = receiver.recv_timeout(Duration::from_secs(20));
            told.map_err(|_late| SinkError::new("slow", "be told"))
        }

        fn prepare(&self) -> Result<(), SinkError> {
            self.check()
        }

        fn submit(&self, _: &Arc<Batch>) {}

        fn flush(&self, _: Instant) -> Flushed {
            Flushed::default()
        }

        fn status(&self) -> Status {
            Status::new("log.slow", "")
        }
    }

    #[tokio::test]
    async fn a_slow_sink_does_not_hold_up_what_else_the_thread_does() {
        let (sink, ready) = Slow::make();
        let mut draft = Draft::fresh(Arc::new(Site::empty()));
        draft.log_events(Route { sink, level: Level::Info }, "site.luau:1".into()).expect("the first");
        for _ in 0..2 {
            let ready = ready.clone();
            let else_done = async move { ready.send(()).is_ok() };
            let (prepared, done) = tokio::join!(prepare(&draft, 1), else_done);
            prepared.expect("it was told");
            assert!(done);
        }
        let (rehearsed, done) = tokio::join!(rehearse(&draft), async { ready.send(()).is_ok() });
        rehearsed.expect("it was told");
        assert!(done);
    }
}
