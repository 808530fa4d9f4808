//! The listeners of a Site: bound for the parts that want them, kept while any does, and handed from one to the next.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use medusa_net::{Accept, Conn, ListenAddr, Listener, Stream};
use medusa_proto::status::Status;

use crate::part::{Part, PartId, Place};

/// A listener of a Site, and the part that answers on it.
#[derive(Debug, Clone)]
pub struct SiteListener {
    /// As the script wrote it; the real address (port 0 resolved) is the listener's.
    pub addr: ListenAddr,
    /// Kept from generation to generation while some part listens on `addr`.
    pub listener: Arc<Listener>,
    /// The part.
    pub part: PartId,
    /// The place of `addr` among those that the part listens on.
    pub at: usize,
    /// Where its connections go.
    pub(crate) door: Arc<Door>,
}

impl SiteListener {
    /// The listener as a document.
    pub(crate) fn status(&self, part: Option<&Arc<dyn Part>>) -> Status {
        let stats = self.listener.stats();
        Status::new("listener", self.addr.to_string())
            .field("address", self.listener.local_addr().to_string())
            .counter("accepted", stats.accepted)
            .gauge("open", stats.open())
            .children(part.map_or_else(Vec::new, |part| part.describe_listener(self.at)))
    }
}

/// The destination of a listener's connections: what parts of one kind serve them with, until one of another kind
/// listens there.
pub(crate) struct Door(ArcSwap<Served>);

/// A kind of parts, and what serves their connections.
struct Served {
    kind: &'static str,
    accept: Arc<dyn Accept>,
}

impl Door {
    /// A door to `part`; none if it does not listen.
    pub(crate) fn new(part: &dyn Part, place: Place) -> Option<Arc<Self>> {
        Some(Arc::new(Self(ArcSwap::from_pointee(Served::new(part, place)?))))
    }

    /// From now on connections go to parts of the kind of `part`.
    pub(crate) fn lead_to(&self, part: &dyn Part, place: Place) {
        if self.0.load().kind != part.id().kind.name
            && let Some(served) = Served::new(part, place)
        {
            self.0.store(Arc::new(served));
        }
    }
}

impl Served {
    fn new(part: &dyn Part, place: Place) -> Option<Self> {
        Some(Self { kind: part.id().kind.name, accept: part.accept(place)? })
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Door").field(&self.0.load().kind).finish()
    }
}

impl Accept for Door {
    fn accept(&self, stream: Stream, conn: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        self.0.load().accept.accept(stream, conn)
    }
}
