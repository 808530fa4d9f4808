//! The result of a fetch: an answer, with its body in memory or on its way.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::Task;
use crate::error::{Fault, FetchError};

/// The longest piece of a streamed body, in bytes.
pub const MAX_CHUNK: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Its status; redirects that were followed are not seen.
    pub status: StatusCode,
    /// Its fields. Of a body that came compressed, `Content-Encoding` and `Content-Length` are gone.
    pub headers: HeaderMap,
    /// The URL it came from in the end, query included.
    pub url: String,
    /// Its body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Whole),
    /// As it comes.
    Stream(Stream),
}

/// A body in memory. It counts against [`MEMORY`](crate::MEMORY) until it is dropped.
#[derive(Debug)]
pub struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) _held: Option<OwnedSemaphorePermit>,
}

impl Whole {
    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A body as it comes. At most one piece is ahead of the reader; beyond that the sender waits.
#[derive(Debug)]
pub struct Stream {
    place: String,
    chunks: mpsc::Receiver<Bytes>,
    /// How it ended, once there are no more pieces: without this, a body that was cut off would look complete.
    end: Option<oneshot::Receiver<Result<(), FetchError>>>,
    _task: Task,
}

impl Stream {
    /// The next piece, of at most [`MAX_CHUNK`] bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// The body ended early, or is longer than it may be, or its time is over. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        let Some(end) = self.end.take() else { return Ok(None) };
        match end.await {
            Ok(ended) => ended.map(|()| None),
            Err(_dropped) => Err(FetchError::new(std::mem::take(&mut self.place), Fault::Gone)),
        }
    }
}

/// An answer on its way from the fetch thread.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) url: String,
    pub(crate) body: ReplyBody,
}

/// Its body.
pub(crate) enum ReplyBody {
    Whole(Whole),
    Stream { place: String, chunks: mpsc::Receiver<Bytes>, end: oneshot::Receiver<Result<(), FetchError>> },
}

impl Reply {
    /// The answer, which holds the exchange's `task` as long as it is under way.
    pub(crate) fn keep(self, task: Task) -> Response {
        let Self { status, headers, url, body } = self;
        let body = match body {
            ReplyBody::Whole(whole) => Body::Whole(whole),
            ReplyBody::Stream { place, chunks, end } => {
                Body::Stream(Stream { place, chunks, end: Some(end), _task: task })
            }
        };
        Response { status, headers, url, body }
    }
}
