//! A request's body on its way to an upstream: read from the client as fast as the upstream takes it, and its beginning kept for
//! as long as the request may have to be sent again.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use medusa_http::{PolledBody, RequestBody, RequestBodyError};

use crate::fields::strip_request_trailers;

/// The most of a body that is kept to be sent again, in bytes.
pub(crate) const MOST_KEPT: usize = 64 * 1024;

/// The body of a request that is sent, once or more often.
#[derive(Debug)]
pub(crate) struct BodySource {
    body: RefCell<PolledBody>,
    length: Option<u64>,
    /// The bytes of it that the client has sent.
    read: AtomicU64,
    /// The reason why it could not be read to its end: the client is to blame then.
    fault: RefCell<Option<RequestBodyError>>,
    kept: RefCell<KeptBody>,
    trailers: RefCell<Option<HeaderMap>>,
    /// The number of times it was sent: who sent it before gets no more of it.
    turn: Cell<u32>,
}

/// The part that was read.
#[derive(Debug)]
struct KeptBody {
    chunks: Vec<Bytes>,
    bytes: usize,
    /// Nothing is missing that was read.
    is_whole: bool,
}

/// The body of a request that is sent.
pub(crate) struct SentRequest {
    source: Rc<BodySource>,
    turn: u32,
    /// The number of chunks that were sent of those that are kept.
    at: usize,
    /// Nothing comes any more but trailers.
    has_ended: bool,
    passes_trailers: bool,
}

/// An error: the client's body could not be read, or is sent by another. The former is in [`BodySource`].
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(crate) struct BodyBroke;

impl BodySource {
    pub(crate) fn new(body: RequestBody) -> Self {
        let kept = KeptBody { chunks: Vec::new(), bytes: 0, is_whole: true };
        Self {
            length: body.length(),
            body: RefCell::new(PolledBody::new(body)),
            read: AtomicU64::new(0),
            fault: RefCell::default(),
            kept: RefCell::new(kept),
            trailers: RefCell::default(),
            turn: Cell::new(0),
        }
    }

    /// Its length, if that is known before it is read.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The bytes of it that the client has sent.
    pub(crate) fn read(&self) -> &AtomicU64 {
        &self.read
    }

    /// Why it could not be read to its end.
    pub(crate) fn take_fault(&self) -> Option<RequestBodyError> {
        self.fault.take()
    }

    /// Whether all of it can be sent from its beginning.
    pub(crate) fn is_replayable(&self) -> bool {
        self.read.load(Relaxed) == 0 || self.kept.borrow().is_whole
    }

    /// Lets go of what is kept: it is not sent again.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept.borrow_mut();
        *kept = KeptBody { chunks: Vec::new(), bytes: 0, is_whole: false };
    }

    /// Sends it, from its beginning; what is read of it is kept if `keeps` from the first time on, as far as that goes.
    pub(crate) fn send(self: &Rc<Self>, keeps: bool, passes_trailers: bool) -> SentRequest {
        if !keeps && self.turn.get() == 0 {
            self.forget();
        }
        self.turn.set(self.turn.get() + 1);
        SentRequest {
            source: Rc::clone(self),
            turn: self.turn.get(),
            at: 0,
            has_ended: false,
            passes_trailers,
        }
    }

    /// Keeps what was just read; whether it is kept.
    fn keep(&self, body: &mut PolledBody, chunk: &Bytes) -> bool {
        let mut kept = self.kept.borrow_mut();
        if !kept.is_whole {
            return false;
        }
        let bytes = kept.bytes + chunk.len();
        if bytes > MOST_KEPT || !body.hold(chunk.len()) {
            *kept = KeptBody { chunks: Vec::new(), bytes: 0, is_whole: false };
            return false;
        }
        kept.bytes = bytes;
        kept.chunks.push(chunk.clone());
        true
    }
}

impl SentRequest {
    fn take_trailers(&mut self) -> Option<Result<Frame<Bytes>, BodyBroke>> {
        self.has_ended = true;
        // Once: what was sent before had them, too.
        let passes = std::mem::replace(&mut self.passes_trailers, false);
        let trailers = self.source.trailers.borrow().clone().filter(|_| passes)?;
        Some(Ok(Frame::trailers(trailers)))
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
        let source = Rc::clone(&this.source);
        if this.turn != source.turn.get() {
            return Poll::Ready(Some(Err(BodyBroke)));
        }
        if let Some(chunk) = source.kept.borrow().chunks.get(this.at) {
            this.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        if this.has_ended {
            return Poll::Ready(this.take_trailers());
        }
        let mut body = source.body.borrow_mut();
        Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => this.take_trailers(),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => {
                    source.read.fetch_add(chunk.len() as u64, Relaxed);
                    if source.keep(&mut body, &chunk) {
                        this.at += 1;
                    }
                    Some(Ok(Frame::data(chunk)))
                }
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        strip_request_trailers(&mut trailers);
                        *source.trailers.borrow_mut() = Some(trailers).filter(|them| !them.is_empty());
                    }
                    this.take_trailers()
                }
            },
            Some(Err(fault)) => {
                *source.fault.borrow_mut() = Some(fault);
                Some(Err(BodyBroke))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let source = &self.source;
        source.length == Some(0)
            || self.at >= source.kept.borrow().chunks.len()
                && (self.has_ended || source.body.borrow().is_end_stream())
                && !(self.passes_trailers && source.trailers.borrow().is_some())
    }

    fn size_hint(&self) -> SizeHint {
        self.source.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
