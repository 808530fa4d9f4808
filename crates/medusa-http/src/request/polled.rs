//! The body of a request for whoever polls for it: a service, or a client that sends it on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::RequestBody;
use super::error::RequestBodyError;
use crate::budget::Held;

type Reading = Pin<Box<dyn Future<Output = (RequestBody, Result<Option<Bytes>, RequestBodyError>)> + Send>>;

/// The body of a request, read from the client as fast as it is polled. It ends with the fields behind it, if there are any.
pub struct PolledBody {
    state: BodyState,
    /// The count of what was held of it, once it is over.
    held: Option<Held>,
}

enum BodyState {
    /// Nobody waits for a part of it.
    Resting(RequestBody),
    Reading(Reading),
    Over,
}

impl PolledBody {
    /// Reads `body` when it is polled.
    pub fn new(body: RequestBody) -> Self {
        Self { state: BodyState::Resting(body), held: None }
    }

    /// Counts bytes that were read and stay in memory for as long as this does; whether there is room for them.
    pub fn hold(&mut self, bytes: usize) -> bool {
        match &mut self.state {
            BodyState::Resting(body) => body.hold(bytes).is_ok(),
            BodyState::Reading(_) | BodyState::Over => false,
        }
    }

    /// The body again, unless it is over or somebody waits for a part of it.
    pub fn into_inner(self) -> Option<RequestBody> {
        match self.state {
            BodyState::Resting(body) => Some(body),
            BodyState::Reading(_) | BodyState::Over => None,
        }
    }
}

impl HttpBody for PolledBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut reading: Reading = match std::mem::replace(&mut self.state, BodyState::Over) {
            BodyState::Over => return Poll::Ready(None),
            BodyState::Reading(reading) => reading,
            BodyState::Resting(mut body) => Box::pin(async move {
                let read = body.chunk().await;
                (body, read)
            }),
        };
        let Poll::Ready((mut body, read)) = reading.as_mut().poll(cx) else {
            self.state = BodyState::Reading(reading);
            return Poll::Pending;
        };
        Poll::Ready(match read {
            Ok(Some(chunk)) => {
                self.state = BodyState::Resting(body);
                Some(Ok(Frame::data(chunk)))
            }
            Ok(None) => {
                self.held = body.take_held();
                body.trailers().map(|trailers| Ok(Frame::trailers(trailers.clone())))
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            BodyState::Resting(body) => body.is_empty(),
            BodyState::Reading(_) => false,
            BodyState::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl fmt::Debug for PolledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolledBody")
    }
}
