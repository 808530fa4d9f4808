//! SSH servers of the monitor: a way to sessions with the running server.
//!
//! The Site binds and accepts. What comes is handed over to the thread that has the sessions: no worker has any of its work,
//! and neither moving the server elsewhere nor removing it ends a session.

use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use medusa_monitor::LoginCounters;
use medusa_monitor::ssh::{SshIntake, SshServer, SshSettings};
use medusa_net::{Accept, Conn, ListenAddr, Stream};
use medusa_proto::status::Status;

use crate::draft::{Draft, DraftError};
use crate::part::{Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal, downcast};

/// People have one, and another while it is replaced.
static KIND: PartKind = PartKind {
    name: "monitor.ssh",
    noun: "SSH server of the monitor",
    plural: "SSH servers of the monitor",
    most: 8,
};

/// An SSH server of the monitor.
#[derive(Debug)]
pub struct MonitorSsh {
    id: PartId,
    /// The address it listens on.
    pub listen: SocketAddr,
    settings: SshSettings,
    origin: Arc<str>,
    counters: Arc<LoginCounters>,
    /// Once it is prepared, and where its connections go.
    made: OnceLock<(Arc<SshServer>, Arc<SshIntake>)>,
}

/// The definition of an SSH server of the monitor.
#[derive(Debug)]
pub struct MonitorSshSpec {
    /// Its name.
    pub name: String,
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The rest.
    pub settings: SshSettings,
    /// The place in the script.
    pub origin: Arc<str>,
}

impl Draft {
    /// Adds an SSH server of the monitor. In an edit it takes the place of the running one of its name.
    ///
    /// # Errors
    ///
    /// There are too many, or there is one of this name already.
    pub fn monitor_ssh(&mut self, spec: MonitorSshSpec) -> Result<PartId, DraftError> {
        let MonitorSshSpec { name, listen, settings, origin } = spec;
        let id = PartId { kind: &KIND, name: name.into() };
        self.check_name(&id)?;
        let (counters, made) = (Arc::default(), OnceLock::new());
        self.put(MonitorSsh { id: id.clone(), listen, settings, origin, counters, made })?;
        Ok(id)
    }
}

impl Part for MonitorSsh {
    fn id(&self) -> &PartId {
        &self.id
    }

    fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    fn settle(self: Arc<Self>, running: &Arc<dyn Part>) -> Arc<dyn Part> {
        let Some(known) = downcast::<Self>(running) else { return self };
        if (known.listen, &known.settings, &known.origin) == (self.listen, &self.settings, &self.origin) {
            return Arc::clone(running);
        }
        let Self { id, listen, settings, origin, .. } = &*self;
        Arc::new(Self {
            id: id.clone(),
            listen: *listen,
            settings: settings.clone(),
            origin: Arc::clone(origin),
            counters: Arc::clone(&known.counters),
            made: OnceLock::new(),
        })
    }

    fn listens(&self) -> Vec<ListenAddr> {
        vec![ListenAddr::Tcp(self.listen)]
    }

    fn accept(&self, place: Place) -> Option<Arc<dyn Accept>> {
        Some(Arc::new(HandOver(place)))
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
                    let _known = self.made.set((Arc::new(server), Arc::clone(&environment.ssh)));
                    Ok(())
                }
            }
        })
    }

    fn publish(&self, _: &Parts, _: &Environment) {
        if let Some((server, _)) = self.made.get() {
            tracing::info!(listen = %self.listen, "ssh to the monitor; host key {}", server.fingerprint());
        }
    }

    fn status(&self) -> Status {
        let status = Status::new(KIND.name, self.id.name.to_string());
        let status = match self.made.get() {
            Some((server, _)) => server.describe(status),
            None => status,
        };
        status.field("origin", self.origin.to_string())
    }
}

/// Hands connections over to whichever server of the running Site listens there.
#[derive(Debug)]
struct HandOver(Place);

impl Accept for HandOver {
    fn accept(&self, stream: Stream, _: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some((part, _)) = self.0.part()
            && let Some(part) = downcast::<MonitorSsh>(&part)
            && let Some((server, intake)) = part.made.get()
            && let Stream::Tcp(stream) = stream
            && let Ok(peer) = stream.peer_addr()
            && let Ok(stream) = stream.into_std()
        {
            intake.offer(stream, peer, Arc::clone(server));
        }
        Box::pin(ready(()))
    }
}
