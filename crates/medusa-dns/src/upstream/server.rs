//! One server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_proto::rr::Name;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError as Said, NetError};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use medusa_proto::status::Status;

use super::guard::Connector;
use super::stream::Stream;
use super::{Failure, Reply, Stats, reply, stats};
use crate::name::Key;
use crate::{Protocol, Rcode};

/// Questions that may be under way in one connection: twice as many as the resolver has on the wire at all, since one
/// that nobody waits for any more still counts for a moment.
const PER_CONNECTION: usize = 2 * crate::resolver::MAX_ON_WIRE;

/// The time that hickory may wait longer for an answer than we do. The timeout that counts is that of
/// [`Server::ask`].
const LONGER: Duration = Duration::from_secs(1);

/// The transport to a server.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) protocol: Protocol,
    /// The name in its certificate.
    pub(crate) tls_name: Arc<str>,
    /// The trust in its certificate; not used without encryption.
    pub(crate) tls: rustls::ClientConfig,
    /// The path of the answers on an HTTPS server.
    pub(crate) path: Arc<str>,
}

impl Transport {
    /// Without encryption.
    pub(crate) fn plain(protocol: Protocol) -> Self {
        Self { protocol, tls_name: "".into(), tls: super::tls::nobody(), path: "/".into() }
    }
}

/// One server: its connections, and how it has served us.
pub(crate) struct Server {
    address: SocketAddr,
    protocol: Protocol,
    stats: Arc<Stats>,
    /// By UDP.
    datagrams: Option<NameServerPool<Connector>>,
    /// By any other protocol, and by TCP what does not fit in a datagram.
    stream: Stream,
    /// Whether it understands no extensions (RFC 6891 §7): it said so, and answered once they were left out.
    plain: AtomicBool,
}

impl Server {
    /// The server at `address`. Sends nothing.
    pub(crate) fn new(
        address: SocketAddr,
        transport: &Transport,
        timeout: Duration,
        stats: Arc<Stats>,
    ) -> Self {
        let name = || Arc::clone(&transport.tls_name);
        let mut stream = match transport.protocol {
            Protocol::Udp | Protocol::Tcp => ConnectionConfig::tcp(),
            Protocol::Tls => ConnectionConfig::tls(name()),
            Protocol::Https => ConnectionConfig::https(name(), Some(Arc::clone(&transport.path))),
        };
        stream.port = address.port();
        let mut options = ResolverOpts::default();
        options.timeout = timeout + LONGER;
        options.num_concurrent_reqs = 1;
        options.max_active_requests = PER_CONNECTION;
        let context = Arc::new(PoolContext::new(options, TlsConfig { config: transport.tls.clone() }));
        let connector = Connector::new(Arc::clone(&stats));
        let datagrams = (transport.protocol == Protocol::Udp).then(|| {
            let mut config = ConnectionConfig::udp();
            config.port = address.port();
            let config = NameServerConfig::new(address.ip(), true, vec![config]);
            NameServerPool::from_config([config], Arc::clone(&context), connector.clone())
        });
        let stream = Stream::new(address.ip(), stream, context, connector);
        Self {
            address,
            protocol: transport.protocol,
            stats,
            datagrams,
            stream,
            plain: AtomicBool::new(false),
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Asks it once. Repeats a datagram that may have been lost, and goes over to TCP for an answer that was cut.
    pub(super) async fn ask(&self, key: &Key, timeout: Duration) -> Result<Reply, Failure> {
        let plain = self.plain.load(Relaxed);
        match self.ask_once(key, timeout, !plain).await {
            Err(Failure::Code(Rcode::FORMERR | Rcode::NOTIMP)) if !plain => {
                let reply = self.ask_once(key, timeout, false).await?;
                self.plain.store(true, Relaxed);
                Ok(reply)
            }
            result => result,
        }
    }

    async fn ask_once(&self, key: &Key, timeout: Duration, extensions: bool) -> Result<Reply, Failure> {
        self.stats.asked();
        let (started, mark) = (Instant::now(), self.stream.mark());
        // hickory's own timeouts do not cover the handshake of TLS.
        let in_time = tokio::time::timeout(timeout, self.exchange(key, extensions)).await;
        let result = in_time.unwrap_or_else(|_elapsed| {
            self.stream.suspect(mark);
            Err(Failure::Timeout)
        });
        if matches!(result, Ok(_) | Err(Failure::Code(_) | Failure::Malformed(_))) {
            self.stats.answered(started.elapsed());
        }
        result.inspect_err(|failure| self.stats.failed(failure))
    }

    async fn exchange(&self, key: &Key, extensions: bool) -> Result<Reply, Failure> {
        let Ok(name) = key.wire() else { return Err(Failure::Malformed("the name cannot be sent")) };
        let query = Query::query(name.clone(), key.kind().wire());
        let mut options = DnsRequestOptions::default();
        options.use_edns = extensions;
        match self.send(DnsRequest::from_query(query, options)).await {
            Ok(message) if message.truncation => Err(Failure::Malformed("it is cut, by TCP too")),
            Ok(message) => Reply::of(&message, key, &name),
            Err(error) => self.on_error(error, key, &name),
        }
    }

    async fn send(&self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        if let Some(pool) = &self.datagrams {
            match pool.send(request.clone()).first_answer().await {
                Err(NetError::Truncated) => {}
                result => return result,
            }
        }
        self.stream.send(request).await
    }

    /// Tells apart errors of hickory: some are answers.
    fn on_error(&self, error: NetError, key: &Key, name: &Name) -> Result<Reply, Failure> {
        match error {
            NetError::Dns(Said::NoRecordsFound(nothing)) => {
                reply::check_question(std::slice::from_ref(&nothing.query), key, name)?;
                let is_nxdomain = nothing.response_code == ResponseCode::NXDomain;
                let ttl = nothing.soa.map(|soa| soa.ttl.min(soa.data.minimum));
                Ok(Reply::negative(key, is_nxdomain, ttl))
            }
            NetError::Dns(Said::ResponseCode(code)) => Err(Failure::Code(Rcode(code.into()))),
            NetError::Timeout => Err(Failure::Timeout),
            NetError::Io(error) if error.kind() == io::ErrorKind::TimedOut => Err(Failure::Timeout),
            NetError::Proto(_) | NetError::ForeignClassRecord { .. } => {
                Err(Failure::Malformed("it cannot be read"))
            }
            // hickory forgets why.
            NetError::NoConnections => {
                let cause = self.stats.last_error();
                Err(Failure::Unreachable(cause.unwrap_or_else(|| "no connection could be made".into())))
            }
            other => Err(Failure::Unreachable(stats::cause(&other))),
        }
    }

    pub(super) fn status(&self) -> Status {
        let status =
            Status::new("dns.upstream", self.address.to_string()).field("protocol", self.protocol.name());
        self.stats.describe(status)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
