//! One call of a handler: the same for the main VM and a worker's.

use http::Method;
use medusa_http::{HandlerError, Request};
use mlua::{Function, Value};

use crate::error::ScriptError;
use crate::request::{ClientFault, MAX_OPEN, OpenRequest, Requests};
use crate::respond::Reply;
use crate::task::{Budget, TaskError};
use crate::transaction::Transaction;
use crate::vm::Vm;

/// Calls `handler` (as wrapped by [`Requests::wrap`]) with a request. The request stays open as long as the second value
/// is held: a producer still reads from it.
///
/// Where the VM was out of memory, another request may have been to blame: it has been collected by now, and a safe
/// request is tried a second time.
pub(crate) async fn call(
    vm: &Vm,
    requests: &Requests,
    handler: &Function,
    request: Request,
) -> Result<(Reply, OpenRequest), HandlerError> {
    let safe = matches!(request.head.method, Method::GET | Method::HEAD);
    if requests.count() >= MAX_OPEN {
        return Err(HandlerError::unavailable(format!(
            "this VM is at {MAX_OPEN} requests, streams and sessions already"
        )));
    }
    let open = requests.open(vm.lua(), request).map_err(vm_error)?;
    let mut reply = once(vm, handler, &open).await;
    let unchanged = || Transaction::current().is_none_or(|transaction| !transaction.has_edits());
    if safe && matches!(reply, Err(TaskError::Memory(_))) && unchanged() {
        reply = once(vm, handler, &open).await;
    }
    match reply {
        Ok(reply) => Ok((reply, open)),
        Err(error) => Err(handler_error(&error)),
    }
}

async fn once(vm: &Vm, handler: &Function, open: &OpenRequest) -> Result<Reply, TaskError> {
    let answering = async { Reply::from_lua(handler.call_async::<Value>(open.handle()).await?) };
    vm.run_excusing(Budget::REQUEST, || open.waited(), answering).await
}

/// An error of a script as one of its handler: 503 for what was stopped, 500 for what failed, 4xx where the client
/// was to blame.
fn handler_error(error: &TaskError) -> HandlerError {
    if let TaskError::Script(error) = error
        && let Some(fault) = error.downcast_ref::<ClientFault>()
    {
        return HandlerError::client(fault.status(), fault.to_string());
    }
    let told = ScriptError::from_task(error).with_traceback();
    if error.is_overrun() { HandlerError::unavailable(told) } else { HandlerError::internal(told) }
}

/// An error of the VM itself, outside of any script.
pub(crate) fn vm_error(error: mlua::Error) -> HandlerError {
    HandlerError::internal(ScriptError::from_lua(&error).to_string())
}
