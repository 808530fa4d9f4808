//! What a handler is given: the request's head, already routed, and its body, not yet read.
//!
//! The head is `Send`, so that a handler may carry it to another thread (the main VM's); it holds nothing of the
//! connection but its addresses.

use std::fmt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use medusa_net::tls::TlsInfo;
use medusa_proto::access::Peer;

use crate::budget::{Account, Allowance, Held, Kind, LEAST};
use crate::connection::Connection;
use crate::limits::{Limits, time};
use crate::request_id::RequestId;
use crate::router::Params;
use crate::window::{CONNECTION_WINDOW, READ_AHEAD, STREAM_WINDOW};

/// One HTTP request, on its way to a handler.
#[derive(Debug)]
pub struct Request {
    /// Everything but the body. Shared: it goes through many hands, and some look at it when the handler has it.
    pub head: Arc<Head>,
    /// The body, read only as far as the handler asks for it.
    pub body: RequestBody,
}

/// Everything of a request but its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method ([RFC 9110 §9](https://www.rfc-editor.org/rfc/rfc9110#section-9)).
    pub method: Method,
    /// The target as it came: path and query, not decoded.
    pub uri: Uri,
    /// The protocol version the client spoke.
    pub version: Version,
    /// The fields.
    pub headers: HeaderMap,
    /// What the pattern's wildcards matched, decoded.
    pub params: Params,
    /// Where the part of the path below the mount begins (a byte offset into `uri.path()`).
    pub tail: usize,
    /// The other end of the connection.
    pub peer: Peer,
    /// Who asks: the peer, or whom a trusted proxy speaks for.
    pub client: Peer,
    /// Whether the client's own connection is encrypted, here or at a trusted proxy.
    pub secure: bool,
    /// What was agreed on, on an encrypted connection.
    pub tls: Option<Arc<TlsInfo>>,
    /// Tells this request from all others, in logs and across servers.
    pub id: RequestId,
    /// Whether a WebSocket is asked for on a stream of HTTP/2: by CONNECT, which is a GET in every other respect
    /// ([RFC 8441 §4](https://www.rfc-editor.org/rfc/rfc8441#section-4)).
    pub websocket: bool,
    /// What its answer may take of the memory there is.
    pub allowance: Allowance,
}

impl Head {
    /// A request that a handler makes up itself.
    pub fn new(method: Method, uri: Uri) -> Self {
        Self {
            method,
            uri,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            params: Params::default(),
            tail: 0,
            peer: Peer::Unix,
            client: Peer::Unix,
            secure: false,
            tls: None,
            id: RequestId::next(),
            websocket: false,
            allowance: Allowance::default(),
        }
    }

    /// The path as it came, not decoded.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The part of the path below the mount's pattern: for a mount on `/docs/` and a request of `/docs/a/b` it is
    /// `a/b`. Not decoded.
    pub fn tail(&self) -> &str {
        self.uri.path().get(self.tail..).unwrap_or_default()
    }

    /// The authority the client asked for, port included: the target's in absolute form, else the `Host` field
    /// ([RFC 9112 §3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)).
    pub fn authority(&self) -> Option<&str> {
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.headers.get(header::HOST).and_then(|host| host.to_str().ok()),
        }
    }

    /// `https` where the client's connection is encrypted, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The authority without its port.
    pub fn host(&self) -> Option<&str> {
        self.authority().map(without_port)
    }
}

/// `host[:port]` without the port; an IPv6 literal keeps its brackets.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

/// Why a request body could not be read to its end, as a client may know it; [`option`](Self::option) is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Longer than the limit: 413.
    #[error("the request body is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The client went away or broke the framing: 400.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
    /// The client sent nothing for too long: 408.
    #[error("the client sent nothing of its request body for {0:?}")]
    Stalled(Duration),
    /// There is no memory for more of it: 503.
    #[error("there is no memory for more of this request body now")]
    NoMemory,
    /// The client sends too slowly: 408.
    #[error("the client sent its request body at less than {rate} bytes per second")]
    Slow {
        /// The least rate, in bytes per second.
        rate: u32,
    },
}

impl RequestBodyError {
    /// The status the client is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::NoMemory => StatusCode::SERVICE_UNAVAILABLE,
            Self::Stalled(_) | Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The option of the server that sets the limit.
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("limits.body"),
            Self::Broken(_) => None,
            Self::Stalled(_) => Some("limits.body_idle"),
            Self::NoMemory => Some("limits.request_bytes"),
            Self::Slow { .. } => Some("limits.body_rate"),
        }
    }
}

/// The body of a request: read by the handler, never before it asks, never past its limits.
///
/// Dropped before its end, a body is read on for a moment ([`drain`]): so that an HTTP/1 connection can be kept, and that a
/// client of HTTP/2 reads the answer before its stream is reset.
pub struct RequestBody {
    source: Source,
    limit: u64,
    seen: u64,
    /// Boxed, for there hardly ever are any.
    trailers: Option<Box<HeaderMap>>,
}

enum Source {
    Bytes(Bytes),
    /// Boxed, for most requests have none, and a request is moved more often than read.
    Wire(Box<Wire>),
}

/// A body on its way from the client.
struct Wire {
    /// None once it was given away to be drained.
    incoming: Option<Incoming>,
    pace: Pace,
    /// Its bytes that were read.
    read: Arc<AtomicU64>,
    /// Where they are counted for the whole connection, if that has many requests at a time.
    counted: Option<Arc<AtomicU64>>,
    memory: Memory,
    /// The client waits for a 100 (Continue), which reading would send.
    expects: bool,
    /// None where requests do not follow one another. The last field: dropped after the body.
    guard: Option<Guard>,
}

impl RequestBody {
    pub(crate) fn wire(incoming: Incoming, limits: &Limits, headers: &HeaderMap, on: &Connection) -> Self {
        let source = if incoming.is_end_stream() {
            Source::Bytes(Bytes::new())
        } else {
            let one_by_one = !on.is_multiplexed();
            let window = if one_by_one { READ_AHEAD } else { STREAM_WINDOW };
            let ahead = incoming.size_hint().upper().unwrap_or(u64::MAX).min(window.into());
            Source::Wire(Box::new(Wire {
                incoming: Some(incoming),
                pace: Pace::new(limits),
                memory: Memory::new(ahead, limits, on),
                read: Arc::default(),
                counted: on.is_multiplexed().then(|| on.toll().read()),
                expects: headers.contains_key(header::EXPECT),
                guard: one_by_one.then(|| Guard::new(on)),
            }))
        };
        Self { source, limit: limits.body, seen: 0, trailers: None }
    }

    /// A body that is in memory already, for requests a handler makes up itself.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self { limit: bytes.len() as u64, source: Source::Bytes(bytes), seen: 0, trailers: None }
    }

    /// Whether the client said that there is none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.source, Source::Bytes(bytes) if bytes.is_empty())
    }

    /// Sets another limit than the server's, in bytes.
    pub fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    /// Counts the bytes that are read of it, as long as there are some to come.
    pub(crate) fn progress(&self) -> Option<Arc<AtomicU64>> {
        match &self.source {
            Source::Wire(wire) => Some(Arc::clone(&wire.read)),
            Source::Bytes(_) => None,
        }
    }

    /// How much of it may be in memory and in no count of its own, in bytes.
    pub(crate) fn least(&self) -> u64 {
        match &self.source {
            Source::Wire(wire) => wire.memory.least,
            Source::Bytes(_) => 0,
        }
    }

    /// Whether there is memory for what comes before it is read.
    pub(crate) fn has_room(&self) -> bool {
        match &self.source {
            Source::Wire(wire) => !wire.memory.is_refused,
            Source::Bytes(_) => true,
        }
    }

    /// Has it not be read on when it is dropped, where that would take what there is too little of.
    pub(crate) fn refuse(&mut self) {
        if let Source::Wire(wire) = &mut self.source {
            wire.memory.is_refused = true;
        }
    }

    /// Counts bytes that were read and stay in memory, until what [`take_held`](Self::take_held) gives is dropped.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn hold(&mut self, bytes: usize) -> Result<(), RequestBodyError> {
        match &mut self.source {
            Source::Wire(wire) => wire.memory.hold(bytes as u64),
            Source::Bytes(_) => Ok(()),
        }
    }

    /// What counts the bytes that stay in memory: to be kept as long as they are. None where they are few.
    pub fn take_held(&mut self) -> Option<Held> {
        match &mut self.source {
            Source::Wire(wire) => wire.memory.held.take(),
            Source::Bytes(_) => None,
        }
    }

    /// The most that may be read, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The next chunk; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RequestBodyError> {
        // A length that is too long is refused before anything is read.
        if self.seen == 0 && self.known() > self.limit {
            return Err(RequestBodyError::TooLarge { limit: self.limit });
        }
        let chunk = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => return Ok(None),
            Source::Bytes(bytes) => std::mem::take(bytes),
            Source::Wire(wire) => match wire.next(self.limit, &mut self.trailers).await? {
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

    /// How long the body is at least, as its head says.
    fn known(&self) -> u64 {
        match &self.source {
            Source::Wire(wire) => wire.incoming.as_ref().map_or(0, |incoming| incoming.size_hint().lower()),
            Source::Bytes(_) => 0,
        }
    }
}

impl Wire {
    /// The next piece, unless a chunk begins that is longer than what `limit` leaves: its rest may never come.
    async fn next(
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
            let frame = std::future::poll_fn(|cx| {
                if guard.is_some_and(|guard| guard.poll_announced(cx) > limit) {
                    return Poll::Ready(Err(RequestBodyError::TooLarge { limit }));
                }
                std::pin::Pin::new(&mut *incoming).poll_frame(cx).map(Ok)
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
                            counted.fetch_add(data.len() as u64, Relaxed);
                        }
                        return Ok(Some(data));
                    }
                    Err(frame) => *trailers = frame.into_trailers().ok().map(Box::new),
                },
            }
        }
    }
}

/// What a body takes of the memory that there is for requests.
struct Memory {
    /// Of what stays in memory.
    held: Option<Held>,
    /// For what comes before it is read.
    ahead: Option<Ahead>,
    /// Bytes that stay in memory. As long as they are few, they are not counted here.
    kept: u64,
    /// What there may be of these: counted with the request.
    least: u64,
    /// See [`Limits::request_bytes`].
    limit: u64,
    is_refused: bool,
    account: Account,
}

impl Memory {
    fn new(ahead: u64, limits: &Limits, on: &Connection) -> Self {
        let (limit, account) = (limits.request_bytes, on.account.clone());
        let least = ahead.min(LEAST);
        let ahead = (ahead >= LEAST).then(|| Ahead::reserve(ahead, limit, on));
        let is_refused = matches!(ahead, Some(None));
        Self { held: None, ahead: ahead.flatten(), kept: 0, least, limit, is_refused, account }
    }

    fn hold(&mut self, bytes: u64) -> Result<(), RequestBodyError> {
        self.kept += bytes;
        let held = self.held.as_ref().map_or(0, Held::bytes);
        // What it is collected in grows by half as much again, and more.
        let more = (self.kept + self.kept / 2).saturating_sub(held);
        if more < LEAST {
            return Ok(());
        }
        let has_room = if let Some(held) = &mut self.held {
            held.grow(more, self.limit)
        } else {
            self.held = self.account.take(Kind::Requests, more, self.limit);
            self.held.is_some()
        };
        if has_room { Ok(()) } else { Err(RequestBodyError::NoMemory) }
    }

    /// Nothing more comes.
    fn end(&mut self) {
        self.ahead = None;
    }
}

/// What is reserved for the bodies of a connection: for all together no more than the window that they share.
#[derive(Debug, Default)]
struct Reserve {
    /// What each of them may need, together.
    wanted: u64,
    held: Option<Held>,
}

impl Reserve {
    fn needed(wanted: u64) -> u64 {
        wanted.min(CONNECTION_WINDOW.into())
    }
}

/// The part of it that one body wants.
struct Ahead {
    unread: Arc<Unread>,
    bytes: u64,
}

impl Ahead {
    /// None: there is no memory for it.
    fn reserve(bytes: u64, limit: u64, on: &Connection) -> Option<Self> {
        let mut reserve = on.unread().reserve();
        let wanted = reserve.wanted + bytes;
        let held = reserve.held.get_or_insert_with(|| on.account.hold(Kind::Requests, 0));
        let more = Reserve::needed(wanted).saturating_sub(held.bytes());
        if more > 0 && !held.grow(more, limit) {
            return None;
        }
        reserve.wanted = wanted;
        Some(Self { unread: Arc::clone(on.unread()), bytes })
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let mut reserve = self.unread.reserve();
        reserve.wanted -= self.bytes;
        let needed = Reserve::needed(reserve.wanted);
        if let Some(held) = &mut reserve.held {
            held.shrink(needed);
        }
    }
}

/// How fast a client has to send its body: it has an account of time, which bytes fill and waiting for them empties.
#[derive(Debug)]
struct Pace {
    idle: Duration,
    /// Bytes per second; 0: any.
    rate: u32,
    /// What is left of the account. The time that a handler takes for itself does not count.
    credit: Duration,
}

/// What is in the account at first: connections begin slowly.
const GRACE: Duration = Duration::from_secs(10);
/// The most that can be in it: a burst at the beginning does not pay for an hour of trickling.
const MOST_CREDIT: Duration = Duration::from_mins(1);

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self { idle: time(limits.body_idle), rate: limits.body_rate, credit: GRACE }
    }

    /// Bytes have come.
    fn earn(&mut self, bytes: u64) {
        if self.rate > 0 {
            let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / u64::from(self.rate));
            self.credit = MOST_CREDIT.min(self.credit.saturating_add(earned));
        }
    }

    /// Waits for `more`, as long as the client keeps the pace. What is there already needs no clock.
    async fn keep<T>(&mut self, more: impl Future<Output = T>) -> Result<T, RequestBodyError> {
        let mut more = std::pin::pin!(more);
        if let Poll::Ready(more) = std::future::poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx))).await {
            return Ok(more);
        }
        let patience = self.patience();
        if patience == Duration::MAX {
            return Ok(more.await);
        }
        let begun = Instant::now();
        let kept = tokio::time::timeout(patience, more).await;
        self.credit = self.credit.saturating_sub(begun.elapsed());
        kept.map_err(|_elapsed| {
            if patience < self.idle {
                RequestBodyError::Slow { rate: self.rate }
            } else {
                RequestBodyError::Stalled(self.idle)
            }
        })
    }

    /// How long to wait for the next bytes.
    fn patience(&self) -> Duration {
        if self.rate == 0 { self.idle } else { self.idle.min(self.credit) }
    }
}

/// The bodies of a connection that are not at their end. As long as there is one, what comes is content: whoever took it
/// for a request would answer what a client has hidden in its content.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bodies: AtomicUsize,
    ended: AtomicBool,
    /// A body was not asked for: its client has to be told that the connection ends.
    refused: AtomicBool,
    connection: AtomicWaker,
    /// The request that has come last, and how long its body is at least by the sizes of its chunks.
    announced: Mutex<(u64, u64)>,
    /// Who waits for more of that body.
    reader: AtomicWaker,
    reserve: Mutex<Reserve>,
}

impl Unread {
    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what comes next is a request.
    pub(crate) fn is_none(&self) -> bool {
        self.bodies.load(Acquire) == 0
    }

    /// Whether a body was not asked for.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Acquire)
    }

    /// The chunked body of that request, by its number on the connection, is at least this long.
    pub(crate) fn announce(&self, request: u64, bytes: u64) {
        *self.announced() = (request, bytes);
        self.reader.wake();
    }

    fn announced(&self) -> MutexGuard<'_, (u64, u64)> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a body has come to its end since this was asked last. The task is woken when one does: hyper waits for
    /// bytes, and does not notice a body that is dropped.
    pub(crate) fn poll_ended(&self, cx: &std::task::Context<'_>) -> bool {
        self.connection.register(cx.waker());
        self.ended.swap(false, AcqRel)
    }
}

/// Stands for one of them. Dropped after the body itself.
struct Guard {
    unread: Arc<Unread>,
    /// The number of its request on the connection.
    request: u64,
}

impl Guard {
    fn new(on: &Connection) -> Self {
        let unread = Arc::clone(on.unread());
        unread.bodies.fetch_add(1, AcqRel);
        Self { unread, request: on.conn.requests() }
    }

    /// How long the body is at least by the sizes of its chunks. The task is woken when one begins: hyper tells of a chunk
    /// only what has come of it.
    fn poll_announced(&self, cx: &std::task::Context<'_>) -> u64 {
        self.unread.reader.register(cx.waker());
        let (request, bytes) = *self.unread.announced();
        if request == self.request { bytes } else { 0 }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.unread.bodies.fetch_sub(1, AcqRel);
        self.unread.ended.store(true, Release);
        self.unread.connection.wake();
    }
}

/// How much of a body that nobody wants is read for the connection's sake, in bytes. More would cost more than a new
/// connection does.
const DRAINED: usize = 256 * 1024;
/// For how long.
const DRAINED_WITHIN: Duration = Duration::from_secs(5);
/// For how long a client of HTTP/2 may read the answer when its body is not read any further: the stream is reset then, and
/// some take that for a failure as long as they have not come to the answer's end.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What a handler has left of a body.
struct Rest {
    incoming: Incoming,
    /// See [`Wire::counted`].
    counted: Option<Arc<AtomicU64>>,
    _ahead: Option<Ahead>,
    /// None with HTTP/2. After the body.
    guard: Option<Guard>,
}

/// Reads it on. Given up, the connection, or with HTTP/2 the stream, ends after the response.
async fn drain(mut rest: Rest) {
    let counted = rest.counted.as_deref();
    let incoming = &mut rest.incoming;
    let reading = async {
        let mut drained = 0;
        while drained < DRAINED && !incoming.is_end_stream() {
            let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *incoming).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else { return true };
            let read = frame.data_ref().map_or(0, Bytes::len);
            if let Some(counted) = counted {
                counted.fetch_add(read as u64, Relaxed);
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

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) else {
            return;
        };
        let guard = self.guard.take();
        if let Some(guard) = guard.as_ref().filter(|_| self.expects) {
            // Reading on would ask for it.
            guard.unread.refused.store(true, Release);
        } else if guard.is_none() && self.memory.is_refused {
            // There is no memory for it, and what comes meanwhile would take some.
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (counted, ahead) = (self.counted.take(), self.memory.ahead.take());
            runtime.spawn(drain(Rest { incoming, counted, _ahead: ahead, guard }));
            return;
        }
        // The body first, then its guard.
        drop(incoming);
        drop(guard);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_keep_its_pace_while_it_is_waited_for() {
        let mut pace = Pace::new(&Limits { body_idle: 30, body_rate: 100, ..Limits::default() });
        assert_eq!(pace.patience(), GRACE, "no faster is asked for than after the grace");
        pace.earn(200);
        assert_eq!(pace.patience(), GRACE + Duration::from_secs(2), "what has come earns time");
        pace.earn(1_000_000);
        assert_eq!(pace.patience(), Duration::from_secs(30), "but no longer a pause");
        assert_eq!(pace.credit, MOST_CREDIT, "nor for ever");
        pace.rate = 0;
        pace.credit = Duration::ZERO;
        assert_eq!(pace.patience(), Duration::from_secs(30));
    }

    #[test]
    fn a_port_is_cut_off_and_nothing_else() {
        assert_eq!(without_port("example.com:8080"), "example.com");
        assert_eq!(without_port("example.com"), "example.com");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
        assert_eq!(without_port("example.com:"), "example.com");
    }
}
