//! What of scripts is running, for who looks on from another thread.

use medusa_monitor::{RunId, RunList};
use medusa_net::Workers;
use medusa_proto::author::Author;

use super::{Engine, Job, JobAnswer, respond};
use crate::error::ScriptError;
use crate::runs;

/// A question to the engine's thread about what is running, which it passes on to the workers.
pub(super) enum RunningJob {
    List { answer: JobAnswer<RunList> },
    End { run: RunId, author: Author, answer: JobAnswer<bool> },
}

impl RunningJob {
    pub(super) async fn done(self, workers: Option<&Workers>) {
        match self {
            Self::List { answer } => respond(answer, async { Ok(runs::list(workers).await) }).await,
            Self::End { run, author, answer } => {
                respond(answer, async { Ok(runs::end(workers, run, author).await) }).await;
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

    /// Ends something that is running. Whether there is anything of this number.
    ///
    /// # Errors
    ///
    /// The engine has ended.
    pub async fn end_run(&self, run: RunId, author: Author) -> Result<bool, ScriptError> {
        self.ask(|answer| Job::Running(RunningJob::End { run, author, answer })).await
    }
}
