//! The objects that parts hold: handlers, sinks, resolvers.
//!
//! Several parts may hold one object, and an object may stand before others (a handler that wraps, a log of logs). The
//! Site walks them: each is prepared, retired, reopened and described once, and none has to pass anything on.

use std::error::Error as StdError;
use std::sync::Arc;

use medusa_dns::Resolver;
use medusa_http::Handler;
use medusa_log::{Sink, SinkError};
use tokio::task::spawn_blocking;

/// An error of any type.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An object, as some part holds it.
#[derive(Debug, Clone)]
pub struct Use {
    /// The place where the script gives it to the part.
    pub origin: Arc<str>,
    /// The object.
    pub object: Object,
}

/// Something that parts hold and share.
#[derive(Debug, Clone)]
pub enum Object {
    /// Answers requests.
    Handler(Arc<dyn Handler>),
    /// Takes log records.
    Sink(Arc<dyn Sink>),
    /// Looks names up.
    Resolver(Arc<Resolver>),
}

impl Object {
    /// The address that tells it from others.
    pub(crate) fn address(&self) -> *const () {
        match self {
            Self::Handler(handler) => Arc::as_ptr(handler).cast(),
            Self::Sink(sink) => Arc::as_ptr(sink).cast(),
            Self::Resolver(resolver) => Arc::as_ptr(resolver).cast(),
        }
    }

    /// The objects that it stands before, or writes to.
    pub(crate) fn inner(&self) -> Vec<Self> {
        match self {
            Self::Handler(handler) => {
                let inner = handler.inner().iter().cloned().map(Self::Handler);
                inner.chain(handler.logs().iter().cloned().map(Self::Sink)).collect()
            }
            Self::Sink(sink) => sink.inner().iter().cloned().map(Self::Sink).collect(),
            Self::Resolver(_) => Vec::new(),
        }
    }

    /// The sink, if it is one.
    pub(crate) fn sink(&self) -> Option<&Arc<dyn Sink>> {
        match self {
            Self::Sink(sink) => Some(sink),
            Self::Handler(_) | Self::Resolver(_) => None,
        }
    }

    /// Does everything that can fail; not for what it stands before. What blocks does so on a thread of its own: a name may
    /// have to be resolved, and what was spilled to be looked through. Meanwhile this thread, which is the script's, goes on.
    ///
    /// A trial leaves no trace.
    pub(crate) async fn prepare(&self, is_trial: bool) -> Result<(), BoxError> {
        match self {
            Self::Handler(handler) => {
                handler.sessions().inspect(|sessions| sessions.resume());
                Ok(handler.prepare().await?)
            }
            Self::Sink(sink) => {
                let sink = Arc::clone(sink);
                let prepared = spawn_blocking(move || if is_trial { sink.check() } else { sink.prepare() });
                Ok(prepared.await.unwrap_or_else(|panic| {
                    Err(SinkError::new("that is being opened", "have a thread of its own").because(panic))
                })?)
            }
            Self::Resolver(resolver) => Ok(if is_trial { resolver.check() } else { resolver.prepare() }?),
        }
    }

    /// Ends what would go on although no Site has it any more. The others end when nobody holds them.
    pub(crate) fn retire(&self) {
        if let Self::Handler(handler) = self {
            handler.sessions().inspect(|sessions| sessions.end());
            handler.retire();
        }
    }
}
