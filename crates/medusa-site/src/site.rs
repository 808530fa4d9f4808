//! The Site: an immutable value.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use medusa_log::Sink;
use medusa_net::ListenerId;
use medusa_proto::author::{Author, Via};
use medusa_proto::status::Status;

use crate::listeners::SiteListener;
use crate::part::{Part, Parts, Running};
use crate::walk::{Used, sinks};

/// All a server is at one instant.
#[derive(Debug)]
pub struct Site {
    /// Counts publications, also those of earlier processes where they are known.
    pub generation: u64,
    /// The generation that was the load of the script which this one is of: its own number, if it was the load itself. 0: this is
    /// the empty Site before the first load.
    pub loaded: u64,
    /// Who published it.
    pub author: Author,
    /// The time when it was published.
    pub at: SystemTime,
    /// Its parts.
    pub parts: Parts,
    /// Its listeners.
    pub listeners: Vec<SiteListener>,
    /// What its parts use, each once.
    pub(crate) objects: Vec<Used>,
}

impl Site {
    /// The Site of a process that has not started yet.
    pub(crate) fn empty() -> Self {
        Self::empty_after(0)
    }

    /// The same, where earlier processes have published `generation` last.
    pub(crate) fn empty_after(generation: u64) -> Self {
        Self {
            generation,
            loaded: 0,
            author: Author::new(Via::Start, "nobody"),
            at: SystemTime::now(),
            parts: Parts::default(),
            listeners: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// Every sink in use, once: those that others stand before included.
    pub fn sinks(&self) -> impl Iterator<Item = &Arc<dyn Sink>> {
        sinks(&self.objects)
    }

    /// The Site as a document: what `medusa status` and `medusa check` print.
    pub fn status(&self) -> Status {
        let listeners = self.listeners.iter().map(|bound| bound.status(self.parts.get(&bound.part)));
        Status::new("site", format!("generation {}", self.generation))
            .field("published_by", self.author.to_string())
            .maybe("resolver", self.parts.resolver().map(|resolver| resolver.status().name))
            .children(listeners)
            .children(self.parts.iter().map(|part| part.status()))
            .children(medusa_log::describe(&self.parts.sinks()))
    }
}

impl Site {
    /// The part that a listener is for, and the place of its address among those that it listens on.
    pub(crate) fn part_on(&self, listener: ListenerId) -> Option<(Arc<dyn Part>, usize)> {
        let bound = self.listeners.iter().find(|bound| bound.listener.id() == listener)?;
        Some((Arc::clone(self.parts.get(&bound.part)?), bound.at))
    }
}

impl Running for ArcSwap<Site> {
    fn generation(&self) -> u64 {
        self.load().generation
    }

    fn part_on(&self, listener: ListenerId) -> Option<(Arc<dyn Part>, usize)> {
        self.load().part_on(listener)
    }
}
