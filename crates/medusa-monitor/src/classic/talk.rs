//! A session by lines, as old clients know it: `>>> ` asks for a statement, `... ` for more of it, `exit` or Ctrl-D is answered
//! `BCNU`.

use std::future::ready;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::typed::{Typed, TypedLine};
use crate::protocol::MAX_REQUEST;
use crate::session::{Control, Session};
use crate::statement::{self, Left, PATIENCE, Shows};

/// The prompts, and the farewell, to the byte.
const PROMPT: &str = ">>> ";
const MORE: &str = "... ";
const FAREWELL: &str = "BCNU\r\n";

/// The most bytes that are handed over at a time.
const PIECE: usize = 16 * 1024;

/// The most bytes that are read at a time.
const HEARD: usize = 4 * 1024;

/// How long a client may take to read the end, and how much more it may send meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 64 * 1024;

/// The way from a client.
pub(super) struct Ear<R> {
    reader: R,
    buffer: Box<[u8]>,
    /// What has come and is not used yet.
    pub(super) typed: Typed,
}

impl<R: AsyncRead + Unpin> Ear<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; HEARD].into(), typed: Typed::default() }
    }

    /// Hears more. Nothing is lost if this is dropped while it waits.
    pub(super) async fn hear(&mut self) -> Result<(), Left> {
        if self.typed.is_full() {
            return std::future::pending().await;
        }
        match self.reader.read(&mut self.buffer).await {
            // Old clients end both directions at once, so that who sends no more has left.
            Ok(0) | Err(_) => Err(Left),
            Ok(read) => {
                self.typed.push(&self.buffer[..read]);
                Ok(())
            }
        }
    }

    /// Returns when the client wants no more of what runs. What it types meanwhile waits; from one that is too far ahead no Ctrl-C
    /// would be heard, so it has left.
    async fn interrupted(&mut self) -> Result<(), Left> {
        while !self.typed.take_interrupt() {
            if self.typed.is_full() {
                return Err(Left);
            }
            self.hear().await?;
        }
        Ok(())
    }

    /// Waits until the client has read the end: with something of it unread, closing would take that back.
    pub(super) async fn linger(self) {
        let mut rest = self.reader.take(LINGER_BYTES);
        let _gone = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

/// The way to a client.
pub(super) struct Mouth<W>(pub(super) W);

impl<W: AsyncWrite + Unpin> Mouth<W> {
    /// Says it to the byte.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Left> {
        for piece in bytes.as_ref().chunks(PIECE) {
            let sent = timeout(PATIENCE, self.0.write_all(piece)).await;
            sent.map_err(|_elapsed| Left)?.map_err(|_gone| Left)?;
        }
        Ok(())
    }

    /// There is no more to say.
    pub(super) async fn end(mut self) {
        // One that has left hears nothing.
        let _left = self.0.shutdown().await;
    }
}

impl<W: AsyncWrite + Unpin> Shows for Mouth<W> {
    async fn say(&mut self, text: &str) -> Result<(), Left> {
        self.send(statement::lines(text, "\r\n")).await
    }

    /// There is one way alone.
    async fn remark(&mut self, text: &str) -> Result<(), Left> {
        self.say(text).await
    }
}

/// A session, and the way to its client and back.
pub(super) struct LineTalk<'a, C: Control, R, W> {
    pub(super) session: &'a Session<C>,
    pub(super) ear: &'a mut Ear<R>,
    pub(super) mouth: &'a mut Mouth<W>,
    pub(super) idle: Duration,
}

/// The end of a wait for a line.
enum Wait {
    Line(TypedLine),
    Interrupt,
    /// The session is over, for this reason.
    Over(String),
}

impl<C: Control, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> LineTalk<'_, C, R, W> {
    /// Runs what is typed, until the client leaves.
    pub(super) async fn run(mut self) -> Result<(), Left> {
        // The lines of a statement that wants more of them.
        let mut begun = String::new();
        loop {
            self.mouth.send(if begun.is_empty() { PROMPT } else { MORE }).await?;
            let line = match self.next().await? {
                Wait::Line(TypedLine::Text(line)) => line,
                Wait::Line(TypedLine::Leave) => return self.mouth.send(FAREWELL).await,
                Wait::Line(TypedLine::NotText) => {
                    begun.clear();
                    self.mouth.remark("the line is not UTF-8").await?;
                    continue;
                }
                Wait::Line(TypedLine::TooLong) => {
                    begun.clear();
                    self.refuse_length().await?;
                    continue;
                }
                Wait::Interrupt => {
                    begun.clear();
                    self.mouth.send("\r\n").await?;
                    continue;
                }
                Wait::Over(why) => return self.mouth.remark(&why).await,
            };
            match line.trim() {
                "exit" => return self.mouth.send(FAREWELL).await,
                "" if begun.is_empty() => continue,
                _ => {}
            }
            if begun.len() + line.len() >= MAX_REQUEST {
                begun.clear();
                self.refuse_length().await?;
                continue;
            }
            if !begun.is_empty() {
                begun.push('\n');
            }
            begun.push_str(&line);
            // An empty line is the end, whatever the statement wants.
            if self.statement(&begun, line.is_empty()).await? {
                begun.clear();
            }
            if self.is_over().await {
                return Ok(());
            }
        }
    }

    async fn next(&mut self) -> Result<Wait, Left> {
        let Self { session, ear, mouth, idle } = self;
        let heard = async {
            loop {
                if ear.typed.take_interrupt() {
                    return Ok(Wait::Interrupt);
                }
                if let Some(line) = ear.typed.next() {
                    return Ok(Wait::Line(line));
                }
                mouth.send(ear.typed.take_replies()).await?;
                ear.hear().await?;
            }
        };
        tokio::select! {
            who = session.seat().ended() => Ok(Wait::Over(format!("the session was ended by {who}"))),
            heard = timeout(*idle, heard) => match heard {
                Ok(heard) => heard,
                Err(_silent) => Ok(Wait::Over("nothing was typed for too long".to_owned())),
            },
        }
    }

    async fn refuse_length(&mut self) -> Result<(), Left> {
        let message = format!(
            "this is too long: it may have {MAX_REQUEST} bytes; put long code into a file and `require` it"
        );
        self.mouth.remark(&message).await
    }

    /// Has a statement run, and shows what comes of it. False if it wants more lines, and may have them.
    async fn statement(&mut self, source: &str, is_last: bool) -> Result<bool, Left> {
        let Self { session, ear, mouth, .. } = self;
        let interrupted = ear.interrupted();
        let result = statement::run(session, source.to_owned(), &mut **mouth, interrupted).await?;
        // First: telnet throws away what comes before the answer to its Ctrl-C.
        mouth.send(ear.typed.take_replies()).await?;
        let shown = match result {
            Some(Err(failure)) if failure.incomplete && !is_last => return Ok(false),
            Some(Err(failure)) => mouth.remark(&failure.message).await,
            Some(Ok(done)) => statement::tell(&mut **mouth, &done).await,
            None => mouth.remark("interrupted").await,
        };
        session.told();
        shown.map(|()| true)
    }

    /// Whether the session was ended: with what ran, which has told so.
    async fn is_over(&self) -> bool {
        tokio::select! {
            biased;
            _who = self.session.seat().ended() => true,
            () = ready(()) => false,
        }
    }
}
