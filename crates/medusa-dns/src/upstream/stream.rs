//! The connection to a server, for protocols that need one: TCP, TLS, HTTPS.
//!
//! hickory's own pool is not used here. It makes a connection for each question that finds none, so that a burst opens as
//! many as there may be questions on the wire (unbound serves ten); and it keeps one that has died without a word, such
//! as one that a firewall has forgotten, for as long as the kernel repeats what was sent: a quarter of an hour.
//!
//! **Invariant: there is one connection, or one being made.** It goes when it fails, and when questions run out of time
//! while nothing at all is heard.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hickory_proto::op::{DnsRequest, DnsResponse};
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle as _, FirstAnswer as _};
use hickory_resolver::{ConnectionProvider as _, PoolContext};
use tokio::sync::{Mutex, Semaphore};

use super::guard::{Connector, GuardedRuntime};

/// The number of questions that may be handed to the connection's task before it has run again. It has room for 33
/// that are not written yet, and refuses what is more; and it writes nothing while it has had its share of the
/// thread, as when many answers have come at once.
const BURST: usize = 32;

/// The connection to a server.
pub(super) struct Stream {
    ip: IpAddr,
    config: ConnectionConfig,
    context: Arc<PoolContext>,
    connector: Connector,
    /// Held while one is made: others wait for that one.
    current: Mutex<Option<Connection>>,
    /// Permits to hand a question on.
    turns: Semaphore,
    made: AtomicU64,
    heard: AtomicU64,
}

#[derive(Clone)]
struct Connection {
    /// The how many-th it is.
    number: u64,
    exchange: DnsExchange<GuardedRuntime>,
}

/// Counts of what had happened at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Activity {
    /// Connections made.
    made: u64,
    /// Answers heard.
    heard: u64,
}

impl Stream {
    /// To the server at `ip`. Sends nothing.
    pub(super) fn new(
        ip: IpAddr,
        config: ConnectionConfig,
        context: Arc<PoolContext>,
        connector: Connector,
    ) -> Self {
        let [made, heard] = [const { AtomicU64::new(0) }; 2];
        let (current, turns) = (Mutex::default(), Semaphore::new(BURST));
        Self { ip, config, context, connector, current, turns, made, heard }
    }

    /// Asks. On a connection that was closed meanwhile, as servers do with those not in use, asks by a new one.
    pub(super) async fn send(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let (connection, is_new) = self.connection().await?;
        match self.send_by(&connection, request.clone()).await {
            Err(error) if !is_new && is_gone(&error) => {
                let (connection, _) = self.connection().await?;
                self.send_by(&connection, request).await
            }
            result => result,
        }
    }

    async fn send_by(&self, connection: &Connection, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let turn = self.turns.acquire().await;
        let answer = connection.exchange.send(request).first_answer();
        // The connection's task, which this woke, is before us in the thread's queue.
        tokio::task::yield_now().await;
        drop(turn);
        let result = answer.await;
        match &result {
            Ok(_) => drop(self.heard.fetch_add(1, Relaxed)),
            Err(_) => self.forget(connection.number).await,
        }
        result
    }

    /// The connection, and whether it was made just now.
    async fn connection(&self) -> Result<(Connection, bool), NetError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok((connection.clone(), false));
        }
        let exchange = self.connector.new_connection(self.ip, &self.config, &self.context)?.await?;
        let connection = Connection { number: self.made.fetch_add(1, Relaxed) + 1, exchange };
        *current = Some(connection.clone());
        Ok((connection, true))
    }

    async fn forget(&self, number: u64) {
        drop(self.current.lock().await.take_if(|connection| connection.number == number));
    }

    /// A mark of what has happened so far: to be given to [`suspect`](Self::suspect).
    pub(super) fn mark(&self) -> Activity {
        Activity { made: self.made.load(Relaxed), heard: self.heard.load(Relaxed) }
    }

    /// A question that was asked at `since` has run out of time. If nothing was heard in that time, the connection is
    /// taken for dead; if other answers came, it is the question that has none.
    pub(super) fn suspect(&self, since: Activity) {
        if self.mark() == since
            && let Ok(mut current) = self.current.try_lock()
        // else one is being made
        {
            *current = None;
        }
    }
}

/// Whether a connection is not there any more. hickory calls it busy when it has seen its end before we sent.
fn is_gone(error: &NetError) -> bool {
    error.is_connection_closed() || matches!(error, NetError::Busy)
}
