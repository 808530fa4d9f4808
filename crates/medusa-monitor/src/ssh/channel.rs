//! A session on a channel: a command, a script, a prompt or requests, each on the [`Session`] that all front ends have.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::timeout;

use super::connection::{Purpose, Start};
use super::inbox::{Inbox, Input};
use super::outlet::Outlet;
use super::prompt::Prompt;
use crate::json;
use crate::protocol::MAX_REQUEST;
use crate::session::{Control, Monitor, Session};
use crate::statement::{self, Left, Shows as _};

/// The most bytes on their way between the protocol and a session in JSON.
const ON_THE_WAY: usize = 64 * 1024;

/// The longest that a server which is to stop waits until the client has heard it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Opens a session and does what it is for.
pub(super) async fn attend<C: Control>(monitor: Monitor<C>, start: Start, idle: Duration) {
    let Start { purpose, identity, inbox, mut outlet } = start;
    let session = match monitor.open(identity, false) {
        Ok(session) => session,
        Err(full) => {
            let _told = outlet.remark(&full.to_string()).await;
            return outlet.end(1, inbox).await;
        }
    };
    let mut talk = Talk { session: &session, inbox, outlet, idle };
    let status = match purpose {
        Purpose::Command(source) => talk.command(source).await,
        Purpose::Script => talk.script().await,
        Purpose::Prompt(terminal) => {
            Prompt::new(&session, &mut talk.inbox, &talk.outlet, idle, &terminal).run().await
        }
        Purpose::Json => talk.json().await,
    };
    let Talk { mut inbox, outlet, .. } = talk;
    let status = status.unwrap_or(1);
    if !session.stops() {
        drop(session);
        return outlet.end(status, inbox).await;
    }
    // Whoever stops the server is to hear that it does: then the channel is closed.
    outlet.end(status, ()).await;
    let _gone = timeout(FAREWELL, async { while inbox.next().await.is_some() {} }).await;
}

/// A session, and the way to its client and back.
struct Talk<'a, C: Control> {
    session: &'a Session<C>,
    inbox: Inbox,
    outlet: Outlet,
    idle: Duration,
}

/// The end of something that was run.
enum Ran {
    Done,
    Failed,
    Interrupted,
}

impl<C: Control> Talk<'_, C> {
    /// Runs one, and returns its exit status.
    async fn command(&mut self, source: String) -> Result<u32, Left> {
        match self.run(source).await? {
            Ran::Done => Ok(0),
            Ran::Failed => Ok(1),
            // As of a program that SIGINT ends.
            Ran::Interrupted => Ok(130),
        }
    }

    /// Runs all that comes, as one.
    async fn script(&mut self) -> Result<u32, Left> {
        let mut script = Vec::new();
        loop {
            let Some(input) = self.next().await? else {
                self.outlet.remark("nothing came for too long").await?;
                return Ok(1);
            };
            match input {
                Input::Data(bytes) if script.len() + bytes.len() > MAX_REQUEST => {
                    let message = format!("the script is too long: it may have {MAX_REQUEST} bytes");
                    self.outlet.remark(&message).await?;
                    return Ok(1);
                }
                Input::Data(bytes) => script.extend_from_slice(&bytes),
                Input::Interrupt => return Ok(130),
                Input::Resize(..) => {}
                Input::End => break,
            }
        }
        if let Ok(source) = String::from_utf8(script) {
            return self.command(source).await;
        }
        self.outlet.remark("the script is not UTF-8").await?;
        Ok(1)
    }

    /// Answers requests.
    async fn json(&mut self) -> Result<u32, Left> {
        let (ours, theirs) = duplex(ON_THE_WAY);
        let (mut replies, mut requests) = split(ours);
        let (reader, writer) = split(theirs);
        let (inbox, outlet, session, idle) = (&mut self.inbox, &self.outlet, self.session, self.idle);
        let input = async {
            loop {
                match timeout(idle, inbox.next()).await {
                    Ok(Some(Input::Data(bytes))) => requests.write_all(&bytes).await?,
                    Ok(Some(Input::End)) => requests.shutdown().await?,
                    Ok(Some(Input::Interrupt | Input::Resize(..))) => {}
                    Ok(None) => return io::Result::Ok(()),
                    Err(_silent) if session.seat().is_running() => {}
                    Err(_silent) => return Ok(()),
                }
            }
        };
        let output = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let read = replies.read(&mut buffer).await.unwrap_or(0);
                if read == 0 {
                    return Ok(());
                }
                outlet.stdout(buffer[..read].to_vec()).await?;
            }
        };
        let served = async {
            // Both halves are gone with it, which is the end of the replies.
            json::serve(session, reader, writer, std::future::pending::<()>).await
        };
        let answered = async { tokio::join!(served, output) };
        tokio::select! {
            (served, output) = answered => {
                output?;
                Ok(u32::from(served.is_err()))
            }
            _left = input => Ok(1),
        }
    }

    /// The next input, unless nothing comes for too long.
    async fn next(&mut self) -> Result<Option<Input>, Left> {
        tokio::select! {
            who = self.session.seat().ended() => {
                self.outlet.remark(&format!("the session was ended by {who}")).await?;
                Err(Left)
            }
            input = timeout(self.idle, self.inbox.next()) => match input {
                Ok(Some(input)) => Ok(Some(input)),
                Ok(None) => Err(Left),
                Err(_silent) => Ok(None),
            },
        }
    }

    /// Does what a text says, and shows what comes of it.
    async fn run(&mut self, source: String) -> Result<Ran, Left> {
        let (outlet, interrupted) = (&mut self.outlet, interrupted(&mut self.inbox));
        let result = statement::run(self.session, source, outlet, interrupted).await?;
        let ran = match result {
            Some(Ok(done)) => {
                statement::tell(outlet, &done).await?;
                Ran::Done
            }
            Some(Err(failure)) => {
                outlet.remark(&failure.message).await?;
                Ran::Failed
            }
            None => {
                outlet.remark("interrupted").await?;
                Ran::Interrupted
            }
        };
        Ok(ran)
    }
}

/// Returns when the client wants no more of what runs. What it sends meanwhile is nobody's.
async fn interrupted(inbox: &mut Inbox) -> Result<(), Left> {
    loop {
        match inbox.next().await {
            Some(Input::Interrupt) => return Ok(()),
            // Ctrl-C, of a terminal.
            Some(Input::Data(bytes)) if bytes.contains(&3) => return Ok(()),
            Some(_) => {}
            None => return Err(Left),
        }
    }
}
