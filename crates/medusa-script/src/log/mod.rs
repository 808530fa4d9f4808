//! Functions of the script in the way of log records: filters, and sinks that are functions.
//!
//! A worker submits a batch to a sink; the function is in the main VM. Between them is a [`Mailbox`], and behind it one
//! task of the VM's thread for each function, which takes batch after batch, each under a budget like a timer's.
//!
//! **Life.** The task ends when its sink is dropped and its batches are done. But a replaced VM's sinks are held by the
//! VM's own globals, and the VM by its tasks: so when a VM has been replaced, its sinks are closed as soon as no request
//! is left that began before. What a request that lasts longer (a stream, a WebSocket) leaves in such a sink is as if
//! the function were not there: a filter lets it pass, a function that is a sink loses it, counted.
//!
//! **Others' turn.** Batches may wait all the time, so others go first between two of them ([`in_turn`](crate::task::in_turn)).
//! A function that is stopped for its CPU time [`MAX_STOPS`] times in a row is switched off, until a reload makes it anew.
//!
//! **Invariant:** nothing a function does holds up a worker, a request or another log; what it causes in the server's own
//! log does not come back to it.

mod batches;
mod filter;
mod record;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Weak as SharedWeak};
use std::time::{Duration, Instant};

use medusa_log::Batch;
use medusa_log::events::MutedEvents;
use medusa_log::mailbox::{Load, Mailbox};
use medusa_site::Live;
use mlua::Function;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::timers::Timers;
use crate::vm::Vm;
pub(crate) use batches::FunctionSink;
pub(crate) use filter::FunctionFilter;
pub(crate) use record::record;

/// The interval at which a replaced VM looks whether a request is left that began before. Longer than a record waits
/// on its worker.
const LOOK: Duration = Duration::from_secs(1);

/// The load that may wait for a function, of records: some seconds of what it can take; of bytes: the VM is to be
/// what takes memory.
const LIMIT: Load = Load { records: 65_536, bytes: 16 * 1024 * 1024 };

/// Batches on their way to a function.
type Batches = Mailbox<Arc<Batch>>;

/// The functions of one VM that log records go to.
#[derive(Debug)]
pub(crate) struct LogFunctions {
    live: Arc<Live>,
    timers: Rc<Timers>,
    /// Set as soon as the VM is made, which its bindings are part of. Weak, for the VM has this.
    vm: RefCell<Weak<Vm>>,
    mailboxes: RefCell<Vec<SharedWeak<Batches>>>,
    watched: Cell<bool>,
    retired: Notify,
}

/// The things a task needs to run a function.
struct Runner {
    function: Function,
    vm: Rc<Vm>,
    live: Arc<Live>,
    timers: Rc<Timers>,
    origin: Arc<str>,
    errors: RateLimitedErrors,
    stops: Stops,
}

/// The number of times in a row that a function may be stopped for its CPU time until it is not called any more. Only
/// the script's author can mend it, and until then all it does is to use up the main VM's time.
const MAX_STOPS: u64 = 10;

/// The number of times a function has been stopped in a row.
#[derive(Debug, Default)]
struct Stops(Cell<u64>);

impl Stops {
    fn count(&self, stopped: bool) {
        self.0.set(if stopped { self.0.get() + 1 } else { 0 });
    }

    fn are_too_many(&self) -> bool {
        self.0.get() >= MAX_STOPS
    }
}

impl LogFunctions {
    pub(crate) fn new(live: &Arc<Live>, timers: &Rc<Timers>) -> Rc<Self> {
        Rc::new(Self {
            live: Arc::clone(live),
            timers: Rc::clone(timers),
            vm: RefCell::default(),
            mailboxes: RefCell::default(),
            watched: Cell::new(false),
            retired: Notify::new(),
        })
    }

    pub(crate) fn set_vm(&self, vm: &Rc<Vm>) {
        *self.vm.borrow_mut() = Rc::downgrade(vm);
    }

    /// The VM has been replaced, or was never used: its sinks are closed once nothing comes any more.
    pub(crate) fn retire(&self) {
        self.retired.notify_one();
    }

    /// The surroundings of a new function; `batches` is where they come from.
    fn runner(
        self: &Rc<Self>,
        function: Function,
        origin: Arc<str>,
        batches: &Arc<Batches>,
    ) -> mlua::Result<Runner> {
        let vm = self.vm.borrow().upgrade();
        let vm = vm.ok_or_else(|| mlua::Error::runtime("this script has been replaced"))?;
        let mut mailboxes = self.mailboxes.borrow_mut();
        mailboxes.retain(|batches| batches.strong_count() > 0);
        mailboxes.push(Arc::downgrade(batches));
        if !self.watched.replace(true) {
            spawn_local(Rc::clone(self).close_when_retired());
        }
        let (live, timers) = (Arc::clone(&self.live), Rc::clone(&self.timers));
        Ok(Runner {
            function,
            vm,
            live,
            timers,
            origin,
            errors: RateLimitedErrors::default(),
            stops: Stops::default(),
        })
    }

    async fn close_when_retired(self: Rc<Self>) {
        self.retired.notified().await;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.live.retired_in_use() == 0 {
                break;
            }
        }
        for batches in self.mailboxes.take().iter().filter_map(SharedWeak::upgrade) {
            batches.close();
        }
    }
}

/// Runs `task`, and keeps what it causes in the server's own log from the sinks of that: they may end here.
async fn without_events<T>(task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(move |context| {
        let _muted = MutedEvents::begin();
        task.as_mut().poll(context)
    })
    .await
}

/// Errors of one function: the first is told at once, then once a minute how many there were.
#[derive(Debug, Default)]
struct RateLimitedErrors {
    told: Option<Instant>,
    since: u64,
}

impl RateLimitedErrors {
    const EVERY: Duration = Duration::from_mins(1);

    /// Another error: of how many to tell, if it is time to.
    fn another(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < Self::EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use medusa_proto::author::{Author, Via};

    use super::*;
    use crate::engine_context::EngineContext;
    use crate::handler_files::Scripts;
    use crate::main_vm::{EntryScript, MainVm};
    use crate::require::Sources;
    use crate::rust_handlers::RustHandlers;
    use crate::transaction::Transaction;

    /// The VM's globals hold the sink, and the sink's task holds the VM: that must come to an end, also if the script has
    /// failed.
    #[test]
    fn a_replaced_vm_with_functions_of_logs_is_freed() {
        crate::engine::runtime().unwrap().block_on(async {
            for end in ["", "error('fails')"] {
                let live = Live::rehearsal();
                let sources = Arc::new(Sources::new(std::env::temp_dir().canonicalize().unwrap()));
                let scripts =
                    Arc::new(Scripts::new(None, EngineContext::new(&live, None, RustHandlers::default())));
                let (main, calls) = MainVm::start(&live, &scripts, &sources, None::<&Path>, None).unwrap();
                let vm = main.vm();
                let source = format!(
                    "one = medusa.log.luau(function() return two end)
                    two = medusa.log.multi {{ medusa.log.filter(function() return one end, one) }} {end}"
                );
                let entry = EntryScript { name: "test.luau", source: &source };
                let transaction = Transaction::fresh(live, Author::new(Via::Start, "test"), None).await;
                let run = main.run_script(&transaction, &entry).await;
                assert_eq!(run.is_ok(), end.is_empty());
                drop((main, calls));
                let started = Instant::now();
                while vm.strong_count() > 0 {
                    assert!(started.elapsed() < Duration::from_secs(20), "something holds it");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
    }

    #[test]
    fn only_stops_in_a_row_are_too_many() {
        let stops = Stops::default();
        let count = |stopped| {
            stops.count(stopped);
            stops.are_too_many()
        };
        assert!((1..MAX_STOPS).all(|_| !count(true)) && !count(false));
        assert!((1..MAX_STOPS).all(|_| !count(true)) && count(true));
    }

    #[test]
    fn errors_are_told_once_a_minute_with_their_count() {
        let (mut errors, start) = (RateLimitedErrors::default(), Instant::now());
        assert_eq!(errors.another(start), Some(1));
        for second in 1..60 {
            assert_eq!(errors.another(start + Duration::from_secs(second)), None);
        }
        assert_eq!(errors.another(start + RateLimitedErrors::EVERY), Some(60));
    }
}
