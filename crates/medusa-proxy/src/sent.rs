//! A request's body on its way to an upstream: read from the client as fast as the upstream takes it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use medusa_http::{PolledBody, RequestBody, RequestBodyError};

/// What becomes of a body that is sent, for who sends it.
#[derive(Debug, Default)]
pub(crate) struct SendState {
    /// The bytes of it that the client has sent.
    pub(crate) read: AtomicU64,
    /// The reason why it could not be read to its end: the client is to blame then.
    pub(crate) fault: RefCell<Option<RequestBodyError>>,
}

/// The body of a request that is sent.
pub(crate) struct SentRequest {
    body: PolledBody,
    length: Option<u64>,
    shared: Rc<SendState>,
}

/// An error: the client's body could not be read. Which one is in [`SendState`].
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(crate) struct BodyBroke;

impl SentRequest {
    pub(crate) fn new(body: RequestBody, shared: Rc<SendState>) -> Self {
        Self { length: body.length(), body: PolledBody::new(body), shared }
    }

    /// The body of a request that was not sent.
    pub(crate) fn take_back(self) -> Option<RequestBody> {
        self.body.into_inner()
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
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => None,
            // What comes behind a body (trailers) is not passed on.
            Some(Ok(frame)) => frame.into_data().ok().map(|chunk| {
                this.shared.read.fetch_add(chunk.len() as u64, Relaxed);
                Ok(Frame::data(chunk))
            }),
            Some(Err(fault)) => {
                *this.shared.fault.borrow_mut() = Some(fault);
                Some(Err(BodyBroke))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() || self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
