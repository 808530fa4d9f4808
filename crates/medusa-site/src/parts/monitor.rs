//! Servers of the monitor: ways to sessions with the running server.
//!
//! The Site binds and accepts. What comes is handed over to the thread that has the sessions: no worker has any of its work,
//! and neither moving the server elsewhere nor removing it ends a session.
//!
//! **Invariant:** a server of 1997's protocol, which encrypts nothing, listens on this machine alone.

use std::fmt;
use std::future::ready;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use medusa_files::{OwnKind, OwnPath};
use medusa_monitor::classic::{ClassicIntake, ClassicServer, ClassicSettings};
use medusa_monitor::ssh::{SshIntake, SshServer, SshSettings};
use medusa_monitor::{LoginCounters, LoginFileError};
use medusa_net::{Accept, Conn, ListenAddr, Stream};
use medusa_proto::status::Status;
use tokio::task::spawn_blocking;

use crate::draft::{Draft, DraftError};
use crate::part::{Environment, Part, PartId, PartKind, Parts, Place, Prepare, Preparing, Refusal, downcast};

/// A protocol of the monitor, by the settings of its servers.
pub trait FrontEnd: fmt::Debug + Clone + PartialEq + Send + Sync + 'static {
    /// People have one, and another while it is replaced.
    const KIND: &'static PartKind;
    /// A server that connections may come to.
    type Server: fmt::Debug + Send + Sync + 'static;
    /// Where its connections go.
    type Intake: fmt::Debug + Send + Sync + 'static;

    /// Whether it may listen there. The default allows all addresses.
    ///
    /// # Errors
    ///
    /// It would be heard beyond this machine.
    fn allow(_listen: &ListenAddr) -> Result<(), DraftError> {
        Ok(())
    }

    /// Its files, which nobody is to be served.
    fn files(&self) -> Vec<(PathBuf, OwnKind)>;

    /// Whether its files can be read. Nothing is made.
    fn check(&self) -> impl Future<Output = Result<(), LoginFileError>>;

    /// The server, which counts in `counters`.
    fn open(
        &self,
        counters: Arc<LoginCounters>,
    ) -> impl Future<Output = Result<Self::Server, LoginFileError>>;

    /// Where its connections go.
    fn intake(environment: &Environment) -> &Arc<Self::Intake>;

    /// Hands over a connection.
    fn offer(intake: &Self::Intake, stream: Stream, server: &Arc<Self::Server>);

    /// Its server is one of the running Site, and listens there.
    fn published(server: &Self::Server, listen: &ListenAddr);

    /// Its server is in no running Site any more. The default has nothing to end.
    fn retired(_server: &Self::Server) {}

    /// The settings, the server and its counters, below `status`.
    fn describe(&self, server: Option<&Self::Server>, counters: &LoginCounters, status: Status) -> Status;
}

/// A server that is prepared, and where its connections go.
type Prepared<F> = (Arc<<F as FrontEnd>::Server>, Arc<<F as FrontEnd>::Intake>);

/// A server of the monitor.
#[derive(Debug)]
pub struct MonitorServer<F: FrontEnd> {
    id: PartId,
    /// The address it listens on.
    pub listen: ListenAddr,
    settings: F,
    origin: Arc<str>,
    counters: Arc<LoginCounters>,
    made: OnceLock<Prepared<F>>,
    /// Its files, from its first preparation on.
    own: OnceLock<Vec<OwnPath>>,
}

/// The definition of a server of the monitor.
#[derive(Debug)]
pub struct MonitorSpec<F> {
    /// Its name.
    pub name: String,
    /// The address it listens on.
    pub listen: ListenAddr,
    /// The rest.
    pub settings: F,
    /// The place in the script.
    pub origin: Arc<str>,
}

impl Draft {
    /// Adds a server of the monitor. In an edit it takes the place of the running one of its name.
    ///
    /// # Errors
    ///
    /// It may not listen there, there are too many, or there is one of this name already.
    pub fn monitor<F: FrontEnd>(&mut self, spec: MonitorSpec<F>) -> Result<PartId, DraftError> {
        let MonitorSpec { name, listen, settings, origin } = spec;
        F::allow(&listen)?;
        let id = PartId { kind: F::KIND, name: name.into() };
        self.check_name(&id)?;
        let (counters, made, own) = (Arc::default(), OnceLock::new(), OnceLock::new());
        self.put(MonitorServer { id: id.clone(), listen, settings, origin, counters, made, own })?;
        Ok(id)
    }
}

impl<F: FrontEnd> Part for MonitorServer<F> {
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
            own: OnceLock::new(),
        })
    }

    fn listens(&self) -> Vec<ListenAddr> {
        vec![self.listen.clone()]
    }

    fn accept(&self, place: Place) -> Option<Arc<dyn Accept>> {
        Some(Arc::new(HandOver::<F>(place, PhantomData)))
    }

    fn prepare<'a>(&'a self, how: Prepare<'a>) -> Preparing<'a> {
        Box::pin(async move {
            let refused = |source| Refusal { origin: Arc::clone(&self.origin), source: Box::new(source) };
            if self.own.get().is_none() {
                let files = self.settings.files();
                let own = move || files.iter().map(|(path, kind)| OwnPath::new(path, *kind)).collect();
                // One change is prepared at a time; and it does not panic.
                let _known = self.own.set(spawn_blocking(own).await.unwrap_or_default());
            }
            match how {
                Prepare::Trial => self.settings.check().await.map_err(refused),
                Prepare::Publish(_) if self.made.get().is_some() => Ok(()),
                Prepare::Publish(environment) => {
                    let server = self.settings.open(Arc::clone(&self.counters)).await.map_err(refused)?;
                    // Nobody else has prepared it meanwhile: one change is published at a time.
                    let _known = self.made.set((Arc::new(server), Arc::clone(F::intake(environment))));
                    Ok(())
                }
            }
        })
    }

    fn publish(&self, _: &Parts, _: &Environment) {
        self.made.get().inspect(|(server, _)| F::published(server, &self.listen));
    }

    fn retire(&self, _: &Parts, _: &Environment) {
        self.made.get().inspect(|(server, _)| F::retired(server));
    }

    fn status(&self) -> Status {
        let status =
            Status::new(F::KIND.name, self.id.name.to_string()).field("listen", self.listen.to_string());
        let server = self.made.get().map(|(server, _)| &**server);
        self.settings.describe(server, &self.counters, status).field("origin", self.origin.to_string())
    }
}

/// Hands connections over to whichever server of the running Site listens there.
struct HandOver<F>(Place, PhantomData<fn() -> F>);

impl<F> fmt::Debug for HandOver<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandOver").field(&self.0).finish()
    }
}

impl<F: FrontEnd> Accept for HandOver<F> {
    fn accept(&self, stream: Stream, _: Rc<Conn>) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some((part, _)) = self.0.part()
            && let Some(part) = downcast::<MonitorServer<F>>(&part)
            && let Some((server, intake)) = part.made.get()
        {
            F::offer(intake, stream, server);
        }
        Box::pin(ready(()))
    }
}

impl FrontEnd for SshSettings {
    const KIND: &'static PartKind = &PartKind {
        name: "monitor.ssh",
        noun: "SSH server of the monitor",
        plural: "SSH servers of the monitor",
        most: 8,
    };
    type Server = SshServer;
    type Intake = SshIntake;

    fn files(&self) -> Vec<(PathBuf, OwnKind)> {
        let key = self.host_key.iter().map(|path| (path.clone(), OwnKind::Key));
        let users = self.keys.iter().chain(&self.passwords).map(|path| (path.clone(), OwnKind::Users));
        key.chain(users).collect()
    }

    fn check(&self) -> impl Future<Output = Result<(), LoginFileError>> {
        self.check()
    }

    fn open(&self, counters: Arc<LoginCounters>) -> impl Future<Output = Result<SshServer, LoginFileError>> {
        self.open(counters)
    }

    fn intake(environment: &Environment) -> &Arc<SshIntake> {
        &environment.ssh
    }

    fn offer(intake: &SshIntake, stream: Stream, server: &Arc<SshServer>) {
        if let Stream::Tcp(stream) = stream
            && let Ok(peer) = stream.peer_addr()
            && let Ok(stream) = stream.into_std()
        {
            intake.offer(stream, peer, Arc::clone(server));
        }
    }

    fn published(server: &SshServer, listen: &ListenAddr) {
        tracing::info!(%listen, "ssh to the monitor; host key {}", server.fingerprint());
    }

    fn describe(&self, server: Option<&SshServer>, counters: &LoginCounters, status: Status) -> Status {
        let status = status.maybe("fingerprint", server.map(|server| server.fingerprint().to_owned()));
        counters.describe(self.describe(status))
    }
}

impl FrontEnd for ClassicSettings {
    const KIND: &'static PartKind = &PartKind {
        name: "monitor.classic",
        noun: "unencrypted server of the monitor",
        plural: "unencrypted servers of the monitor",
        most: 8,
    };
    type Server = ClassicServer;
    type Intake = ClassicIntake;

    fn files(&self) -> Vec<(PathBuf, OwnKind)> {
        vec![(self.password.clone(), OwnKind::Users)]
    }

    fn allow(listen: &ListenAddr) -> Result<(), DraftError> {
        match listen {
            ListenAddr::Tcp(address) if !address.ip().to_canonical().is_loopback() => {
                Err(DraftError::NotHere(*address))
            }
            ListenAddr::Tcp(_) | ListenAddr::Unix(_) => Ok(()),
        }
    }

    fn check(&self) -> impl Future<Output = Result<(), LoginFileError>> {
        self.check()
    }

    fn open(
        &self,
        counters: Arc<LoginCounters>,
    ) -> impl Future<Output = Result<ClassicServer, LoginFileError>> {
        self.open(counters)
    }

    fn intake(environment: &Environment) -> &Arc<ClassicIntake> {
        &environment.classic
    }

    fn offer(intake: &ClassicIntake, stream: Stream, server: &Arc<ClassicServer>) {
        intake.offer(stream, Arc::clone(server));
    }

    fn published(server: &ClassicServer, listen: &ListenAddr) {
        server.set_published(true);
        tracing::warn!(%listen, "the monitor is for old clients only here: nothing is encrypted; use `medusa.monitor.ssh`");
    }

    fn retired(server: &ClassicServer) {
        server.set_published(false);
    }

    fn describe(&self, _: Option<&ClassicServer>, counters: &LoginCounters, status: Status) -> Status {
        let status = status.field("warning", "for old clients only: nothing is encrypted");
        counters.describe(self.describe(status))
    }
}
