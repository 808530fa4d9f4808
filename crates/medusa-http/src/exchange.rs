//! One request and its response: what hyper does not check, the routing, the handler, the record.

use std::cell::Cell;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::body::Incoming;
use medusa_net::{Conn, Deadlines, Phase};
use medusa_proto::access::Peer;
use medusa_proto::with_causes;

use crate::record::{self, Exchanged, SentBody};
use crate::request::{Head, Request, RequestBody, without_port};
use crate::response::{Response, may_have_body};
use crate::router::{Params, Route};
use crate::server::{Directory, Limits, Mount, Server};

const SERVER: HeaderValue = HeaderValue::from_static("medusa");

/// What the requests of one connection have in common.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) conn: Rc<Conn>,
    peer: Peer,
    directory: Arc<dyn Directory>,
    limits: Cell<Option<Limits>>,
}

impl Connection {
    pub(crate) fn new(conn: Rc<Conn>, directory: Arc<dyn Directory>) -> Self {
        let peer = match conn.peer() {
            medusa_net::Peer::Tcp(addr) => addr.ip().into(),
            medusa_net::Peer::Unix => Peer::Unix,
        };
        Self { conn, peer, directory, limits: Cell::new(None) }
    }

    /// Records a request that could not be read, so that it was never exchanged.
    pub(crate) fn record_unread(&self, status: StatusCode) {
        if let Some(server) = self.directory.current() {
            record::unread(&server, self.peer, status);
        }
    }

    /// Takes over the server's deadlines, for the first request.
    pub(crate) fn apply_limits(&self) {
        if let Some(server) = self.directory.current() {
            self.apply(server.parts.limits);
        }
    }

    /// Takes over the server's deadlines, when they are not those of the last request.
    fn apply(&self, limits: Limits) {
        if self.limits.replace(Some(limits)) != Some(limits) {
            self.conn.set_deadlines(Deadlines {
                idle: Duration::from_secs(limits.idle.into()),
                head: Duration::from_secs(limits.head.into()),
                ..Deadlines::default()
            });
        }
    }
}

/// Answers one request. Never fails: whatever goes wrong becomes a response.
pub(crate) async fn exchange(
    request: http::Request<Incoming>,
    connection: Rc<Connection>,
) -> Result<http::Response<SentBody>, Infallible> {
    let conn = &connection.conn;
    conn.enter(Phase::Busy);
    conn.count_request();
    let (parts, incoming) = request.into_parts();
    let Some(server) = connection.directory.current() else {
        let exchanged = Exchanged::unrouted(Rc::clone(conn));
        let response = Response::page(StatusCode::SERVICE_UNAVAILABLE);
        return Ok(send(response.with(header::CONNECTION, CLOSE), exchanged));
    };
    connection.apply(server.parts.limits);
    let mut exchanged = Exchanged::begin(Rc::clone(conn), Rc::clone(&server), connection.peer, &parts);

    let head = Head {
        method: parts.method,
        uri: parts.uri,
        version: parts.version,
        headers: parts.headers,
        params: Params::default(),
        tail: 0,
        peer: connection.peer,
    };
    let body = RequestBody::wire(incoming, server.parts.limits.body);
    let response = match refuse(&head) {
        Some(response) => response,
        None => answer(&server, Request { head, body }, &mut exchanged).await,
    };
    Ok(send(response, exchanged))
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What must be refused before anything is routed ([RFC 9112 §3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2):
/// a missing, repeated or malformed `Host`), or has an answer that no handler gives.
fn refuse(head: &Head) -> Option<Response> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host_ok = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => head.version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    if !host_ok || !is_framing_known(head) {
        return Some(Response::page(StatusCode::BAD_REQUEST).with(header::CONNECTION, CLOSE));
    }
    match head.method {
        Method::OPTIONS if head.uri.path() == "*" => Some(Response::status(StatusCode::NO_CONTENT)),
        Method::CONNECT => Some(Response::page(StatusCode::NOT_IMPLEMENTED)),
        _ => None,
    }
}

/// Whether the request's transfer coding is the one there is. hyper looks at the last coding only; an unknown one before
/// it would hide in the body ([RFC 9112 §6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)).
fn is_framing_known(head: &Head) -> bool {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a `Host` value is `uri-host [":" port]`, or empty (which the RFC allows)
/// ([RFC 9110 §7.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.2)).
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|&b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(&b))
}

async fn answer(server: &Server, mut request: Request, exchanged: &mut Exchanged) -> Response {
    let head = &mut request.head;
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    match server.router.route(&head.method, host.map(without_port), head.uri.path()) {
        Route::Found { value: &at, params, tail, .. } => {
            head.params = params;
            head.tail = tail;
            exchanged.mounted(at);
            handle(&server.parts.mounts[at], request).await
        }
        Route::Redirect(mut location) => {
            if let Some(query) = head.uri.query() {
                location.push('?');
                location.push_str(query);
            }
            Response::redirect(&head.method, &location)
        }
        Route::MethodNotAllowed(methods) => Response::method_not_allowed(methods.iter()),
        Route::NotFound => Response::page(StatusCode::NOT_FOUND),
        Route::BadPath => Response::page(StatusCode::BAD_REQUEST).with(header::CONNECTION, CLOSE),
    }
}

/// Calls the handler. Its errors and panics end here.
async fn handle(mount: &Mount, request: Request) -> Response {
    let (method, uri) = (request.head.method.clone(), request.head.uri.clone());
    let handled = async { mount.handler.handle(request).await };
    match AssertUnwindSafe(handled).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            let status = error.status();
            if status.is_server_error() {
                let error = with_causes(&error);
                tracing::warn!(%method, %uri, mount = %mount.pattern, origin = %mount.origin, status = status.as_u16(), "{error}");
            }
            Response::page(status)
        }
        Err(_panic) => {
            // Its message is in the log already, from the panic hook.
            tracing::error!(%method, %uri, mount = %mount.pattern, origin = %mount.origin, "the handler panicked");
            Response::page(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// Hands the response to hyper, with the fields that are the server's to write.
fn send(response: Response, mut exchanged: Exchanged) -> http::Response<SentBody> {
    let Response { status, mut headers, body } = response;
    headers.insert(header::SERVER, SERVER);
    headers.remove(header::TRANSFER_ENCODING);
    if let Some(len) = body.len()
        && may_have_body(status)
    {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(len));
    }
    exchanged.status = status;
    let mut sent = http::Response::new(SentBody::new(body, exchanged));
    *sent.status_mut() = status;
    *sent.headers_mut() = headers;
    sent
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn hosts() {
        for good in ["example.com", "example.com:80", "[::1]:80", "", "127.0.0.1", "a_b"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["a b", "a/b", "a@b", "a\tb", "é", "a?b", "a#b"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
