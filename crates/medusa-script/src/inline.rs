//! Handlers given as a function: run in the main VM, on its own thread.
//!
//! The request crosses to that thread and its answer back; everything between is the main VM's. A function lives as
//! long as its handler: when the last mount (and request) lets go of it, the VM drops it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use medusa_http::websocket::{Accepted, Sessions};
use medusa_http::{Body, BodyError, Handler, HandlerError, HandlerFuture, PrepareFuture, Request, Response};
use medusa_proto::status::Status;
use tokio::sync::{mpsc, oneshot};

/// How many calls may wait for the main VM's thread. More are answered 503: they would wait longer than any client.
pub(crate) const QUEUED_CALLS: usize = 1024;

/// A request for the main VM.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: u64,
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Result<Answer, HandlerError>>,
}

/// The main VM's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    Bytes(Bytes),
    Stream(Chunks),
    WebSocket(Accepted),
}

type Chunk = Result<Bytes, String>;

/// The worker's end of a produced body. A chunk is asked for when the client can take it, and not made before: what
/// waited between the threads would be in nobody's count.
#[derive(Debug)]
pub(crate) struct Chunks {
    ask: mpsc::Sender<oneshot::Sender<Chunk>>,
}

impl Chunks {
    pub(crate) fn new() -> (Self, Asked) {
        let (ask, asked) = mpsc::channel(1);
        (Self { ask }, Asked(asked))
    }

    /// The next chunk; none at the end.
    async fn next(&mut self) -> Option<Chunk> {
        let (sender, chunk) = oneshot::channel();
        self.ask.send(sender).await.ok()?;
        chunk.await.ok()
    }
}

/// The main VM's end.
#[derive(Debug)]
pub(crate) struct Asked(mpsc::Receiver<oneshot::Sender<Chunk>>);

impl Asked {
    /// Where the next chunk is to go; none when the client has left.
    pub(crate) async fn next(&mut self) -> Option<oneshot::Sender<Chunk>> {
        self.0.recv().await
    }
}

/// The way to one main VM. The VM ends when it was replaced and no link to it is left.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) calls: mpsc::Sender<Call>,
    /// Functions whose handlers are gone.
    pub(crate) released: Arc<Mutex<Vec<u64>>>,
}

/// A handler given as a function.
pub(crate) struct InlineHandler {
    function: u64,
    link: Link,
    origin: Arc<str>,
    sessions: Sessions,
}

impl InlineHandler {
    pub(crate) fn new(function: u64, link: Link, origin: Arc<str>) -> Self {
        Self { function, link, origin, sessions: Sessions::default() }
    }
}

impl fmt::Debug for InlineHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineHandler").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Drop for InlineHandler {
    fn drop(&mut self) {
        self.link.released.lock().unwrap_or_else(PoisonError::into_inner).push(self.function);
    }
}

impl Handler for InlineHandler {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            self.link.calls.try_send(Call { function: self.function, request, answer }).map_err(|refused| {
                match refused {
                    mpsc::error::TrySendError::Full(_) => HandlerError::unavailable(format!(
                        "{QUEUED_CALLS} requests wait for the main VM already; give this handler a file of its own (medusa.handler.script)"
                    )),
                    mpsc::error::TrySendError::Closed(_) => HandlerError::unavailable("the main VM has ended"),
                }
            })?;
            let answer = answered
                .await
                .map_err(|_gone| HandlerError::internal("the main VM dropped the request"))??;
            let body = match answer.body {
                AnswerBody::Bytes(bytes) => bytes.into(),
                AnswerBody::WebSocket(accepted) => return Ok(accepted.into_response(&self.sessions)),
                AnswerBody::Stream(chunks) => {
                    Body::Stream(Box::pin(stream::unfold(chunks, async |mut chunks| {
                        let chunk = chunks.next().await?;
                        Some((chunk.map_err(|error| BodyError::Producer(error.into())), chunks))
                    })))
                }
            };
            Ok(Response { status: answer.status, headers: answer.headers, body, upgrade: None })
        })
    }

    fn prepare(&self) -> PrepareFuture<'_> {
        self.sessions.resume();
        Box::pin(std::future::ready(Ok(())))
    }

    fn retire(&self) {
        self.sessions.end();
    }

    fn status(&self) -> Status {
        Status::new("function", self.origin.to_string()).field("websockets", self.sessions.open())
    }
}
