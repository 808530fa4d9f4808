//! A server for tests of front ends: it only says what it would do.

use medusa_proto::author::Author;
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::Status;
use tokio::sync::mpsc;

use crate::identity::Identity;
use crate::news::OnTrial;
use crate::protocol::{Completion, Done, Failure, Op};
use crate::runs::{RunId, RunList};
use crate::session::Control;
use crate::terminal::Candidate;

/// A server that only says what it would do.
pub(crate) struct Fake<E, N> {
    /// What statements come to.
    pub(crate) eval: E,
    /// Told of each statement, and of a stop, by whom.
    pub(crate) note: N,
}

impl<E, N> Control for Fake<E, N>
where
    E: AsyncFn(String, mpsc::Sender<TaskProgress>) -> Result<Done, Failure> + 'static,
    N: Fn(String) + 'static,
{
    type Session = u64;

    fn open(&self, number: u64, _identity: &Identity) -> u64 {
        number
    }

    async fn eval(
        &self,
        _session: &u64,
        source: String,
        author: Author,
        events: mpsc::Sender<TaskProgress>,
    ) -> Result<Done, Failure> {
        (self.note)(author.to_string());
        (self.eval)(source, events).await
    }

    async fn incomplete(&self, source: String) -> Option<Failure> {
        let failure = Failure { incomplete: true, ..Failure::new("statement:1: no end") };
        source.ends_with('{').then_some(failure)
    }

    async fn reload(
        &self,
        _confirm: Option<f64>,
        _author: Author,
        _events: mpsc::Sender<TaskProgress>,
    ) -> Result<Done, Failure> {
        Ok(Done { generation: Some(3), ..Done::default() })
    }

    async fn history(
        &self,
        _session: &u64,
        op: Op,
        _author: Author,
        _events: mpsc::Sender<TaskProgress>,
    ) -> Result<Done, Failure> {
        Ok(Done { value: Some(op.name().to_owned()), ..Done::default() })
    }

    async fn complete(&self, _session: &u64, source: String, at: usize) -> Result<Completion, Failure> {
        let from = source[..at].rfind(' ').map_or(0, |space| space + 1);
        let words = ["mount", "mounts"].into_iter().filter(|word| word.starts_with(&source[from..at]));
        let candidates = words.map(|word| Candidate { text: word.into(), about: format!("a {word}") });
        Ok(Completion { from, candidates: candidates.collect() })
    }

    fn has_begun(&self, _session: &u64) -> bool {
        false
    }

    fn on_trial(&self) -> Option<OnTrial> {
        None
    }

    async fn status(&self) -> Status {
        Status::new("site", "x").field("generation", 1_u64)
    }

    async fn runs(&self) -> Result<RunList, Failure> {
        Ok(RunList::default())
    }

    async fn top(&self, _n: Option<u64>, events: mpsc::Sender<TaskProgress>) -> Result<Done, Failure> {
        drop(events.send(TaskProgress::Top(Box::default())).await);
        Ok(Done::default())
    }

    async fn end_run(&self, run: RunId, author: Author) -> Result<bool, Failure> {
        (self.note)(author.to_string());
        Ok(run == RunId(1))
    }

    fn reopen(&self) -> Result<(), Failure> {
        Err(Failure::new("the disk is gone"))
    }

    fn stop(&self, author: &Author) {
        (self.note)(author.to_string());
    }
}

/// Calls a function when it is dropped: with a statement that was cancelled.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
