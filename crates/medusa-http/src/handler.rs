//! The one interface everything that answers requests has.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use http::StatusCode;
use medusa_log::Sink;
use medusa_proto::status::Status;

use crate::request::{Head, Request, RequestBodyError};
use crate::response::Response;
use crate::sessions::Sessions;

/// The future that [`Handler::handle`] returns. Not `Send`: a request lives and dies on one worker.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<Response, HandlerError>> + 'a>>;

/// The future that [`Handler::prepare`] returns.
pub type PrepareFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Box<dyn StdError + Send + Sync>>> + 'a>>;

/// The future that [`Handler::overdue`] returns.
pub type OverdueFuture<'a> = Pin<Box<dyn Future<Output = Response> + 'a>>;

/// Answers HTTP requests.
///
/// A handler is a value: it is mounted under a pattern, replaced and removed while the server runs, and may *wrap*
/// another one by holding it and calling its [`handle`](Self::handle).
///
/// # Contract
///
/// - Called concurrently and on any worker: what belongs to one request lives in the future, not in `self`.
/// - Dropping the future cancels the request (the client left, a deadline passed): leave nothing half-written.
/// - The future must not block its worker: everything on that core waits with it.
/// - A request goes on with the handler it started on, even when that has been replaced or removed meanwhile.
pub trait Handler: Any + fmt::Debug + Send + Sync {
    /// Produces the response.
    ///
    /// # Errors
    ///
    /// An `Err` is answered with [`HandlerError::status`]; its chain of causes is logged, never sent. A panic is
    /// caught, logged and answered 500.
    fn handle(&self, request: Request) -> HandlerFuture<'_>;

    /// Does everything that can fail before the handler is first published: loading a script into every worker,
    /// connecting to what it needs. Called on every publication that includes the handler and finds it not running, so
    /// it must be cheap when there is nothing left to do. The default has nothing to prepare.
    fn prepare(&self) -> PrepareFuture<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The handlers that this one stands before: they are in each Site that this one is in, and the Site prepares, retires
    /// and describes them itself. The default has none.
    fn inner(&self) -> &[Arc<dyn Handler>] {
        &[]
    }

    /// The logs that this writes to: the Site opens them anew, and closes them, as it does those of servers. The default has none.
    fn logs(&self) -> &[Arc<dyn Sink>] {
        &[]
    }

    /// The same wrapper before another handler; none if this stands before none. The default does not.
    fn around(&self, _inner: Arc<dyn Handler>) -> Option<Arc<dyn Handler>> {
        None
    }

    /// Takes the place of `before`, which a mount has had until now: goes on with what that has counted of clients, if it is of
    /// the same kind, and returns whether it does. Called before a Site with it is published, which may fail. The default has
    /// nothing to go on with.
    fn take_over(&self, _before: &dyn Handler) -> bool {
        false
    }

    /// The directory whose files it serves or publishes: the Site warns if the server's own lie there. The default has none.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// Whether it answers *preflights*, by which browsers ask before they send a request, whatever methods its mount takes. The
    /// default asks those that this stands before.
    fn answers_preflights(&self) -> bool {
        self.inner().iter().any(|inner| inner.answers_preflights())
    }

    /// The answer to a request that this has not answered within `limits.handler`: `page` is the server's own. A wrapper that
    /// changes what the handler in it answers changes this, too. The default has the one that it stands before do so.
    fn overdue<'a>(&'a self, head: &'a Arc<Head>, page: Response) -> OverdueFuture<'a> {
        match self.inner() {
            [inner] => inner.overdue(head, page),
            _ => Box::pin(std::future::ready(page)),
        }
    }

    /// The same wrapper before other handlers, as many as there are in [`inner`](Self::inner), in their order. What stands before
    /// one says so by [`around`](Self::around), which the default asks.
    fn around_all(&self, inner: Vec<Arc<dyn Handler>>) -> Option<Arc<dyn Handler>> {
        let [inner] = <[_; 1]>::try_from(inner).ok()?;
        self.around(inner)
    }

    /// The sessions that it has open: the Site ends them when it has the handler no more, and lets new ones go on when it has it again.
    /// The default has none.
    fn sessions(&self) -> Option<&Sessions> {
        None
    }

    /// A Site without this handler has been published. Requests under way finish with it; what would go on for hours, and is none of
    /// its [sessions](Self::sessions), is to be ended. A handler that is published again is prepared again first. The default has nothing
    /// to end.
    fn retire(&self) {}

    /// Describes this handler, for the operator; without those it stands before ([`describe`] has them).
    fn status(&self) -> Status;
}

/// Has a handler that takes the place of another on its mount [go on](Handler::take_over) with what was counted there: each
/// wrapper with what the first of its like has, from the outside in.
pub fn take_over(handler: &Arc<dyn Handler>, before: &Arc<dyn Handler>) {
    let mut left: Vec<_> = wrappers(before).collect();
    for wrapper in wrappers(handler) {
        let like = |before: &&Arc<dyn Handler>| Arc::ptr_eq(wrapper, before) || wrapper.take_over(&***before);
        if let Some(at) = left.iter().position(like) {
            left.drain(..=at);
        }
    }
}

/// A handler, and from the outside in those it stands before.
fn wrappers(handler: &Arc<dyn Handler>) -> impl Iterator<Item = &Arc<dyn Handler>> {
    let mut next = vec![handler];
    std::iter::from_fn(move || {
        let handler = next.pop()?;
        next.extend(handler.inner().iter().rev());
        Some(handler)
    })
}

/// The logs that a handler and those that it stands before write to, each as often as it is there.
pub fn own_logs(handler: &Arc<dyn Handler>) -> impl Iterator<Item = &Arc<dyn Sink>> {
    wrappers(handler).flat_map(|handler| handler.logs())
}

/// The status of a handler, with those it stands before.
pub(crate) fn describe(handler: &Arc<dyn Handler>) -> Status {
    handler.status().children(handler.inner().iter().map(describe))
}

/// A handler after what stands before it: `handler.compress → script api.luau`.
pub fn chain(handler: &Arc<dyn Handler>) -> String {
    let inner = handler.inner().iter().map(chain);
    std::iter::once(short_name(handler)).chain(inner).collect::<Vec<_>>().join(" → ")
}

/// What a handler is called in a line: its kind, and its name unless it is that of what it stands before.
pub(crate) fn short_name(handler: &Arc<dyn Handler>) -> String {
    let status = handler.status();
    if handler.inner().is_empty() {
        format!("{} {}", status.kind, status.name).trim_end().to_owned()
    } else {
        status.kind.to_owned()
    }
}

/// The reason why a request could not be answered by its handler.
#[derive(Debug)]
pub struct HandlerError {
    status: StatusCode,
    blames_client: bool,
    is_panic: bool,
    option: Option<&'static str>,
    source: Box<dyn StdError + Send + Sync>,
}

impl HandlerError {
    /// The handler itself failed: 500.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, false, source.into())
    }

    /// The handler was stopped, or could not take the request now: 503.
    pub fn unavailable(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, false, source.into())
    }

    /// Another server that was asked failed: 502 (Bad Gateway), or 504 (Gateway Timeout) if it did not answer in time.
    pub fn upstream(timed_out: bool, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let status = if timed_out { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
        Self::new(status, false, source.into())
    }

    /// The client is to blame: a 4xx of the caller's choice, or a 503 or 507 where it asks for more than there is.
    pub fn client(status: StatusCode, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(status, true, source.into())
    }

    fn new(status: StatusCode, blames_client: bool, source: Box<dyn StdError + Send + Sync>) -> Self {
        Self { status, blames_client, is_panic: false, option: None, source }
    }

    /// The handler panicked: 500. The panic hook has told why.
    pub(crate) fn panicked() -> Self {
        Self { is_panic: true, ..Self::internal("the handler panicked") }
    }

    /// Whether the handler panicked.
    pub(crate) fn is_panic(&self) -> bool {
        self.is_panic
    }

    /// Whether the client asks for more than there is, and gets an answer without a page.
    pub(crate) fn is_busy(&self) -> bool {
        self.blames_client && self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The same with the option that would have it otherwise: for the log, not for the client.
    #[must_use]
    pub fn by_option(self, option: Option<&'static str>) -> Self {
        Self { option, ..self }
    }

    /// The reason with the option, for the log.
    pub(crate) fn logged(&self) -> String {
        match self.option {
            Some(option) => format!("{self} (`{option}`)"),
            None => self.to_string(),
        }
    }

    /// Whether the client is to blame: that is counted, and nothing the operator has to hear of each time.
    pub(crate) fn blames_client(&self) -> bool {
        self.blames_client
    }

    /// The status the client is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for HandlerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

impl From<RequestBodyError> for HandlerError {
    fn from(error: RequestBodyError) -> Self {
        let (status, option) = (error.status(), error.option());
        Self::client(status, error).by_option(option)
    }
}
