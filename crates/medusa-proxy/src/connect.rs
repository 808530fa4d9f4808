//! Opens connections to upstreams: the name, TCP or a unix socket, TLS, all within one time.
//!
//! Called on workers, and on the thread of the [`Fetcher`], which looks names up for both.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use medusa_fetch::Fetcher;
use medusa_net::descriptors::DescriptorShare;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::error::Fault;
use crate::stream::UpstreamIo;
use crate::upstream::{Upstream, UpstreamHost, UpstreamPlace};

/// A peer that has gone without a word is noticed within a minute, or half of one while something is to be sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens a connection within `limit`.
pub(crate) async fn connect(
    upstream: &Upstream,
    names: Option<&Fetcher>,
    limit: Duration,
) -> Result<UpstreamIo, Fault> {
    let opened = timeout(limit, open(upstream, names, Instant::now() + limit)).await;
    opened.unwrap_or(Err(Fault::ConnectTimedOut(limit)))
}

async fn open(upstream: &Upstream, names: Option<&Fetcher>, deadline: Instant) -> Result<UpstreamIo, Fault> {
    let (host, port) = match &upstream.place {
        UpstreamPlace::Unix(path) => {
            let unix = UnixStream::connect(path).await.map_err(Fault::Connect)?;
            return if DescriptorShare::Files.is_passed_by(&unix) {
                Err(Fault::Descriptors)
            } else {
                Ok(UpstreamIo::Unix(unix))
            };
        }
        UpstreamPlace::Tcp { host, port, .. } => (host, *port),
    };
    let tcp = match (host, names) {
        (UpstreamHost::Address(address), _) => dial(&[*address], port, deadline).await?,
        (UpstreamHost::Name(name), Some(names)) => {
            let addresses = names.lookup(name).await.map_err(Fault::Lookup)?;
            dial(&addresses, port, deadline).await?
        }
        // A proxy has somebody who looks names up if one of its upstreams has a name.
        (UpstreamHost::Name(_), None) => return Err(Fault::Lookup(io::ErrorKind::Unsupported.into())),
    };
    if DescriptorShare::Files.is_passed_by(&tcp) {
        return Err(Fault::Descriptors);
    }
    let (Some(config), Some(name)) = (upstream.tls.get(), &upstream.server_name) else {
        return Ok(UpstreamIo::Tcp(tcp));
    };
    let tls = TlsConnector::from(config.clone()).connect(name.clone(), tcp);
    Ok(UpstreamIo::Tls(Box::new(tls.await.map_err(Fault::Connect)?)))
}

/// Connects to the first of the addresses that takes it. Each has its part of the time.
async fn dial(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, Fault> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (at, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let part = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let connecting = TcpStream::connect(SocketAddr::new(address, port));
        match timeout_at(Instant::now() + part, connecting).await {
            Ok(Ok(tcp)) => {
                set_up(&tcp).map_err(Fault::Connect)?;
                return Ok(tcp);
            }
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Fault::Connect(last))
}

fn set_up(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}
