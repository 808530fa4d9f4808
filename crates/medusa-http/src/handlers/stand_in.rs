//! For tests: a handler for wrappers to stand before, and what asks them.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use medusa_proto::access::Peer;
use medusa_proto::status::Status;

use crate::handler::{Handler, HandlerFuture};
use crate::request::{Head, Request, RequestBody};
use crate::response::Response;

/// Answers with what `make` makes.
pub(super) struct StandIn<F>(F);

impl<F> std::fmt::Debug for StandIn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StandIn")
    }
}

impl<F: Fn() -> Response + Send + Sync + 'static> Handler for StandIn<F> {
    fn handle(&self, _request: Request) -> HandlerFuture<'_> {
        Box::pin(std::future::ready(Ok((self.0)())))
    }

    fn status(&self) -> Status {
        Status::new("test", "stand-in")
    }
}

/// A handler that answers with what `make` makes.
pub(super) fn answers(make: impl Fn() -> Response + Send + Sync + 'static) -> Arc<dyn Handler> {
    Arc::new(StandIn(make))
}

/// A handler that answers 200.
pub(super) fn fine() -> Arc<dyn Handler> {
    answers(|| Response::text("fine"))
}

/// A request of `method` for `target` with these fields, from `client`.
pub(super) fn request_from(
    client: &str,
    method: Method,
    target: &str,
    fields: &[(&'static str, &str)],
) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).expect("a value");
        headers.try_append(HeaderName::from_static(name), value).expect("there is room");
    }
    let client = client.parse::<IpAddr>().map_or(Peer::Unix, Peer::from);
    let head = Head { headers, client, ..Head::new(method, target.parse().expect("a target")) };
    Request { head: head.into(), body: RequestBody::from_bytes(Bytes::new()) }
}

/// The response to a GET from `client`.
pub(super) async fn get(handler: &dyn Handler, client: &str) -> Response {
    handler.handle(request_from(client, Method::GET, "/", &[])).await.expect("an answer")
}
