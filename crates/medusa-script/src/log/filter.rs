//! `medusa.log.filter` with a function.
//!
//! **Invariant: it fails open.** A record about which the function fails, which it has no time for, or which finds its
//! queue full, passes: a filter that breaks must not cost the log. So does everything once it is switched off.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use medusa_log::{Batch, Flushed, Sink, SinkError, drain};
use medusa_proto::status::Status;
use mlua::{Function, Value};
use tokio::task::spawn_local;

use super::handoff::Handoff;
use super::{LogFunctions, MAX_STOPS, Runner, aside, record};
use crate::error::ScriptError;
use crate::preempt::{is_running_spent, stops_of_running};
use crate::task::{Budget, in_turn};

/// Passes on what a function says yes to.
#[derive(Debug)]
pub(crate) struct FunctionFilter {
    origin: Arc<str>,
    handoff: Arc<Handoff>,
    inner: Arc<dyn Sink>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    passed_on: AtomicU64,
    passed_over: AtomicU64,
    /// Of those passed on, how many the function has not decided about.
    undecided: AtomicU64,
}

impl FunctionFilter {
    /// Only what `function`, of the VM that `functions` are of, says yes to goes to `inner`.
    pub(crate) fn new(
        functions: &Rc<LogFunctions>,
        function: Function,
        origin: Arc<str>,
        inner: Arc<dyn Sink>,
    ) -> mlua::Result<Self> {
        let (handoff, counts) = (Arc::default(), Arc::default());
        let runner = functions.runner(function, Arc::clone(&origin), &handoff)?;
        let filter = Self { origin, handoff, inner, counts };
        let (handoff, inner) = (Arc::clone(&filter.handoff), Arc::clone(&filter.inner));
        spawn_local(aside(runner.sift(handoff, inner, Arc::clone(&filter.counts))));
        Ok(filter)
    }
}

impl Drop for FunctionFilter {
    fn drop(&mut self) {
        self.handoff.close();
    }
}

impl Sink for FunctionFilter {
    fn check(&self) -> Result<(), SinkError> {
        self.inner.check()
    }

    fn prepare(&self) -> Result<(), SinkError> {
        self.inner.prepare()?;
        drain::enter(&self.handoff);
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        if !self.handoff.offer(batch) {
            self.counts.count(batch.len(), 0, batch.len());
            self.inner.submit(batch);
        }
    }

    /// One after the other: what the function lets pass is then what the inner sink has to write.
    fn flush(&self, deadline: Instant) -> Flushed {
        self.handoff.flush(deadline).and(self.inner.flush(deadline))
    }

    fn close(&self) {
        self.inner.close();
    }

    fn reopen(&self) -> Result<(), SinkError> {
        self.inner.reopen()
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        std::slice::from_ref(&self.inner)
    }

    fn status(&self) -> Status {
        let status = self.handoff.describe(Status::new("log.filter", self.origin.to_string()));
        status
            .field("passed_on", self.counts.passed_on.load(Relaxed))
            .field("passed_over", self.counts.passed_over.load(Relaxed))
            .field("undecided", self.counts.undecided.load(Relaxed))
    }
}

impl Counts {
    fn count(&self, on: usize, over: usize, undecided: usize) {
        self.passed_on.fetch_add(on as u64, Relaxed);
        self.passed_over.fetch_add(over as u64, Relaxed);
        self.undecided.fetch_add(undecided as u64, Relaxed);
    }
}

/// What the function has said of a batch so far.
#[derive(Default)]
struct Verdicts {
    keep: Vec<bool>,
    undecided: usize,
    error: Option<mlua::Error>,
}

impl Runner {
    async fn sift(mut self, handoff: Arc<Handoff>, inner: Arc<dyn Sink>, counts: Arc<Counts>) {
        while let Some(work) = handoff.next().await {
            let verdicts = if self.stops.are_too_many() {
                Verdicts { undecided: work.batch.len(), ..Verdicts::default() }
            } else {
                in_turn(self.judge(&work.batch, &handoff)).await
            };
            let mut keep = verdicts.keep.into_iter();
            let kept = Batch::select(&work.batch, |_| keep.next().unwrap_or(true));
            let on = kept.as_ref().map_or(0, |kept| kept.len());
            counts.count(on, work.batch.len() - on, verdicts.undecided);
            if let Some(kept) = kept {
                inner.submit(&kept);
            }
            handoff.settle(&work.batch);
        }
    }

    /// Asks the function about each record: one budget for all of a batch, and no right to change anything.
    async fn judge(&mut self, batch: &Batch, handoff: &Handoff) -> Verdicts {
        let lua = self.vm.lua();
        let verdicts = RefCell::<Verdicts>::default();
        let asking = async {
            for entry in batch.iter() {
                if self.stops.are_too_many() || is_running_spent() {
                    break;
                }
                let stops = stops_of_running();
                let asked = match record(lua, &entry) {
                    Ok(table) => self.function.call_async::<Value>(table).await,
                    Err(error) => Err(error),
                };
                self.stops.count(stops_of_running() > stops);
                let mut verdicts = verdicts.borrow_mut();
                verdicts.keep.push(match &asked {
                    Ok(Value::Nil | Value::Boolean(false)) => false,
                    Ok(_) | Err(_) => true,
                });
                if let Err(error) = asked {
                    verdicts.undecided += 1;
                    verdicts.error.get_or_insert(error);
                }
            }
            Ok(())
        };
        let run = self.vm.run(Budget::TIMER, asking).await;
        let mut verdicts = verdicts.into_inner();
        verdicts.undecided += batch.len() - verdicts.keep.len();
        if self.stops.are_too_many() {
            handoff.switch_off();
            tracing::error!(
                log = %self.origin,
                "a log's filter was stopped {MAX_STOPS} times in a row, and is not asked any more: all records pass until a reload"
            );
        }
        let error = match (run, verdicts.error.take()) {
            (Err(error), _) => Some(ScriptError::from_task(&error)),
            (Ok(()), error) => error.map(|error| ScriptError::from_lua(&error)),
        };
        if let Some(error) = error
            && let Some(times) = self.complaints.another(Instant::now())
        {
            let error = error.with_traceback();
            tracing::warn!(log = %self.origin, times, "a log's filter failed, and the records pass: {error}");
        }
        verdicts
    }
}
