//! A statement on behalf of a client that is shown lines: what it prints while it runs, and then what came of it.

use std::pin::pin;
use std::time::Duration;

use medusa_proto::progress::TaskProgress;
use medusa_proto::shown::Escaped;
use tokio::sync::mpsc;

use crate::protocol::{Done, Failure, Op};
use crate::session::{Control, QUEUED_EVENTS, Session};

/// The time that a client may take nothing of what it is told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The client has left, or takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left;

/// The way to a client that is shown lines.
pub(crate) trait Shows {
    /// Says what was asked for, in lines of its own.
    async fn say(&mut self, text: &str) -> Result<(), Left>;

    /// Says something about what was asked for.
    async fn remark(&mut self, text: &str) -> Result<(), Left>;
}

/// Text in its own lines, which end in `end`, without anything that would steer a terminal.
pub(crate) fn lines(text: &str, end: &str) -> String {
    let lines = format!("{}\n", Escaped::lines(text.strip_suffix('\n').unwrap_or(text), ""));
    if end == "\n" { lines } else { lines.replace('\n', end) }
}

/// Has the session do what a text says, and shows what it prints. None if it was `interrupted`. The result is for the caller to
/// show; then [`Session::told`] is to be called.
pub(crate) async fn run<C: Control>(
    session: &Session<C>,
    source: String,
    client: &mut impl Shows,
    interrupted: impl Future<Output = Result<(), Left>>,
) -> Result<Option<Result<Done, Failure>>, Left> {
    let (sender, mut events) = mpsc::channel(QUEUED_EVENTS);
    let task = session.run(Op::Eval { source }, sender);
    let shown = async {
        let mut task = pin!(task);
        let result = loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => show(client, event).await?,
                result = &mut task => break result,
            }
        };
        while let Ok(event) = events.try_recv() {
            show(client, event).await?;
        }
        Ok(result)
    };
    // What is given up is dropped here, before anything is said about it.
    tokio::select! {
        biased;
        interrupted = interrupted => interrupted.map(|()| None),
        shown = shown => shown.map(Some),
    }
}

/// Shows what came of it: what was published, and the value.
pub(crate) async fn tell(client: &mut impl Shows, done: &Done) -> Result<(), Left> {
    for report in done.reports_beside_value() {
        client.remark(report).await?;
    }
    match &done.value {
        Some(value) => client.say(value).await,
        None => Ok(()),
    }
}

async fn show(client: &mut impl Shows, event: TaskProgress) -> Result<(), Left> {
    match event {
        TaskProgress::Output(text) => client.say(&text).await,
        TaskProgress::Waiting(text) => client.remark(&text).await,
        TaskProgress::Top(sample) => client.say(&sample.to_string()).await,
    }
}
