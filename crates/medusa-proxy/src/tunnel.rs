//! Another protocol on a connection, from a 101 on: its bytes are passed through, both ways.
//!
//! **Invariant:** that begins only after the upstream's 101, to a request that asked for it and a protocol it asked for. A client
//! that sends on before is not read; an upstream that does has its bytes passed on behind the 101.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use hyper::body::Incoming;
use medusa_http::{Head, Io, Response, Upgrade, Upgraded};
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, copy, split};
use tokio::time::timeout;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use crate::connection::UpstreamConnection;
use crate::error::Fault;
use crate::fields::{asked_upgrade, is_among, strip_answer};
use crate::shared::Shared;
use crate::stream::SharedStream;
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
        asked_upgrade(&head.headers).filter(|_| can).map_or(Self::Nothing, Self::Protocol)
    }

    pub(crate) fn is_any(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Adds the fields that ask for it.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        let protocol = match self {
            Self::Nothing => return,
            Self::Protocol(protocol) => protocol.clone(),
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
            Self::Protocol(asked) if is_among(asked, headers) => Ok(()),
            Self::WebSocket { key } if is_among(&WEBSOCKET, headers) => {
                let accept = headers.get(header::SEC_WEBSOCKET_ACCEPT);
                let is_right = accept.is_some_and(|accept| *accept == derive_accept_key(key.as_bytes()));
                if is_right { Ok(()) } else { Err(Fault::AcceptKey) }
            }
            Self::Nothing | Self::Protocol(_) | Self::WebSocket { .. } => Err(Fault::UnaskedUpgrade),
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
    let mut membership = shared.sessions.join_websocket(shared.options.keep);
    response.upgrade = Some(Upgrade::new(move |upgraded| {
        Box::pin(async move {
            let _active = active;
            let Upgraded { io, finish, .. } = upgraded;
            let (stream, ahead) = connection.into_stream();
            tokio::select! {
                () = splice(io, stream, ahead) => {}
                () = finish.notified() => {}
                () = membership.ended() => {}
            }
        })
    }));
    Ok(response)
}

/// Passes bytes on until the upstream has ended, or does not when the client has. What was written to the client still goes
/// out: how its connection ends is its driver's business.
async fn splice(client: Io, upstream: SharedStream, ahead: Bytes) {
    let ((from_client, to_client), (from_upstream, to_upstream)) = (split(client), split(upstream));
    let mut down = pin!(pass(from_upstream, to_client, ahead));
    tokio::select! {
        () = pass(from_client, to_upstream, Bytes::new()) => {
            // An error: nobody is there any more.
            let _elapsed = timeout(GOODBYE, down).await;
        }
        () = &mut down => {}
    }
}

/// Passes bytes on one way, and their end.
async fn pass<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, ahead: Bytes)
where
    R: tokio::io::AsyncRead,
    W: tokio::io::AsyncWrite,
{
    // An error either way ends it: there is nobody to tell.
    if to.write_all(&ahead).await.is_ok() && copy(&mut from, &mut to).await.is_ok() {
        let _closed = to.shutdown().await;
    }
}
