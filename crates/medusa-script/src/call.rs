//! One call of a handler: the same for the main VM and a worker's.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use medusa_http::{HandlerError, Purpose, Request};
use mlua::{Function, Value};

use crate::budget::{Budget, TaskError};
use crate::error::ScriptError;
use crate::passage::WayOn;
use crate::request::{ClientFault, InnerFault, MAX_OPEN, OpenRequest, Requests};
use crate::respond::{Reply, ReplyBody};
use crate::runs::RunNote;
use crate::transaction::Transaction;
use crate::vm::Vm;

/// Calls `handler` (as wrapped by [`Requests::wrap`]) with a request. The request stays open as long as the second value
/// is held: a producer still reads from it. The function of a wrapper is given the way to the handler behind it, too.
///
/// While the VM is nearly full, nothing that would fill it further is taken in. Where it was full for a request that is not
/// to blame and safe to repeat, that is tried a second time once memory has been collected.
pub(crate) async fn call(
    vm: &Rc<Vm>,
    requests: &Requests,
    handler: &Handler<'_>,
    request: Request,
    way: Option<WayOn>,
) -> Result<(Reply, OpenRequest), HandlerError> {
    if requests.count() >= MAX_OPEN {
        return Err(HandlerError::unavailable(format!(
            "this VM is at {MAX_OPEN} requests, streams and sessions already"
        )));
    }
    if !request.body.is_empty() && vm.memory().refuses(vm.heap()) {
        vm.collect();
        let error =
            "its VM is nearly full: no request with a body is taken (`medusa status` has the VM's `memory`)";
        return Err(HandlerError::unavailable(error));
    }
    let method = request.head.method.clone();
    let asked = (request.head.purpose, way.is_some());
    let open = requests.open(vm.lua(), request, way).map_err(vm_error)?;
    let mut reply = once(vm, requests, handler, &open, asked).await;
    let unchanged = || Transaction::current().is_none_or(|transaction| !transaction.has_edits());
    let safe = matches!(method, Method::GET | Method::HEAD);
    if safe && matches!(reply, Err(TaskError::Crowded(_))) && unchanged() && !open.was_passed_on() {
        drop(tokio::time::timeout(COLLECTION, vm.memory().collected()).await);
        reply = once(vm, requests, handler, &open, asked).await;
    }
    match reply {
        Ok(reply) => Ok((reply, open)),
        Err(error) => {
            vm.memory().note(&error, || format!("{method} request to {}", handler.place));
            Err(handler_error(&error))
        }
    }
}

/// A handler as a request finds it.
pub(crate) struct Handler<'a> {
    pub(crate) function: &'a Function,
    /// The script's place where it is from.
    pub(crate) place: &'a dyn fmt::Display,
}

/// A collection takes less than this; then there is room, or whoever fills the VM has been stopped.
const COLLECTION: Duration = Duration::from_secs(1);

/// How `request.luau` is told that a function is asked whose credentials are.
const KNOWS_USERS: i64 = 1;

async fn once(
    vm: &Rc<Vm>,
    requests: &Requests,
    handler: &Handler<'_>,
    open: &OpenRequest,
    (purpose, has_next): (Purpose, bool),
) -> Result<Reply, TaskError> {
    let answering = async {
        let how = match purpose {
            Purpose::Login => Value::Integer(KNOWS_USERS),
            _ => Value::Boolean(has_next),
        };
        let returned = handler.function.call_async::<Value>((open.handle(), how)).await?;
        match requests.inner_answer(open, &returned)? {
            Some((status, headers)) => Ok(Reply { status, headers, body: ReplyBody::Passed }),
            None => Reply::to(purpose, returned),
        }
    };
    let note = || RunNote::of_request("request", open.head(), Some(handler.place.to_string().into()));
    vm.run_excusing(note, Budget::REQUEST, || open.waited(), answering).await
}

/// An error of a script as one of its handler: 503 for what was stopped, 500 for what failed, 4xx where the client
/// was to blame.
///
/// What the handler behind has failed with is passed on as it is.
pub(crate) fn handler_error(error: &TaskError) -> HandlerError {
    if let TaskError::Script(error) = error
        && let Some(error) = error.downcast_ref::<InnerFault>().and_then(InnerFault::take)
    {
        return error;
    }
    if let TaskError::Script(error) = error
        && let Some(fault) = error.downcast_ref::<ClientFault>()
    {
        return HandlerError::client(fault.status(), fault.to_string()).by_option(fault.option());
    }
    let traced = ScriptError::from_task(error).with_traceback();
    match error {
        TaskError::Script(_) => HandlerError::internal(traced),
        _ => HandlerError::unavailable(traced),
    }
}

/// An error of the VM itself, outside of any script.
pub(crate) fn vm_error(error: mlua::Error) -> HandlerError {
    HandlerError::internal(ScriptError::from_lua(&error).to_string())
}
