//! A request body on its way from the client: read piece by piece, and drained for a moment when nobody wants it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::{Body as _, Incoming};

use super::error::RequestBodyError;
use super::memory::BodyMemory;
use super::pace::Pace;
use super::unread::{Carrier, Reservation, UnreadBodies, UnreadGuard};
use crate::limits::Limits;
use crate::window::{READ_AHEAD, STREAM_WINDOW};

/// A body on its way from the client.
pub(super) struct IncomingBody {
    /// None once it was given away to be drained.
    pub(super) incoming: Option<Incoming>,
    pace: Pace,
    /// Its bytes that were read.
    pub(super) read: Arc<AtomicU64>,
    /// The place where they are counted for the whole connection, if that has many requests at a time.
    counted: Option<Arc<UnreadBodies>>,
    pub(super) memory: BodyMemory,
    /// The client waits for a 100 (Continue), which reading would send.
    expects: bool,
    /// None where requests do not follow one another. The last field: dropped after the body.
    guard: Option<UnreadGuard>,
}

impl IncomingBody {
    pub(super) fn new(incoming: Incoming, limits: &Limits, headers: &HeaderMap, on: &Carrier<'_>) -> Self {
        let window = if on.request.is_some() { READ_AHEAD } else { STREAM_WINDOW };
        let ahead = incoming.size_hint().upper().unwrap_or(u64::MAX).min(window.into());
        Self {
            incoming: Some(incoming),
            pace: Pace::new(limits),
            memory: BodyMemory::new(ahead, limits, on),
            read: Arc::default(),
            counted: on.request.is_none().then(|| Arc::clone(on.unread)),
            expects: headers.contains_key(header::EXPECT),
            guard: on.request.map(|request| UnreadGuard::new(on.unread, request)),
        }
    }

    /// The next piece, unless a chunk begins that is longer than what `limit` leaves: its rest may never come.
    pub(super) async fn next(
        &mut self,
        limit: u64,
        trailers: &mut Option<Box<HeaderMap>>,
    ) -> Result<Option<Bytes>, RequestBodyError> {
        let Some(incoming) = &mut self.incoming else { return Ok(None) };
        let guard = self.guard.as_ref();
        self.expects = false;
        loop {
            if incoming.is_end_stream() {
                return Ok(None);
            }
            let frame = poll_fn(|cx| {
                if guard.is_some_and(|guard| guard.poll_announced(cx) > limit) {
                    return Poll::Ready(Err(RequestBodyError::TooLarge { limit }));
                }
                Pin::new(&mut *incoming).poll_frame(cx).map(Ok)
            });
            let frame = match self.pace.keep(frame).await {
                Ok(Err(too_large)) => return Err(too_large),
                Ok(Ok(frame)) => Ok(frame),
                Err(slow) => Err(slow),
            };
            match frame {
                Err(slow) => {
                    // Nor is the rest worth waiting for. The body first, then its guard.
                    self.incoming = None;
                    self.guard = None;
                    return Err(slow);
                }
                Ok(None) => {
                    self.memory.end();
                    return Ok(None);
                }
                Ok(Some(Err(error))) => return Err(RequestBodyError::Broken(error)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.pace.earn(data.len() as u64);
                        self.read.fetch_add(data.len() as u64, Relaxed);
                        if let Some(counted) = &self.counted {
                            counted.count_read(data.len() as u64);
                        }
                        return Ok(Some(data));
                    }
                    Err(frame) => *trailers = frame.into_trailers().ok().map(Box::new),
                },
            }
        }
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) else {
            return;
        };
        let guard = self.guard.take();
        if let Some(guard) = guard.as_ref().filter(|_| self.expects) {
            // Reading on would ask for it.
            guard.refuse();
        } else if guard.is_none() && self.memory.is_refused {
            // There is no memory for it, and what comes meanwhile would take some.
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (counted, ahead) = (self.counted.take(), self.memory.ahead.take());
            runtime.spawn(drain(Leftover { incoming, counted, _ahead: ahead, guard }));
            return;
        }
        // The body first, then its guard.
        drop(incoming);
        drop(guard);
    }
}

/// The part of a body that nobody wants that is read for the connection's sake, in bytes. More would cost more than a new
/// connection does.
const DRAINED: usize = 256 * 1024;
/// For how long.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);
/// For how long a client of HTTP/2 may read the answer when its body is not read any further: the stream is reset then, and
/// some take that for a failure as long as they have not come to the answer's end.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The part of a body that a handler has left.
struct Leftover {
    incoming: Incoming,
    /// See [`IncomingBody::counted`].
    counted: Option<Arc<UnreadBodies>>,
    _ahead: Option<Reservation>,
    /// None with HTTP/2. After the body.
    guard: Option<UnreadGuard>,
}

/// Reads it on. Given up, the connection, or with HTTP/2 the stream, ends after the response.
async fn drain(mut rest: Leftover) {
    let counted = rest.counted.as_deref();
    let incoming = &mut rest.incoming;
    let reading = async {
        let mut drained = 0;
        while drained < DRAINED && !incoming.is_end_stream() {
            let frame = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else { return true };
            let read = frame.data_ref().map_or(0, Bytes::len);
            if let Some(counted) = counted {
                counted.count_read(read as u64);
            }
            drained += read;
        }
        incoming.is_end_stream()
    };
    // Either way the body is dropped, which tells hyper.
    let is_whole = tokio::time::timeout(DRAINED_WITHIN, reading).await;
    if rest.guard.is_none() && matches!(is_whole, Ok(false)) {
        tokio::time::sleep(HEARD_WITHIN).await;
    }
}
