//! The main VM: runs the script, statements, timers, and the handlers given as functions.
//!
//! One VM is current; a reload makes another and replaces it. A replaced VM's timers begin no other run; what is under way
//! finishes, but changes nothing any more, then it is freed.

mod calls;
mod sessions;

use std::cell::Cell;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use medusa_monitor::Completion;
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_site::Live;
use mlua::{Function, MultiValue, Table};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::bindings::main_script;
use crate::budget::Budget;
use crate::chunk::{ScriptFiles, load};
use crate::commands::Commands;
use crate::complete::CompletionScope;
use crate::context::MainContext;
use crate::error::ScriptError;
use crate::functions::Functions;
use crate::handler_files::Scripts;
use crate::inline::{Call, QUEUED_CALLS};
use crate::log::LogFunctions;
use crate::places::{Places, STATEMENT_TEXT};
use crate::print::first_values;
use crate::reference::lookup;
use crate::request::Requests;
use crate::require::{ModuleValues, Modules, Sources, names_over};
use crate::runs::RunNote;
use crate::timers::Timers;
use crate::transaction::{Block, Transaction};
use crate::vm::Vm;
use sessions::{MAX_NAMES, Mentioned, VmSessions};

pub use sessions::incomplete;
pub(crate) use sessions::{ReplayedSessions, SessionNames};

/// A main VM.
#[derive(Debug)]
pub(crate) struct MainVm {
    vm: Rc<Vm>,
    live: Arc<Live>,
    sources: Arc<Sources>,
    chunks: ScriptFiles,
    modules: ModuleValues,
    functions: Rc<Functions>,
    /// What the script and its statements assign.
    names: Table,
    /// What statements have beside them.
    commands: Table,
    statement: Function,
    /// Calls a function, for as many of its values as are shown.
    run: Function,
    timers: Rc<Timers>,
    logs: Rc<LogFunctions>,
    sessions: VmSessions,
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
        let chunks = ScriptFiles::default();
        let context = MainContext {
            live: Arc::clone(live),
            scripts: Arc::clone(scripts),
            sources: Arc::clone(sources),
            chunks: chunks.clone(),
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
        let statement = load(vm.lua(), include_str!("../statement.luau"), "=names", None)?;
        let names = names_over(vm.lua(), &vm.lua().globals())?;
        main_script::install_in_script(&names)?;
        let commands = main_script::commands(vm.lua())?;
        let statement = statement.call::<Function>((&names, &commands, STATEMENT_TEXT, MAX_NAMES))?;
        let (_, run) = first_values(vm.lua(), None)?;
        let main = Rc::new(Self {
            vm,
            live: Arc::clone(live),
            sources: Arc::clone(sources),
            chunks,
            modules: ModuleValues::default(),
            functions,
            names,
            commands,
            statement,
            run,
            timers,
            logs,
            sessions: VmSessions::default(),
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

    /// Goes back where a statement says so.
    async fn go_back(&self, transaction: &Transaction) -> Result<(), ScriptError> {
        let Some((number, reason)) = transaction.take_way_back() else { return Ok(()) };
        let engine = MainContext::of(self.vm.lua()).and_then(|context| context.engine());
        let engine = engine.map_err(|error| ScriptError::from_lua(&error))?;
        let (author, events) = (transaction.author().clone(), transaction.events());
        let back = engine.rollback(number, author, reason, events).await;
        let back = back.map_err(|error| ScriptError::new(format!("rollback: {}", error.render())))?;
        transaction.note_back(back);
        Ok(())
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
        let modules = Modules::new(Arc::clone(&self.sources), names.clone(), &self.modules, &self.chunks);
        let running = async {
            names.raw_set("require", modules.require(lua, Path::new(entry.name).to_owned())?)?;
            let script = load(lua, entry.source, &format!("@{}", entry.name), Some(names))?;
            let text = self.sources.known(Path::new(entry.name));
            self.chunks.add(entry.name, &script, text.unwrap_or_else(|| entry.source.into()));
            script.call_async::<()>(()).await
        };
        let note = || RunNote::of_author("load", entry.name, transaction.author());
        let result = transaction.scope(self.vm.run(note, Budget::STATEMENT, running)).await;
        result.map_err(|error| ScriptError::from_task(&error))
    }

    /// Runs one statement of a session, as the chunk of this name, and publishes what it changed. Neither names nor the site change
    /// if it fails.
    pub(crate) async fn run_statement(
        &self,
        transaction: &Rc<Transaction>,
        session: &SessionNames,
        chunk: &str,
        source: &str,
    ) -> Result<Ran, ScriptError> {
        let lua = self.vm.lua();
        let failed = |error: mlua::Error| {
            transaction.abandon();
            ScriptError::from_lua(&error)
        };
        transaction.begin_statement();
        let Mentioned { cells, last, any } = session.mentioned(lua, source).map_err(failed)?;
        let declare = sessions::unknown_name();
        let given = (source, session.table(), cells, last, &*declare);
        let (environment, keep) = self.statement.call::<(Table, Function)>(given).map_err(failed)?;
        let function = sessions::compile(lua, chunk, source, &environment, &declare).map_err(failed)?;
        if let Some(file) = chunk.strip_prefix('@') {
            self.chunks.add(file, &function, source.into());
        }
        let running = self.run.call_async::<MultiValue>(function);
        let note = || RunNote::of_author("statement", source.trim_start(), transaction.author());
        let running = self.vm.run_excusing(note, Budget::STATEMENT, || transaction.excused(), running);
        let result = transaction.scope(running).await;
        let values = result.map_err(|error| {
            self.vm.memory().note(&error, || "a statement".to_owned());
            ScriptError::from_task(&error)
        })?;
        self.commit(transaction).await?;
        self.go_back(transaction).await?;
        let kept = keep.call::<(bool, bool)>(()).and_then(|kept| session.keep_last(&values).map(|()| kept));
        let (assigned, declared) = kept.map_err(|error| {
            transaction.give_up_block();
            failed(error)
        })?;
        Ok(Ran { values, assigned, leaves: declared, uses: any })
    }

    /// What a session has in this VM.
    pub(crate) fn session(&self, session: &Arc<Block>) -> Result<SessionNames, ScriptError> {
        self.sessions.open(self.vm.lua(), session).map_err(|error| ScriptError::from_lua(&error))
    }

    /// Lets go of what ended sessions had.
    pub(crate) fn forget_sessions(&self) {
        if self.sessions.forget_ended() {
            self.vm.collect_later();
        }
    }

    /// What may stand at byte `at` of a statement.
    pub(crate) fn complete(&self, session: &Block, source: &str, at: usize) -> Completion {
        let lua = self.vm.lua();
        let mut tables = lookup::with_those_below(&self.names);
        tables.push(self.commands.clone());
        let places = Places { sources: &self.sources };
        let own = self.sessions.get(session).and_then(|names| names.all().ok()).unwrap_or_default();
        CompletionScope { lua, tables, own, places }.complete(source, at)
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
    pub(crate) fn lua(&self) -> &mlua::Lua {
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

/// The outcome of a statement.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its values (see [`crate::print::values`]).
    pub(crate) values: MultiValue,
    /// Whether it assigned global names.
    pub(crate) assigned: bool,
    /// Whether it left names to its session.
    pub(crate) leaves: bool,
    /// Whether it had something of what the session's statements before it have left.
    pub(crate) uses: bool,
}

/// The script, as text with a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryScript<'a> {
    pub(crate) name: &'a str,
    pub(crate) source: &'a str,
}
