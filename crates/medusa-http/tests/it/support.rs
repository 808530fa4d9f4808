//! A server of one handler, on one worker.

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::{
    Directory, Handler, HttpAccept, Listen, Mount, PinnedServer, Server, ServerCounters, ServerDefinition,
};
use medusa_log::Sink;
use medusa_net::{ListenAddr, Listener, Workers};

/// The longest a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A running server, stopped when it is dropped.
pub(crate) struct Served {
    addr: SocketAddr,
    pub(crate) counters: Arc<ServerCounters>,
    pub(crate) runtime: tokio::runtime::Runtime,
    workers: Workers,
    _listener: Arc<Listener>,
}

impl Served {
    /// Has `handler` answer all requests, and `log` told of them.
    pub(crate) fn start(handler: impl Handler, log: Option<Arc<dyn Sink>>) -> Result<Self> {
        let mount = Mount {
            under_way: Arc::default(),
            pattern: "/".parse()?,
            handler: Arc::new(handler),
            origin: "test".into(),
            body: None,
            counters: Arc::default(),
        };
        let counters = Arc::<ServerCounters>::default();
        let definition = ServerDefinition {
            name: "test".into(),
            listen: Vec::new(),
            mounts: [(mount.pattern.clone(), Arc::new(mount))].into_iter().collect(),
            log,
            log_origin: "test".into(),
            limits: Arc::default(),
            trusted_proxies: Arc::default(),
            hsts: None,
            security_headers: Arc::new([]),
            counters: Arc::clone(&counters),
            origin: "test".into(),
        };
        let server = Server::build(definition).map_err(|conflict| conflict.to_string())?;
        let accept = Arc::new(HttpAccept::new(Arc::new(Only(Arc::new(server)))));
        let workers = Workers::start(NonZeroUsize::MIN)?;
        let listener = Listener::bind(&"127.0.0.1:0".parse()?, workers.len())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(listener.prepare(&workers, accept))?;
        listener.start();
        let &ListenAddr::Tcp(addr) = listener.local_addr() else { return Err("not TCP".into()) };
        Ok(Self { addr, counters, runtime, workers, _listener: listener })
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Waits for what comes, unless it takes too long.
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T> {
        Ok(self.runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await })?)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.workers.stop();
    }
}

#[derive(Debug)]
struct Only(Arc<Server>);

impl Directory for Only {
    fn current(&self) -> Option<PinnedServer> {
        Some(Rc::new(Arc::clone(&self.0)))
    }

    fn listen(&self) -> Option<Listen> {
        None
    }
}
