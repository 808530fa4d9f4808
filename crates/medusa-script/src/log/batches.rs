//! `medusa.log.luau`: a sink that is a function of the script.
//!
//! What it does not take in time is lost, counted, and told to it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use medusa_log::drain::{self, Drain as _};
use medusa_log::mailbox::Load;
use medusa_log::{Batch, Flushed, Sink, SinkError};
use medusa_proto::access::Loss;
use medusa_proto::author::{Author, Via};
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use mlua::{Function, Lua, Table};
use tokio::task::spawn_local;

use super::record::seconds;
use super::{Batches, LIMIT, LogFunctions, MAX_STOPS, Runner, record, without_events};
use crate::budget::{Budget, TaskError};
use crate::error::ScriptError;
use crate::runs::RunNote;
use crate::task::in_turn;
use crate::transaction::Transaction;

/// Hands batches to a function.
#[derive(Debug)]
pub(crate) struct FunctionSink {
    origin: Arc<str>,
    batches: Arc<Batches>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Records the function has taken.
    taken: AtomicU64,
    /// Records of calls that failed.
    failed: AtomicU64,
    /// Whether the function is not called any more.
    switched_off: AtomicBool,
}

impl FunctionSink {
    /// A sink that is `function`, of the VM that `functions` are of.
    pub(crate) fn new(
        functions: &Rc<LogFunctions>,
        function: Function,
        origin: Arc<str>,
    ) -> mlua::Result<Self> {
        let batches = Arc::new(Batches::new(LIMIT));
        let sink = Self { origin: Arc::clone(&origin), batches, counts: Arc::default() };
        let runner = functions.runner(function, origin, &sink.batches)?;
        let (batches, counts) = (Arc::clone(&sink.batches), Arc::clone(&sink.counts));
        spawn_local(without_events(runner.take_batches(batches, counts)));
        Ok(sink)
    }
}

impl Drop for FunctionSink {
    fn drop(&mut self) {
        self.batches.close();
    }
}

impl Sink for FunctionSink {
    fn prepare(&self) -> Result<(), SinkError> {
        drain::enter(&self.batches);
        Ok(())
    }

    fn submit(&self, batch: &Arc<Batch>) {
        if !self.batches.offer(Arc::clone(batch), Load::of(batch))
            && let Some(loss) = batch.loss_after(0)
        {
            self.batches.lose(loss);
        }
    }

    fn flush(&self, deadline: Instant) -> Flushed {
        self.batches.drain(deadline)
    }

    fn status(&self) -> Status {
        self.batches
            .describe(Status::new("log.luau", self.origin.to_string()))
            .maybe_gauge("switched_off", self.counts.switched_off.load(Relaxed).then_some(true))
            .counter("taken", self.counts.taken.load(Relaxed))
            .counter("failed", self.counts.failed.load(Relaxed))
            .counter("lost", self.batches.lost())
    }
}

impl Runner {
    async fn take_batches(mut self, batches: Arc<Batches>, counts: Arc<Counts>) {
        while let Some((batch, lost)) = batches.next().await {
            let called =
                if self.stops.are_too_many() { None } else { Some(in_turn(self.call(&batch, lost)).await) };
            let count = match called {
                Some(Ok(())) => &counts.taken,
                None => &counts.failed,
                Some(Err(error)) => {
                    if let Some(times) = self.errors.another(Instant::now()) {
                        tracing::warn!(log = %self.origin, times, "a log's function failed: {error}");
                    }
                    if self.stops.are_too_many() {
                        counts.switched_off.store(true, Relaxed);
                        batches.close();
                        tracing::error!(
                            log = %self.origin,
                            "a log's function was stopped {MAX_STOPS} times in a row, and is not called any more: its records are \
                             lost until a reload"
                        );
                    }
                    &counts.failed
                }
            };
            count.fetch_add(batch.len() as u64, Relaxed);
            batches.settle(Load::of(&batch));
        }
    }

    /// One call, with what it changes: as a timer's.
    async fn call(&self, batch: &Batch, lost: Option<Loss>) -> Result<(), String> {
        let author = Author::new(Via::Log, format!("log function at {}", self.origin));
        let transaction = Transaction::lazy(Arc::clone(&self.live), author, None);
        let lua = self.vm.lua();
        let calling = async {
            let lost = lost.map(|lost| loss(lua, lost)).transpose()?;
            self.function.call_async::<()>((records(lua, batch)?, lost)).await
        };
        let note = || RunNote::of_hook("log function", Arc::clone(&self.origin));
        let run = transaction.scope(self.vm.run(note, Budget::TIMER, calling)).await;
        self.stops.count(matches!(run, Err(TaskError::Cpu(..))));
        run.map_err(|error| ScriptError::from_task(&error).with_traceback())?;
        let committed = transaction.commit_unless(self.timers.stopped()).await;
        committed.map(drop).map_err(|error| with_causes(&error))
    }
}

fn records(lua: &Lua, batch: &Batch) -> mlua::Result<Table> {
    let records = lua.create_table_with_capacity(batch.len(), 0)?;
    for entry in batch.iter() {
        records.raw_push(record(lua, &entry)?)?;
    }
    Ok(records)
}

fn loss(lua: &Lua, loss: Loss) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("records", loss.records as f64)?;
    table.raw_set("from", seconds(loss.from))?;
    table.raw_set("to", seconds(loss.to))?;
    Ok(table)
}
