//! The resolver by which the Site itself looks names up, in place of the system's means.

use std::sync::Arc;

use medusa_dns::Resolver;
use medusa_proto::status::Status;

use crate::draft::{Draft, DraftError};
use crate::object::{Object, Use};
use crate::part::{Part, PartId, PartKind, Parts, unless_same};

static KIND: PartKind =
    PartKind { name: "dns.use", noun: "resolver of the site", plural: "resolvers", most: 1 };

/// The resolver that a Site uses.
#[derive(Debug, Clone)]
pub struct SiteResolver {
    id: PartId,
    /// The resolver.
    pub resolver: Arc<Resolver>,
    origin: Arc<str>,
}

fn id() -> PartId {
    PartId { kind: &KIND, name: "site".into() }
}

impl Draft {
    /// Has the Site look names up by `resolver`; without one, by the system.
    ///
    /// # Errors
    ///
    /// None is possible.
    pub fn use_resolver(
        &mut self,
        resolver: Option<Arc<Resolver>>,
        origin: Arc<str>,
    ) -> Result<(), DraftError> {
        if let Some(resolver) = resolver {
            self.put(SiteResolver { id: id(), resolver, origin })
        } else {
            self.parts.remove(&id());
            Ok(())
        }
    }
}

impl Parts {
    /// The resolver in use; none: the system's means.
    pub fn resolver(&self) -> Option<&Arc<Resolver>> {
        self.all::<SiteResolver>().next().map(|part| &part.resolver)
    }
}

impl Part for SiteResolver {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        unless_same(self, running, |a, b| Arc::ptr_eq(&a.resolver, &b.resolver) && a.origin == b.origin)
    }

    fn uses(&self) -> Vec<Use> {
        vec![Use { origin: Arc::clone(&self.origin), object: Object::Resolver(Arc::clone(&self.resolver)) }]
    }

    fn label(&self) -> String {
        "resolver".to_owned()
    }

    fn status(&self) -> Status {
        Status::new(KIND.name, self.resolver.status().name).field("origin", self.origin.to_string())
    }
}
