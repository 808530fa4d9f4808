//! One request and its response: what hyper does not check, the routing, the handler, the record.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use medusa_proto::with_causes;

use crate::body::Body;
use crate::budget::{Allowance, Kind};
use crate::client::Client;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::handler::HandlerError;
use crate::limits::{Limits, passes, time};
use crate::record::{Asked, Exchanged, SentBody};
use crate::request::{Head, Request, RequestBody, without_port};
use crate::response::{Response, may_have_body};
use crate::router::{Params, Route};
use crate::server::{Mount, Server};
use crate::upgrade;

const SERVER: HeaderValue = HeaderValue::from_static("medusa");
/// What a client is told that asks for what there is no room for now: in seconds, long enough for others to be done.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers one request. Never fails: whatever goes wrong becomes a response.
pub(crate) async fn exchange(
    mut request: http::Request<Incoming>,
    connection: Rc<Connection>,
) -> Result<http::Response<SentBody>, Infallible> {
    let tunnel = asks_for_websocket(&request).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    let Some(server) = connection.server() else {
        let response = Response::page(StatusCode::SERVICE_UNAVAILABLE).with(header::CONNECTION, CLOSE);
        let asked = (parts.version, parts.method == Method::HEAD);
        return Ok(send(response, asked, None, Exchanged::unrouted(connection)));
    };
    let encrypted = connection.tls.is_some();
    let client = Client::of(connection.peer, encrypted, &server.parts.trusted_proxies, &parts.headers);
    let mut exchanged = Exchanged::begin(connection, Rc::clone(&server), &client, &parts);
    if tunnel.is_some() {
        parts.method = Method::GET;
    }
    let connection = exchanged.connection();
    let limits = &server.parts.limits;
    let (version, is_head) = (parts.version, parts.method == Method::HEAD);
    let mut body = RequestBody::wire(incoming, limits, &parts.headers, &connection.carrier());
    let head = Arc::new(Head {
        method: parts.method,
        uri: parts.uri,
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
    });
    let secure = head.secure;
    let last = passes(connection.conn.requests() + 1, limits.requests) || connection.conn.is_old();
    let fields = fields_len(&head.headers);
    let refusal = misframed(&head, connection)
        .map(|status| Refusal::close(status, Fault::Malformed))
        .or_else(|| refuse(&head, fields, limits))
        .or_else(|| make_room(fields, &body, limits, &mut exchanged));
    let mut response = match refusal {
        Some(refusal) => {
            if matches!(refusal.fault, Some(Fault::TooManyRequests | Fault::NoMemory)) {
                body.refuse();
            }
            if let Some(fault) = refusal.fault {
                server.parts.counters.faults.count(fault);
            }
            refusal.response
        }
        None => answer(&server, Request { head, body }, &mut exchanged).await,
    };
    if tunnel.is_some() && response.upgrade.is_none() && response.status.is_success() {
        // It would begin a session.
        response = Response::page(StatusCode::BAD_REQUEST);
    }
    // Before the fields of every response, for this may be another then.
    if !is_head && may_have_body(response.status) {
        response = exchanged.afford(response);
    }
    if let Some(hsts) = server.parts.hsts.as_ref().filter(|_| secure) {
        response.headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    for (name, value) in &*server.parts.security_headers {
        if !response.headers.contains_key(name) {
            response.headers.insert(name.clone(), value.clone());
        }
    }
    // A 101 is the last response anyway, and its `Connection` says something else.
    let last = last || exchanged.connection().unread().was_refused();
    if last && response.upgrade.is_none() {
        if version == Version::HTTP_2 {
            exchanged.connection().conn.drain();
        } else {
            response.headers.insert(header::CONNECTION, CLOSE);
        }
    }
    Ok(send(response, (version, is_head), tunnel, exchanged))
}

/// Whether a client of HTTP/2 asks for a WebSocket ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
fn asks_for_websocket(request: &http::Request<Incoming>) -> bool {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    *request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// An answer before anything is routed.
struct Refusal {
    response: Response,
    /// What is counted, where the client is to blame.
    fault: Option<Fault>,
}

impl Refusal {
    /// The client cannot be trusted with the connection any longer.
    fn close(status: StatusCode, fault: Fault) -> Self {
        Self { response: Response::page(status).with(header::CONNECTION, CLOSE), fault: Some(fault) }
    }

    fn answer(response: Response) -> Self {
        Self { response, fault: None }
    }
}

/// What a request takes that others are under way beside on its connection, in bytes: its stream, its task, its handler's
/// coroutine. Measured with HTTP/2: 14 KiB for a file, 23 KiB for a script that sleeps. The first one is the connection's.
const REQUEST: u64 = 16 * 1024;

/// How often fields are there: once as they came, and once as they are read.
const TIMES_OF_FIELDS: u64 = 2;

/// Makes room for a request of so many bytes of fields, or refuses what there is no room for: more requests than an
/// address may have, or more bytes.
fn make_room(fields: u64, body: &RequestBody, limits: &Limits, exchanged: &mut Exchanged) -> Option<Refusal> {
    let account = &exchanged.connection().account;
    if account.is_crowded(limits.requests_per_address) {
        return Some(Refusal { response: Response::busy(), fault: Some(Fault::TooManyRequests) });
    }
    let no_memory = || Some(Refusal { response: Response::busy(), fault: Some(Fault::NoMemory) });
    let beside = if exchanged.connection().has_others() { REQUEST } else { 0 };
    let takes = TIMES_OF_FIELDS * fields + body.least() + beside;
    if body.has_room() && exchanged.add(Kind::Requests, takes) { None } else { no_memory() }
}

/// What must be refused before anything is routed, or has an answer that no handler gives.
fn refuse(head: &Head, fields: u64, limits: &Limits) -> Option<Refusal> {
    if !has_one_host(head) || !is_target_sound(head) {
        return Some(Refusal::close(StatusCode::BAD_REQUEST, Fault::Host));
    }
    if has_loose_values(head) {
        return Some(Refusal::close(StatusCode::BAD_REQUEST, Fault::Malformed));
    }
    if !is_scheme_served(head) || !is_certified(head) {
        return Some(Refusal::close(StatusCode::MISDIRECTED_REQUEST, Fault::Host));
    }
    if passes(target_len(head), limits.uri) {
        return Some(Refusal::close(StatusCode::URI_TOO_LONG, Fault::UriTooLong));
    }
    let too_many = passes(head.headers.len() as u64, limits.fields);
    if too_many || passes(fields, limits.head_bytes) {
        return Some(Refusal::close(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Fault::HeadTooLarge));
    }
    let mut expectations = head.headers.get_all(header::EXPECT).iter();
    if expectations.any(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Some(Refusal::answer(Response::page(StatusCode::EXPECTATION_FAILED)));
    }
    let response = match head.method {
        Method::OPTIONS if head.uri.path() == "*" => {
            Response::status(StatusCode::NO_CONTENT).with(header::ALLOW, ALLOW)
        }
        // Only a proxy is asked for a tunnel, and of the protocols there may be in one we know WebSocket alone: "SHOULD
        // respond to the request with a 501" (RFC 9220 §3).
        Method::CONNECT => Response::page(StatusCode::NOT_IMPLEMENTED).with(header::CONNECTION, CLOSE),
        _ => return None,
    };
    Some(Refusal::answer(response))
}

/// The methods that a server knows as a whole, whatever is mounted.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// The same, as a field.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

fn target_len(head: &Head) -> u64 {
    head.uri.path_and_query().map_or(0, |target| target.as_str().len()) as u64
}

/// A missing, repeated or malformed `Host` is refused
/// ([RFC 9112 §3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)).
fn has_one_host(head: &Head) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if head.version == Version::HTTP_2 => {
            // There, they are the same (RFC 9113 §8.3.1), and neither is empty (§8.3.1, RFC 9110 §4.2.1).
            let host = host.as_bytes();
            let is_same = |authority: &str| authority.as_bytes().eq_ignore_ascii_case(host);
            !host.is_empty() && is_host(host) && authority.is_none_or(is_same)
        }
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) if head.version == Version::HTTP_2 => authority.is_some(),
        (None, _) => head.version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// Whether a target's scheme is one of ours, and "a request for an "https" resource MUST be rejected unless it has been
/// received over a connection that has been secured" ([RFC 9110 §7.4](https://www.rfc-editor.org/rfc/rfc9110#section-7.4)).
fn is_scheme_served(head: &Head) -> bool {
    match head.uri.scheme() {
        None => true,
        Some(scheme) if *scheme == http::uri::Scheme::HTTP => true,
        Some(scheme) => head.secure && *scheme == http::uri::Scheme::HTTPS,
    }
}

/// Whether the client was shown a certificate for whom it asks. Over HTTP/2 a client may use a connection for several
/// hosts, and asks anew elsewhere where it is told 421 ([RFC 9110 §15.5.20](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20));
/// proxies that speak HTTP/1.1 ask for one host by the name of another.
fn is_certified(head: &Head) -> bool {
    let (Version::HTTP_2, Some(tls), Some(host)) = (head.version, &head.tls, head.host()) else {
        return true;
    };
    tls.covers(host)
}

/// Whether a value begins or ends with white space, which HTTP/2 has none of
/// ([RFC 9113 §8.2.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1)). Of HTTP/1, hyper takes it off.
fn has_loose_values(head: &Head) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    head.version == Version::HTTP_2
        && head.headers.values().any(|value| {
            let value = value.as_bytes();
            is_space(value.first()) || is_space(value.last())
        })
}

/// How long the fields are, as `limits.head_bytes` counts them: with the colon, the space and the line's end.
fn fields_len(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum()
}

/// Whether a target with an authority has one that can be asked for: a host and nobody's name
/// ([RFC 9110 §4.2](https://www.rfc-editor.org/rfc/rfc9110#section-4.2)), and for CONNECT nothing but a host and a port
/// ([§9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)). Over HTTP/2 it has a scheme where it is for a protocol, and
/// only there ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
fn is_target_sound(head: &Head) -> bool {
    let uri = &head.uri;
    let Some(authority) = uri.authority() else { return head.method != Method::CONNECT };
    let is_sound = !authority.host().is_empty() && is_host(authority.as_str().as_bytes());
    let is_tunnel = uri.scheme().is_none() && authority.port_u16().is_some_and(|port| port != 0);
    let is_extended = head.version == Version::HTTP_2 && uri.scheme().is_some();
    is_sound && (head.method != Method::CONNECT || is_tunnel || is_extended)
}

/// What a request is answered with whose body is known to be not right, or in a transfer coding that is not the one there
/// is, or in a version that has none. hyper looks at the last coding only; an unknown one before it would hide in the body
/// ([RFC 9112 §6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)).
fn misframed(head: &Head, connection: &Connection) -> Option<StatusCode> {
    if connection.is_misframed() {
        return Some(StatusCode::BAD_REQUEST);
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?.as_bytes();
    if head.version != Version::HTTP_11 || codings.next().is_some() {
        return Some(StatusCode::BAD_REQUEST);
    }
    let mut names = coding.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
    let last = names.next_back();
    match names.next() {
        None if last.is_some_and(is_chunked) => None,
        // One that there may be, but not here: "SHOULD respond with 501".
        Some(first) if !first.is_empty() && !is_chunked(first) && !names.any(is_chunked) => {
            Some(StatusCode::NOT_IMPLEMENTED)
        }
        _ => Some(StatusCode::BAD_REQUEST),
    }
}

/// Whether a `Host` value is `uri-host [":" port]`, or empty (which the RFC allows)
/// ([RFC 9110 §7.2](https://www.rfc-editor.org/rfc/rfc9110#section-7.2)).
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|&b| b == b':') {
        Some(colon) if !value.ends_with(b"]") => (&value[..colon], &value[colon + 1..]),
        _ => (value, &[][..]),
    };
    // RFC 3986 has no limit for a port, but a port has: five digits.
    port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && match host.strip_prefix(b"[") {
            Some(address) => is_address(address),
            None => is_name(host),
        }
}

/// Whether what follows a `[` is an IPv6 address and its `]`.
fn is_address(address: &[u8]) -> bool {
    let address = address.strip_suffix(b"]").and_then(|address| std::str::from_utf8(address).ok());
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Whether it is a `reg-name` ([RFC 3986 §3.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2)), of which an IPv4
/// address is one.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            (first, _) if first.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(first) => behind,
            _ => return false,
        };
    }
    true
}

async fn answer(server: &Server, mut request: Request, exchanged: &mut Exchanged) -> Response {
    let head = Arc::make_mut(&mut request.head); // nobody else has it yet
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    match server.router.route(&head.method, host.map(without_port), head.uri.path()) {
        // Sends a client's cookies back to whoever can make it ask: no handler gets it.
        Route::Found { .. } if head.method == Method::TRACE => {
            Response::page(StatusCode::METHOD_NOT_ALLOWED).with(header::ALLOW, ALLOW)
        }
        Route::Found { value: &at, params, tail, .. } => {
            head.params = params;
            head.tail = tail;
            exchanged.mounted(at);
            let mount = &server.parts.mounts[at as usize];
            if let Some(limit) = mount.body {
                request.body.set_limit(limit);
            }
            handle(server, mount, request, exchanged).await
        }
        Route::Redirect(mut location) => {
            if let Some(query) = head.uri.query() {
                location.push('?');
                location.push_str(query);
            }
            Response::redirect(&head.method, &location)
        }
        Route::MethodNotAllowed(methods) if head.method == Method::OPTIONS => {
            let allow: Vec<&str> = methods.iter().chain(["OPTIONS"]).collect();
            Response::status(StatusCode::NO_CONTENT).allow(allow)
        }
        Route::MethodNotAllowed(_) if head.method != Method::TRACE && !METHODS.contains(&head.method) => {
            Response::page(StatusCode::NOT_IMPLEMENTED)
        }
        Route::MethodNotAllowed(methods) => Response::method_not_allowed(methods.iter()),
        Route::NotFound => Response::page(StatusCode::NOT_FOUND),
        Route::BadPath => Response::page(StatusCode::BAD_REQUEST).with(header::CONNECTION, CLOSE),
    }
}

/// Calls the handler. Its errors and panics end here, and so does its time.
async fn handle(server: &Server, mount: &Mount, request: Request, exchanged: &mut Exchanged) -> Response {
    let progress = request.body.progress();
    let head = Arc::clone(&request.head);
    let handled = AssertUnwindSafe(async { mount.handler.handle(request).await }).catch_unwind();
    let handled = within(handled, time(server.parts.limits.handler), progress.as_deref()).await;
    match handled {
        Some(Ok(Ok(response))) => {
            if matches!(response.body, Body::Stream(_) | Body::File(_)) {
                let Head { id, method, uri, .. } = &*head;
                exchanged.may_break_off(Asked { id: id.clone(), method: method.clone(), uri: uri.clone() });
            }
            response
        }
        Some(Ok(Err(error))) => {
            count(server, &error);
            let status = error.status();
            if error.blames_client() && status == StatusCode::SERVICE_UNAVAILABLE {
                return Response::busy();
            }
            if status.is_server_error() {
                let error = with_causes(&error);
                tracing::warn!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, origin = %mount.origin, status = status.as_u16(), "{error}");
            }
            let mut response = if status.is_client_error() && error.blames_client() {
                tracing::info!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, status = status.as_u16(), "refused: {}", error.logged());
                Response::refusal(status, &error.to_string())
            } else {
                Response::page(status)
            };
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            // What is left of a body that broke off, or came too slowly, is not to be told from a request.
            if matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE
            ) {
                return response.with(header::CONNECTION, CLOSE);
            }
            response
        }
        Some(Err(_panic)) => {
            // Its message is in the log already, from the panic hook.
            tracing::error!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, origin = %mount.origin, "the handler panicked");
            Response::page(StatusCode::INTERNAL_SERVER_ERROR)
        }
        None => {
            server.parts.counters.faults.count(Fault::HandlerTimeout);
            let limit = server.parts.limits.handler;
            tracing::warn!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, origin = %mount.origin, "the handler took longer than {limit} s (`limits.handler`)");
            Response::page(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// The faults of clients that handlers stumble over.
fn count(server: &Server, error: &HandlerError) {
    let fault = match error.status() {
        StatusCode::REQUEST_TIMEOUT => Fault::BodyTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Fault::BodyTooLarge,
        StatusCode::SERVICE_UNAVAILABLE if error.blames_client() => Fault::NoMemory,
        _ => return,
    };
    server.parts.counters.faults.count(fault);
}

/// Polls `work` until it is done, or `limit` is over in which none of the request's body was read. Work that never waits
/// needs no clock.
async fn within<T>(
    work: impl Future<Output = T>,
    limit: Duration,
    progress: Option<&AtomicU64>,
) -> Option<T> {
    let mut work = std::pin::pin!(work);
    if let Some(done) = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
    {
        return Some(done);
    }
    if limit == Duration::MAX {
        return Some(work.await);
    }
    loop {
        let read = || progress.map_or(0, |progress| progress.load(Relaxed));
        let before = read();
        match tokio::time::timeout(limit, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_elapsed) if read() == before => return None,
            Err(_elapsed) => {}
        }
    }
}

/// Hands the response to hyper, with the fields that are the server's to write.
fn send(
    response: Response,
    (version, is_head): (Version, bool),
    tunnel: Option<OnUpgrade>,
    mut exchanged: Exchanged,
) -> http::Response<SentBody> {
    let Response { status, mut headers, body, upgrade, finish } = response;
    headers.insert(header::SERVER, SERVER);
    headers.remove(header::TRANSFER_ENCODING);
    if version == Version::HTTP_2 {
        headers.remove(header::CONNECTION);
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
    exchanged.status = status;
    // hyper leaves content out where none belongs, but with HTTP/2 it does not.
    let is_bare = version == Version::HTTP_2 && (is_head || !may_have_body(status));
    let body = if is_bare { Body::Empty } else { body };
    if let Some(finish) = finish {
        exchanged.connection().finish_early(&finish);
        exchanged.let_go();
    }
    let body = match upgrade {
        None => SentBody::new(body, exchanged),
        Some(upgrade) => {
            let connection = Rc::clone(exchanged.connection());
            exchanged.let_go();
            match tunnel {
                None => connection.upgrade_to(upgrade, exchanged),
                Some(tunnel) => {
                    tokio::task::spawn_local(upgrade::run_on_stream(upgrade, exchanged, tunnel));
                }
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
