//! Asks upstreams whether they are well, on the thread of the [`Fetcher`]: by a GET on a connection of its own, of whose answer the
//! status counts. By HTTP/2 where requests are sent by that.

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use http::Uri;
use http::header::{self, HeaderValue};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use medusa_fetch::Fetcher;
use medusa_proto::with_causes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connect::{connect, speaks_http2};
use crate::error::{Cause, Fault};
use crate::health::{self, Change};
use crate::options::HealthCheck;
use crate::shared::Shared;
use crate::stream::UpstreamIo;
use crate::upstream::Upstream;

/// The length of a status line as far as it is looked at: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

const USER_AGENT: &str = concat!("medusa/", env!("CARGO_PKG_VERSION"));

/// Asks them all, again and again. Who starts this ends it.
pub(crate) async fn watch(shared: Arc<Shared>, check: HealthCheck, names: Fetcher) {
    let mut turns = interval(check.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        join_all(shared.upstreams.iter().map(|upstream| look(&shared, upstream, &check, &names))).await;
    }
}

async fn look(shared: &Shared, upstream: &Upstream, check: &HealthCheck, names: &Fetcher) {
    let asked = timeout(check.timeout, ask(upstream, check, names)).await;
    match asked.unwrap_or(Err(Fault::TimedOut(check.timeout))) {
        Ok(()) => {
            if upstream.state().health.answered(check.rise) == Some(Change::Up) {
                tracing::info!(upstream = %upstream.name, "medusa.handler.proxy: {} is well again", upstream.name);
            }
        }
        Err(fault) => {
            tracing::debug!(upstream = %upstream.name, "medusa.handler.proxy: health check: {}", with_causes(&fault));
            upstream.failed(&shared.options, health::now(), &fault);
        }
    }
}

async fn ask(upstream: &Upstream, check: &HealthCheck, names: &Fetcher) -> Result<(), Fault> {
    let io = connect(upstream, Some(names), check.timeout, false).await?;
    let is_http2 = speaks_http2(upstream, &io)?;
    let status = match io {
        UpstreamIo::Tcp(tcp) => ask_by(is_http2, tcp, upstream, check).await,
        UpstreamIo::Unix(unix) => ask_by(is_http2, unix, upstream, check).await,
        UpstreamIo::Tls(tls) => ask_by(is_http2, tls, upstream, check).await,
    };
    match status? {
        200..=399 => Ok(()),
        status => Err(Fault::Unwell(status)),
    }
}

async fn ask_by<I>(is_http2: bool, io: I, upstream: &Upstream, check: &HealthCheck) -> Result<u16, Fault>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if is_http2 { ask_http2(io, upstream, check).await } else { ask_http1(io, upstream, check).await }
}

async fn ask_http2<I>(io: I, upstream: &Upstream, check: &HealthCheck) -> Result<u16, Fault>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ended = |error: hyper::Error| Fault::Ended(Cause::innermost(&error));
    let builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(ended)?;
    let host = upstream.host_field.to_str().unwrap_or("localhost");
    let uri = Uri::builder().scheme(upstream.scheme()).authority(host).path_and_query(&*check.path);
    let mut request = http::Request::new(String::new());
    *request.uri_mut() = uri.build().map_err(|wrong| Fault::Malformed(Cause::innermost(&wrong)))?;
    request.headers_mut().insert(header::USER_AGENT, const { HeaderValue::from_static(USER_AGENT) });
    let answer = sender.send_request(request);
    tokio::select! {
        answer = answer => Ok(answer.map_err(ended)?.status().as_u16()),
        ended = connection => {
            let cause = ended.err().map_or_else(|| Cause::new("it was closed"), |error| Cause::innermost(&error));
            Err(Fault::Ended(cause))
        }
    }
}

async fn ask_http1(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    upstream: &Upstream,
    check: &HealthCheck,
) -> Result<u16, Fault> {
    let ended = |error: io::Error| Fault::Ended(Cause::innermost(&error));
    let host = upstream.host_field.to_str().unwrap_or("localhost");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n\r\n",
        check.path
    );
    io.write_all(request.as_bytes()).await.map_err(ended)?;
    io.flush().await.map_err(ended)?;
    let mut line = [0; STATUS_LINE];
    io.read_exact(&mut line).await.map_err(ended)?;
    parse_status(&line).ok_or_else(|| Fault::Malformed(Cause::new("it does not begin with a status line")))
}

fn parse_status(line: &[u8; STATUS_LINE]) -> Option<u16> {
    let (version, status) = (line.strip_prefix(b"HTTP/1.")?, line.get(9..)?);
    let is_line = version.first()?.is_ascii_digit() && version.get(1)? == &b' ';
    let status =
        std::str::from_utf8(status).ok().filter(|status| status.bytes().all(|b| b.is_ascii_digit()))?;
    status.parse().ok().filter(|_| is_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read() {
        assert_eq!(parse_status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(parse_status(b"HTTP/1.0 503"), Some(503));
        for wrong in [b"HTTP/1.1 2 0", b"HTTP/2 200  ", b"SSH-2.0-Open", b"HTTP/1.1x200", b"HTTP/1.1 +20"] {
            assert_eq!(parse_status(wrong), None, "{wrong:?}");
        }
    }
}
