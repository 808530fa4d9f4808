//! The main VM: runs the script, statements, timers, and the handlers given as functions.
//!
//! One VM is current; a reload makes another and replaces it. A replaced VM's timers begin no other run; what is under way
//! finishes, but changes nothing any more, then it is freed.

mod calls;

use std::cell::Cell;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_site::Live;
use mlua::{Function, Lua, MultiValue, Table};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::bindings::main_script;
use crate::budget::Budget;
use crate::chunk::load;
use crate::commands::Commands;
use crate::context::MainContext;
use crate::error::ScriptError;
use crate::functions::Functions;
use crate::handler_files::Scripts;
use crate::inline::{Call, QUEUED_CALLS};
use crate::log::LogFunctions;
use crate::print::first_values;
use crate::request::Requests;
use crate::require::{Modules, Sources, names_over};
use crate::timers::Timers;
use crate::transaction::Transaction;
use crate::vm::Vm;

/// The name of the chunk that a statement of a session is.
pub(crate) const STATEMENT: &str = "=statement";

/// A main VM.
#[derive(Debug)]
pub(crate) struct MainVm {
    vm: Rc<Vm>,
    live: Arc<Live>,
    sources: Arc<Sources>,
    functions: Rc<Functions>,
    /// What the script and its statements assign.
    names: Table,
    statement: Function,
    /// Calls a function, for as many of its values as are shown.
    run: Function,
    timers: Rc<Timers>,
    logs: Rc<LogFunctions>,
    requests_running: Cell<usize>,
    sessions_running: Cell<usize>,
}

impl MainVm {
    /// Makes a VM and starts to take calls for it. It ends by itself when the returned sender, and every handler
    /// made of its functions, is gone.
    pub(crate) fn start(
        live: &Arc<Live>,
        scripts: &Arc<Scripts>,
        sources: &Arc<Sources>,
        state: Option<&Path>,
        engine: Option<Weak<dyn Commands>>,
    ) -> mlua::Result<(Rc<Self>, mpsc::Sender<Call>)> {
        let (calls, incoming) = mpsc::channel(QUEUED_CALLS);
        let functions = Functions::new(calls.downgrade());
        let timers = Timers::new(live);
        let logs = LogFunctions::new(live, &timers);
        let context = MainContext {
            live: Arc::clone(live),
            scripts: Arc::clone(scripts),
            sources: Arc::clone(sources),
            functions: Rc::clone(&functions),
            logs: Rc::clone(&logs),
            timers: Rc::clone(&timers),
            state: state.map(Rc::from),
            engine,
            collected: Rc::default(),
        };
        let vm = Vm::new(|lua, globals| main_script::install_in_main(lua, globals, context))?;
        logs.set_vm(&vm);
        timers.set_vm(&vm);
        let requests = Requests::new(vm.lua())?;
        functions.set_requests(requests.clone());
        let statement = load(vm.lua(), include_str!("../statement.luau"), "=statement", None)?;
        let names = names_over(vm.lua(), &vm.lua().globals())?;
        main_script::install_in_script(&names)?;
        let statement = statement.call::<Function>((&names, main_script::commands(vm.lua())?))?;
        let (_, run) = first_values(vm.lua(), None)?;
        let main = Rc::new(Self {
            vm,
            live: Arc::clone(live),
            sources: Arc::clone(sources),
            functions,
            names,
            statement,
            run,
            timers,
            logs,
            requests_running: Cell::new(0),
            sessions_running: Cell::new(0),
        });
        spawn_local(Rc::clone(&main).take_calls(requests, incoming));
        Ok((main, calls))
    }

    /// Publishes what a task changed.
    async fn commit(&self, transaction: &Transaction) -> Result<(), ScriptError> {
        let committed = transaction.commit_unless(self.timers.stopped()).await;
        committed.map_err(|error| ScriptError::new(with_causes(&error)))
    }

    /// The text of what was compiled: for errors to show.
    pub(crate) fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Runs the script itself.
    pub(crate) async fn run_script(
        &self,
        transaction: &Rc<Transaction>,
        entry: &EntryScript<'_>,
    ) -> Result<(), ScriptError> {
        let lua = self.vm.lua();
        let names = self.names.clone();
        let modules = Modules::new(Arc::clone(&self.sources), names.clone());
        let running = async {
            names.raw_set("require", modules.require(lua, Path::new(entry.name).to_owned())?)?;
            load(lua, entry.source, &format!("@{}", entry.name), Some(names))?.call_async::<()>(()).await
        };
        let result = transaction.scope(self.vm.run(Budget::STATEMENT, running)).await;
        result.map_err(|error| ScriptError::from_task(&error))
    }

    /// Runs one statement, as the chunk of this name, and publishes what it changed: its values (see [`crate::print::values`]), and whether it assigned
    /// names. Neither names nor the site change if it fails.
    pub(crate) async fn run_statement(
        &self,
        transaction: &Rc<Transaction>,
        chunk: &str,
        source: &str,
    ) -> Result<(MultiValue, bool), ScriptError> {
        let lua = self.vm.lua();
        let failed = |error: mlua::Error| {
            transaction.abandon();
            ScriptError::from_lua(&error)
        };
        let (environment, keep) = self.statement.call::<(Table, Function)>(()).map_err(failed)?;
        let function = compile_statement(lua, chunk, source, &environment).map_err(failed)?;
        let running = self.run.call_async::<MultiValue>(function);
        let running = self.vm.run_excusing(Budget::STATEMENT, || transaction.excused(), running);
        let result = transaction.scope(running).await;
        let values = result.map_err(|error| {
            self.vm.memory().note(&error, || "a statement".to_owned());
            ScriptError::from_task(&error)
        })?;
        self.commit(transaction).await?;
        let kept = keep.call::<bool>(()).map_err(failed)?;
        Ok((values, kept))
    }

    /// Has what its tasks edit be published, or not any more: it is the current VM or it is not.
    pub(crate) fn set_current(&self, current: bool) {
        self.timers.stop(!current);
    }

    /// Stops what must not outlive the VM's replacement.
    pub(crate) fn retire(&self) {
        self.set_current(false);
        self.logs.retire();
    }

    /// Ends its sessions, also those that might stay longer.
    pub(crate) fn end_sessions(&self) {
        self.functions.end_sessions();
    }

    /// How much memory its scripts have, in bytes.
    pub(crate) fn memory_used(&self) -> usize {
        self.vm.lua().used_memory()
    }

    #[cfg(test)]
    pub(crate) fn lua(&self) -> &Lua {
        self.vm.lua()
    }

    #[cfg(test)]
    pub(crate) fn vm(&self) -> std::rc::Weak<Vm> {
        Rc::downgrade(&self.vm)
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> &Table {
        &self.names
    }

    /// Describes the memory that the VM holds.
    pub(crate) fn status(&self) -> Status {
        self.describe(Status::new("vm", "main"))
    }

    /// The same of one that is paused, which the load of this generation has made.
    pub(crate) fn status_paused(&self, load: u64) -> Status {
        let status = self.describe(Status::new("vm.paused", format!("generation {load}")));
        status.maybe("held_by", self.held_by())
    }

    /// The same of one that was replaced, and what holds it.
    pub(crate) fn status_replaced(&self) -> Status {
        self.describe(Status::new("vm.replaced", "main")).maybe("held_by", self.held_by())
    }

    /// The requests that it is at.
    fn held_by(&self) -> Option<String> {
        self.functions.requests_shown().filter(|shown| !shown.is_empty())
    }

    fn describe(&self, status: Status) -> Status {
        self.functions.forget_released();
        let status = self.vm.describe(status);
        status
            .gauge("handler_functions", self.functions.count())
            .gauge("requests", self.requests_running.get())
            .gauge("websockets", self.sessions_running.get())
            .gauge("timers", self.timers.count())
    }
}

impl Drop for MainVm {
    /// Retires the VM, also that of a script that has failed to load.
    fn drop(&mut self) {
        self.retire();
    }
}

/// The script, as text with a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryScript<'a> {
    pub(crate) name: &'a str,
    pub(crate) source: &'a str,
}

/// An expression is worth its value, so it is tried first.
fn compile_statement(lua: &Lua, chunk: &str, source: &str, environment: &Table) -> mlua::Result<Function> {
    match load(lua, &format!("return {source}"), chunk, Some(environment.clone())) {
        Ok(function) => Ok(function),
        Err(_not_an_expression) => load(lua, source, chunk, Some(environment.clone())),
    }
}
