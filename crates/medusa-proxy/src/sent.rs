//! A request's body on its way to an upstream: read from the client as fast as the upstream takes it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use medusa_http::{RequestBody, RequestBodyError};

/// What becomes of a body that is sent, for who sends it.
#[derive(Debug, Default)]
pub(crate) struct SendState {
    /// The bytes of it that the client has sent.
    pub(crate) read: Cell<u64>,
    /// The reason why it could not be read to its end: the client is to blame then.
    pub(crate) fault: RefCell<Option<RequestBodyError>>,
}

/// The body of a request that is sent.
pub(crate) struct SentRequest {
    state: Reading,
    length: Option<u64>,
    shared: Rc<SendState>,
}

type NextChunk = Pin<Box<dyn Future<Output = (RequestBody, Result<Option<Bytes>, RequestBodyError>)>>>;

enum Reading {
    /// Nobody waits for a part of it.
    Resting(RequestBody),
    Waiting(NextChunk),
    Over,
}

/// An error: the client's body could not be read. Which one is in [`SendState`].
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(crate) struct BodyBroke;

impl SentRequest {
    pub(crate) fn new(body: RequestBody, shared: Rc<SendState>) -> Self {
        Self { length: body.length(), state: Reading::Resting(body), shared }
    }

    /// The body of a request that was not sent.
    pub(crate) fn take_back(self) -> Option<RequestBody> {
        match self.state {
            Reading::Resting(body) => Some(body),
            _ => None,
        }
    }
}

impl Body for SentRequest {
    type Data = Bytes;
    type Error = BodyBroke;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroke>>> {
        let this = self.get_mut();
        let mut waiting: NextChunk = match std::mem::replace(&mut this.state, Reading::Over) {
            Reading::Resting(mut body) => Box::pin(async move {
                let chunk = body.chunk().await;
                (body, chunk)
            }),
            Reading::Waiting(waiting) => waiting,
            Reading::Over => return Poll::Ready(None),
        };
        let Poll::Ready((body, chunk)) = waiting.as_mut().poll(cx) else {
            this.state = Reading::Waiting(waiting);
            return Poll::Pending;
        };
        // What comes behind a body (trailers) is not passed on.
        match chunk {
            Ok(Some(chunk)) => {
                this.shared.read.set(this.shared.read.get() + chunk.len() as u64);
                this.state = Reading::Resting(body);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Ok(None) => Poll::Ready(None),
            Err(fault) => {
                *this.shared.fault.borrow_mut() = Some(fault);
                Poll::Ready(Some(Err(BodyBroke)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.state, Reading::Over) || self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
