//! What of scripts is running, for who looks on from another thread.

use medusa_monitor::{RunId, RunList};
use medusa_proto::author::Author;
use medusa_site::Live;

use super::{Engine, Job, JobAnswer, respond};
use crate::error::ScriptError;
use crate::runs;
use crate::top;
use crate::transaction::ProgressSender;

/// A question to the engine's thread about what is running, which it passes on to the workers.
pub(super) enum RunningJob {
    List { answer: JobAnswer<RunList> },
    End { run: RunId, author: Author, answer: JobAnswer<bool> },
    Top { n: Option<u64>, events: ProgressSender, answer: JobAnswer<()> },
}

impl RunningJob {
    pub(super) async fn done(self, live: &Live) {
        let workers = live.workers();
        match self {
            Self::List { answer } => respond(answer, async { Ok(runs::list(workers).await) }).await,
            Self::End { run, author, answer } => {
                let ended = async {
                    runs::end(live, run, author).await.map_err(|why| ScriptError::new(why.to_string()))
                };
                respond(answer, ended).await;
            }
            Self::Top { n, events, answer } => {
                let told = async {
                    top::watch(live, n, &events).await;
                    Ok(())
                };
                respond(answer, told).await;
            }
        }
    }
}

impl Engine {
    /// What of scripts is running, on all threads.
    ///
    /// # Errors
    ///
    /// The engine has ended.
    pub async fn runs(&self) -> Result<RunList, ScriptError> {
        self.ask(|answer| Job::Running(RunningJob::List { answer })).await
    }

    /// Tells of the server in numbers, once a second: for `n` seconds, or until the future is dropped.
    ///
    /// # Errors
    ///
    /// The engine has ended.
    pub async fn top(&self, n: Option<u64>, events: ProgressSender) -> Result<(), ScriptError> {
        self.ask(|answer| Job::Running(RunningJob::Top { n, events, answer })).await
    }

    /// Ends something that is running. Whether there is anything of this number.
    ///
    /// # Errors
    ///
    /// It is not the author's to end, or the engine has ended.
    pub async fn end_run(&self, run: RunId, author: Author) -> Result<bool, ScriptError> {
        self.ask(|answer| Job::Running(RunningJob::End { run, author, answer })).await
    }
}
