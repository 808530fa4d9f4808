//! A session in lines of JSON, over whatever carries bytes: requests one after the other, each answered before the next is
//! looked at.

use std::io;
use std::pin::pin;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use medusa_proto::with_causes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::protocol::{self, Done, Failure, MAX_REQUEST, Op, Reply, RequestError};
use crate::session::{Control, QUEUED_EVENTS, Session};

/// The time that a client may take to read a reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time that one of the reserve may take to ask for something: others need it, too.
const SHORT: Duration = Duration::from_secs(10);

/// The next step of a session.
enum Next {
    Request,
    Close,
}

/// Answers until the client leaves, or the session is ended. An error means that the client left in the middle, or does not
/// read.
pub(crate) async fn serve<C: Control>(
    session: &Session<C>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut wire = Wire { reader: BufReader::new(reader), writer };
    let is_short = session.seat().is_short();
    let mut waits = !is_short;
    loop {
        let request = wire.request();
        let request = async { if waits { request.await } else { timeout(SHORT, request).await? } };
        let request = tokio::select! {
            request = request => request?,
            who = session.seat().ended() => {
                let message = format!("the session was ended by {who}");
                return wire.send(&Reply::Failed(Failure::new(message))).await;
            }
        };
        let (op, mut next) = match request {
            None => return Ok(()),
            Some(Ok(op)) => (Ok(op), Next::Request),
            // What follows a line without an end cannot be told from its rest.
            Some(Err(error @ RequestError::TooLong)) => (Err(error), Next::Close),
            Some(Err(error)) => (Err(error), Next::Request),
        };
        match op {
            Ok(op) => {
                if is_short && matches!(op, Op::Eval { .. }) {
                    next = Next::Close;
                }
                waits |= op == Op::Stop; // for the server's end
                let (sender, events) = mpsc::channel(QUEUED_EVENTS);
                let cancels = matches!(op, Op::Eval { .. } | Op::Reload { .. } | Op::Rollback { .. });
                let sent = wire.watch(session.run(op, sender), events, cancels).await;
                session.told();
                sent?;
            }
            Err(error) => wire.send(&Reply::Failed(Failure::new(with_causes(&error)))).await?,
        }
        if matches!(next, Next::Close) {
            return Ok(());
        }
    }
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

    /// Sends a task's events as they come, and its result. With `cancels`, the task is cancelled when the client leaves.
    async fn watch(
        &mut self,
        task: impl Future<Output = Result<Done, Failure>>,
        mut events: mpsc::Receiver<TaskProgress>,
        cancels: bool,
    ) -> io::Result<()> {
        let mut task = pin!(task);
        let result = loop {
            let event = tokio::select! {
                result = &mut task => break result,
                Some(event) = events.recv() => event,
                () = left(&mut self.reader), if cancels => return Err(io::ErrorKind::ConnectionAborted.into()),
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
