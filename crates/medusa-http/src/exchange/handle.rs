//! Routes a request and calls its handler, whose errors, panics and time end here.

use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::{HeaderValue, Method, StatusCode};
use medusa_proto::with_causes;

use super::state::{Exchange, RequestSummary};
use crate::body::Body;
use crate::fault::Fault;
use crate::handler::HandlerError;
use crate::limits::time;
use crate::pass;
use crate::preflight::asked_method;
use crate::request::{Head, Request, without_port};
use crate::response::{CLOSE, Response};
use crate::server::{Mount, Server};
use crate::time_limit::within;
use crate::way::{OwnAnswer, Way};

/// The time that wrappers have for a page when the handler's is over.
const FOR_A_PAGE: Duration = Duration::from_secs(5);

/// The reason of a 503.
#[derive(Debug, thiserror::Error)]
#[error("the handler took longer than {0} s (`limits.handler`)")]
struct HandlerTookTooLong(u32);

pub(super) async fn answer(server: &Server, mut request: Request, exchange: &mut Exchange) -> Response {
    let head = Arc::make_mut(&mut request.head); // nobody else has it yet
    let host = host(head);
    let way = preflight(server, head, host);
    match way.unwrap_or_else(|| server.way(&head.method, host, head.uri.path())) {
        Way::Mount { at, pattern, params, tail } => {
            head.preflight = head.method == Method::OPTIONS && !pattern.methods().contains(&Method::OPTIONS);
            head.params = params;
            head.tail = tail;
            exchange.mounted(at);
            let mount = &server.definition.mounts[at as usize];
            if let Some(limit) = mount.body {
                request.body.set_limit(limit);
            }
            let asked = Arc::clone(&request.head);
            let mut response = handle(server, mount, request, exchange).await;
            if response.status == StatusCode::METHOD_NOT_ALLOWED || asked.method == Method::OPTIONS {
                allow_all(server, at, &asked, &mut response);
            }
            response
        }
        Way::Redirect(mut location) => {
            if let Some(query) = head.uri.query() {
                location.push('?');
                location.push_str(query);
            }
            Response::redirect(&head.method, &location)
        }
        Way::Answer(OwnAnswer { status, allow, closes }) => {
            let mut response = Response::page(status);
            if !allow.is_empty() {
                response = response.allow(allow.iter().map(String::as_str));
            }
            if closes { response.with(header::CONNECTION, CLOSE) } else { response }
        }
    }
}

/// The host that is asked, without its port.
fn host(head: &Head) -> Option<&str> {
    let host = head.uri.authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    host.map(without_port)
}

/// Where a handler says which methods there are, adds those of other mounts, of which it knows nothing
/// ([RFC 9110 §10.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.1)).
fn allow_all(server: &Server, at: u32, head: &Head, response: &mut Response) {
    let mut given = response.headers.get_all(header::ALLOW).iter();
    let (Some(told), None) = (given.next().and_then(|told| told.to_str().ok()), given.next()) else { return };
    let told = told.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut all: Vec<_> = told.map(str::to_owned).collect();
    let known = all.len();
    for name in server.methods_elsewhere(at, host(head), head.path()) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    if all.len() > known
        && let Ok(all) = HeaderValue::try_from(all.join(", "))
    {
        response.headers.insert(header::ALLOW, all);
    }
}

/// The way of a preflight: to the mount that would get the request it asks about, where that answers preflights. A mount of
/// `GET /x` would never see one otherwise.
fn preflight<'s>(server: &'s Server, head: &Head, host: Option<&str>) -> Option<Way<'s>> {
    let way = server.way(&asked_method(head)?, host, head.uri.path());
    let Way::Mount { at, .. } = &way else { return None };
    let mount = server.definition.mount_at(*at)?;
    mount.handler.answers_preflights().then_some(way)
}

/// Calls the handler. Its errors and panics end here, and so does its time.
async fn handle(server: &Server, mount: &Mount, request: Request, exchange: &mut Exchange) -> Response {
    let progress = request.body.progress();
    let head = Arc::clone(&request.head);
    if let Some(trace) = &head.trace {
        trace.mounted(&mount.pattern, &mount.origin);
    }
    let limit = server.definition.limits.handler;
    let finding = FindingOut { head: &head, exchange };
    let answered = within(pass::answer(&mount.handler, request), time(limit), progress.as_deref()).await;
    drop(finding);
    let mut response = if let Some(response) = answered {
        response
    } else {
        server.definition.counters.faults.count(Fault::HandlerTimeout);
        let page = || Response::failed(HandlerError::unavailable(HandlerTookTooLong(limit)));
        let paged = within(mount.handler.overdue(&head, page()), FOR_A_PAGE, None).await;
        paged.unwrap_or_else(page)
    };
    if let Some(error) = response.failure.take() {
        tell(server, mount, &head, &error);
    }
    if matches!(response.body, Body::Stream(_) | Body::File(_)) {
        let Head { id, method, uri, .. } = &*head;
        exchange.may_break_off(RequestSummary { id: id.clone(), method: method.clone(), uri: uri.clone() });
    }
    response
}

/// Counts what a handler has failed with, and says so.
fn tell(server: &Server, mount: &Mount, head: &Head, error: &HandlerError) {
    count(server, error);
    let status = error.status();
    if let Some(trace) = &head.trace {
        trace.failed(&with_causes(error));
    }
    if error.is_busy() {
        return;
    }
    if error.is_panic() {
        // Its message is in the log already, from the panic hook.
        tracing::error!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, origin = %mount.origin, "{error}");
    } else if status.is_server_error() {
        let error = with_causes(error);
        tracing::warn!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, origin = %mount.origin, status = status.as_u16(), "{error}");
    } else if status.is_client_error() && error.blames_client() {
        tracing::info!(request = %head.id, method = %head.method, path = %head.path(), mount = %mount.pattern, status = status.as_u16(), "refused: {}", error.logged());
    }
}

/// Tells the exchange what was found out of its request, also where its client leaves before there is an answer.
struct FindingOut<'a> {
    head: &'a Head,
    exchange: &'a mut Exchange,
}

impl Drop for FindingOut<'_> {
    fn drop(&mut self) {
        self.exchange.found_out(self.head);
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
    server.definition.counters.faults.count(fault);
}
