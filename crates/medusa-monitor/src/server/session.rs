//! One session: requests one after the other, each answered before the next is looked at.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Control, Peer, SessionSlot, full};
use crate::protocol::{self, Done, Failure, MAX_REQUEST, Op, Reply, Report, RequestError};

/// Lines of output that may wait for the client. Enough for all that a statement may print, 256 KiB, if every line is
/// empty: no output may hold up a statement, so what does not fit here would be dropped.
const QUEUED_EVENTS: usize = 256 * 1024;

/// The time that a client may take to read a reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time that one of the reserve may take to ask for something: others need it, too.
const SHORT: Duration = Duration::from_secs(10);

/// A session.
pub(super) struct Session<C> {
    stream: UnixStream,
    peer: Peer,
    slot: SessionSlot,
    control: Rc<C>,
}

/// The next step of a session.
enum Next {
    Request,
    Close,
}

impl<C: Control> Session<C> {
    pub(super) fn new(stream: UnixStream, peer: Peer, slot: SessionSlot, control: Rc<C>) -> Self {
        Self { stream, peer, slot, control }
    }

    /// Answers until the client leaves. An error means that it left in the middle, or does not read.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let (reader, writer) = self.stream.split();
        let mut waits = self.slot == SessionSlot::Any;
        let mut wire = Wire { reader: BufReader::new(reader), writer };
        loop {
            let request = wire.request();
            let request = if waits { request.await? } else { timeout(SHORT, request).await?? };
            let (op, next) = match request {
                None => return Ok(()),
                Some(Ok(op)) => (Ok(op), Next::Request),
                // What follows a line without an end cannot be told from its rest.
                Some(Err(error @ RequestError::TooLong)) => (Err(error), Next::Close),
                Some(Err(error)) => (Err(error), Next::Request),
            };
            match op {
                Ok(Op::Eval { .. }) if self.slot == SessionSlot::Short => {
                    return wire.send(&Reply::Failed(Failure::new(full()))).await;
                }
                Ok(op) => {
                    waits |= op == Op::Stop; // for the server's end
                    answer(&mut wire, &*self.control, self.peer, op).await?;
                }
                Err(error) => wire.send(&Reply::Failed(Failure::new(with_causes(&error)))).await?,
            }
            if matches!(next, Next::Close) {
                return Ok(());
            }
        }
    }
}

async fn answer<R, W>(wire: &mut Wire<R, W>, control: &impl Control, peer: Peer, op: Op) -> io::Result<()>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sender, events) = mpsc::channel(QUEUED_EVENTS);
    match op {
        Op::Ping => wire.send(&Reply::Done(Done::default())).await,
        Op::Status => wire.send(&described(&control.status().await)).await,
        Op::Reopen => wire.send(&last(control.reopen().map(|()| Done::default()))).await,
        Op::Eval { source } => wire.watch(control.eval(source, peer.doing("eval"), sender), events).await,
        Op::Reload => wire.watch(control.reload(peer.doing("reload"), sender), events).await,
        Op::Stop => {
            // Told first: afterwards there may be nobody left to tell it.
            let sent = wire.send(&Reply::Done(Done::default())).await;
            control.stop(&peer.doing("stop"));
            sent
        }
    }
}

fn described(status: &Status) -> Reply {
    let report = serde_json::to_value(status).map(|json| Report { json, tree: status.to_string() });
    last(match report {
        Ok(report) => Ok(Done { status: Some(report), ..Done::default() }),
        Err(error) => Err(Failure::new(format!("the status has no form in JSON: {error}"))),
    })
}

fn last(result: Result<Done, Failure>) -> Reply {
    match result {
        Ok(done) => Reply::Done(done),
        Err(failure) => Reply::Failed(failure),
    }
}

/// The connection, in lines.
struct Wire<R, W> {
    reader: R,
    writer: W,
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    /// The next request; `None` when the client has left.
    async fn request(&mut self) -> io::Result<Option<Result<Op, RequestError>>> {
        let mut line = Vec::new();
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(None);
            }
            let end = line_end(read);
            let taken = end.map_or(read.len(), |end| end + 1);
            if line.len() + taken > MAX_REQUEST {
                return Ok(Some(Err(RequestError::TooLong)));
            }
            line.extend_from_slice(&read[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(protocol::decode(&line)));
            }
        }
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let line = reply.encode()?;
        match timeout(PATIENCE, self.writer.write_all(&line)).await {
            Ok(written) => written,
            Err(_elapsed) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its replies"))
            }
        }
    }

    /// Sends a task's events as they come, and its result. Cancels the task when the client leaves.
    async fn watch(
        &mut self,
        task: impl Future<Output = Result<Done, Failure>>,
        mut events: mpsc::Receiver<TaskProgress>,
    ) -> io::Result<()> {
        let mut task = pin!(task);
        let result = loop {
            let event = tokio::select! {
                result = &mut task => break result,
                Some(event) = events.recv() => event,
                () = left(&mut self.reader) => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            self.send(&reply(event)).await?;
        };
        while let Ok(event) = events.try_recv() {
            self.send(&reply(event)).await?;
        }
        self.send(&last(result)).await
    }
}

/// Returns when the client has left. One that has sent its next request already has not.
async fn left(reader: &mut (impl AsyncBufRead + Unpin)) {
    match reader.fill_buf().await {
        Ok(read) if !read.is_empty() => std::future::pending().await,
        _ => {}
    }
}

fn reply(event: TaskProgress) -> Reply {
    match event {
        TaskProgress::Output(text) => Reply::Output { text },
        TaskProgress::Waiting(text) => Reply::Waiting { text },
    }
}

/// The end of the line.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}
