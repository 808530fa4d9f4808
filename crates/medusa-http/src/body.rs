//! The body of a response: nothing, bytes, a file, or a stream.
//!
//! The four forms exist because they cost differently: bytes go out with the head in one write, a file is read as
//! fast as the client takes it, a stream is *pulled*, so that a slow client holds back its producer and nothing piles
//! up in memory.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http::HeaderMap;

use crate::file_body::FileBody;

/// The reason why a response body broke off after its head was sent. The connection is closed, so that the client can
/// tell.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The file could not be read.
    #[error("reading the file failed")]
    Read(#[from] io::Error),
    /// The file became shorter than the length already promised to the client.
    #[error("the file shrank by {missing} bytes while it was sent")]
    Shrank {
        /// Bytes promised but no longer there.
        missing: u64,
    },
    /// The handler that produced the stream failed.
    #[error("the handler failed while it produced the body")]
    Producer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An operator has ended it.
    #[error("it was ended by command")]
    Cut,
}

/// A stream of body chunks, pulled by the client's speed. Not `Send`: it lives on the request's own worker.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>>>>;

/// The place for the fields behind a body
/// ([RFC 9110 §6.5](https://www.rfc-editor.org/rfc/rfc9110#section-6.5)): its stream leaves them there before it ends. Clients of
/// HTTP/2 get them; over HTTP/1 they are left out. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct TrailerSlot(Rc<RefCell<Option<HeaderMap>>>);

impl TrailerSlot {
    /// Leaves fields there, in place of any.
    pub fn set(&self, trailers: HeaderMap) {
        *self.0.borrow_mut() = Some(trailers);
    }

    pub(crate) fn take(&self) -> Option<HeaderMap> {
        self.0.borrow_mut().take()
    }
}

/// The body of a response.
#[derive(Default)]
pub enum Body {
    /// No body at all.
    #[default]
    Empty,
    /// Bytes that are in memory already.
    Bytes(Bytes),
    /// Part of an open file.
    File(FileBody),
    /// Chunks of unknown total length: sent chunked to an HTTP/1.1 client, delimited by close to an HTTP/1.0 one.
    Stream(BodyStream),
}

impl Body {
    /// The exact length in bytes; `None` for a stream.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.len()),
            Self::Stream(_) => None,
        }
    }

    /// Whether nothing (more) will come, as far as can be told without asking a stream.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::File(file) => file.poll_chunk(cx),
            Self::Stream(stream) => stream.as_mut().poll_next(cx),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.len()) {
            (Self::Empty, _) => f.write_str("Empty"),
            (Self::File(_), Some(len)) => write!(f, "File({len} bytes)"),
            (_, Some(len)) => write!(f, "Bytes({len})"),
            (_, None) => f.write_str("Stream"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use medusa_net::descriptors::{OpenFile, SharedFile};

    use super::*;
    use std::io::Write;

    async fn collect(mut body: Body) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx)).await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    fn file_of(content: &[u8]) -> SharedFile {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(OpenFile::new(file, None).unwrap())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_is_sent_from_offset_for_len() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let body = Body::File(FileBody::new(file_of(&content), 10, 250_000));
        assert_eq!(collect(body).await.unwrap(), content[10..250_010]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_that_shrank_is_an_error_not_a_short_body() {
        let body = Body::File(FileBody::new(file_of(b"short"), 0, 10));
        let error = collect(body).await.unwrap_err();
        assert!(matches!(error, BodyError::Shrank { missing: 5 }), "{error:?}");
    }

    #[test]
    fn lengths_are_exact_where_they_are_known() {
        assert_eq!(Body::from("four").len(), Some(4));
        assert!(Body::from("").is_empty());
        assert_eq!(Body::Stream(Box::pin(futures_util::stream::empty())).len(), None);
    }
}
