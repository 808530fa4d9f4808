//! What an exchange leaves behind: counts, the connection's phase, and the access record, all at the moment the
//! response's last byte is handed over (or the connection is lost).

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use medusa_log::{Recorder, Sink};
use medusa_net::Owed;
use medusa_proto::access::{self, Peer, Record};
use medusa_proto::with_causes;
use tokio::time::{Sleep, sleep};
use tracing::field;

use crate::body::{Body, BodyError};
use crate::budget::{Allowance, Kind, LEAST};
use crate::client::Client;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::pending::Pending;
use crate::request_id::{self, RequestId};
use crate::response::Response;
use crate::router::Pattern;
use crate::server::{Counters, PinnedServer, Server, ServerCounters};

/// How long a record may wait on its worker before it goes to its sink.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

thread_local! {
    static RECORDER: Recorder = Recorder::new();
}

/// One exchange, from its head to its last byte.
#[derive(Debug)]
pub(crate) struct Exchanged {
    connection: Rc<Connection>,
    server: Option<PinnedServer>,
    /// Where it stands among the server's mounts.
    mount: Option<u32>,
    /// In place of the server, once that was let go of.
    kept: Option<Box<Kept>>,
    /// What it is counted for among what is small of its connection.
    counted: [u64; 2],
    pub(crate) status: StatusCode,
    pub(crate) sent: u64,
    record: Option<Pending>,
    /// What is told of the request if its response breaks off: of those that may.
    asked: Option<Box<Asked>>,
}

/// A request, for the server's own log.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) id: RequestId,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
}

/// What the end of an exchange needs of its server.
#[derive(Debug)]
struct Kept {
    mount: Option<(Pattern, Arc<Counters>)>,
    counters: Arc<ServerCounters>,
    log: Option<Arc<dyn Sink>>,
    name: Arc<str>,
}

/// What an exchange is recorded with when it ends before there is a response: nginx's 499.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or_default()
}

impl Exchanged {
    pub(crate) fn begin(
        connection: Rc<Connection>,
        server: PinnedServer,
        client: &Client,
        request: &http::request::Parts,
    ) -> Self {
        connection.begin();
        let record = server.parts.log.is_some().then(|| Pending::new(client, request));
        Self {
            connection,
            server: Some(server),
            mount: None,
            kept: None,
            counted: [0; 2],
            status: client_left(),
            sent: 0,
            record,
            asked: None,
        }
    }

    /// An exchange that no server takes.
    pub(crate) fn unrouted(connection: Rc<Connection>) -> Self {
        connection.begin();
        Self {
            connection,
            server: None,
            mount: None,
            kept: None,
            counted: [0; 2],
            status: client_left(),
            sent: 0,
            record: None,
            asked: None,
        }
    }

    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    pub(crate) fn mounted(&mut self, mount: u32) {
        self.mount = Some(mount);
    }

    /// The response may break off, which is told of this request then.
    pub(crate) fn may_break_off(&mut self, asked: Asked) {
        self.asked = Some(Box::new(asked));
    }

    /// Counts something small until its end, if there is memory for it.
    #[must_use]
    pub(crate) fn add(&mut self, kind: Kind, bytes: u64) -> bool {
        let has_room = self.connection.add(kind, bytes);
        if has_room {
            self.counted[kind as usize] += bytes;
        }
        has_room
    }

    /// The response, if there is memory for its body until the client has taken it.
    pub(crate) fn afford(&mut self, mut response: Response) -> Response {
        let Body::Bytes(bytes) = &mut response.body else { return response };
        let len = bytes.len() as u64;
        let limit = self.connection.limits().answer_bytes;
        if len < LEAST {
            // What others have, too, costs nothing.
            if len == 0 || !bytes.is_unique() || self.add(Kind::Answers, len) {
                return response;
            }
        } else if let Some(counted) =
            Allowance::new(&self.connection.account, limit).afford(std::mem::take(bytes))
        {
            *bytes = counted;
            return response;
        }
        self.connection.count(Fault::NoMemory);
        Response::busy()
    }

    /// Lets go of the server as it was, with all its handlers and what they hold: for an exchange that may last for
    /// hours.
    pub(crate) fn let_go(&mut self) {
        let Some(server) = self.server.take() else { return };
        let parts = &server.parts;
        let mount = self.mount.and_then(|at| parts.mounts.get(at as usize));
        self.kept = Some(Box::new(Kept {
            mount: mount.map(|mount| (mount.pattern.clone(), Arc::clone(&mount.counters))),
            counters: Arc::clone(&parts.counters),
            log: parts.log.clone(),
            name: Arc::clone(&parts.name),
        }));
    }

    /// Says so, and of which request.
    fn broke_off(&self, error: &BodyError) {
        let asked = self.asked.as_deref();
        let request = asked.map(|asked| field::display(&asked.id));
        let method = asked.map(|asked| field::display(&asked.method));
        let path = asked.map(|asked| field::display(asked.uri.path()));
        let here = self.server.as_ref().and_then(|server| server.parts.mounts.get(self.mount? as usize));
        let kept = || Some(&self.kept.as_ref()?.mount.as_ref()?.0);
        let mount = here.map(|mount| &mount.pattern).or_else(kept).map(field::display);
        tracing::warn!(request, method, path, mount, "a response broke off: {}", with_causes(error));
    }

    fn end(
        &self,
        mount: Option<&Counters>,
        counters: &ServerCounters,
        log: Option<&Arc<dyn Sink>>,
        name: &str,
    ) {
        if let Some(mount) = mount {
            mount.count(self.status);
        }
        counters.requests.count(self.status);
        if let (Some(pending), Some(sink)) = (&self.record, log) {
            write(sink, &pending.record(self.status, self.sent, name, &mut request_id::Buffer::default()));
        }
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        for kind in [Kind::Requests, Kind::Answers] {
            self.connection.take_off(kind, self.counted[kind as usize]);
        }
        self.connection.end(self.status == client_left());
        if let Some(server) = &self.server {
            let parts = &server.parts;
            let mount = self.mount.and_then(|at| parts.mounts.get(at as usize)).map(|mount| &*mount.counters);
            self.end(mount, &parts.counters, parts.log.as_ref(), &parts.name);
        } else if let Some(kept) = &self.kept {
            self.end(
                kept.mount.as_ref().map(|(_, counters)| &**counters),
                &kept.counters,
                kept.log.as_ref(),
                &kept.name,
            );
        }
    }
}

/// Counts and records a request whose head could not be read: nothing is known of it but who sent it, and its first line.
pub(crate) fn unread(server: &Server, peer: Peer, status: StatusCode, line: &str) {
    server.parts.counters.requests.count(status);
    if let Some(sink) = &server.parts.log {
        let (method, target) = words_of(line);
        let record = Record {
            time: SystemTime::now().into(),
            peer,
            name: None,
            user: None,
            method,
            target,
            version: access::Version::Http11,
            host: None,
            status: status.as_u16(),
            bytes: 0,
            duration_us: 0,
            referer: None,
            user_agent: None,
            server: &server.parts.name,
            id: None,
        };
        write(sink, &record);
    }
}

/// The method and the target of a request line, as far as it looks like one: what is no method may be anything.
fn words_of(line: &str) -> (&str, &str) {
    let is_method = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase());
    match line.split_once(' ') {
        Some((method, rest)) if is_method(method) => {
            let end = rest.rfind(" HTTP/").unwrap_or(rest.len());
            (method, &rest[..end])
        }
        _ => ("", ""),
    }
}

/// Gives a record to this worker's recorder. The first one since the last flush arms the timer of the next.
fn write(sink: &Arc<dyn Sink>, record: &Record<'_>) {
    let first = RECORDER.with(|recorder| recorder.record(sink, record));
    if first {
        tokio::task::spawn_local(async {
            tokio::time::sleep(FLUSH_EVERY).await;
            flush();
        });
    }
}

/// Sends this worker's open batches on to their sinks.
pub fn flush() {
    RECORDER.with(Recorder::flush);
}

/// How much of a response is handed over at once where each has a window of its own, in bytes: a frame. It is also what a
/// client may still have to take when the response counts as sent.
const PIECE: usize = 16 * 1024;

/// A response's body on its way out, with the exchange it ends.
#[derive(Debug)]
pub(crate) struct SentBody {
    body: Body,
    /// None for a 101, whose exchange goes on.
    exchanged: Option<Exchanged>,
    /// HTTP/2: what is left of a chunk that is handed over in pieces.
    rest: Bytes,
    /// HTTP/2: it is the client that keeps us from going on.
    owed: Option<Owed>,
    /// There is no memory for the next chunk: asked again then.
    no_room: Option<Pin<Box<Sleep>>>,
}

/// How long a body waits for memory before it looks again: long enough to cost nothing, and a client that waits for its
/// next chunk hardly notices.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl SentBody {
    pub(crate) fn new(mut body: Body, exchanged: Exchanged) -> Self {
        let connection = exchanged.connection();
        if let Body::File(file) = &mut body {
            if connection.is_multiplexed() {
                file.read_little();
            } else if connection.handle.can_send_files() {
                file.send_by(connection.handle.clone());
            }
        }
        let mut sent =
            Self { body, exchanged: Some(exchanged), rest: Bytes::new(), owed: None, no_room: None };
        sent.owe();
        sent
    }

    pub(crate) fn none() -> Self {
        Self { body: Body::Empty, exchanged: None, rest: Bytes::new(), owed: None, no_room: None }
    }

    /// The next chunk. With HTTP/2 it is no longer than [`PIECE`]: h2 takes a chunk as soon as the client has room for a
    /// byte of it, and what it has taken is out of our sight.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut chunk = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => {
                ready!(self.poll_room(cx));
                match ready!(self.body.poll_chunk(cx)) {
                    Some(Ok(chunk)) => self.keep(chunk),
                    end => return Poll::Ready(end),
                }
            }
            rest => rest,
        };
        let multiplexed = self.exchanged.as_ref().is_some_and(|of| of.connection.is_multiplexed());
        if multiplexed && chunk.len() > PIECE {
            self.rest = chunk.split_off(PIECE);
        }
        Poll::Ready(Some(Ok(chunk)))
    }

    /// Waits until there is memory for a chunk that is yet to be made.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Exchanged { connection, .. }) = &self.exchanged else { return Poll::Ready(()) };
        let takes_memory = match &self.body {
            Body::Empty | Body::Bytes(_) => false,
            Body::File(file) => file.is_read(),
            Body::Stream(_) => true,
        };
        while takes_memory && connection.account.is_full(Kind::Answers, connection.limits().answer_bytes) {
            let wait = self.no_room.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            ready!(wait.as_mut().poll(cx));
            self.no_room = None;
        }
        Poll::Ready(())
    }

    /// Counts a chunk that was made for this client, as long as it is there.
    fn keep(&self, chunk: Bytes) -> Bytes {
        match &self.exchanged {
            Some(exchanged) => exchanged.connection.account.keep(Kind::Answers, chunk),
            None => chunk,
        }
    }

    /// Nothing is missing but room at the client's. An HTTP/1 connection sees that at its socket.
    fn owe(&mut self) {
        match (&self.owed, &self.exchanged) {
            (Some(owed), _) => owed.made_room(),
            (None, Some(exchanged)) if exchanged.connection.is_multiplexed() => {
                self.owed = Some(exchanged.connection.conn.owe());
            }
            (None, _) => {}
        }
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.poll_piece(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => this.owe(),
            _ => this.owed = None,
        }
        polled.map(|chunk| {
            let chunk = chunk?;
            Some(match chunk {
                Ok(chunk) => {
                    if let Some(exchanged) = &mut this.exchanged {
                        exchanged.sent += chunk.len() as u64;
                    }
                    Ok(Frame::data(chunk))
                }
                Err(error) => {
                    if let Some(exchanged) = &this.exchanged {
                        exchanged.broke_off(&error);
                    }
                    Err(error)
                }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        self.body.len().map_or_else(SizeHint::default, |len| SizeHint::with_exact(len + rest))
    }
}
