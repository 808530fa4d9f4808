//! Asks upstreams whether they are well, on the thread of the [`Fetcher`]: by a GET on a connection of its own, of whose answer the
//! status counts.

use std::io;
use std::sync::Arc;

use futures_util::future::join_all;
use medusa_fetch::Fetcher;
use medusa_proto::with_causes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::connect::connect;
use crate::error::{Cause, Fault};
use crate::health::{self, Change};
use crate::options::HealthCheck;
use crate::shared::Shared;
use crate::stream::UpstreamIo;
use crate::upstream::Upstream;

/// The length of a status line as far as it is looked at: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

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
    match connect(upstream, Some(names), check.timeout).await? {
        UpstreamIo::Tcp(tcp) => status(tcp, upstream, check).await,
        UpstreamIo::Unix(unix) => status(unix, upstream, check).await,
        UpstreamIo::Tls(tls) => status(tls, upstream, check).await,
    }
}

async fn status(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    upstream: &Upstream,
    check: &HealthCheck,
) -> Result<(), Fault> {
    let ended = |error: io::Error| Fault::Ended(Cause::innermost(&error));
    let host = upstream.host_field.to_str().unwrap_or("localhost");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: medusa/{}\r\nConnection: close\r\n\r\n",
        check.path,
        env!("CARGO_PKG_VERSION")
    );
    io.write_all(request.as_bytes()).await.map_err(ended)?;
    io.flush().await.map_err(ended)?;
    let mut line = [0; STATUS_LINE];
    io.read_exact(&mut line).await.map_err(ended)?;
    match parse_status(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(Fault::Unwell(status)),
        None => Err(Fault::Malformed(Cause::new("it does not begin with a status line"))),
    }
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
