//! A `tower` service: says what it is sent in capital letters, while that comes. A router of axum is mounted in the same way.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use medusa::handler::PolledBody;
use tower_service::Service;

/// The service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shout;

impl Service<http::Request<PolledBody>> for Shout {
    type Response = http::Response<Loud>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<PolledBody>) -> Self::Future {
        ready(Ok(http::Response::new(Loud(request.into_body()))))
    }
}

/// A body that is louder than another.
#[derive(Debug)]
pub(crate) struct Loud(PolledBody);

impl Body for Loud {
    type Data = Bytes;
    type Error = <PolledBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map_ok(|frame| frame.map_data(|data| data.to_ascii_uppercase().into()))
    }
}
