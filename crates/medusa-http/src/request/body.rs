//! The body of a request, as its handler reads it: from the client, or from memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};
use parking_lot::Mutex;

use super::error::RequestBodyError;
use super::incoming::IncomingBody;
use super::unread::Carrier;
use crate::budget::Held;
use crate::limits::Limits;

/// The body of a request: read by the handler, never before it asks, never past its limits.
///
/// Dropped before its end, a body is read on for a moment (`drain`): so that an HTTP/1 connection can be kept, and that a
/// client of HTTP/2 reads the answer before its stream is reset.
pub struct RequestBody {
    source: Source,
    limit: u64,
    seen: u64,
    /// Boxed, for there hardly ever are any.
    trailers: Option<Box<HeaderMap>>,
    /// The place where it goes back to when it is dropped, if it is lent and nobody has begun to read it.
    home: Option<Home>,
}

type Home = Arc<Mutex<Option<Source>>>;

enum Source {
    Bytes(Bytes),
    /// Boxed, for most requests have none, and a request is moved more often than read.
    Incoming(Box<IncomingBody>),
}

impl RequestBody {
    pub(crate) fn incoming(
        incoming: Incoming,
        limits: &Limits,
        headers: &HeaderMap,
        on: &Carrier<'_>,
    ) -> Self {
        let source = if incoming.is_end_stream() {
            Source::Bytes(Bytes::new())
        } else {
            Source::Incoming(Box::new(IncomingBody::new(incoming, limits, headers, on)))
        };
        Self { source, limit: limits.body, seen: 0, trailers: None, home: None }
    }

    /// A body that is in memory already, for requests a handler makes up itself.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { limit: bytes.len() as u64, source: Source::Bytes(bytes), seen: 0, trailers: None, home: None }
    }

    /// Whether the client said that there is none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.source, Source::Bytes(bytes) if bytes.is_empty())
    }

    /// Its exact length in bytes, if that is known before it is read: not of one that comes in chunks.
    pub fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Incoming(incoming) => incoming.incoming.as_ref()?.size_hint().exact(),
        }
    }

    /// Sets another limit than the server's, in bytes.
    pub fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Counts the bytes that are read of it, as long as there are some to come.
    pub(crate) fn progress(&self) -> Option<Arc<AtomicU64>> {
        match &self.source {
            Source::Incoming(incoming) => Some(Arc::clone(&incoming.read)),
            Source::Bytes(_) => None,
        }
    }

    /// The part of it that may be in memory and in no count of its own, in bytes.
    pub(crate) fn least(&self) -> u64 {
        match &self.source {
            Source::Incoming(incoming) => incoming.memory.least,
            Source::Bytes(_) => 0,
        }
    }

    /// Whether there is memory for what comes before it is read.
    pub(crate) fn has_room(&self) -> bool {
        match &self.source {
            Source::Incoming(incoming) => !incoming.memory.is_refused,
            Source::Bytes(_) => true,
        }
    }

    /// Has it not be read on when it is dropped, where that would take what there is too little of.
    pub(crate) fn refuse(&mut self) {
        if let Source::Incoming(incoming) = &mut self.source {
            incoming.memory.is_refused = true;
        }
    }

    /// Counts bytes that were read and stay in memory, until what [`take_held`](Self::take_held) gives is dropped.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn hold(&mut self, bytes: usize) -> Result<(), RequestBodyError> {
        match &mut self.source {
            Source::Incoming(incoming) => incoming.memory.hold(bytes as u64),
            Source::Bytes(_) => Ok(()),
        }
    }

    /// The count of the bytes that stay in memory: to be kept as long as they are. None where they are few.
    pub fn take_held(&mut self) -> Option<Held> {
        match &mut self.source {
            Source::Incoming(incoming) => incoming.memory.held.take(),
            Source::Bytes(_) => None,
        }
    }

    /// Lends it to a handler, that another may have it if that one has not begun to read it.
    pub(crate) fn lend(mut self) -> (Self, LentBody) {
        let limit = self.limit;
        if self.is_empty() {
            return (self, LentBody { limit, place: None, outer: None });
        }
        let place = Home::default();
        let outer = self.home.replace(Arc::clone(&place));
        (self, LentBody { limit, place: Some(place), outer })
    }

    /// The most that may be read, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The next chunk; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        // Who has begun with it keeps it.
        self.home = None;
        // A length that is too long is refused before anything is read.
        if self.seen == 0 && self.known() > self.limit {
            return Err(RequestBodyError::TooLarge { limit: self.limit });
        }
        let chunk = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => return Ok(None),
            Source::Bytes(bytes) => std::mem::take(bytes),
            Source::Incoming(incoming) => match incoming.next(self.limit, &mut self.trailers).await? {
                Some(chunk) => chunk,
                None => return Ok(None),
            },
        };
        self.seen += chunk.len() as u64;
        if self.seen > self.limit {
            return Err(RequestBodyError::TooLarge { limit: self.limit });
        }
        Ok(Some(chunk))
    }

    /// The whole body.
    pub async fn collect(&mut self) -> Result<Bytes, RequestBodyError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        self.hold(first.len())?;
        let Some(second) = self.chunk().await? else { return Ok(first) };
        self.hold(second.len())?;
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            self.hold(chunk.len())?;
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// The fields that came behind the body, once that has been read to its end
    /// ([RFC 9110 §6.5](https://www.rfc-editor.org/rfc/rfc9110#section-6.5)).
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    /// The least length of the body, as its head says.
    fn known(&self) -> u64 {
        match &self.source {
            Source::Incoming(incoming) => {
                incoming.incoming.as_ref().map_or(0, |incoming| incoming.size_hint().lower())
            }
            Source::Bytes(_) => 0,
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            *home.lock() = Some(std::mem::replace(&mut self.source, Source::Bytes(Bytes::new())));
        }
    }
}

/// The claim on a body that was lent.
pub(crate) struct LentBody {
    limit: u64,
    /// None for an empty one: there is nothing that could be read of it.
    place: Option<Home>,
    /// Who had lent it before.
    outer: Option<Home>,
}

impl LentBody {
    /// The body, once whoever had it has let go of it; none where that has begun to read it, or still has it.
    pub(crate) fn take_back(self) -> Option<RequestBody> {
        let source = match self.place {
            None => Source::Bytes(Bytes::new()),
            Some(place) => place.lock().take()?,
        };
        Some(RequestBody { source, limit: self.limit, seen: 0, trailers: None, home: self.outer })
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("seen", &self.seen)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
