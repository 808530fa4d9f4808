//! `medusa.log.filter` with a function.
//!
//! **Invariant: it fails open.** A record about which the function fails, which it has no time for, or which finds its
//! queue full, passes: a filter that breaks must not cost the log. So does everything once it is switched off.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use medusa_log::drain::{self, Drain as _};
use medusa_log::mailbox::Load;
use medusa_log::{Batch, Flushed, Sink, SinkError};
use medusa_proto::status::Status;
use mlua::{Function, Value};
use tokio::task::spawn_local;

use super::{Batches, LIMIT, LogFunctions, MAX_STOPS, Runner, record, without_events};
use crate::budget::Budget;
use crate::error::ScriptError;
use crate::preempt::{is_running_spent, stops_of_running};
use crate::runs::RunNote;
use crate::task::in_turn;

/// Passes on what a function says yes to.
#[derive(Debug)]
pub(crate) struct FunctionFilter {
    origin: Arc<str>,
    batches: Arc<Batches>,
    inner: Arc<dyn Sink>,
    counts: Arc<FilterCounts>,
}

#[derive(Debug, Default)]
struct FilterCounts {
    passed_on: AtomicU64,
    passed_over: AtomicU64,
    /// Of those passed on, how many the function has not decided about.
    undecided: AtomicU64,
    /// Whether the function is not asked any more.
    switched_off: AtomicBool,
}

impl FunctionFilter {
    /// Only what `function`, of the VM that `functions` are of, says yes to goes to `inner`.
    pub(crate) fn new(
        functions: &Rc<LogFunctions>,
        function: Function,
        origin: Arc<str>,
        inner: Arc<dyn Sink>,
    ) -> mlua::Result<Self> {
        let (batches, counts) = (Arc::new(Batches::new(LIMIT)), Arc::default());
        let runner = functions.runner(function, Arc::clone(&origin), &batches)?;
        let filter = Self { origin, batches, inner, counts };
        let (batches, inner) = (Arc::clone(&filter.batches), Arc::clone(&filter.inner));
        spawn_local(without_events(runner.sift(batches, inner, Arc::clone(&filter.counts))));
        Ok(filter)
    }
}

impl Drop for FunctionFilter {
    fn drop(&mut self) {
        self.batches.close();
    }
}

impl Sink for FunctionFilter {
    fn prepare(&self) -> Result<(), SinkError> {
        drain::enter(&self.batches);
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        if !self.batches.offer(Arc::clone(batch), Load::of(batch)) {
            self.counts.count(batch.len(), 0, batch.len());
            self.inner.submit(batch);
        }
    }

    /// One after the other: what the function lets pass is then what the inner sink has to write.
    fn flush(&self, deadline: Instant) -> Flushed {
        self.batches.drain(deadline).and(self.inner.flush(deadline))
    }

    fn inner(&self) -> &[Arc<dyn Sink>] {
        std::slice::from_ref(&self.inner)
    }

    fn status(&self) -> Status {
        self.batches
            .describe(Status::new("log.filter", self.origin.to_string()))
            .maybe_gauge("switched_off", self.counts.switched_off.load(Relaxed).then_some(true))
            .counter("passed_on", self.counts.passed_on.load(Relaxed))
            .counter("passed_over", self.counts.passed_over.load(Relaxed))
            .counter("undecided", self.counts.undecided.load(Relaxed))
    }
}

impl FilterCounts {
    fn count(&self, on: usize, over: usize, undecided: usize) {
        self.passed_on.fetch_add(on as u64, Relaxed);
        self.passed_over.fetch_add(over as u64, Relaxed);
        self.undecided.fetch_add(undecided as u64, Relaxed);
    }
}

/// The function's verdicts on a batch so far.
#[derive(Default)]
struct Verdicts {
    keep: Vec<bool>,
    undecided: usize,
    error: Option<mlua::Error>,
}

impl Runner {
    async fn sift(mut self, batches: Arc<Batches>, inner: Arc<dyn Sink>, counts: Arc<FilterCounts>) {
        while let Some((batch, _)) = batches.next().await {
            let verdicts = if self.stops.are_too_many() {
                Verdicts { undecided: batch.len(), ..Verdicts::default() }
            } else {
                in_turn(self.judge(&batch)).await
            };
            let mut keep = verdicts.keep.into_iter();
            let kept = Batch::select(&batch, |_| keep.next().unwrap_or(true));
            let on = kept.as_ref().map_or(0, |kept| kept.len());
            counts.count(on, batch.len() - on, verdicts.undecided);
            if let Some(kept) = kept {
                inner.submit(&kept);
            }
            if self.stops.are_too_many() {
                counts.switched_off.store(true, Relaxed);
                batches.close();
            }
            batches.settle(Load::of(&batch));
        }
    }

    /// Asks the function about each record: one budget for all of a batch, and no right to change anything.
    async fn judge(&mut self, batch: &Batch) -> Verdicts {
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
        let note = || RunNote::of_hook("log filter", Arc::clone(&self.origin));
        let run = self.vm.run(note, Budget::TIMER, asking).await;
        let mut verdicts = verdicts.into_inner();
        verdicts.undecided += batch.len() - verdicts.keep.len();
        if self.stops.are_too_many() {
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
            && let Some(times) = self.errors.another(Instant::now())
        {
            let error = error.with_traceback();
            tracing::warn!(log = %self.origin, times, "a log's filter failed, and the records pass: {error}");
        }
        verdicts
    }
}
