//! Another protocol on a connection, from a 101 on: its bytes are passed through, both ways.
//!
//! Over HTTP/2, a `WebSocket` takes a stream (RFC 8441), where the upstream allows that; else a connection of HTTP/1.1.
//!
//! **Invariant:** that begins only after the upstream's 101 (or 200, on a stream), to a request that asked for it and a protocol
//! it asked for. A client that sends on before is not read; an upstream that does has its bytes passed on behind the 101.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use medusa_http::{Head, Io, Response, Upgrade, Upgraded};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, copy, split};
use tokio::time::timeout;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::connection::UpstreamConnection;
use crate::error::Fault;
use crate::fields::{asked_upgrade, is_among, strip_answer};
use crate::http2::UpstreamStream;
use crate::shared::Shared;
use crate::upstream::ActiveRequest;

const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The time for which an upstream may go on when its client has said that it sends no more.
const GOODBYE: Duration = Duration::from_secs(30);

/// The other protocol that a request asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Nothing,
    /// As `Upgrade` says.
    Protocol(HeaderValue),
    /// A `WebSocket`, as `Upgrade` says, with this answer to the client's key.
    UpgradedWebSocket {
        protocol: HeaderValue,
        accept: HeaderValue,
    },
    /// A `WebSocket` on a stream of HTTP/2, which upstreams are asked for by HTTP/1.1, with this key.
    WebSocket {
        key: String,
    },
}

impl Asked {
    /// The protocol that `head` asks for. Content before it would be taken for it.
    pub(crate) fn of(head: &Head, has_body: bool) -> Self {
        if head.websocket {
            return Self::WebSocket { key: generate_key() };
        }
        let can = head.version == http::Version::HTTP_11 && !has_body;
        let Some(protocol) = asked_upgrade(&head.headers).filter(|_| can) else { return Self::Nothing };
        if head.method == Method::GET
            && protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
            && let Some(key) = head.headers.get(header::SEC_WEBSOCKET_KEY)
            && let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        {
            return Self::UpgradedWebSocket { protocol, accept };
        }
        Self::Protocol(protocol)
    }

    /// Whether it can be asked for by HTTP/1.1 alone.
    pub(crate) fn needs_http1(&self) -> bool {
        matches!(self, Self::Protocol(_))
    }

    pub(crate) fn is_any(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Adds the fields that ask for it.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        let protocol = match self {
            Self::Nothing => return,
            Self::Protocol(protocol) | Self::UpgradedWebSocket { protocol, .. } => protocol.clone(),
            Self::WebSocket { key } => {
                if let Ok(key) = HeaderValue::from_str(key) {
                    let _has_room = headers.try_insert(header::SEC_WEBSOCKET_KEY, key);
                }
                WEBSOCKET
            }
        };
        for (name, value) in [(header::UPGRADE, protocol), (header::CONNECTION, UPGRADE)] {
            let _has_room = headers.try_insert(name, value);
        }
    }

    /// Whether a 101 with these fields is what was asked for.
    fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        match self {
            Self::Protocol(asked) | Self::UpgradedWebSocket { protocol: asked, .. }
                if is_among(asked, headers) =>
            {
                Ok(())
            }
            Self::WebSocket { key } if is_among(&WEBSOCKET, headers) => {
                let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT);
                let is_right = accept.is_some_and(|accept| *accept == derive_accept_key(key.as_bytes()));
                if is_right { Ok(()) } else { Err(Fault::AcceptKey) }
            }
            _ => Err(Fault::UnaskedUpgrade),
        }
    }
}

/// Answers with a 101 of an upstream, behind which the two sides speak with each other.
pub(crate) fn switch(
    shared: &Arc<Shared>,
    asked: &Asked,
    connection: Box<UpstreamConnection>,
    answer: http::Response<Incoming>,
    active: ActiveRequest,
) -> Result<Response, Fault> {
    let mut headers = answer.into_parts().0.headers;
    asked.check(&headers)?;
    let protocol = headers.get(header::UPGRADE).cloned();
    strip_answer(&mut headers);
    let mut response = Response { headers, ..Response::default() };
    if matches!(asked, Asked::WebSocket { .. }) {
        // There it is a 200 (RFC 8441 §5).
        response.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else {
        response.status = StatusCode::SWITCHING_PROTOCOLS;
        response = response.with(header::CONNECTION, UPGRADE);
        if let Some(protocol) = protocol {
            response = response.with(header::UPGRADE, protocol);
        }
    }
    let going_on = async move {
        let (stream, ahead) = connection.into_stream();
        Some((stream, ahead, active))
    };
    response.upgrade = Some(upgrade(shared, going_on));
    Ok(response)
}

/// Answers with the agreement of an upstream to a `WebSocket` on a stream, behind which the two sides speak with each other.
pub(crate) fn switch_stream(
    shared: &Arc<Shared>,
    asked: &Asked,
    (stream, agreed, active): (UpstreamStream, OnUpgrade, ActiveRequest),
    answer: http::Response<Incoming>,
) -> Response {
    let mut headers = answer.into_parts().0.headers;
    strip_answer(&mut headers);
    headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    let mut response = Response { headers, ..Response::default() };
    if let Asked::UpgradedWebSocket { accept, .. } = asked {
        response.status = StatusCode::SWITCHING_PROTOCOLS;
        response = response
            .with(header::CONNECTION, UPGRADE)
            .with(header::UPGRADE, WEBSOCKET)
            .with(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
    }
    let going_on = async move {
        // An error: it has ended already.
        let agreed = agreed.await.ok()?;
        Some((TokioIo::new(agreed), Bytes::new(), (stream, active)))
    };
    response.upgrade = Some(upgrade(shared, going_on));
    response
}

/// The other protocol, on what `upstream` comes to: a byte stream, what has come of it already, and what ends with it.
fn upgrade<S, H>(shared: &Shared, upstream: impl Future<Output = Option<(S, Bytes, H)>> + 'static) -> Upgrade
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: 'static,
{
    let mut membership = shared.sessions.join_websocket(shared.options.keep);
    Upgrade::new(move |upgraded| {
        Box::pin(async move {
            let Upgraded { io, finish, .. } = upgraded;
            let Some((stream, ahead, _ends_with_this)) = upstream.await else { return };
            tokio::select! {
                () = splice(io, stream, ahead) => {}
                () = finish.notified() => {}
                () = membership.ended() => {}
            }
        })
    })
}

/// Passes bytes on until the upstream has ended, or does not when the client has. What was written to the client still goes
/// out: how its connection ends is its driver's business.
async fn splice(client: Io, upstream: impl AsyncRead + AsyncWrite, ahead: Bytes) {
    let ((from_client, to_client), (from_upstream, to_upstream)) = (split(client), split(upstream));
    let mut down = pin!(pass(from_upstream, to_client, ahead));
    tokio::select! {
        passed = pass(from_client, to_upstream, Bytes::new()) => {
            // After an error nobody is there any more.
            if passed.is_ok() {
                let _elapsed = timeout(GOODBYE, down).await;
            }
        }
        _ended = &mut down => {}
    }
}

/// Passes bytes on one way, and their end.
async fn pass<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, ahead: Bytes) -> io::Result<()>
where
    R: AsyncRead,
    W: AsyncWrite,
{
    to.write_all(&ahead).await?;
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}
