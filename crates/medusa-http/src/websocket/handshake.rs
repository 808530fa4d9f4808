//! The opening handshake ([RFC 6455 §4.2](https://www.rfc-editor.org/rfc/rfc6455#section-4.2)).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use tungstenite::handshake::derive_accept_key;

use super::Options;
use super::deflate::DeflateParams;
use super::message::Close;
use super::pump::{self, SessionLimits};
use super::socket::{SessionLink, WebSocket};
use crate::request::Head;
use crate::response::Response;
use crate::sessions::Sessions;
use crate::upgrade::Upgrade;

const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// The reason why a request does not open a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeRefusal {
    /// Only a GET does: 405.
    #[error("a WebSocket is opened by GET, not by {0}")]
    Method(Method),
    /// It does not ask for one: 426. Over HTTP/2, where nothing can be upgraded, 400.
    #[error(
        "the request does not ask for a WebSocket (`Connection: Upgrade`, `Upgrade: websocket` over HTTP/1.1, `:protocol` over HTTP/2)"
    )]
    NotAsked {
        /// Whether the client could ask for it on this connection.
        could: bool,
    },
    /// It speaks another version: 426.
    #[error("the client speaks another version of the WebSocket protocol than 13")]
    Version,
    /// The key is not the Base64 of 16 bytes: 400.
    #[error("`Sec-WebSocket-Key` is not the Base64 of 16 bytes")]
    Key,
    /// It has a body, whose bytes could be taken for frames: 400.
    #[error("the request has a body")]
    Body,
    /// It comes from a page that may not: 403.
    #[error("a page of {0:?} may not open this WebSocket (`origins`)")]
    Origin(String),
}

impl HandshakeRefusal {
    /// The response to the client.
    pub fn response(&self) -> Response {
        let page = |status| Response::page(status);
        let required = || {
            page(StatusCode::UPGRADE_REQUIRED)
                .with(header::UPGRADE, WEBSOCKET)
                .with(header::CONNECTION, UPGRADE)
        };
        match self {
            Self::Method(_) => Response::method_not_allowed(["GET"]),
            Self::NotAsked { could: true } => required(),
            Self::Version => required().with(header::SEC_WEBSOCKET_VERSION, VERSION),
            Self::NotAsked { could: false } | Self::Key | Self::Body => page(StatusCode::BAD_REQUEST),
            Self::Origin(_) => page(StatusCode::FORBIDDEN),
        }
    }
}

/// A session that is going to be: the connection's side of it. Dropped, the session has ended before it began.
#[derive(Debug)]
pub struct Accepted {
    /// None over HTTP/2.
    accept: Option<String>,
    protocol: Option<HeaderValue>,
    extension: Option<HeaderValue>,
    link: EndGuard,
    settings: SessionLimits,
    keep: Duration,
}

impl Accepted {
    /// The 101, or over HTTP/2 the 200; the session counts as one of `sessions`, and ends when they do.
    pub fn into_response(self, sessions: &Sessions) -> Response {
        let Self { accept, protocol, extension, link, settings, keep } = self;
        let mut membership = sessions.join_websocket(keep);
        let mut response = match accept {
            None => Response::status(StatusCode::OK),
            Some(accept) => {
                let response = Response::status(StatusCode::SWITCHING_PROTOCOLS)
                    .with(header::UPGRADE, WEBSOCKET)
                    .with(header::CONNECTION, UPGRADE);
                // The key was made here, of Base64's characters.
                match HeaderValue::from_str(&accept) {
                    Ok(accept) => response.with(header::SEC_WEBSOCKET_ACCEPT, accept),
                    Err(_) => response,
                }
            }
        };
        if let Some(extension) = extension {
            response.headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extension);
        }
        if let Some(protocol) = protocol {
            response.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response.upgrade = Some(Upgrade::new(move |upgraded| {
            let finish = Rc::clone(&upgraded.finish);
            let leave = async move {
                let reason = tokio::select! {
                    () = finish.notified() => "the server is going away",
                    () = membership.ended() => "reloading",
                };
                Close::of(Close::GOING_AWAY, reason)
            };
            Box::pin(pump::run(upgraded, link, settings, leave))
        }));
        response
    }
}

/// The connection's side of a link: when it goes, the session has ended.
#[derive(Debug)]
pub(super) struct EndGuard(pub(super) Arc<SessionLink>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.close(&Close::lost());
        self.0.outbox.clear();
    }
}

/// Accepts a session: what becomes the response, and what the handler talks to.
///
/// # Errors
///
/// The request does not open one, or may not.
pub fn accept(head: &Head, options: &Options) -> Result<(Accepted, WebSocket), HandshakeRefusal> {
    let key = check(head)?;
    check_origin(head, options)?;
    let protocol = choose(&head.headers, &options.protocols);
    let agreed = if options.compress { DeflateParams::of(&head.headers) } else { None };
    let link = Arc::new(SessionLink::default());
    let accepted = Accepted {
        accept: key.map(derive_accept_key),
        protocol: protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()),
        extension: agreed.map(DeflateParams::field),
        link: EndGuard(Arc::clone(&link)),
        settings: SessionLimits {
            max_message: options.max_message,
            ping: options.ping,
            idle: options.idle,
            window: agreed.map(|agreed| agreed.window),
        },
        keep: options.keep,
    };
    Ok((accepted, WebSocket::new(link, protocol.map(str::to_owned))))
}

/// Checks everything but who asks; returns the key, which there is over HTTP/1.1.
fn check(head: &Head) -> Result<Option<&[u8]>, HandshakeRefusal> {
    let is_version = || one(&head.headers, &header::SEC_WEBSOCKET_VERSION) == Some(b"13");
    if head.websocket {
        // Whoever sends content sends frames (RFC 8441 §5).
        return if is_version() { Ok(None) } else { Err(HandshakeRefusal::Version) };
    }
    if head.version != Version::HTTP_11 {
        return Err(HandshakeRefusal::NotAsked { could: head.version < Version::HTTP_2 });
    }
    if !names(&head.headers, &header::UPGRADE, "websocket")
        || !names(&head.headers, &header::CONNECTION, "upgrade")
    {
        return Err(HandshakeRefusal::NotAsked { could: true });
    }
    if head.method != Method::GET {
        return Err(HandshakeRefusal::Method(head.method.clone()));
    }
    if !is_version() {
        return Err(HandshakeRefusal::Version);
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING)
        || head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
    {
        return Err(HandshakeRefusal::Body);
    }
    let key = one(&head.headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    key.map(Some).ok_or(HandshakeRefusal::Key)
}

fn check_origin(head: &Head, options: &Options) -> Result<(), HandshakeRefusal> {
    let mut given = head.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = given.next() else { return Ok(()) };
    let shown = || String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let allowed = origin.to_str().is_ok_and(|origin| options.origins.allow(origin, head.authority()));
    // Two of them are no browser's, and who knows which the next proxy believes.
    if allowed && given.next().is_none() { Ok(()) } else { Err(HandshakeRefusal::Origin(shown())) }
}

/// Whether a list of tokens names one, in whatever case.
fn names(headers: &HeaderMap, field: &HeaderName, token: &str) -> bool {
    let lists = headers.get_all(field).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|named| named.trim().eq_ignore_ascii_case(token))
}

/// The value of a field that must be there once.
fn one<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(field).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes().trim_ascii())
}

/// Whether this is the Base64 of 16 bytes: 22 characters and the padding. Of the last one only two bits count, and not
/// every client leaves the others zero.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22 && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
}

/// The first of `spoken` that the client offers.
fn choose<'a>(headers: &HeaderMap, spoken: &'a [String]) -> Option<&'a str> {
    let offers = |protocol: &str| {
        let lists =
            headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|list| list.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|offered| offered.trim() == protocol)
    };
    spoken.iter().map(String::as_str).find(|protocol| offers(protocol))
}

#[cfg(test)]
mod tests;
