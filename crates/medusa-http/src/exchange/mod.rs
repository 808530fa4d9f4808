//! One request and its response: [`refuse`](mod@refuse) what hyper does not check, route and [`handle`] it, [`send`](mod@send) the response, and
//! count and record what came of it when the last byte is handed over ([`state`], [`sent_body`]).

mod handle;
mod refuse;
mod send;
mod sent_body;
mod state;
mod tunnel;

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header;
use http::{Method, StatusCode, Version};
use hyper::body::Incoming;

use crate::budget::Allowance;
use crate::client::Client;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::limits::passes;
use crate::request::{Finding, Head, Purpose, Request, RequestBody};
use crate::response::{CLOSE, Response, may_have_body};
use crate::router::Params;
use crate::trace;

use refuse::{Refusal, fields_len, make_room, misframed, refuse};
use send::send;

pub(crate) use send::UpgradeSlot;
pub(crate) use sent_body::SentBody;
pub(crate) use state::Exchange;

/// Answers one request; what is to go on after a 101 on the connection is left in `slot`. Never fails: whatever goes wrong becomes a response.
pub(crate) async fn exchange(
    mut request: http::Request<Incoming>,
    connection: Rc<Connection>,
    slot: Option<&UpgradeSlot>,
) -> Result<http::Response<SentBody>, Infallible> {
    let tunnel = asks_for_websocket(&request).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    let Some(server) = connection.server() else {
        let response = Response::page(StatusCode::SERVICE_UNAVAILABLE).with(header::CONNECTION, CLOSE);
        let asked = (parts.version, parts.method == Method::HEAD);
        return Ok(send(response, asked, None, slot, Exchange::unrouted(connection)));
    };
    let encrypted = connection.tls.is_some();
    let client = Client::of(connection.peer, encrypted, &server.definition.trusted_proxies, &parts.headers);
    let trace = trace::begin(&server.definition.name, client.peer, &parts);
    let mut exchange = Exchange::begin(connection, Rc::clone(&server), &client, &parts, trace.clone());
    if tunnel.is_some() {
        parts.method = Method::GET;
    }
    let connection = exchange.connection();
    let limits = &server.definition.limits;
    let (version, is_head) = (parts.version, parts.method == Method::HEAD);
    let mut body = RequestBody::incoming(incoming, limits, &parts.headers, &connection.carrier());
    let head = Arc::new(Head {
        method: parts.method,
        uri: parts.uri,
        came: None,
        version,
        headers: parts.headers,
        params: Params::default(),
        tail: 0,
        peer: connection.peer,
        client: client.peer,
        secure: client.secure,
        tls: connection.tls.clone(),
        id: client.id,
        websocket: tunnel.is_some(),
        allowance: Allowance::new(&connection.account, limits.answer_bytes),
        user: Finding::default(),
        log: Finding::default(),
        purpose: Purpose::default(),
        preflight: false,
        listener: Some(connection.conn.listener()),
        trace,
    });
    let secure = head.secure;
    let last = passes(connection.conn.requests() + 1, limits.requests) || connection.conn.is_old();
    let fields = fields_len(&head.headers);
    let refusal = misframed(&head, connection)
        .map(|status| Refusal::close(status, Fault::Malformed))
        .or_else(|| refuse(&head, fields, limits))
        .or_else(|| make_room(fields, &body, limits, &mut exchange));
    let mut response = match refusal {
        Some(refusal) => {
            if matches!(refusal.fault, Some(Fault::TooManyRequests | Fault::NoMemory)) {
                body.refuse();
            }
            if let Some(fault) = refusal.fault {
                server.definition.counters.faults.count(fault);
            }
            refusal.response
        }
        None => handle::answer(&server, Request { head, body }, &mut exchange).await,
    };
    if tunnel.is_some() && response.upgrade.is_none() && response.status.is_success() {
        // It would begin a session.
        response = Response::page(StatusCode::BAD_REQUEST);
    }
    // Before the fields of every response, for this may be another then.
    if !is_head && may_have_body(response.status) {
        response = exchange.afford(response);
    }
    if let Some(hsts) = server.definition.hsts.as_ref().filter(|_| secure) {
        response.headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    for (name, value) in &*server.definition.security_headers {
        if !response.headers.contains_key(name) {
            response.headers.insert(name.clone(), value.clone());
        }
    }
    // A 101 is the last response anyway, and its `Connection` says something else.
    let last = last || exchange.connection().unread().was_refused();
    if last && response.upgrade.is_none() {
        if version == Version::HTTP_2 {
            exchange.connection().conn.drain();
        } else {
            response.headers.insert(header::CONNECTION, CLOSE);
        }
    }
    Ok(send(response, (version, is_head), tunnel, slot, exchange))
}

/// Whether a client of HTTP/2 asks for a WebSocket ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
fn asks_for_websocket(request: &http::Request<Incoming>) -> bool {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    *request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}
