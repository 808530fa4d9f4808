//! Prepare: everything about a draft that can fail, done before anything of it shows.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt};

use medusa_files::{OwnKind, named_below};
use medusa_net::{ListenAddr, Listener, Workers};
use medusa_proto::status::Status;
use tokio::task::spawn_blocking;

use crate::approval::ApprovalError;
use crate::diff::Differences;
use crate::gate::GivenUp;
use crate::listeners::{Door, SiteListener};
use crate::object::{BoxError, Object};
use crate::part::{Part, PartId, Parts, Place, Prepare, Refusal, Running};
use crate::pending::Unconfirmed;
use crate::scope::OutOfScope;
use crate::site::Site;
use crate::walk::{Used, objects};

/// The reason why a draft could not be published. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It took too long while others waited.
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// Another change is on trial.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// Somebody else was faster.
    #[error(
        "this change was begun on generation {base}, and {now} is there now ({changes}): begin it again, on that"
    )]
    Stale {
        /// The generation it was begun on.
        base: u64,
        /// The running one.
        now: u64,
        /// What has changed since.
        changes: Differences,
    },
    /// Its author may not change that.
    #[error(transparent)]
    Scope(#[from] OutOfScope),
    /// Its author may publish only what somebody else has approved.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// A part of it cannot be had.
    #[error(transparent)]
    Part(#[from] PartError),
}

/// The reason why a part cannot be published. Shown with the place in the script, which is what one who is to mend it
/// looks for.
#[derive(Debug)]
pub struct PartError {
    /// The part.
    pub part: PartId,
    /// The place where the script asks for it.
    pub origin: Arc<str>,
    /// The stage it was at.
    pub stage: PublishStage,
    source: BoxError,
}

/// Stage of publishing a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishStage {
    /// Checking that the parts go together.
    Check,
    /// Preparing it, and what it uses.
    Prepare,
    /// Opening its listeners.
    Bind,
}

impl fmt::Display for PartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.source)
    }
}

impl error::Error for PartError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.source()
    }
}

impl PartError {
    fn new(
        part: &Arc<dyn Part>,
        origin: &Arc<str>,
        stage: PublishStage,
        source: impl Into<BoxError>,
    ) -> Self {
        Self { part: part.id().clone(), origin: Arc::clone(origin), stage, source: source.into() }
    }
}

/// Of two addresses, one has connections that are the other's, too.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr}: the {} \"{}\" ({origin}) listens on {taken} already, where the same connections come",
    part.kind.noun,
    part.name
)]
struct Overlap {
    addr: ListenAddr,
    /// The part that listens on the first.
    part: PartId,
    origin: Arc<str>,
    /// The first.
    taken: ListenAddr,
}

/// Two sinks would write one file.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log file {path:?} is written with other options already ({first}); give it the same options in both places, or \
     name another file"
)]
struct SameFile {
    path: PathBuf,
    first: Arc<str>,
}

/// Whether all addresses can be listened on at a time, as far as they are in each other's way.
pub(crate) fn check_addresses(parts: &Parts) -> Result<(), PartError> {
    let mut known: Vec<(&Arc<dyn Part>, ListenAddr)> = Vec::new();
    for part in parts.iter() {
        for addr in part.listens() {
            if let Some((first, taken)) = known.iter().find(|(_, taken)| taken.overlaps(&addr)) {
                let origin = Arc::clone(first.listen_origin());
                let overlap = Overlap { addr, part: first.id().clone(), origin, taken: taken.clone() };
                return Err(PartError::new(part, part.listen_origin(), PublishStage::Check, overlap));
            }
            known.push((part, addr));
        }
    }
    Ok(())
}

/// Prepares what `running` does not have yet: the parts, then the objects they use. Of a load (`is_load`), parts that go on are looked
/// at as well: the files that they name may be others by now. Returns all objects.
pub(crate) async fn prepare(
    parts: &Parts,
    running: &Site,
    is_load: bool,
    how: Prepare<'_>,
) -> Result<Vec<Used>, PartError> {
    for part in parts.iter() {
        let prepared = match running.parts.has(part) {
            true if is_load => part.prepare(Prepare::Trial).await,
            true => Ok(()),
            false => part.prepare(how).await,
        };
        prepared.map_err(|Refusal { origin, source }| {
            PartError::new(part, &origin, PublishStage::Prepare, source)
        })?;
    }
    let objects = objects(parts);
    let ready: HashSet<_> = running.objects.iter().map(|used| used.object.address()).collect();
    let new = || objects.iter().filter(|used| !ready.contains(&used.object.address()));
    if new().any(|used| used.object.sink().is_some()) {
        check_files(&objects).await?;
    }
    for used in new() {
        let prepared = used.object.prepare(matches!(how, Prepare::Trial)).await;
        prepared.map_err(|source| PartError::new(&used.part, &used.origin, PublishStage::Prepare, source))?;
    }
    for used in new() {
        tell_own(used).await;
    }
    Ok(objects)
}

/// Warns of a handler in whose directory the server's own files lie, as far as no name or dot hides them anyway: what they are there for
/// may be to be served, which they are not, and who may write there may have others in their place.
async fn tell_own(used: &Used) {
    let Object::Handler(handler) = &used.object else { return };
    let Some(directory) = handler.directory().map(Path::to_owned) else { return };
    let below = spawn_blocking(move || named_below(&directory)).await.unwrap_or_default();
    let is_hidden = |path: &Path| path.iter().any(|name| name.as_encoded_bytes().starts_with(b"."));
    let seen = below.iter().filter(|(kind, path)| *kind != OwnKind::Module && !is_hidden(path));
    let told: Vec<_> = seen.map(|(kind, path)| format!("{} ({kind})", path.display())).collect();
    if !told.is_empty() {
        let (Status { kind, name, .. }, told) = (handler.status(), told.join(", "));
        tracing::warn!(
            "{}: the directory of medusa.{kind}, {name}, holds the server's own files, which are not served or published to: {told}; \
             give it one that has nothing but content",
            used.origin
        );
    }
}

/// Whether each file is written by one sink only.
async fn check_files(objects: &[Used]) -> Result<(), PartError> {
    let sinks: Vec<_> = objects.iter().map(|used| used.object.sink().cloned()).collect();
    let files = spawn_blocking(move || sinks.iter().map(|sink| sink.as_ref()?.file()).collect::<Vec<_>>());
    let mut known: HashMap<PathBuf, &Used> = HashMap::new();
    // Of a panic the sink itself will tell, when it is prepared.
    for (used, file) in objects.iter().zip(files.await.unwrap_or_default()) {
        let Some(path) = file else { continue };
        if let Some(first) = known.get(&path) {
            let same = SameFile { path, first: Arc::clone(&first.origin) };
            return Err(PartError::new(&used.part, &used.origin, PublishStage::Check, same));
        }
        known.insert(path, used);
    }
    Ok(())
}

/// Binds where parts listen, and makes ready to accept there, for what `running` does not listen on yet. First all are bound,
/// for that is what fails: until then no worker knows of any.
pub(crate) async fn bind(
    parts: &Parts,
    running: &Site,
    workers: &Workers,
    current: &Arc<dyn Running>,
) -> Result<Vec<SiteListener>, PartError> {
    let refused = |part: &Arc<dyn Part>, source: BoxError| {
        PartError::new(part, part.listen_origin(), PublishStage::Bind, source)
    };
    let (mut listeners, mut new) = (Vec::<SiteListener>::new(), Vec::new());
    for part in parts.iter() {
        for (at, addr) in part.listens().into_iter().enumerate() {
            // Port 0 may be listened on more than once: each keeps its own.
            let free = |bound: &&SiteListener| {
                bound.addr == addr
                    && !listeners.iter().any(|taken| Arc::ptr_eq(&taken.listener, &bound.listener))
            };
            let same = |bound: &&SiteListener| (&bound.part, bound.at) == (part.id(), at);
            let mut known = running.listeners.iter().filter(free);
            let known = known.clone().find(same).or_else(|| known.find(|bound| !keeps(parts, bound)));
            let (listener, door) = if let Some(bound) = known {
                (Arc::clone(&bound.listener), Arc::clone(&bound.door))
            } else {
                let bound = Listener::bind(&addr, workers.len());
                let listener = bound.map_err(|source| refused(part, source.into()))?;
                let place = Place { running: Arc::clone(current), listener: listener.id() };
                let Some(door) = Door::new(&**part, place) else { continue };
                new.push((part, Arc::clone(&listener), Arc::clone(&door)));
                (listener, door)
            };
            listeners.push(SiteListener { addr, listener, part: part.id().clone(), at, door });
        }
    }
    for (part, listener, door) in new {
        let prepared = listener.prepare(workers, door).await;
        prepared.map_err(|source| refused(part, source.into()))?;
    }
    Ok(listeners)
}

/// Whether the part that has this listener wants it still.
fn keeps(parts: &Parts, bound: &SiteListener) -> bool {
    parts.get(&bound.part).is_some_and(|part| part.listens().get(bound.at) == Some(&bound.addr))
}
