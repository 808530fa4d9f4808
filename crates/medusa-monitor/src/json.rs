//! A session in lines of JSON, over whatever carries bytes: requests one after the other, each answered before the next is
//! looked at, but for [`Op::Interrupt`].
//!
//! A client that sends no more may well wait for its answers: the end of its input ends nothing but the session, and that
//! when all is answered. Whether it is gone altogether is for what carries the bytes to tell.

use std::io;
use std::pin::pin;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use medusa_proto::with_causes;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::news::{News, OnTrial, Subscription};
use crate::protocol::{self, Done, Failure, MAX_REQUEST, Op, Reply, RequestError};
use crate::session::{Control, QUEUED_EVENTS, Session};
use crate::statement::PATIENCE;

/// The time that one of the reserve may take to ask for something: others need it, too.
const SHORT: Duration = Duration::from_secs(10);

/// The next step of a session.
enum Next {
    Request,
    Close,
}

/// Answers until the client sends no more, is `gone`, or the session is ended. An error means that the client left in the
/// middle, or does not read.
pub(crate) async fn serve<C: Control>(
    session: &Session<C>,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    gone: impl AsyncFn(),
) -> io::Result<()> {
    let mut lines = Lines { reader: BufReader::new(reader), line: Vec::new(), ahead: None };
    let mut wire = Wire { writer };
    let mut feed = Feed { session, news: None, trial: None };
    let is_short = session.seat().is_short();
    let mut waits = !is_short;
    loop {
        let request = lines.request();
        let request = async { if waits { request.await } else { timeout(SHORT, request).await? } };
        let request = tokio::select! {
            request = request => request?,
            news = feed.next() => {
                wire.send(&news).await?;
                continue;
            }
            who = session.seat().ended() => {
                let message = format!("the session was ended by {who}");
                return wire.send(&Reply::Failed(Failure::new(message))).await;
            }
        };
        let (op, mut next) = match request {
            None => return Ok(()),
            // What it is about has ended before it came.
            Some(Ok(Op::Interrupt)) => continue,
            Some(Ok(Op::Watch)) if !session.wants_reason() => {
                feed.begin();
                wire.send(&Reply::Done(Done::default())).await?;
                continue;
            }
            Some(Ok(op)) => (Ok(op), Next::Request),
            // What follows a line without an end cannot be told from its rest.
            Some(Err(error @ RequestError::TooLong)) => (Err(error), Next::Close),
            Some(Err(error)) => (Err(error), Next::Request),
        };
        match op {
            Ok(op) => {
                if is_short && op.may_take_long() {
                    next = Next::Close;
                }
                waits |= op == Op::Stop; // for the server's end
                let (sender, events) = mpsc::channel(QUEUED_EVENTS);
                let gone = if op.may_go_on() { Some(gone()) } else { None };
                let sent = wire.watch(session.run(op, sender), events, &mut lines, &mut feed, gone).await;
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

type Request = Option<Result<Op, RequestError>>;

/// What the client sends, in lines.
struct Lines<R> {
    reader: R,
    /// The beginning of the next one.
    line: Vec<u8>,
    /// The next one, if it came while another was worked on.
    ahead: Option<Request>,
}

/// What came while a request was worked on.
enum Heard {
    /// That is to end.
    Interrupt,
    /// Something for afterwards.
    More,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next request; `None` when there are no more.
    async fn request(&mut self) -> io::Result<Request> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(ahead);
        }
        // Nothing is lost if this is dropped while it waits.
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(None);
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            if self.line.len() + taken > MAX_REQUEST {
                return Ok(Some(Err(RequestError::TooLong)));
            }
            self.line.extend_from_slice(&read[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Some(protocol::decode(&std::mem::take(&mut self.line))));
            }
        }
    }

    /// The next thing that is said while a request is worked on.
    async fn hear(&mut self) -> io::Result<Heard> {
        match self.request().await? {
            Some(Ok(Op::Interrupt)) => Ok(Heard::Interrupt),
            request => {
                self.ahead = Some(request);
                Ok(Heard::More)
            }
        }
    }
}

/// The way to the client.
struct Wire<W> {
    writer: W,
}

impl<W: AsyncWrite + Unpin> Wire<W> {
    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let line = reply.encode()?;
        match timeout(PATIENCE, self.writer.write_all(&line)).await {
            Ok(written) => written,
            Err(_elapsed) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its replies"))
            }
        }
    }

    /// Sends a task's events as they come, and its result. It is cancelled when the client is `gone`, if that is minded, or says
    /// so.
    async fn watch(
        &mut self,
        task: impl Future<Output = Result<Done, Failure>>,
        mut events: mpsc::Receiver<TaskProgress>,
        lines: &mut Lines<impl AsyncBufRead + Unpin>,
        feed: &mut Feed<'_, impl Control>,
        gone: Option<impl Future<Output = ()>>,
    ) -> io::Result<()> {
        let result = {
            let mut task = pin!(task);
            let (cancels, mut gone) = (gone.is_some(), pin!(gone));
            let mut listens = true;
            loop {
                let event = tokio::select! {
                    result = &mut task => break result,
                    Some(event) = events.recv() => reply(event),
                    news = feed.next() => news,
                    heard = lines.hear(), if listens => {
                        match heard? {
                            Heard::Interrupt if cancels => break Err(Failure::new("interrupted")),
                            Heard::Interrupt => {}
                            Heard::More => listens = false,
                        }
                        continue;
                    }
                    () = async { if let Some(gone) = gone.as_mut().as_pin_mut() { gone.await } }, if cancels => {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                };
                self.send(&event).await?;
            }
        };
        while let Ok(event) = events.try_recv() {
            self.send(&reply(event)).await?;
        }
        // Who asks next is told first what is on trial now.
        if let Some(trial) = feed.trial() {
            self.send(&trial).await?;
        }
        self.send(&last(result)).await
    }
}

/// What the client is told without asking, if it wants to be.
struct Feed<'s, C: Control> {
    session: &'s Session<C>,
    news: Option<Subscription>,
    /// What it knows to be on trial.
    trial: Option<OnTrial>,
}

impl<C: Control> Feed<'_, C> {
    fn begin(&mut self) {
        self.news = Some(self.session.seat().news());
    }

    /// The next thing; never any, if nothing is wanted.
    async fn next(&mut self) -> Reply {
        loop {
            if let Some(trial) = self.trial() {
                return trial;
            }
            let Some(news) = &mut self.news else { return std::future::pending().await };
            match news.next().await {
                News::Said { text, .. } => return Reply::News { text: text.to_string() },
                News::Trial => {}
            }
        }
    }

    /// What is on trial, if the client wants to know, and does not yet.
    fn trial(&mut self) -> Option<Reply> {
        self.news.as_ref()?;
        let trial = self.session.on_trial();
        if std::mem::replace(&mut self.trial, trial) == trial {
            return None;
        }
        Some(Reply::Trial { trial: trial.map(|trial| trial.info()) })
    }
}

fn reply(event: TaskProgress) -> Reply {
    match event {
        TaskProgress::Output(text) => Reply::Output { text },
        TaskProgress::Waiting(text) => Reply::Waiting { text },
        TaskProgress::Top(sample) => Reply::Top(sample),
    }
}
