//! A draft: the Site to be, while it is edited.
//!
//! Editing checks only what can be told from the draft itself (is there such a mount?); whatever needs the outside
//! world, or all of the draft, is checked when it is prepared. What each kind of part can have done to it is told with the
//! kind, below [`parts`](crate::parts).

use std::net::SocketAddr;
use std::sync::Arc;

use crate::part::{Part, PartId, Parts};
use crate::site::Site;

/// The reason why an edit is refused.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The part was removed, or belongs to a script that has been replaced.
    #[error("this {} is no longer part of the site (was it removed, or the script reloaded?)", .0.kind.noun)]
    Gone(PartId),
    /// The mount was removed, or belongs to a script that has been replaced.
    #[error("this mount is no longer part of the site (was it removed, or the script reloaded?)")]
    NoMount,
    /// A server has two mounts of one pattern.
    #[error(
        "the mount \"{pattern}\" clashes with the one at {origin}, which is the same: give that another handler \
         (`mount:replace`), or remove it first"
    )]
    SameMount {
        /// The pattern.
        pattern: String,
        /// Where the script mounts the first.
        origin: Arc<str>,
    },
    /// Two parts of a kind would have one name.
    #[error("there is already an {} named \"{}\" ({origin}); give this one another `name`", part.kind.noun, part.name)]
    SameName {
        /// The first.
        part: PartId,
        /// Where the script has it.
        origin: Arc<str>,
    },
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
    /// An unencrypted server of the monitor that others than this machine would reach.
    #[error(
        "`listen` must be an address of this machine alone, like \"127.0.0.1:9998\" or \"unix:classic.sock\", not {0}: nothing \
         of this protocol is encrypted; from elsewhere come by `medusa.monitor.ssh`, or by a tunnel (`ssh -L`)"
    )]
    NotHere(SocketAddr),
}

/// The Site to be.
#[derive(Debug, Clone)]
pub struct Draft {
    base: Arc<Site>,
    /// Its parts as they stand now.
    pub(crate) parts: Parts,
    /// Those that were there when what edits it now began: what it makes itself takes the place of none of its own.
    earlier: Parts,
}

/// Whether there is room for `more` beside those there are.
pub(crate) fn room(there: usize, more: usize, most: usize, what: &'static str) -> Result<(), DraftError> {
    if there + more > most { Err(DraftError::TooMany { what, most }) } else { Ok(()) }
}

impl Draft {
    /// A draft that starts as a copy of `base`: for a change by hand.
    pub fn edit_of(base: Arc<Site>) -> Self {
        Self { parts: base.parts.clone(), earlier: base.parts.clone(), base }
    }

    /// A draft that starts empty: for a run of the whole script. What comes out equal to a part of `base` becomes
    /// that part.
    pub fn fresh(base: Arc<Site>) -> Self {
        Self { parts: Parts::default(), earlier: Parts::default(), base }
    }

    /// A draft that starts with the parts of another generation: to go back to it.
    pub(crate) fn back_to(parts: Parts, base: Arc<Site>) -> Self {
        Self { base, earlier: parts.clone(), parts }
    }

    /// A statement begins, of several that edit it one after the other: it may replace what those before it have made.
    pub fn begin_statement(&mut self) {
        self.earlier.clone_from(&self.parts);
    }

    /// Whether an edit may make a part of this id: there is none, or one that it may put another in the place of.
    pub(crate) fn check_name(&self, id: &PartId) -> Result<(), DraftError> {
        match self.parts.get(id) {
            Some(known) if !self.earlier.has(known) => {
                Err(DraftError::SameName { origin: Arc::clone(known.origin()), part: id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The parts as they stand now.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The Site that was running when this was begun.
    pub fn base(&self) -> &Arc<Site> {
        &self.base
    }

    /// Adds a part, in place of the one of its id.
    ///
    /// # Errors
    ///
    /// There are too many of its kind.
    pub fn put(&mut self, part: impl Part) -> Result<(), DraftError> {
        let kind = part.id().kind;
        if self.parts.get(part.id()).is_none() {
            let there = self.parts.iter().filter(|part| part.id().kind == kind).count();
            room(there, 1, kind.most, kind.plural)?;
        }
        self.parts.put(Arc::new(part));
        Ok(())
    }

    /// The part of this id, to be changed.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn edit<P: Part + Clone>(&mut self, id: &PartId) -> Result<&mut P, DraftError> {
        self.parts.edit(id).ok_or_else(|| DraftError::Gone(id.clone()))
    }

    /// Removes a part: a server's listeners close, its connections end with the request they are at; a log of events gets
    /// no more; a timer does not run again.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn remove(&mut self, id: &PartId) -> Result<(), DraftError> {
        self.parts.remove(id).map(drop).ok_or_else(|| DraftError::Gone(id.clone()))
    }

    /// Whether nothing about it differs from another.
    pub fn is_same(&self, other: &Self) -> bool {
        self.parts.is_same(&other.parts) && Arc::ptr_eq(&self.base, &other.base)
    }

    /// The parts as they are to be published: each takes over what it may from the running one of its id, or is found to be
    /// that.
    pub(crate) fn settle(self) -> Parts {
        let Self { base, parts, .. } = self;
        parts.map(|part| match base.parts.get(part.id()) {
            Some(running) if !Arc::ptr_eq(running, &part) => part.settle(running),
            _ => part,
        })
    }
}
