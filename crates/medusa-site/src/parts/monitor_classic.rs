//! Servers of the monitor for clients from 1997: a way to sessions with the running server, as [SSH](super::MonitorSsh) is.
//!
//! **Invariant:** as nothing is encrypted, such a server listens on this machine alone.

use std::future::ready;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use medusa_monitor::LoginCounters;
use medusa_monitor::classic::{ClassicIntake, ClassicServer, ClassicSettings};
use medusa_net::{Accept, Conn, ListenAddr, Stream};
use medusa_proto::status::Status;

use crate::draft::{Draft, DraftError};
use crate::part::{Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal, downcast};

/// People have one, and another while it is replaced.
static KIND: PartKind = PartKind {
    name: "monitor.classic",
    noun: "unencrypted server of the monitor",
    plural: "unencrypted servers of the monitor",
    most: 8,
};

/// A server of the monitor for old clients.
#[derive(Debug)]
pub struct MonitorClassic {
    id: PartId,
    /// The address it listens on.
    pub listen: ListenAddr,
    settings: ClassicSettings,
    origin: Arc<str>,
    counters: Arc<LoginCounters>,
    /// Once it is prepared, and where its connections go.
    made: OnceLock<(Arc<ClassicServer>, Arc<ClassicIntake>)>,
}

/// The definition of a server of the monitor for old clients.
#[derive(Debug)]
pub struct MonitorClassicSpec {
    /// Its name.
    pub name: String,
    /// The address it listens on.
    pub listen: ListenAddr,
    /// The rest.
    pub settings: ClassicSettings,
    /// The place in the script.
    pub origin: Arc<str>,
}

impl Draft {
    /// Adds a server of the monitor for old clients. In an edit it takes the place of the running one of its name.
    ///
    /// # Errors
    ///
    /// It would be heard beyond this machine, there are too many, or there is one of this name already.
    pub fn monitor_classic(&mut self, spec: MonitorClassicSpec) -> Result<PartId, DraftError> {
        let MonitorClassicSpec { name, listen, settings, origin } = spec;
        if let ListenAddr::Tcp(address) = listen
            && !address.ip().to_canonical().is_loopback()
        {
            return Err(DraftError::NotHere(address));
        }
        let id = PartId { kind: &KIND, name: name.into() };
        self.check_name(&id)?;
        let (counters, made) = (Arc::default(), OnceLock::new());
        self.put(MonitorClassic { id: id.clone(), listen, settings, origin, counters, made })?;
        Ok(id)
    }
}

impl Part for MonitorClassic {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        let Some(known) = downcast::<Self>(running) else { return self };
        if (&known.listen, &known.settings, &known.origin) == (&self.listen, &self.settings, &self.origin) {
            return Arc::clone(running);
        }
        let Self { id, listen, settings, origin, .. } = &*self;
        Arc::new(Self {
            id: id.clone(),
            listen: listen.clone(),
            settings: settings.clone(),
            origin: Arc::clone(origin),
            counters: Arc::clone(&known.counters),
            made: OnceLock::new(),
        })
    }

    fn listens(&self) -> Vec<ListenAddr> {
        vec![self.listen.clone()]
    }

    fn accept(&self, place: Place) -> Option<Arc<dyn Accept>> {
        Some(Arc::new(ClassicHandOver(place)))
    }

    fn prepare<'a>(&'a self, how: Prepare<'a>) -> Preparing<'a> {
        Box::pin(async move {
            let refused = |source| Refusal { origin: Arc::clone(&self.origin), source: Box::new(source) };
            match how {
                Prepare::Trial => self.settings.check().await.map_err(refused),
                Prepare::Publish(_) if self.made.get().is_some() => Ok(()),
                Prepare::Publish(environment) => {
                    let server = self.settings.open(Arc::clone(&self.counters)).await.map_err(refused)?;
                    // Nobody else has prepared it meanwhile: one change is published at a time.
                    let _known = self.made.set((Arc::new(server), Arc::clone(&environment.classic)));
                    Ok(())
                }
            }
        })
    }

    fn publish(&self, _: &Parts, _: &Environment) {
        self.made.get().inspect(|(server, _)| server.set_published(true));
        tracing::warn!(listen = %self.listen, "the monitor is for old clients only here: nothing is encrypted; use `medusa.monitor.ssh`");
    }

    fn retire(&self, _: &Parts, _: &Environment) {
        self.made.get().inspect(|(server, _)| server.set_published(false));
    }

    fn status(&self) -> Status {
        let status = Status::new(KIND.name, self.id.name.to_string())
            .field("warning", "for old clients only: nothing is encrypted")
            .field("listen", self.listen.to_string());
        let status = self.counters.describe(self.settings.describe(status));
        status.field("origin", self.origin.to_string())
    }
}

/// Hands connections over to whichever server of the running Site listens there.
#[derive(Debug)]
struct ClassicHandOver(Place);

impl Accept for ClassicHandOver {
    fn accept(&self, stream: Stream, _: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some((part, _)) = self.0.part()
            && let Some(part) = downcast::<MonitorClassic>(&part)
            && let Some((server, intake)) = part.made.get()
        {
            intake.offer(stream, Arc::clone(server));
        }
        Box::pin(ready(()))
    }
}
