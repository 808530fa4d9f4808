//! The handlers that mounts have and had: in which generation each was published, and what is under way on it.
//!
//! A mount that is given another handler is another version of it; so is one whose place in the script has changed. Nothing is
//! kept alive here: a version is gone when no Site, no generation that is kept and no request has it any more.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use medusa_http::{Mount, MountText, UnderWay, UseCounts};
use medusa_proto::status::Status;

use crate::part::{Part, Parts};
use crate::parts::HttpServer;
use crate::site::Site;

/// Whether requests can still come to a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerState {
    /// It is one of the running Site's.
    Running,
    /// It is in a generation that can be gone back to.
    Kept,
    /// It is in none, and goes with the last that is under way on it.
    Retired,
}

impl HandlerState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Kept => "kept",
            Self::Retired => "retired",
        }
    }
}

/// A handler of a mount, and what is under way on it.
#[derive(Debug, Clone)]
pub struct HandlerUse {
    /// The server of the mount.
    pub server: Arc<str>,
    /// The mount, as it was published.
    pub mount: MountText,
    /// The generation that has published it.
    pub generation: u64,
    /// Whether requests can come to it.
    pub state: HandlerState,
    /// What is under way.
    pub counts: UseCounts,
}

impl HandlerUse {
    /// As a part of the status: of one that is not running.
    pub(crate) fn status(&self) -> Status {
        let status = Status::new("handler.version", self.mount.pattern.clone())
            .field("handler", self.mount.handler.clone())
            .field("server", self.server.to_string())
            .field("origin", self.mount.origin.to_string())
            .field("generation", self.generation)
            .field("state", self.state.name());
        self.counts.describe(status)
    }
}

/// `/x  script api.luau  (site.luau:9, generation 3, running)  [under way: ...]`.
impl fmt::Display for HandlerUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mount, generation, state, counts, .. } = self;
        let (pattern, handler, origin, state) = (&mount.pattern, &mount.handler, &mount.origin, state.name());
        write!(f, "{pattern}  {handler}  ({origin}, generation {generation}, {state}){counts}")
    }
}

/// A handler as a mount was published with it.
#[derive(Debug, Clone)]
pub(crate) struct HandlerVersion {
    server: Arc<str>,
    generation: u64,
    mount: Weak<Mount>,
    under_way: Weak<UnderWay>,
}

impl HandlerVersion {
    /// The name of its server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Its mount's pattern; nothing once it is gone.
    pub(crate) fn pattern(&self) -> String {
        let mount = || self.mount.upgrade().map(|mount| mount.pattern.to_string());
        let text = || Some(self.under_way.upgrade()?.text()?.pattern.clone());
        mount().or_else(text).unwrap_or_default()
    }

    /// What counts what is under way on it; none once it is gone.
    pub(crate) fn under_way(&self) -> Option<Arc<UnderWay>> {
        self.under_way.upgrade()
    }

    /// What is under way on it.
    pub(crate) fn counts(&self) -> UseCounts {
        self.under_way.upgrade().map_or_else(UseCounts::default, |under_way| under_way.counts())
    }

    /// It in words, with what is under way on it; none once it is gone.
    pub(crate) fn in_use(&self, state: HandlerState) -> Option<HandlerUse> {
        let under_way = self.under_way.upgrade()?;
        let mount = self.mount.upgrade().map(|mount| mount.text());
        let mount = mount.or_else(|| under_way.text().cloned())?;
        let (server, generation) = (Arc::clone(&self.server), self.generation);
        Some(HandlerUse { server, mount, generation, state, counts: under_way.counts() })
    }
}

/// All of them. Of those that are gone there are never more than of those that were there when it was last looked.
#[derive(Debug, Default)]
pub(crate) struct HandlerVersions {
    all: Vec<HandlerVersion>,
    /// From so many on those that are gone are swept out.
    sweep_at: usize,
}

impl HandlerVersions {
    /// Enters what `new` has published that `old` does not have.
    pub(crate) fn note(&mut self, old: &Site, new: &Site) {
        for server in new.parts.all::<HttpServer>() {
            let before = old.parts.find::<HttpServer>(server.id()).map(|server| &server.definition.mounts);
            for (at, (pattern, mount)) in server.definition.mounts.iter().enumerate() {
                let is_there = |known: &Arc<Mount>| Arc::ptr_eq(known, mount);
                let known = before.is_some_and(|before| {
                    before.get_index(at).is_some_and(|(_, known)| is_there(known))
                        || before.get(pattern).is_some_and(is_there)
                });
                if !known && mount.under_way.publish(new.generation) {
                    self.all.push(HandlerVersion {
                        server: Arc::clone(&server.definition.name),
                        generation: new.generation,
                        mount: Arc::downgrade(mount),
                        under_way: Arc::downgrade(&mount.under_way),
                    });
                }
            }
        }
        if self.all.len() >= self.sweep_at {
            self.all.retain(|version| version.under_way.strong_count() > 0);
            self.sweep_at = 2 * self.all.len().max(64);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<HandlerVersion> {
        self.all.clone()
    }

    /// Those that generation `number` has published.
    pub(crate) fn of(&self, number: u64) -> Vec<HandlerVersion> {
        self.all.iter().filter(|version| version.generation == number).cloned().collect()
    }

    /// How much is under way on those of each generation, where anything is.
    pub(crate) fn by_generation(&self) -> HashMap<u64, UseCounts> {
        let mut by_generation: HashMap<u64, UseCounts> = HashMap::new();
        for version in &self.all {
            let counts = version.counts();
            if counts.any() {
                let sum = by_generation.entry(version.generation).or_default();
                *sum = sum.plus(counts);
            }
        }
        by_generation
    }

    /// Whether a mount is that of one of these parts.
    pub(crate) fn is_in(version: &HandlerVersion, parts: &Parts) -> bool {
        let Some(mount) = version.mount.upgrade() else { return false };
        let server = parts.find::<HttpServer>(&HttpServer::id_of(&version.server));
        let known = server.and_then(|server| server.definition.mounts.get(&mount.pattern));
        known.is_some_and(|known| Arc::ptr_eq(known, &mount))
    }
}
