//! Opens a connection: the name, TCP, and for `https` TLS, all within one time.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::resolve::NameResolver;

/// A peer that has gone without a word is noticed within a minute, or half of one while something is to be sent.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: u32 = 3;
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections in one way.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector<NameResolver>,
    /// None: there are no connections to `https`.
    tls: Option<TlsConnector>,
    timeout: Duration,
}

/// An error: there was no connection in time.
#[derive(Debug, thiserror::Error)]
#[error("it took too long")]
pub(crate) struct ConnectTimeout;

impl Connector {
    pub(crate) fn new(names: NameResolver, tls: Option<ClientConfig>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVES));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        // Of several addresses, each has a part of the time.
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, tls: tls.map(|config| TlsConnector::from(Arc::new(config))), timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ConnectedStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<ConnectedStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An error: it is opened in the background, for whoever comes.
        let _noted = OPENED.try_with(|opened| opened.set(true));
        let tls = self.tls.clone().filter(|_| uri.scheme_str() == Some("https"));
        let name = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let tcp = self.tcp.call(uri);
        let opening = async move {
            let tcp = tcp.await?.into_inner();
            let Some(tls) = tls else {
                return Ok(TokioIo::new(ConnectedStream { io: Box::new(tcp), is_h2: false }));
            };
            let stream = tls.connect(ServerName::try_from(name)?, tcp).await?;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Ok(TokioIo::new(ConnectedStream { io: Box::new(stream), is_h2 }))
        };
        let timeout = self.timeout;
        Box::pin(async move {
            let opened = tokio::time::timeout(timeout, opening).await;
            opened.unwrap_or_else(|_elapsed| Err(ConnectTimeout.into()))
        })
    }
}

tokio::task_local! {
    /// Whether a connection was opened for what runs in here.
    static OPENED: Cell<bool>;
}

/// Sends a request, and tells whether it went over a connection that was there.
pub(crate) async fn is_reused<T>(sending: impl Future<Output = T>) -> (T, bool) {
    let sending = async { (sending.await, !OPENED.with(Cell::get)) };
    OPENED.scope(Cell::new(false), sending).await
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub(crate) struct ConnectedStream {
    io: Box<dyn Io>,
    /// Whether HTTP/2 was agreed on.
    is_h2: bool,
}

impl Connection for ConnectedStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for ConnectedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for ConnectedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
