//! Has a `tower` service answer, such as a router of axum.
//!
//! Bodies stream both ways. The service finds the request's [`Head`] among its extensions, as an `Arc<Head>`: who asks, from where,
//! and what the pattern of the mount has matched. It sees the path as it came; [`rewrite`](super::rewrite) takes off what it is
//! mounted under. It runs on the request's own worker, so it must not block.
//!
//! Trailers of an answer are left out, and a service cannot go on with another protocol after a 101: sessions are
//! [`websocket`](crate::websocket)'s.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::stream;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use http_body::Body as HttpBody;
use medusa_proto::status::Status;
use tower_service::Service;

use crate::body::BodyError;
use crate::handler::{Handler, HandlerError, HandlerFuture};
use crate::request::{Head, PolledBody, Request, RequestBodyError};
use crate::response::Response;
use crate::sessions::Sessions;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Fields of the connection ([RFC 9110 §7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)), which is the server's.
const OF_CONNECTION: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];

/// A handler that is a service.
pub struct TowerService<S> {
    service: S,
    name: String,
    sessions: Sessions,
}

impl<S> TowerService<S> {
    /// Has `service` answer, which the status calls `name`. For each request it is cloned, and asked whether it is ready.
    pub fn new(name: impl Into<String>, service: S) -> Self {
        Self { service, name: name.into(), sessions: Sessions::default() }
    }
}

impl<S> fmt::Debug for TowerService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerService").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S, B> TowerService<S>
where
    S: Service<http::Request<PolledBody>, Response = http::Response<B>, Error: Into<BoxError>> + Clone,
    B: HttpBody<Error: Into<BoxError>> + 'static,
{
    async fn answer(&self, request: Request) -> Result<Response, HandlerError> {
        let mut service = self.service.clone();
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(failed)?;
        let answered = service.call(asked(request)).await.map_err(failed)?;
        let (parts, body) = answered.into_parts();
        if parts.status.is_informational() {
            return Err(HandlerError::internal(Switches(parts.status)));
        }
        let mut response = Response { status: parts.status, headers: parts.headers, ..Response::default() };
        for name in &OF_CONNECTION {
            response.headers.remove(name);
        }
        if body.is_end_stream() {
            return Ok(response);
        }
        if let Some(length) = body.size_hint().exact() {
            let length = HeaderValue::from(length);
            response.headers.entry(header::CONTENT_LENGTH).or_insert(length);
        }
        Ok(response.stream(Box::pin(chunks(body)), &self.sessions, Duration::ZERO))
    }
}

/// A service has answered with what cannot be passed on.
#[derive(Debug, thiserror::Error)]
#[error("the service answers {}; it cannot go on with another protocol here", .0.as_u16())]
struct Switches(StatusCode);

/// The request as a service has it.
fn asked(request: Request) -> http::Request<PolledBody> {
    let Request { head, body } = request;
    let mut asked = http::Request::new(PolledBody::new(body));
    asked.method_mut().clone_from(&head.method);
    asked.uri_mut().clone_from(&head.uri);
    *asked.version_mut() = head.version;
    asked.headers_mut().clone_from(&head.headers);
    asked.extensions_mut().insert::<Arc<Head>>(head);
    asked
}

/// What a service has failed with. Where it is the request's body that failed, the client is to blame.
fn failed(error: impl Into<BoxError>) -> HandlerError {
    let error = error.into();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(here) = cause {
        if let Some(body) = here.downcast_ref::<RequestBodyError>() {
            let (status, option) = (body.status(), body.option());
            return HandlerError::client(status, error).by_option(option);
        }
        cause = here.source();
    }
    HandlerError::internal(error)
}

/// The data of a body.
fn chunks<B>(body: B) -> impl stream::Stream<Item = Result<Bytes, BodyError>>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    let mut body = Box::pin(body);
    stream::poll_fn(move |cx| {
        loop {
            return Poll::Ready(match ready!(body.as_mut().poll_frame(cx)) {
                None => None,
                Some(Err(error)) => Some(Err(BodyError::Producer(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) if data.has_remaining() => Some(Ok(data.copy_to_bytes(data.remaining()))),
                    // Trailers, or nothing.
                    Ok(_) | Err(_) => continue,
                },
            });
        }
    })
}

impl<S, B> Handler for TowerService<S>
where
    S: Service<http::Request<PolledBody>, Response = http::Response<B>, Error: Into<BoxError>>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Error: Into<BoxError>> + 'static,
{
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(self.answer(request))
    }

    fn sessions(&self) -> Option<&Sessions> {
        Some(&self.sessions)
    }

    fn status(&self) -> Status {
        self.sessions.describe(Status::new("service", self.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::pin::Pin;
    use std::task::Context;

    use futures_util::StreamExt as _;
    use http::Method;

    use super::*;
    use crate::body::Body;
    use crate::handlers::stand_in::request_from;
    use crate::request::RequestBody;

    /// Answers with what it is sent.
    #[derive(Clone)]
    struct Echo(StatusCode);

    impl Service<http::Request<PolledBody>> for Echo {
        type Response = http::Response<PolledBody>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<PolledBody>) -> Self::Future {
            let user = request.extensions().get::<Arc<Head>>().and_then(|head| head.user.get().cloned());
            let shown = format!("{} {} {user:?}", request.method(), request.uri());
            let mut answer = http::Response::new(request.into_body());
            *answer.status_mut() = self.0;
            answer.headers_mut().insert("x-asked", shown.try_into().expect("text"));
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            ready(Ok(answer))
        }
    }

    /// Fails with an error, or reads the body and fails with that one's.
    #[derive(Clone)]
    struct Fails(bool);

    impl Service<http::Request<PolledBody>> for Fails {
        type Response = http::Response<PolledBody>;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<PolledBody>) -> Self::Future {
            let reads = self.0;
            Box::pin(async move {
                let mut body = Box::pin(request.into_body());
                while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await.filter(|_| reads) {
                    frame?;
                }
                Err("it has failed".into())
            })
        }
    }

    fn post(content: &'static str) -> Request {
        let mut request = request_from("::1", Method::POST, "/a?b", &[]);
        request.body = RequestBody::from_bytes(Bytes::from_static(content.as_bytes()));
        request
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_it_answers_is_the_response_and_its_body_a_stream() {
        let service = TowerService::new("echo", Echo(StatusCode::CREATED));
        let request = post("hello");
        request.head.user.set("ada".into()).expect("nobody yet");
        let answer = service.handle(request).await.expect("an answer");
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["x-asked"]),
            (201, &HeaderValue::from_static("POST /a?b Some(\"ada\")"))
        );
        assert!(!answer.headers.contains_key(header::CONNECTION));
        let Body::Stream(mut body) = answer.body else { panic!("{:?}", answer.body) };
        assert_eq!(body.next().await.expect("a chunk").expect("no error"), "hello");
        assert!(body.next().await.is_none());
        let empty = service.handle(post("")).await.expect("an answer");
        assert!(matches!(empty.body, Body::Empty), "{:?}", empty.body);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failure_is_the_servers_unless_it_is_the_bodys() {
        let fails = |reads| TowerService::new("fails", Fails(reads));
        let error = fails(false).handle(post("hello")).await.expect_err("it fails");
        assert_eq!((error.status().as_u16(), error.to_string().as_str()), (500, "it has failed"));
        let mut too_long = post("hello");
        too_long.body.set_limit(3);
        assert_eq!(fails(true).handle(too_long).await.expect_err("it is too long").status(), 413);
        let switches = TowerService::new("echo", Echo(StatusCode::SWITCHING_PROTOCOLS));
        let error = switches.handle(post("")).await.expect_err("no session");
        assert!(error.status() == 500 && error.to_string().contains("answers 101"), "{error}");
    }
}
