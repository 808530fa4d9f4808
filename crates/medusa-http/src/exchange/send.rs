//! Hands a response to hyper, and what goes on after it to whoever drives that.

use std::cell::Cell;

use http::header::{self, HeaderValue};
use http::{StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::sent_body::SentBody;
use super::state::Exchange;
use super::tunnel;
use crate::body::Body;
use crate::response::{CLOSE, Response, may_have_body};
use crate::under_way::Stage;
use crate::upgrade::Upgrade;

const SERVER: HeaderValue = HeaderValue::from_static("medusa");

/// The place where a driver finds what is to go on over its connection when the 101 is out. The driver owns it, so that a
/// connection that ends before that leaves nothing behind.
pub(crate) type UpgradeSlot = Cell<Option<Box<(Upgrade, Exchange)>>>;

/// Hands the response to hyper, with the fields that are the server's to write.
pub(super) fn send(
    response: Response,
    (version, is_head): (Version, bool),
    tunnel: Option<OnUpgrade>,
    slot: Option<&UpgradeSlot>,
    mut exchange: Exchange,
) -> http::Response<SentBody> {
    let Response { status, mut headers, body, trailers, upgrade, finish, end_hook, .. } = response;
    headers.insert(header::SERVER, SERVER);
    headers.remove(header::TRANSFER_ENCODING);
    if version == Version::HTTP_2 {
        headers.remove(header::CONNECTION);
    }
    // Whatever a handler, or a wrapper that gave its answer another status, has said about it (RFC 9110 §8.6, §15.3.6).
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let body = if status == StatusCode::RESET_CONTENT { Body::Empty } else { body };
    if version == Version::HTTP_10 && body.len().is_none() {
        // Its end is the connection's.
        headers.insert(header::CONNECTION, CLOSE);
    }
    if let Some(len) = body.len()
        && may_have_body(status)
        && upgrade.is_none()
    {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(len));
    }
    exchange.answered(status, end_hook, upgrade.is_none() && (is_head || !may_have_body(status)));
    // hyper leaves content out where none belongs, but with HTTP/2 it does not.
    let is_bare = version == Version::HTTP_2 && (is_head || !may_have_body(status));
    let body = if is_bare { Body::Empty } else { body };
    if upgrade.is_some() {
        exchange.goes_on(Stage::WebSocket);
    } else if matches!(body, Body::Stream(_)) {
        exchange.goes_on(Stage::Stream);
    }
    if upgrade.is_some() || finish.is_some() {
        exchange.show(true);
    }
    if let Some(finish) = finish {
        exchange.connection().finish_early(&finish);
        exchange.finish_by(&finish);
        exchange.release_server();
    }
    let body = match upgrade {
        None => SentBody::new(body, trailers, exchange),
        Some(upgrade) => {
            exchange.release_server();
            match (tunnel, slot) {
                (Some(tunnel), _) => {
                    tokio::task::spawn_local(tunnel::run(upgrade, exchange, tunnel));
                }
                (None, Some(slot)) => slot.set(Some(Box::new((upgrade, exchange)))),
                // Not one that was asked for.
                (None, None) => {}
            }
            SentBody::none()
        }
    };
    let mut sent = http::Response::new(body);
    *sent.status_mut() = status;
    if version == Version::HTTP_10 && headers.get(header::CONNECTION) == Some(&CLOSE) {
        // Or hyper would say the opposite, too, to a client that asks to go on.
        *sent.version_mut() = version;
    }
    *sent.headers_mut() = headers;
    sent
}
