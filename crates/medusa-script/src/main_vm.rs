//! The main VM: runs the script, statements, timers, and the handlers given as functions.
//!
//! One VM is current; a reload makes another and replaces it. A replaced VM's timers stop at once, its requests under
//! way finish, then it is freed.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use http::{Method, StatusCode};
use medusa_http::{HandlerError, Request};
use medusa_proto::author::{Author, Via};
use medusa_proto::status::Status;
use medusa_proto::with_causes;
use medusa_site::Live;
use mlua::{Function, Lua, MultiValue, Table};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::bindings::main_script;
use crate::budget::{Budget, TaskError};
use crate::call::{Handler, call, handler_error, vm_error};
use crate::chunk::load;
use crate::context::MainContext;
use crate::error::ScriptError;
use crate::functions::Functions;
use crate::inline::{Answer, AnswerBody, Asked, Call, Chunks, QUEUED_CALLS};
use crate::log::LogFunctions;
use crate::print::first_values;
use crate::producer::Producer;
use crate::request::{OpenRequest, Requests};
use crate::require::{Modules, Sources, names_over};
use crate::respond::ReplyBody;
use crate::timers::Timers;
use crate::transaction::Transaction;
use crate::vm::Vm;
use crate::websocket::{Session, Start};
use crate::worker::Scripts;

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

/// What goes on after an answer.
enum Rest {
    Nothing,
    Producer(Producer),
    Session(Session, OpenRequest),
}

impl MainVm {
    /// Makes a VM and starts to take calls for it. It ends by itself when the returned sender, and every handler
    /// made of its functions, is gone.
    pub(crate) fn start(
        live: &Arc<Live>,
        scripts: &Arc<Scripts>,
        sources: &Arc<Sources>,
        state: Option<&Path>,
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
            collected: Rc::default(),
        };
        let vm = Vm::new(|lua, globals| main_script::install_in_main(lua, globals, context))?;
        logs.set_vm(&vm);
        timers.set_vm(&vm);
        let requests = Requests::new(vm.lua())?;
        functions.set_requests(requests.clone());
        let statement = load(vm.lua(), include_str!("statement.luau"), "=statement", None)?;
        let names = names_over(vm.lua(), &vm.lua().globals())?;
        main_script::install_in_script(&names)?;
        let statement = statement.call::<Function>(&names)?;
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

    async fn take_calls(self: Rc<Self>, requests: Requests, mut incoming: mpsc::Receiver<Call>) {
        while let Some(call) = incoming.recv().await {
            self.functions.forget_released();
            let (main, requests) = (Rc::clone(&self), requests.clone());
            spawn_local(async move {
                main.requests_running.set(main.requests_running.get() + 1);
                let session = main.take_call(&requests, call).await;
                main.requests_running.set(main.requests_running.get() - 1);
                if let Some((session, open)) = session {
                    main.sessions_running.set(main.sessions_running.get() + 1);
                    session.run(Rc::clone(&main.vm), open.head(), open).await;
                    main.sessions_running.set(main.sessions_running.get() - 1);
                }
            });
        }
    }

    /// Answers a call. What is returned begins now that the answer is on its way.
    async fn take_call(&self, requests: &Requests, call: Call) -> Option<(Session, OpenRequest)> {
        let Call { function, request, mut answer, place } = call;
        drop(place);
        let wants_body = request.head.method != Method::HEAD;
        let what = format!("request {} {}", request.head.method, request.head.path());
        let author = Author::new(Via::Request, what);
        let transaction = Transaction::lazy(Arc::clone(&self.live), author, None);
        let answering = transaction.scope(self.answer(requests, function, request));
        let answered = tokio::select! {
            answered = answering => answered,
            // The client left: nobody waits for the rest.
            () = answer.closed() => return None,
        };
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => {
                drop(answer.send(Err(error)));
                return None;
            }
        };
        // A handler may change the site; the change is published with its answer.
        if let Err(error) = self.commit(&transaction).await {
            drop(answer.send(Err(HandlerError::internal(error))));
            return None;
        }
        match answered {
            (reply, Rest::Nothing) => drop(answer.send(Ok(reply))),
            (reply, Rest::Producer(mut producer)) => {
                if wants_body {
                    producer = match producer.begin().await {
                        Ok(producer) => producer,
                        Err(error) => {
                            drop(answer.send(Err(handler_error(&error))));
                            return None;
                        }
                    };
                }
                let (chunks, asked) = Chunks::new();
                let reply = Answer { body: AnswerBody::Stream(chunks), ..reply };
                if answer.send(Ok(reply)).is_ok() {
                    produce(producer, asked).await;
                }
            }
            (reply, Rest::Session(session, open)) => {
                return answer.send(Ok(reply)).is_ok().then_some((session, open));
            }
        }
        None
    }

    async fn answer(
        &self,
        requests: &Requests,
        function: u64,
        request: Request,
    ) -> Result<(Answer, Rest), HandlerError> {
        let handler = self.functions.get(function);
        let (function, place) =
            handler.ok_or_else(|| HandlerError::internal("this handler's function is gone"))?;
        let handler = Handler { function: &function, place: &place };
        let allowance = request.head.allowance.clone();
        let (reply, open) = call(&self.vm, requests, &handler, request).await?;
        let (body, rest) = match reply.body {
            ReplyBody::Bytes(bytes) => {
                // Here, for it may be a while until its worker can.
                let counted = allowance.afford(bytes).ok_or_else(|| {
                    let busy = "there is no memory for this answer now";
                    HandlerError::client(StatusCode::SERVICE_UNAVAILABLE, busy)
                        .by_option(Some("limits.answer_bytes"))
                })?;
                (AnswerBody::Bytes(counted), Rest::Nothing)
            }
            ReplyBody::Producer(function) => {
                let producer = Producer::new(&self.vm, function, open).map_err(vm_error)?;
                (AnswerBody::Bytes(bytes::Bytes::new()), Rest::Producer(producer))
            }
            ReplyBody::WebSocket(start) => {
                let Start { accepted, session } = *start;
                (AnswerBody::WebSocket(accepted), Rest::Session(session, open))
            }
        };
        Ok((Answer { status: reply.status, headers: reply.headers, body }, rest))
    }

    /// Publishes what a task changed. Returns the new generation, if there is one.
    async fn commit(&self, transaction: &Transaction) -> Result<Option<u64>, ScriptError> {
        let committed = transaction.commit_unless(self.timers.stopped()).await;
        let site = committed.map_err(|error| ScriptError::new(with_causes(&error)))?;
        Ok(site.map(|site| site.generation))
    }

    /// The text of what was compiled: for errors to show.
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Runs the script itself.
    pub(crate) async fn run_script(
        &self,
        transaction: &Rc<Transaction>,
        entry: &Entry<'_>,
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

    /// Runs one statement: its values (see [`crate::print::values`]), and what it changed. Neither names nor the site change if it fails.
    pub(crate) async fn run_statement(
        &self,
        transaction: &Rc<Transaction>,
        source: &str,
    ) -> Result<(MultiValue, Option<u64>), ScriptError> {
        let lua = self.vm.lua();
        let told = |error: mlua::Error| ScriptError::from_lua(&error);
        let (environment, keep) = self.statement.call::<(Table, Function)>(()).map_err(told)?;
        let function = compile_statement(lua, source, &environment).map_err(told)?;
        let running = self.run.call_async::<MultiValue>(function);
        let running = self.vm.run_excusing(Budget::STATEMENT, || transaction.excused(), running);
        let result = transaction.scope(running).await;
        let values = result.map_err(|error| {
            self.vm.memory().note(&error, || "a statement".to_owned());
            ScriptError::from_task(&error)
        })?;
        let generation = self.commit(transaction).await?;
        keep.call::<()>(()).map_err(told)?;
        Ok((values, generation))
    }

    /// Stops what must not outlive the VM's replacement.
    pub(crate) fn retire(&self) {
        self.timers.stop();
        self.logs.retire();
    }

    #[cfg(test)]
    pub(crate) fn vm(&self) -> std::rc::Weak<Vm> {
        Rc::downgrade(&self.vm)
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> &Table {
        &self.names
    }

    /// What the VM holds.
    pub(crate) fn status(&self) -> Status {
        self.describe(Status::new("vm", "main"))
    }

    /// The same of one that was replaced, and what holds it.
    pub(crate) fn status_replaced(&self) -> Status {
        let held_by = self.functions.requests_shown().filter(|shown| !shown.is_empty());
        self.describe(Status::new("vm.replaced", "main")).maybe("held_by", held_by)
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
    /// Also that of a script that has failed to load.
    fn drop(&mut self) {
        self.retire();
    }
}

/// The script, as text with a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) source: &'a str,
}

/// An expression is worth its value, so it is tried first.
fn compile_statement(lua: &Lua, source: &str, environment: &Table) -> mlua::Result<Function> {
    match load(lua, &format!("return {source}"), "=statement", Some(environment.clone())) {
        Ok(function) => Ok(function),
        Err(_not_an_expression) => load(lua, source, "=statement", Some(environment.clone())),
    }
}

/// Runs a producer until it ends or its client is known to have left, whether it writes or not.
async fn produce(mut producer: Producer, mut asked: Asked) {
    while let Some(mut sender) = asked.next().await {
        let chunk = tokio::select! {
            chunk = producer.next() => chunk,
            () = sender.closed() => return,
        };
        let Some(chunk) = chunk else { return };
        let chunk = chunk.map_err(|error: TaskError| ScriptError::from_task(&error).with_traceback());
        // An error: the client left.
        drop(sender.send(chunk));
    }
}
