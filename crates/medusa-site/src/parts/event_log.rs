//! Event logs: the sinks that the server's own events go to, beside standard error.

use std::sync::Arc;

use medusa_log::events::Route;
use medusa_proto::status::Status;

use super::number;
use crate::draft::{Draft, DraftError};
use crate::object::{Object, Use};
use crate::part::{Environment, Part, PartId, PartKind, Parts, Prepare, Preparing, Refusal, unless_same};

/// Each is given every event.
static KIND: PartKind =
    PartKind { name: "log.events", noun: "log of events", plural: "logs of its events", most: 32 };

/// A sink that the server's own events go to.
#[derive(Debug, Clone)]
pub struct EventLog {
    id: PartId,
    /// Where they go, and how much those matter that do.
    pub route: Route,
    origin: Arc<str>,
}

impl Draft {
    /// Has the server's own events go to a sink, too. For one they go to already, this changes the level.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn log_events(&mut self, route: Route, origin: Arc<str>) -> Result<PartId, DraftError> {
        let same = |known: &&EventLog| Arc::ptr_eq(&known.route.sink, &route.sink);
        let known = self.parts.all::<EventLog>().chain(self.base().parts.all()).find(same);
        let id = known.map_or_else(|| PartId { kind: &KIND, name: number() }, |known| known.id.clone());
        self.put(EventLog { id: id.clone(), route, origin })?;
        Ok(id)
    }
}

impl Part for EventLog {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        unless_same(self, running, |a, b| {
            Arc::ptr_eq(&a.route.sink, &b.route.sink)
                && (a.route.level, &a.origin) == (b.route.level, &b.origin)
        })
    }

    fn uses(&self) -> Vec<Use> {
        vec![Use { origin: Arc::clone(&self.origin), object: Object::Sink(Arc::clone(&self.route.sink)) }]
    }

    fn prepare<'a>(&'a self, how: Prepare<'a>) -> Preparing<'a> {
        let prepared = match how {
            Prepare::Trial => Ok(()),
            Prepare::Publish(environment) => environment.events.start(),
        };
        let refused = |source| Refusal { origin: Arc::clone(&self.origin), source: Box::new(source) };
        Box::pin(std::future::ready(prepared.map_err(refused)))
    }

    fn label(&self) -> String {
        let sink = self.route.sink.status();
        format!("events to {} {}", sink.kind, sink.name).trim_end().to_owned()
    }

    fn publish(&self, parts: &Parts, environment: &Environment) {
        route(parts, environment);
    }

    fn retire(&self, parts: &Parts, environment: &Environment) {
        route(parts, environment);
    }

    fn status(&self) -> Status {
        let sink = self.route.sink.status();
        Status::new(KIND.name, format!("{} {}", sink.kind, sink.name).trim_end())
            .field("level", self.route.level.name())
            .field("origin", self.origin.to_string())
    }
}

/// Has events go where `parts` say.
fn route(parts: &Parts, environment: &Environment) {
    environment.events.route(parts.all::<EventLog>().map(|log| log.route.clone()).collect());
}
