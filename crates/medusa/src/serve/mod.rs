//! A server from its start to its end.
//!
//! The order of the start, in which what fails for a lasting reason fails before anything shows:
//!
//! 1. the limit of open files is raised, the workers start;
//! 2. the state directory is taken and the control socket bound: a second server for the same script ends here; the
//!    script's thread starts;
//! 3. the script runs, or what an unconfirmed trial goes back to, and its site goes live: listeners are bound here and not before;
//! 4. ready is announced, on standard error and to the service manager.
//!
//! Then the thread that called [`serve`] is the services thread: it answers signals and control sessions, and never a
//! request. `shutdown` has the order of the end.
//!
//! **Invariant:** whatever ends the server, a signal, `medusa stop` or a start that fails, no socket file of it is left
//! behind.

mod announce;
mod control;
mod manager;
mod shutdown;
mod signals;

use std::future::pending;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::available_parallelism;

use medusa_monitor::audit::{AuditLog, LogLimits, tell_anchor};
use medusa_monitor::{ControlSocket, Monitor, StateDir, StateError};
use medusa_net::{Drained, ListenAddr, Workers, limits};
use medusa_proto::author::{Author, Via};
use medusa_proto::with_causes;
use medusa_script::{Engine, Program, RustHandlers};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::logging;
use crate::target::Target;
use control::Controls;
use signals::{Signal, Signals};

/// The script to serve, and options.
#[derive(Debug, Clone)]
pub struct Options {
    /// The site to serve.
    pub target: Target,
    /// The addresses to listen on instead of where the script says. Default: empty, which is where the script says.
    pub listen: Vec<ListenAddr>,
    /// The number of workers. Default: one per core that this process may use, as a request never leaves its worker.
    pub workers: Option<NonZeroUsize>,
    /// The state directory, which must be usable. Default: [`Target::default_state`], and if that cannot be written, a
    /// warning, and a server without a control socket.
    pub state: Option<PathBuf>,
    /// The name this program is called by, if the announcement is to say what to type next. Default: it does not.
    pub command: Option<String>,
    /// Handlers written in Rust, for the script's `medusa.handler.rust`. Default: none.
    pub handlers: RustHandlers,
}

impl Options {
    /// The defaults, for `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            listen: Vec::new(),
            workers: None,
            state: None,
            command: None,
            handlers: RustHandlers::default(),
        }
    }
}

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system refused what every server needs.
    #[error("cannot start {what}")]
    System {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The script, or what it asks for: the whole message, with its source line.
    #[error("{0}")]
    Script(String),
}

impl ServeError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Serves until a signal or a control session ends it, and returns how the connections ended that were open then.
///
/// Blocks, and answers the process's SIGTERM, SIGINT (stop), SIGHUP (reload) and SIGUSR1 (open logs anew) meanwhile, so
/// one process can do this once at a time. Announces on standard error that it is ready, and where. Its log goes to the
/// process's `tracing` subscriber.
///
/// # Errors
///
/// See [`ServeError`]. Nothing was served.
pub fn serve(options: Options) -> Result<Drained, ServeError> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(ServeError::system("the services thread"))?;
    // Sessions end with the runtime, which is after `run` has given up all else: whoever asked us to stop sees us gone.
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<Drained, ServeError> {
    raise_open_files();
    let mut signals = Signals::catch().map_err(ServeError::system("catching signals"))?;
    let count = options.workers.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let workers = Workers::start(count).map_err(ServeError::system("the workers"))?;
    let (state, socket) = take_state(&options)?.unzip();
    let audit = state.as_ref().map_or_else(|| Ok(AuditLog::nowhere()), start_audit)?;
    let kept = state.as_ref().map(|state| state.path().to_owned());
    let handlers = options.handlers.clone();
    let program = Program { handlers, ..options.target.program(options.listen.clone(), kept) };
    let engine =
        Engine::start(program, workers.clone()).map_err(ServeError::system("the script's thread"))?;

    logging::hand_to(engine.live().events());

    let controls = Rc::new(Controls::new(engine, workers, options.target.clone(), audit));
    let attended = start_and_attend(&controls, &options, socket, &mut signals).await;
    let stopped = match attended {
        Ok(()) => Ok(shutdown::shutdown(&controls, &mut signals).await),
        Err(error) => Err(error),
    };
    controls.audit.close().await;
    stopped
}

/// Loads the script and serves its site until somebody says stop, who is heard from the beginning: a script may take
/// its time to load.
async fn start_and_attend(
    controls: &Rc<Controls>,
    options: &Options,
    socket: Option<ControlSocket>,
    signals: &mut Signals,
) -> Result<(), ServeError> {
    let mut attending = pin!(attend(controls, socket, signals));
    let loaded = tokio::select! {
        loaded = controls.first_load() => loaded.map_err(|failure| ServeError::Script(failure.message))?,
        () = &mut attending => return Ok(()),
    };
    announce::ready(options, &loaded, controls.workers.len());
    manager::ready();
    attending.await;
    Ok(())
}

fn raise_open_files() {
    match limits::raise_nofile() {
        Ok(limit) => tracing::debug!(before = limit.before, now = limit.now, "limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// The state directory and the socket in it; `None` where the default place cannot be written to.
fn take_state(options: &Options) -> Result<Option<(StateDir, ControlSocket)>, StateError> {
    let path = options.state.clone().unwrap_or_else(|| options.target.default_state());
    let taken = StateDir::take(&path).and_then(|state| state.bind().map(|socket| (state, socket)));
    match taken {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if options.state.is_none() && error.is_unwritable() => {
            let error = with_causes(&error);
            tracing::warn!("no control socket, so `eval` and the like cannot reach this server: {error}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The log of what sessions do, which is kept where the state is.
fn start_audit(state: &StateDir) -> Result<AuditLog, ServeError> {
    let program = concat!("medusa ", env!("CARGO_PKG_VERSION"));
    let program = format!("{program}, pid {}", std::process::id());
    AuditLog::start(state.path(), LogLimits::default(), &program, Box::new(tell_anchor))
        .map_err(ServeError::system("the audit log's thread"))
}

/// Answers signals and control sessions until one of them says stop. The socket is closed then.
async fn attend(controls: &Rc<Controls>, socket: Option<ControlSocket>, signals: &mut Signals) {
    spawn_local(Rc::clone(controls).reload_on_request());
    let mut sessions = pin!(sessions(Rc::clone(controls), socket));
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => return controls.begin_to_stop(&Author::new(Via::Signal, "a signal")),
                Signal::Reload => controls.request_reload(),
                Signal::Reopen => drop(controls.reopen_logs()),
            },
            () = controls.stopping() => return,
            () = &mut sessions => {}
        }
    }
}

/// Never returns: a server without a control socket is still a server.
async fn sessions(controls: Rc<Controls>, socket: Option<ControlSocket>) {
    let live = Arc::clone(controls.engine.live());
    let monitor = Monitor::new(Rc::clone(&controls), Arc::clone(live.sessions()), controls.audit.clone());
    let (ssh, classic) = (monitor.clone(), monitor.clone());
    let intake = Arc::clone(live.classic());
    spawn_local(async move { classic.serve_classic(&intake).await });
    spawn_local(async move { ssh.serve_ssh(live.ssh()).await });
    if let Some(socket) = socket
        && let Err(error) = socket.serve(monitor).await
    {
        tracing::error!(%error, "the control socket cannot be listened on: `eval` and the like cannot reach this server");
    }
    pending::<()>().await;
}
