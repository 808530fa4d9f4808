//! Handlers given as a function: run in the main VM, on its own thread.
//!
//! The request crosses to that thread and its answer back; everything between is the main VM's. A function lives as
//! long as its handler: when the last mount (and request) lets go of it, the VM drops it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use medusa_http::websocket::Accepted;
use medusa_http::{BodyError, Handler, HandlerError, HandlerFuture, Request, Response, Sessions, holder};
use medusa_net::clients::{ClientEntry, ClientPrefix, ClientTable};
use medusa_proto::status::Status;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::passage::{Outcome, WayOn};

/// The number of calls that may wait for the main VM's thread. More are answered 503: they would wait longer than any
/// client.
pub(crate) const QUEUED_CALLS: usize = 1024;

/// The calls that wait, by client. A client may have as many waiting as there are places left: half of them if it is alone, and however
/// many it has, others find room.
#[derive(Debug, Default)]
pub(crate) struct WaitingCalls(ClientTable<()>);

impl WaitingCalls {
    /// A permit for one of `holder`'s, where `left` are free.
    fn permit(&self, holder: Option<ClientPrefix>, left: usize) -> Option<CallPermit> {
        let client = holder.map(|holder| self.0.entry(holder, || ()));
        let others = client.as_ref().map_or(0, ClientEntry::others);
        // Who has none gets one, or hears that the queue is full.
        (others == 0 || others < left).then_some(CallPermit { _client: client })
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(crate) struct CallPermit {
    _client: Option<Arc<ClientEntry<()>>>,
}

/// A request for the main VM.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: u64,
    pub(crate) request: Request,
    /// The way to the handler behind, if it is one of a wrapper.
    pub(crate) way: Option<WayOn>,
    /// Held while the call waits.
    pub(crate) permit: CallPermit,
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
    /// With the time for which it may go on when its handler is gone.
    Stream(Chunks, Duration),
    WebSocket(Accepted),
    /// That of the handler behind.
    Passed,
}

type Chunk = Result<Bytes, String>;

/// The worker's end of a produced body. A chunk is asked for when the client can take it, and not made before: what
/// waited between the threads would be in nobody's count.
#[derive(Debug)]
pub(crate) struct Chunks {
    ask: mpsc::Sender<oneshot::Sender<Chunk>>,
}

impl Chunks {
    pub(crate) fn new() -> (Self, ChunkRequests) {
        let (ask, asked) = mpsc::channel(1);
        (Self { ask }, ChunkRequests(asked))
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
pub(crate) struct ChunkRequests(mpsc::Receiver<oneshot::Sender<Chunk>>);

impl ChunkRequests {
    /// Waits for the next request: the place where its chunk is to go; none when the client has left.
    pub(crate) async fn next(&mut self) -> Option<oneshot::Sender<Chunk>> {
        self.0.recv().await
    }
}

/// The way to one main VM. The VM ends when it was replaced and no link to it is left.
#[derive(Debug)]
pub(crate) struct VmLink {
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) waiting: Arc<WaitingCalls>,
    /// Functions whose handlers are gone.
    pub(crate) released: Arc<Mutex<Vec<u64>>>,
}

/// A handler given as a function.
pub(crate) struct InlineHandler {
    function: u64,
    link: VmLink,
    origin: Arc<str>,
    sessions: Arc<Sessions>,
}

impl InlineHandler {
    pub(crate) fn new(function: u64, link: VmLink, origin: Arc<str>, sessions: Arc<Sessions>) -> Self {
        Self { function, link, origin, sessions }
    }

    /// Has the main VM answer. The function of a wrapper has a way on.
    pub(crate) async fn run(&self, request: Request, way: Option<WayOn>) -> Result<Outcome, HandlerError> {
        let (answer, answered) = oneshot::channel();
        let VmLink { calls, waiting, .. } = &self.link;
        let permit = waiting.permit(holder(request.head.client), calls.capacity()).ok_or_else(|| {
            HandlerError::unavailable("too many requests of this client wait for the main VM already")
        })?;
        let call = Call { function: self.function, request, way, permit, answer };
        calls.try_send(call).map_err(|refused| {
            match refused {
                mpsc::error::TrySendError::Full(_) => HandlerError::unavailable(format!(
                    "{QUEUED_CALLS} requests wait for the main VM already; give this handler a file of its own (medusa.handler.script)"
                )),
                mpsc::error::TrySendError::Closed(_) => HandlerError::unavailable("the main VM has ended"),
            }
        })?;
        let answer =
            answered.await.map_err(|_gone| HandlerError::internal("the main VM dropped the request"))??;
        let Answer { status, headers, body } = answer;
        let response = |headers| Response { status, headers, ..Response::default() };
        Ok(match body {
            AnswerBody::Bytes(bytes) => Outcome::Own(response(headers).body(bytes)),
            AnswerBody::WebSocket(accepted) => Outcome::Own(accepted.into_response(&self.sessions)),
            AnswerBody::Stream(chunks, keep) => {
                let chunks = stream::unfold(chunks, async |mut chunks| {
                    let chunk = chunks.next().await?;
                    Some((chunk.map_err(|error| BodyError::Producer(error.into())), chunks))
                });
                Outcome::Own(response(headers).stream(Box::pin(chunks), &self.sessions, keep))
            }
            AnswerBody::Passed => Outcome::Passed(status, headers),
        })
    }
}

impl fmt::Debug for InlineHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InlineHandler").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Drop for InlineHandler {
    fn drop(&mut self) {
        self.link.released.lock().push(self.function);
    }
}

impl Handler for InlineHandler {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move { self.run(request, None).await?.own() })
    }

    fn sessions(&self) -> Option<&Sessions> {
        Some(&self.sessions)
    }

    fn status(&self) -> Status {
        self.sessions.describe(Status::new("function", self.origin.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use http::Method;
    use medusa_http::{Head, RequestBody};
    use medusa_proto::access::Peer;

    use super::*;

    #[test]
    fn one_client_cannot_fill_the_queue() {
        let (calls, mut incoming) = mpsc::channel(8);
        let link = VmLink { calls, waiting: Arc::default(), released: Arc::default() };
        let handler = InlineHandler::new(1, link, "site.luau:1".into(), Arc::default());
        let ask = |client: &str| {
            let mut head = Head::new(Method::GET, "/".parse().unwrap());
            head.client = Peer::Ip(client.parse().unwrap());
            let mut answer =
                handler.handle(Request { head: head.into(), body: RequestBody::from_bytes(Bytes::new()) });
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        };
        let ask_often = |client: &str| (0..10).filter(|_| ask(client)).count();
        assert_eq!(ask_often("192.0.2.1"), 4, "half of all");
        assert_eq!(ask_often("2001:db8::1"), 2, "half of the rest");
        assert!(!ask("2001:db8::2"), "the same network");
        assert!(ask("192.0.2.2"));
        while incoming.try_recv().is_ok() {}
        assert_eq!(ask_often("192.0.2.1"), 4, "they wait no longer");
        assert_eq!(ask_often("127.0.0.1"), 4, "this machine speaks for others: all that is left");
    }
}
