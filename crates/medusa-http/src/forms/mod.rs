//! The parts of `multipart/form-data` bodies ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)), by which browsers send files: for
//! whoever reads forms, one part after the other.
//!
//! multer finds the parts. It is fed by hand, a piece at a time and only when it asks for one: left to pull by itself it
//! takes everything that is there into memory at once, and has no limit for what stands before a part's data, which it
//! searches from the start again with every piece that comes.
//!
//! **Invariant:** all that is in memory of a body at a time is a piece of it, and what whoever reads it keeps.

mod charset;
mod params;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use http::StatusCode;
use medusa_proto::shown::push_cut;
use multer::Multipart;
use parking_lot::{Mutex, MutexGuard};

use crate::{RequestBody, RequestBodyError};

pub use charset::Charset;
pub use params::{Disposition, param};

/// The longest boundary ([RFC 2046 §5.1.1](https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1)).
const MAX_BOUNDARY: usize = 70;

/// The most that may stand before a part's data, in bytes: its fields, or what comes before the first part.
const MAX_HEAD: usize = 16 * 1024;

/// The size that is fed at once while a part's head is looked for, in bytes.
const HEAD_PIECE: usize = 4 * 1024;

/// The size that is fed at once of a part's data, in bytes.
const DATA_PIECE: usize = 64 * 1024;

/// The most of a text from outside that a message shows, in bytes.
const MAX_SHOWN: usize = 64;

/// A part of a form: its fields, and its data as it comes.
pub type FormPart = multer::Field<'static>;

/// The reason why a form's parts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The body could not be read.
    #[error(transparent)]
    Body(#[from] RequestBodyError),
    /// It is in another charset: 415. Guessing would make other characters of it.
    #[error("the form is in the charset {0:?}; only UTF-8 and ISO-8859-1 are read")]
    Charset(String),
    /// It is not what its type says: 400.
    #[error("the form is malformed: {0}")]
    Malformed(String),
}

impl PartError {
    fn charset(name: &[u8]) -> Self {
        let mut shown = String::new();
        push_cut(&mut shown, MAX_SHOWN, format_args!("{}", String::from_utf8_lossy(name)));
        Self::Charset(shown)
    }

    /// The option of the server that sets the limit.
    pub fn option(&self) -> Option<&'static str> {
        if let Self::Body(error) = self { error.option() } else { None }
    }

    /// The status that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(error) => error.status(),
            Self::Charset(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the boundary of a form's parts from its `Content-Type`.
///
/// # Errors
///
/// There is none, or it is not as long as one may be.
pub fn boundary(content_type: &[u8]) -> Result<String, PartError> {
    let boundary = param(content_type, "boundary")
        .ok_or_else(|| PartError::Malformed("its type names no boundary".to_owned()))?;
    match String::from_utf8(boundary) {
        Ok(boundary) if (1..=MAX_BOUNDARY).contains(&boundary.len()) => Ok(boundary),
        _ => Err(PartError::Malformed(format!("its boundary has not 1 to {MAX_BOUNDARY} characters"))),
    }
}

/// The body that parts are read from.
pub trait PartSource {
    /// The next piece; none at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, RequestBodyError>>;
}

impl PartSource for RequestBody {
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, RequestBodyError>> {
        Self::chunk(self)
    }
}

/// The parts of a body, one after the other.
pub struct FormParts<'a, S> {
    multipart: Multipart<'static>,
    feed: Feed,
    source: &'a mut S,
    /// What came and has not been fed.
    ahead: Bytes,
}

impl<S> std::fmt::Debug for FormParts<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FormParts").field("ahead", &self.ahead.len()).finish_non_exhaustive()
    }
}

impl<'a, S: PartSource> FormParts<'a, S> {
    /// Begins with a body whose parts are told apart by `boundary`.
    pub fn new(boundary: &str, source: &'a mut S) -> Self {
        let feed = Feed::default();
        let multipart = Multipart::new(feed.clone(), boundary);
        Self { multipart, feed, source, ahead: Bytes::new() }
    }

    /// The body.
    pub fn source(&mut self) -> &mut S {
        self.source
    }

    /// The next part. The one before must have been read to its end, and be gone.
    ///
    /// # Errors
    ///
    /// See [`PartError`].
    pub async fn next(&mut self) -> Result<Option<FormPart>, PartError> {
        let mut fed = 0;
        loop {
            match self.multipart.poll_next_field(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(part) => return part.map_err(malformed),
                Poll::Pending if fed > MAX_HEAD => {
                    let message = format!("a part's fields are longer than {MAX_HEAD} bytes");
                    return Err(PartError::Malformed(message));
                }
                Poll::Pending => fed += self.feed(HEAD_PIECE).await?,
            }
        }
    }

    /// The next piece of a part's data.
    ///
    /// # Errors
    ///
    /// See [`PartError`].
    pub async fn data(&mut self, part: &mut FormPart) -> Result<Option<Bytes>, PartError> {
        loop {
            match Pin::new(&mut *part).poll_next(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(piece) => return piece.transpose().map_err(malformed),
                Poll::Pending => drop(self.feed(DATA_PIECE).await?),
            }
        }
    }

    /// Feeds at most so many bytes, or the end. Returns how many.
    async fn feed(&mut self, limit: usize) -> Result<usize, PartError> {
        if self.ahead.is_empty() {
            match self.source.chunk().await? {
                Some(piece) => self.ahead = piece,
                None => return if self.feed.end() { Ok(0) } else { Err(broken_off()) },
            }
        }
        let piece = self.ahead.split_to(self.ahead.len().min(limit));
        let length = piece.len();
        self.feed.put(piece);
        Ok(length)
    }

    /// Reads what stands behind the last part, which means nothing.
    ///
    /// # Errors
    ///
    /// [`PartError::Body`]
    pub async fn finish(self) -> Result<(), PartError> {
        while self.source.chunk().await?.is_some() {}
        Ok(())
    }
}

fn malformed(error: multer::Error) -> PartError {
    PartError::Malformed(error.to_string())
}

fn broken_off() -> PartError {
    PartError::Malformed("it ends in the middle".to_owned())
}

/// The stream that multer reads from: one piece at most.
#[derive(Clone, Default)]
struct Feed(Arc<Mutex<FeedState>>);

#[derive(Default)]
struct FeedState {
    piece: Option<Bytes>,
    ended: bool,
}

impl Feed {
    fn put(&self, piece: Bytes) {
        self.lock().piece = Some(piece);
    }

    /// Says that nothing more will come; false if that was said before.
    fn end(&self) -> bool {
        !std::mem::replace(&mut self.lock().ended, true)
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        self.0.lock()
    }
}

impl Stream for Feed {
    type Item = Result<Bytes, std::convert::Infallible>;

    /// No waker is kept: whoever feeds polls again.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slot = self.lock();
        match slot.piece.take() {
            Some(piece) => Poll::Ready(Some(Ok(piece))),
            None if slot.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
