//! One connection of HTTP/2 to an upstream, whose streams the requests of a worker share: hyper's client.
//!
//! It is a task of its own, for no request may hold it up. It is used only when the upstream's settings have come: by then it is
//! known that HTTP/2 is spoken there, and how many streams there may be, and until then nothing was sent that could not be
//! sent elsewhere.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::ext::Protocol;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use medusa_fetch::Http2Fault;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use crate::error::{Cause, Fault, Progress, SendFailure};
use crate::options::ProxyOptions;
use crate::sent::SentRequest;
use crate::stream::{SharedStream, UpstreamIo};
use crate::upstream::{Upstream, UpstreamState};

/// Streams of one connection; an upstream may allow less.
const STREAMS: usize = 100;

/// The most of an answer that is read ahead of its client, in bytes: what HTTP/1.1 may have. One that does not read must not keep
/// the others of its connection from reading, so there is room for all.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// The most of a request that may wait to be sent, in bytes.
const SEND_BUFFER: usize = 128 * 1024;

/// The longest head of an answer, as RFC 9113 counts it, and the most fields of one: each takes more memory than its bytes.
const HEAD: u32 = 32 * 1024;
const FIELDS: usize = 256;

/// The longest wait for a sign of life that was asked for.
const PONG: Duration = Duration::from_secs(10);

/// The time for which a connection may say goodbye that nobody has any more.
const GOODBYE: Duration = Duration::from_secs(5);

/// The number of streams that nobody can allow: the settings have not come.
const UNKNOWN: usize = usize::MAX - 1;

type Driver = Connection<TokioIo<SharedStream>, SentRequest, LocalExecutor>;

/// Runs hyper's tasks on the worker. Until the settings have come, whoever waits for them looks whenever the first of them, the
/// connection itself, has done something.
#[derive(Clone, Default)]
struct LocalExecutor(Rc<Opening>);

#[derive(Default)]
struct Opening {
    waiting: Cell<Option<Waker>>,
    is_over: Cell<bool>,
    /// The task of the connection itself.
    task: Cell<Option<AbortHandle>>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        if self.0.is_over.get() {
            spawn_local(task);
            return;
        }
        let opening = Rc::clone(&self.0);
        let mut task = Box::pin(task);
        let task = spawn_local(poll_fn(move |cx| {
            let polled = task.as_mut().poll(cx);
            if let Some(waiting) = opening.waiting.take() {
                waiting.wake();
            }
            polled
        }));
        self.0.task.set(Some(task.abort_handle()));
    }
}

/// A connection of HTTP/2 to an upstream.
pub(crate) struct Http2Connection {
    sender: SendRequest<SentRequest>,
    /// None once it has ended.
    driver: Rc<RefCell<Option<Driver>>>,
    stream: SharedStream,
    pub(crate) begun_at: Instant,
    /// The time for which it is kept without a request.
    kept_for: Duration,
    /// Requests under way.
    active: Cell<usize>,
    is_reused: Cell<bool>,
    /// It has let a request wait in vain.
    is_suspect: Cell<bool>,
    idle_since: Cell<Instant>,
    /// The place where it is counted.
    counted: Arc<UpstreamState>,
}

impl Http2Connection {
    /// Begins with it: waits for the upstream's settings.
    pub(crate) async fn begin(
        io: UpstreamIo,
        upstream: &Upstream,
        options: &ProxyOptions,
    ) -> Result<Rc<Self>, Fault> {
        let (stream, executor) = (SharedStream::new(io), LocalExecutor::default());
        let opening = Rc::clone(&executor.0);
        let mut builder = Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .initial_max_send_streams(UNKNOWN)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEAD);
        if !options.ping.is_zero() {
            builder.keep_alive_interval(options.ping).keep_alive_timeout(options.ping.min(PONG));
        }
        let handshake = builder.handshake(TokioIo::new(stream.clone())).await;
        let (sender, mut driver) = handshake.map_err(|broken| Fault::Ended(Cause::innermost(&broken)))?;
        let settled = poll_fn(|cx| {
            opening.waiting.set(Some(cx.waker().clone()));
            if Pin::new(&mut driver).poll(cx).is_ready() {
                return Poll::Ready(Err(Fault::NoHttp2("the connection ended before its SETTINGS")));
            }
            match driver.current_max_send_streams() {
                UNKNOWN => Poll::Pending,
                0 => Poll::Ready(Err(Fault::NoStreams)),
                _ => Poll::Ready(Ok(())),
            }
        });
        settled.await?;
        opening.is_over.set(true);
        let driver = Rc::new(RefCell::new(Some(driver)));
        let counted = Guard::into_inner(upstream.state());
        counted.counts.connections.fetch_add(1, Relaxed);
        counted.counts.idle.fetch_add(1, Relaxed);
        let now = Instant::now();
        let connection = Rc::new(Self {
            sender,
            driver: Rc::clone(&driver),
            stream,
            begun_at: now,
            kept_for: options.keep_alive,
            active: Cell::new(0),
            is_reused: Cell::new(false),
            is_suspect: Cell::new(false),
            idle_since: Cell::new(now),
            counted,
        });
        spawn_local(drive(driver, Rc::downgrade(&connection), opening.task.take()));
        Ok(connection)
    }

    /// Whether another request may be sent over it. With `young`, one that is not to be sent twice.
    pub(crate) fn has_room(&self, young: bool) -> bool {
        if self.is_over() {
            return false;
        }
        let active = self.active.get();
        if active == 0 {
            let most = if young { self.kept_for / 2 } else { self.kept_for };
            // What has come and was not read may be its end.
            if self.is_reused.get()
                && (self.idle_since.get().elapsed() >= most || !self.stream.look(|io| io.is_quiet(true)))
            {
                return false;
            }
        }
        let allowed = self.driver.borrow().as_ref().map_or(0, Connection::current_max_send_streams);
        active < allowed.min(STREAMS)
    }

    /// Whether no more requests are sent over it.
    fn is_over(&self) -> bool {
        self.is_suspect.get() || self.sender.is_closed()
    }

    /// Whether it is idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// Whether it is of no use any more: no requests are sent over it, or there have been none for long.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over() || self.is_idle() && self.idle_since.get().elapsed() >= self.kept_for
    }

    /// A stream for a request.
    pub(crate) fn stream(self: &Rc<Self>, upstream: &Arc<Upstream>) -> UpstreamStream {
        if self.is_idle() {
            self.counted.counts.idle.fetch_sub(1, Relaxed);
        }
        self.active.set(self.active.get() + 1);
        UpstreamStream {
            connection: Rc::clone(self),
            upstream: Arc::clone(upstream),
            is_reused: self.is_reused.replace(true),
            received_before: self.stream.bytes_read(),
        }
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        // Streams hold it: there are none.
        self.counted.counts.idle.fetch_sub(1, Relaxed);
    }
}

/// Drives a connection until it has ended, or nobody has it any more.
async fn drive(
    driver: Rc<RefCell<Option<Driver>>>,
    connection: Weak<Http2Connection>,
    task: Option<AbortHandle>,
) {
    // Whoever sends over it is told.
    let _ended = poll_fn(|cx| match &mut *driver.borrow_mut() {
        Some(driver) => Pin::new(driver).poll(cx),
        None => Poll::Ready(Ok(())),
    })
    .await;
    // Dropped behind the loan: what is in it may look at this.
    let ended = driver.borrow_mut().take();
    drop(ended);
    // It takes no more requests; those that it has go on.
    while connection.strong_count() > 0 {
        sleep(GOODBYE).await;
    }
    // An upstream that reads nothing would never have heard it.
    sleep(GOODBYE).await;
    if let Some(task) = task {
        task.abort();
    }
}

/// The stream of one request.
pub(crate) struct UpstreamStream {
    connection: Rc<Http2Connection>,
    pub(crate) upstream: Arc<Upstream>,
    /// Its connection has had a request before.
    pub(crate) is_reused: bool,
    /// The bytes that had come when it began.
    received_before: u64,
}

impl UpstreamStream {
    /// Whether a `WebSocket` may take a stream ([RFC 8441 §3](https://www.rfc-editor.org/rfc/rfc8441#section-3)).
    pub(crate) fn takes_websockets(&self) -> bool {
        let driver = self.connection.driver.borrow();
        driver.as_ref().is_some_and(Connection::is_extended_connect_protocol_enabled)
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        request: http::Request<SentRequest>,
    ) -> Result<http::Response<Incoming>, SendFailure> {
        let sent = self.connection.sender.clone().try_send_request(request).await;
        match sent {
            Ok(answer) if answer.headers().len() > FIELDS => {
                let cause = Cause::new("its head has too many fields");
                Err(SendFailure { progress: Progress::Answered, cause })
            }
            Ok(answer) => Ok(answer),
            Err(mut failure) => {
                let is_unsent = failure.take_message().is_some();
                Err(failed(failure.error(), is_unsent))
            }
        }
    }

    /// Nothing comes for it in time: if nothing has come for others either, there will be none any more.
    pub(crate) fn waited_in_vain(&self) {
        if self.connection.stream.bytes_read() == self.received_before {
            self.connection.is_suspect.set(true);
        }
    }
}

impl Drop for UpstreamStream {
    fn drop(&mut self) {
        let connection = &self.connection;
        connection.active.set(connection.active.get() - 1);
        if connection.is_idle() {
            connection.idle_since.set(Instant::now());
            connection.counted.counts.idle.fetch_add(1, Relaxed);
        }
    }
}

/// What it means that a request has ended with this error, before an answer.
fn failed(error: &hyper::Error, is_unsent: bool) -> SendFailure {
    let progress = match Http2Fault::of(error) {
        _ if is_unsent => Progress::Unseen,
        Some(Http2Fault::Unprocessed) => Progress::Unseen,
        None | Some(Http2Fault::Io) => Progress::Unanswered,
        // Of what is against HTTP/2, and of a stream that was reset, something has come.
        Some(Http2Fault::Other) => Progress::Answered,
    };
    SendFailure { progress, cause: Cause::innermost(error) }
}

/// Makes a request one of HTTP/2: what is asked for, and of whom, is told otherwise there.
pub(crate) fn shape(
    request: &mut http::Request<SentRequest>,
    upstream: &Upstream,
    (takes_trailers, is_websocket): (bool, bool),
) {
    let host = request.headers_mut().remove(header::HOST);
    let authority = [host.as_ref(), Some(&upstream.host_field)];
    let mut authorities = authority.into_iter().flatten().filter_map(|host| host.to_str().ok()?.parse().ok());
    let authority = authorities.next().unwrap_or(const { Authority::from_static("localhost") });
    let path = request.uri().path_and_query().cloned();
    let path = path.unwrap_or(const { PathAndQuery::from_static("/") });
    let uri = Uri::builder().scheme(upstream.scheme()).authority(authority).path_and_query(path);
    if let Ok(uri) = uri.build() {
        *request.uri_mut() = uri;
    }
    if takes_trailers {
        request.headers_mut().insert(header::TE, const { HeaderValue::from_static("trailers") });
    }
    if is_websocket {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let fields: &mut HeaderMap = request.headers_mut();
        fields.remove(header::SEC_WEBSOCKET_KEY);
    }
}
