//! Opens connections to upstreams: the name, TCP or a unix socket, TLS, all within one time.
//!
//! Called on workers, and on the thread of the [`Fetcher`], which looks names up for both.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use medusa_fetch::Fetcher;
use medusa_net::descriptors::DescriptorShare;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::error::Fault;
use crate::options::HttpVersion;
use crate::stream::UpstreamIo;
use crate::upstream::{HTTP_2, Upstream, UpstreamHost, UpstreamPlace};

/// A peer that has gone without a word is noticed within a minute, or half of one while something is to be sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Opens a connection within `limit`: for the version of HTTP that the upstream is asked by, or for HTTP/1.1 whatever that is.
pub(crate) async fn connect(
    upstream: &Upstream,
    names: Option<&Fetcher>,
    limit: Duration,
    only_http1: bool,
) -> Result<UpstreamIo, Fault> {
    let opened = timeout(limit, open(upstream, names, Instant::now() + limit, only_http1)).await;
    opened.unwrap_or(Err(Fault::ConnectTimedOut(limit)))
}

/// Whether HTTP/2 is to be spoken on a connection that was opened for whatever the upstream is asked by.
///
/// # Errors
///
/// It must be, and the upstream does not.
pub(crate) fn speaks_http2(upstream: &Upstream, io: &UpstreamIo) -> Result<bool, Fault> {
    let agreed = match io {
        UpstreamIo::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(HTTP_2),
        UpstreamIo::Tcp(_) | UpstreamIo::Unix(_) => upstream.version == HttpVersion::Http2,
    };
    if !agreed && upstream.version == HttpVersion::Http2 {
        return Err(Fault::NoHttp2("it did not agree on \"h2\" by ALPN"));
    }
    Ok(agreed)
}

async fn open(
    upstream: &Upstream,
    names: Option<&Fetcher>,
    deadline: Instant,
    only_http1: bool,
) -> Result<UpstreamIo, Fault> {
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
    let (Some(tls), Some(name)) = (upstream.tls.get(), &upstream.server_name) else {
        return Ok(UpstreamIo::Tcp(tcp));
    };
    let config = if only_http1 { &tls.http1 } else { &tls.offered };
    match TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await {
        Ok(tls) => Ok(UpstreamIo::Tls(Box::new(tls))),
        Err(error) if is_of_tls(&error) => Err(Fault::Tls(error)),
        Err(error) => Err(Fault::Connect(error)),
    }
}

/// Whether it is TLS itself that has failed, and not the network beneath it.
fn is_of_tls(error: &io::Error) -> bool {
    let Some(cause) = error.get_ref() else { return false };
    cause.is::<rustls::Error>()
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
